"""Checks of a potential's parameters, before an hour of work is lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sklearn.base import BaseEstimator, clone

from gapkit.exceptions import DataError, DataWarning, InputError
from gapkit.gp.noise import Noise
from gapkit.options.checked import check_one, checks_of
from gapkit.potential.term import TermPlan
from gapkit.printing import quoted
from gapkit.structures import AtomsBatch, DataReport
from gapkit.structures.checks import list_frames

# Findings after which a model is wrong however well it is fitted.
_WARNED = ("unread_labels", "energy_zeros", "free_atom_zeros")


def check_parameters(model: BaseEstimator) -> None:
    """Raise InputError where a parameter of an estimator has the wrong type or is out of range, by its annotation."""
    kind: Any = type(model)
    for name, check in checks_of(kind).items():
        check_one(check, getattr(model, name), name)
    if "terms" in (given := model.get_params(deep=False)) and given["terms"] is not None and len(given["terms"]) == 0:
        raise InputError("`terms` must be a list with at least one Term or descriptor, or None, got an empty list")


def check_names(model: Any, config_types: Iterable[str]) -> None:
    """Raise InputError where the noise names a configuration type that a training set has not."""
    known = list(dict.fromkeys(config_types))
    if unknown := [name for name in _types_of(model) if name not in known]:
        raise InputError(
            f"`per_config_type` must name configuration types of the training set, {', '.join(map(quoted, known))}, "
            f"got {', '.join(map(quoted, unknown))}; leave out what is not there, or correct the spelling"
        )


def for_part(model: Any, whole: AtomsBatch, part: AtomsBatch) -> Any:
    """A clone for a part of a training set: without what it says of configuration types that only the whole has."""
    check_names(model, whole.all_labels.config_type)
    own, types = clone(model), set(part.all_labels.config_type)
    if given := _types_of(model):
        own.set_params(noise=replace(model.noise, per_config_type={t: n for t, n in given.items() if t in types}))
    return own


def _types_of(model: Any) -> Mapping[str, Noise]:
    return {} if model.noise is None else model.noise.per_config_type


def check_reach(plans: Sequence[TermPlan], nearest: float | None) -> None:
    """Raise InputError where a term would see no neighbour at all; `nearest` is the data's shortest distance in Å."""
    for plan in plans:
        if nearest is not None and plan.engine.reach <= nearest:
            raise InputError(
                f"`cutoff` of the {type(plan.term.descriptor).__name__} term must exceed the shortest distance of the "
                f"training set, {nearest:.3g} Å, got {plan.engine.reach:g} Å; two to three bond lengths are usual"
            )


def check_separate(report: DataReport) -> None:
    """Raise DataError where atoms of the training set are in one place."""
    for fault in report.warnings:
        if fault.kind == "coincident_atoms":
            raise DataError(f"{list_frames(fault.frames)}: {fault.message}")


def warn_of(report: DataReport) -> None:
    """Warn with DataWarning of labels that are not read and of zeros of energy that do not fit together."""
    for fault in report.warnings:
        if fault.kind in _WARNED:
            warnings.warn(str(fault), DataWarning, stacklevel=4)

"""Checks of a potential's parameters, before an hour of work is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from gapkit.descriptors import Descriptor
from gapkit.exceptions import DataError, InputError
from gapkit.gp.noise import Noise
from gapkit.options import check_value
from gapkit.options.fit import FitConfig
from gapkit.potential.term import Term, TermPlan
from gapkit.structures import DataReport, LabelKeys
from gapkit.structures.checks import list_frames
from gapkit.terms.known import as_energy_terms

_OBJECTS = ("terms", "energy_terms", "noise", "label_keys")  # in files these have other forms


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise InputError where a parameter of a `GAP` is of the wrong kind or out of range."""
    terms = parameters["terms"]
    if terms is not None:
        if not isinstance(terms, Sequence) or isinstance(terms, str) or len(terms) == 0:
            raise InputError(f"`terms` must be a list with at least one Term or descriptor, or None, got {terms!r}")
        for item in terms:
            if not isinstance(item, Term | Descriptor):
                raise InputError(f"`terms` must hold Terms or descriptors such as SOAP(), got {item!r}")
    as_energy_terms(parameters["energy_terms"])
    for name, kind, example in (
        ("noise", Noise, "a Noise such as Noise(energy=0.001, forces=0.05)"),
        ("label_keys", LabelKeys, 'LabelKeys such as LabelKeys(energy="dft_energy")'),
    ):
        if not isinstance(parameters[name], kind | None):
            raise InputError(f"`{name}` must be {example}, or None, got {parameters[name]!r}")
    if parameters["calibration"] not in (None, "leave-one-out"):
        raise InputError(f'`calibration` must be "leave-one-out" or None, got {parameters["calibration"]!r}')
    for item in fields(FitConfig):
        if item.name == item.metadata["sets"] and item.name not in _OBJECTS:
            check_value(FitConfig, item.name, parameters[item.name], f"`{item.name}`")


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

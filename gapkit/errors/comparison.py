"""Predictions next to reference labels, with the error bars of the model where they are asked for.

Quantities, units and components are those of `gapkit.targets`: energy per atom, forces, stress. Rows are the frames, or
the atoms, with a label; a stress needs a three-dimensional cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gapkit.errors.tables import Errors, ErrorTable, mae, rmse
from gapkit.exceptions import DataError
from gapkit.options.checked import checked
from gapkit.structures import AtomsBatch, LabelKeys, to_batch
from gapkit.structures.checks.unread import unread_hint
from gapkit.targets import TARGETS, Target
from gapkit.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from ase import Atoms

    from gapkit.potential import GAP, Predictions

INTERVAL = 0.9  # level of the intervals that are compared with errors


@dataclass(frozen=True, eq=False)
class Pairs:
    """Reference and predicted values of one quantity, where it is labelled.

    Attributes
    ----------
    frames : (n,) int
        Frame of each row.
    reference, predicted : (n, n_components) float
    std : (n, n_components) float or None
        Standard deviations of `predicted`; None where they were not asked for or the model has none.
    half_width : (n, n_components) float or None
        Half-widths of 90 % intervals, likewise.
    atoms : (n,) int or None
        Atom of each row, counted over all frames; None for quantities of frames.
    """

    frames: IntArray
    reference: FloatArray
    predicted: FloatArray
    std: FloatArray | None = None
    half_width: FloatArray | None = None
    atoms: IntArray | None = None

    def of_frames(self, chosen: BoolArray) -> Pairs:
        """Rows of some frames, `chosen` a mask (n_frames,)."""
        rows = chosen[self.frames]
        return replace(self, **{name: value[rows] for name, value in vars(self).items() if value is not None})

    @property
    def errors(self) -> FloatArray:
        """Predicted minus reference values, (n, n_components)."""
        return self.predicted - self.reference

    @property
    def mae(self) -> float | None:
        """Mean absolute error, see `gapkit.errors.tables.mae`."""
        return mae(self.errors)

    @property
    def rmse(self) -> float | None:
        """Root mean square error, see `gapkit.errors.tables.rmse`."""
        return rmse(self.errors)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything labelled in some frames next to its prediction.

    Attributes
    ----------
    config_type : tuple of str, length n_frames
    n_atoms : (n_frames,) int
    numbers : (n_atoms,) int
        Atomic numbers, the atoms of all frames one after another.
    pairs : dict of str to Pairs
        By quantity, such as "stress"; attributes `energy`, `forces` and `stress` are the same.
    std : {"calibrated", "epistemic"} or None
        Kind of the standard deviations, see `Predictions`; None without any.
    extrapolating : (n_atoms,) bool or None
        Atoms, labelled or not, unlike the training set; None if the model cannot tell or was not asked.
    novelty : (n_atoms,) float or None
        Novelty over its threshold, see `Predictions`; NaN without an atomic term, None as `extrapolating`.
    unlike_frames : (n_frames,) bool or None
        Frames with any sign of extrapolation, also of their average; None: those with such an atom.
    """

    config_type: tuple[str, ...]
    n_atoms: IntArray
    numbers: IntArray
    pairs: dict[str, Pairs]
    std: str | None = None
    extrapolating: BoolArray | None = None
    novelty: FloatArray | None = None
    unlike_frames: BoolArray | None = None

    @property
    def energy(self) -> Pairs:
        """One component, eV/atom."""
        return self.pairs["energy"]

    @property
    def forces(self) -> Pairs:
        """Three components, eV/Å."""
        return self.pairs["forces"]

    @property
    def stress(self) -> Pairs:
        """Six components, eV/Å^3."""
        return self.pairs["stress"]

    @property
    def labelled(self) -> dict[str, Pairs]:
        """Quantities with labels, by name."""
        return {name: pairs for name, pairs in self.pairs.items() if pairs.reference.size}

    @property
    def extrapolating_frames(self) -> BoolArray | None:
        """Frames (n_frames,) with an atom unlike the training set."""
        if self.extrapolating is None:
            return None
        frames = np.repeat(np.arange(len(self.n_atoms)), self.n_atoms)
        with_atoms = np.bincount(frames[self.extrapolating], minlength=len(self.n_atoms)) > 0
        return with_atoms if self.unlike_frames is None else with_atoms | self.unlike_frames

    def errors(self) -> ErrorTable:
        """Errors overall and per configuration type."""
        types = np.array(self.config_type)
        by_type = {name: self._errors_of(types == name) for name in sorted(set(self.config_type))}
        return ErrorTable(self._errors_of(np.ones(len(types), dtype=bool)), by_type)

    def _errors_of(self, chosen: BoolArray) -> Errors:
        pairs = {name: pairs.of_frames(chosen) for name, pairs in self.pairs.items()}
        maes, rmses = ({name: getattr(own, kind) for name, own in pairs.items()} for kind in ("mae", "rmse"))
        return Errors(int(chosen.sum()), int(self.n_atoms[chosen].sum()), maes, rmses)


@checked
def compare(
    model: GAP, frames: Atoms | Sequence[Atoms], keys: LabelKeys | None = None, *, uncertainty: bool = False
) -> Comparison:
    """Predict `frames` and put the predictions next to their labels.

    Parameters
    ----------
    model : GAP
        A fitted model.
    frames : sequence of ase.Atoms
        At least one with a label.
    keys : LabelKeys, optional
        Names of the labels; by default those of the training set.
    uncertainty : bool
        Also standard deviations, 90 % intervals and flags of extrapolation.  The stds of a model without calibration
        are epistemic, and it has no intervals.

    Raises
    ------
    DataError
        If no frame has any label, or a label is unusable.
    UnknownSpeciesError
        If a frame holds a species that the model does not know.
    """
    batch = to_batch(frames, keys=keys or model.label_keys, strict=keys is not None)
    has = batch.comparable
    if not any(mask.any() for mask in has.values()):
        raise DataError(
            f"none of the {batch.n_frames} frames has an energy, forces or a stress to compare with; "
            f"name the keys of the labels (`keys`, or --energy-key, --forces-key and --stress-key){unread_hint(batch)}"
        )
    p = _with_error_bars(model, frames) if uncertainty else model.predict(frames)
    pairs = {
        target.shown.name: _pairs(target, batch, has[name], p)
        for name, target in TARGETS.items()
        if hasattr(p, target.shown.name)
    }
    bars = (p.std, p.extrapolating, p.novelty, p.extrapolating_frames) if uncertainty else ()
    return Comparison(batch.all_labels.config_type, batch.n_atoms_per_frame, batch.numbers, pairs, *bars)


@checked
def evaluate(model: GAP, frames: Atoms | Sequence[Atoms], keys: LabelKeys | None = None) -> ErrorTable:
    """Errors of `model` on labelled frames; arguments and errors as for `compare`."""
    return compare(model, frames, keys).errors()


def _with_error_bars(model: GAP, frames: Sequence[Atoms]) -> Predictions:
    # A model that is not fitted has no such attribute; `predict` says what is wrong with it.
    if getattr(model, "calibration_", None) is None:
        return model.predict(frames, return_std=True, std="epistemic")
    return model.predict(frames, return_std=True, interval=INTERVAL)


def _pairs(target: Target, batch: AtomsBatch, has: BoolArray, p: Predictions) -> Pairs:
    """Labels and predictions of a target, as they are shown."""
    shown, rows = target.shown, np.flatnonzero(has)
    frames = batch.frame_of_atom[rows] if target.per_atom else rows
    factor = shown.factor(batch.n_atoms_per_frame, batch.volumes)[frames, None]
    # what is predicted per volume is divided already
    own = abs(factor) if shown.per == "atom" else 1.0

    def predicted(name: str) -> FloatArray | None:
        values = getattr(p, name, None)
        return None if values is None else values[rows].reshape(-1, target.components) * own

    found, *bars = (predicted(f"{shown.name}{kind}") for kind in ("", "_std", "_interval"))
    assert found is not None
    # without a calibration some or all are missing
    std, half_width = (None if values is None or np.isnan(values).any() else values for values in bars)
    reference = target.to_components(batch.all_labels.values[target.name][rows]) * factor
    return Pairs(frames, reference, found, std, half_width, rows if target.per_atom else None)

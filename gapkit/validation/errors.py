"""Errors of a model against reference labels: mean absolute and root mean square, overall and per configuration type.

=========  ==========  ===================================================================
quantity   unit        errors are taken over
=========  ==========  ===================================================================
energy     eV/atom     frames with an energy
forces     eV/Å        the three components of every atom with forces
stress     eV/Å^3      the six components (xx, yy, zz, yz, xz, xy) of every frame with a
                       stress or virial and a three-dimensional cell, in ASE's sign
=========  ==========  ===================================================================
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import DataError
from gapkit.structures import LabelKeys, to_batch
from gapkit.typing import BoolArray, FloatArray, IntArray

if TYPE_CHECKING:
    from ase import Atoms
    from rich.table import Table

    from gapkit.potential import GAP

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, eq=False)
class Pairs:
    """Reference and predicted values of one quantity, where it is labelled.

    Attributes
    ----------
    frames : (n,) int
        The frame to which each row belongs.
    reference, predicted : (n, n_components) float
    """

    frames: IntArray
    reference: FloatArray
    predicted: FloatArray

    def of_frames(self, chosen: BoolArray) -> Pairs:
        """Return the rows of the frames for which `chosen`, a (n_frames,) mask, is True."""
        rows = chosen[self.frames]
        return Pairs(self.frames[rows], self.reference[rows], self.predicted[rows])

    @property
    def mae(self) -> float | None:
        """Mean absolute error over all components, None where nothing is labelled."""
        return float(np.mean(np.abs(self.predicted - self.reference))) if self.reference.size else None

    @property
    def rmse(self) -> float | None:
        """Root mean square error over all components, None where nothing is labelled."""
        return float(np.sqrt(np.mean((self.predicted - self.reference) ** 2))) if self.reference.size else None


@dataclass(frozen=True, eq=False)
class Comparison:
    """Everything labelled in some frames next to its prediction.

    Attributes
    ----------
    config_type : tuple of str, length n_frames
    n_atoms : (n_frames,) int
    energy : Pairs of one component, eV/atom
    forces : Pairs of three components, eV/Å
    stress : Pairs of six components, eV/Å^3
    """

    config_type: tuple[str, ...]
    n_atoms: IntArray
    energy: Pairs
    forces: Pairs
    stress: Pairs

    def errors(self) -> ErrorTable:
        """Return the errors overall and per configuration type."""
        types = np.array(self.config_type)
        by_type = {name: self._errors_of(types == name) for name in sorted(set(self.config_type))}
        return ErrorTable(self._errors_of(np.ones(len(types), dtype=bool)), by_type)

    def _errors_of(self, chosen: BoolArray) -> Errors:
        energy, forces, stress = (pairs.of_frames(chosen) for pairs in (self.energy, self.forces, self.stress))
        return Errors(
            n_frames=int(chosen.sum()),
            n_atoms=int(self.n_atoms[chosen].sum()),
            energy_mae=energy.mae,
            energy_rmse=energy.rmse,
            forces_mae=forces.mae,
            forces_rmse=forces.rmse,
            stress_mae=stress.mae,
            stress_rmse=stress.rmse,
        )


@dataclass(frozen=True)
class Errors:
    """Errors over one set of frames; None where no label of that kind exists. Units: eV/atom, eV/Å, eV/Å^3."""

    n_frames: int
    n_atoms: int
    energy_mae: float | None
    energy_rmse: float | None
    forces_mae: float | None
    forces_rmse: float | None
    stress_mae: float | None
    stress_rmse: float | None


@dataclass(frozen=True)
class ErrorTable:
    """Errors overall and per configuration type; print it for a table."""

    overall: Errors
    by_config_type: dict[str, Errors]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers in eV/atom, eV/Å and eV/Å^3, the overall ones at the top level."""
        by_type = {name: asdict(errors) for name, errors in self.by_config_type.items()}
        return {**asdict(self.overall), "by_config_type": by_type}

    def __str__(self) -> str:
        from rich.console import Console

        text = io.StringIO()
        Console(file=text, width=120).print(self)
        return text.getvalue().rstrip("\n")

    def __rich__(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title="MAE / RMSE", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("\nconfig type", overflow="fold")
        for heading in ("\nframes", "energy\nmeV/atom", "forces\neV/Å", "stress\nmeV/Å³"):
            table.add_column(heading, justify="right", no_wrap=True)
        rows = dict(self.by_config_type) if len(self.by_config_type) > 1 else {}
        for name, row in {**rows, "all": self.overall}.items():
            table.add_row(
                name,
                f"{row.n_frames:,}",
                _mae_rmse(row.energy_mae, row.energy_rmse, 1e3, 2),
                _mae_rmse(row.forces_mae, row.forces_rmse, 1.0, 4),
                _mae_rmse(row.stress_mae, row.stress_rmse, 1e3, 3),
            )
        return table


def compare(model: GAP, frames: Sequence[Atoms], keys: LabelKeys | None = None) -> Comparison:
    """Predict `frames` and put the predictions next to their labels.

    Parameters
    ----------
    model : GAP
        A fitted model.
    frames : sequence of ase.Atoms
        Frames of which at least one has a label.
    keys : LabelKeys, optional
        Where the labels are; by default, where the model found those that it was fitted to.

    Raises
    ------
    DataError
        If no frame has any label, or a label is unusable.
    UnknownSpeciesError
        If a frame holds a species that the model does not know.
    """
    batch = to_batch(frames, keys=keys or model.label_keys, strict=keys is not None)
    labels = batch.labels
    has_stress = np.zeros(0, dtype=bool) if labels is None else labels.has_virial & np.isfinite(batch.volumes)
    if labels is None or not (labels.has_energy.any() or labels.has_forces.any() or has_stress.any()):
        raise DataError(
            f"none of the {batch.n_frames} frames has an energy, forces or a stress to compare with; "
            "name the keys of the labels (`keys`, or --energy-key, --forces-key and --stress-key)"
        )
    predictions = model.predict(frames)
    size = batch.n_atoms_per_frame
    with_energy, with_stress = np.flatnonzero(labels.has_energy), np.flatnonzero(has_stress)
    tensors = -labels.virial[with_stress] / batch.volumes[with_stress, None, None]
    return Comparison(
        config_type=labels.config_type,
        n_atoms=size,
        energy=Pairs(
            with_energy,
            (labels.energy / size)[with_energy, None],
            (predictions.energy / size)[with_energy, None],
        ),
        forces=Pairs(
            batch.frame_of_atom[labels.has_forces],
            labels.forces[labels.has_forces],
            predictions.forces[labels.has_forces],
        ),
        stress=Pairs(
            with_stress,
            np.stack([tensors[:, a, b] for a, b in VOIGT], axis=1),
            predictions.stress[with_stress],
        ),
    )


def evaluate(model: GAP, frames: Sequence[Atoms], keys: LabelKeys | None = None) -> ErrorTable:
    """Return the errors of `model` on labelled frames; arguments and errors as for `compare`."""
    return compare(model, frames, keys).errors()


def _mae_rmse(mae: float | None, rmse: float | None, factor: float, digits: int) -> str:
    if mae is None or rmse is None:
        return "-"
    return f"{mae * factor:.{digits}f} / {rmse * factor:.{digits}f}"

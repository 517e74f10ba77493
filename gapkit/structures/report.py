"""Describe a data set in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from gapkit.structures.batch import AtomsBatch, Labels
from gapkit.structures.checks import data as checks
from gapkit.structures.checks.consistency import all_electron_units, label_consistency
from gapkit.structures.checks.data import Fault, list_frames
from gapkit.typing import FloatArray

Range = tuple[float, float]


@dataclass(frozen=True)
class ConfigTypeCount:
    """How many labels the frames of one configuration type carry.

    Attributes
    ----------
    config_type : str
    n_frames, n_atoms : int
    n_energies, n_virials : int
        Frames that have the label.
    n_force_components : int
        Three per labelled atom.
    """

    config_type: str
    n_frames: int
    n_atoms: int
    n_energies: int
    n_force_components: int
    n_virials: int


@dataclass(frozen=True)
class DataReport:
    """What a data set holds and what looks wrong in it; `str()` gives it in words.

    Attributes
    ----------
    n_frames, n_atoms : int
    species : dict of str to int
        Atoms of each chemical symbol.
    config_types : tuple of ConfigTypeCount
        In order of first appearance.
    unlabelled : tuple of int
        Frames without any label.
    isolated_atoms : dict of str to tuple of int
        For each symbol, the single-atom frames without neighbours within 6 Å.
    energy_per_atom : (low, high) in eV/atom, or None
        Without the isolated atoms.
    max_force : float in eV/Å, or None
        Largest length of a force vector.
    max_stress : float in eV/Å^3, or None
        Largest absolute component.
    volume_per_atom : (low, high) in Å^3/atom, or None
        Of frames periodic in all directions.
    nearest_distance : float in Å, or None
    warnings : tuple of Fault
    """

    n_frames: int
    n_atoms: int
    species: dict[str, int]
    config_types: tuple[ConfigTypeCount, ...]
    unlabelled: tuple[int, ...]
    isolated_atoms: dict[str, tuple[int, ...]]
    energy_per_atom: Range | None
    max_force: float | None
    max_stress: float | None
    volume_per_atom: Range | None
    nearest_distance: float | None
    warnings: tuple[Fault, ...]

    def __str__(self) -> str:
        species = ", ".join(f"{count} {symbol}" for symbol, count in self.species.items())
        lines = [f"{self.n_frames} frames, {self.n_atoms} atoms ({species})", ""]
        width = max([11, *(len(c.config_type) for c in self.config_types)])
        lines.append(f"{'config type':<{width}}  frames   atoms  energies  force comp.  virials")
        for c in self.config_types:
            lines.append(
                f"{c.config_type:<{width}} {c.n_frames:7d} {c.n_atoms:7d} {c.n_energies:9d} "
                f"{c.n_force_components:12d} {c.n_virials:8d}"
            )
        lines.append("")
        for name, values, unit in (
            ("energy per atom", self.energy_per_atom, "eV/atom"),
            ("volume per atom", self.volume_per_atom, "Å^3/atom"),
        ):
            if values is not None:
                lines.append(f"{name}: {values[0]:.4f} to {values[1]:.4f} {unit}")
        for name, value, unit in (
            ("largest force", self.max_force, "eV/Å"),
            ("largest stress component", self.max_stress, "eV/Å^3"),
            ("nearest distance", self.nearest_distance, "Å"),
        ):
            if value is not None:
                lines.append(f"{name}: {value:.4g} {unit}")
        isolated = ", ".join(f"{symbol} ({list_frames(f)})" for symbol, f in self.isolated_atoms.items())
        lines.append(f"isolated atoms: {isolated or 'none'}")
        if self.unlabelled:
            lines.append(f"without any label: {list_frames(self.unlabelled)}")
        lines.append("")
        lines.append(f"warnings ({len(self.warnings)}):" if self.warnings else "no warnings")
        lines += [f"  - {finding}" for finding in self.warnings]
        return "\n".join(lines)


def describe(batch: AtomsBatch) -> DataReport:
    """Count what a batch holds and check it for faults.

    Parameters
    ----------
    batch : AtomsBatch
        With or without labels.

    Returns
    -------
    report : DataReport
    """
    labels = batch.labels if batch.labels is not None else Labels.empty(batch.n_frames, batch.n_atoms)
    nearest = checks.nearest_distances(batch)
    isolated = (batch.n_atoms_per_frame == 1) & np.isnan(nearest)
    labelled_atoms = checks.sum_over_frames(batch, labels.has_forces.astype(float))
    any_label = labels.has_energy | labels.has_virial | (labelled_atoms > 0)
    return DataReport(
        n_frames=batch.n_frames,
        n_atoms=batch.n_atoms,
        species={chemical_symbols[z]: int(np.sum(batch.numbers == z)) for z in batch.species},
        config_types=_count(batch, labels, labelled_atoms),
        unlabelled=tuple(int(f) for f in np.flatnonzero(~any_label)),
        isolated_atoms=_isolated_atoms(batch, isolated),
        energy_per_atom=_range((labels.energy / np.maximum(batch.n_atoms_per_frame, 1))[~isolated]),
        max_force=_largest(np.linalg.norm(labels.forces, axis=1)),
        max_stress=_largest(np.abs(labels.virial).max(axis=(1, 2)) / batch.volumes),
        volume_per_atom=_range((batch.volumes / np.maximum(batch.n_atoms_per_frame, 1))[batch.pbc.all(axis=1)]),
        nearest_distance=None if np.isnan(nearest).all() else float(np.nanmin(nearest)),
        warnings=tuple(find_faults(batch, nearest)),
    )


def find_faults(batch: AtomsBatch, nearest: FloatArray | None = None) -> list[Fault]:
    """Run every check; `nearest` (n_frames,) in Å spares computing the nearest distances again."""
    nearest = checks.nearest_distances(batch) if nearest is None else nearest
    return [
        *all_electron_units(batch),
        *checks.magnitudes(batch),
        *label_consistency(batch),
        *checks.close_atoms(nearest),
        *checks.duplicates(batch),
        *checks.energy_outliers(batch, nearest),
        *checks.net_force(batch),
    ]


def _count(batch: AtomsBatch, labels: Labels, labelled_atoms: FloatArray) -> tuple[ConfigTypeCount, ...]:
    types = np.array(labels.config_type, dtype=object)
    counts = []
    for config_type in dict.fromkeys(labels.config_type):
        frames = types == config_type
        counts.append(
            ConfigTypeCount(
                config_type=config_type,
                n_frames=int(frames.sum()),
                n_atoms=int(batch.n_atoms_per_frame[frames].sum()),
                n_energies=int(labels.has_energy[frames].sum()),
                n_force_components=3 * int(labelled_atoms[frames].sum()),
                n_virials=int(labels.has_virial[frames].sum()),
            )
        )
    return tuple(counts)


def _isolated_atoms(batch: AtomsBatch, isolated: np.ndarray) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for frame in np.flatnonzero(isolated):
        symbol = chemical_symbols[batch.numbers[batch.offsets[frame]]]
        found[symbol] = (*found.get(symbol, ()), int(frame))
    return found


def _range(values: FloatArray) -> Range | None:
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else None


def _largest(values: FloatArray) -> float | None:
    values = values[np.isfinite(values)]
    return float(values.max()) if len(values) else None

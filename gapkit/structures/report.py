"""Describe a data set in numbers and words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols

from gapkit.options.checked import checked
from gapkit.printing import printable
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks import Fault, list_frames
from gapkit.structures.checks.geometry import close_atoms, coincident_atoms, duplicates, nearest_distances
from gapkit.structures.checks.labels import all_electron_units, energy_outliers, magnitudes, net_force
from gapkit.structures.checks.unread import unread_labels
from gapkit.structures.checks.work import Slopes, label_consistency
from gapkit.structures.checks.zeros import energy_zeros
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray

Range = tuple[float, float]


@dataclass(frozen=True)
class ConfigTypeCount:
    """How many labels the frames of one configuration type carry."""

    config_type: str
    n_frames: int
    n_atoms: int
    n_labels: dict[str, int]  # frames or atoms that have the label of a target


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
    unchecked : tuple of str
        What could not be checked, and why.
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
    unchecked: tuple[str, ...] = ()

    def __str__(self) -> str:
        species = ", ".join(f"{count} {symbol}" for symbol, count in self.species.items())
        lines = [f"{self.n_frames} frames, {self.n_atoms} atoms ({species})", ""]
        width = max([11, *(len(printable(c.config_type)) for c in self.config_types)])
        lines.append(f"{'config type':<{width}}  frames   atoms" + "".join(f" {name:>9}" for name in TARGETS))
        for c in self.config_types:
            counts = "".join(f" {c.n_labels.get(name, 0):9d}" for name in TARGETS)
            lines.append(f"{printable(c.config_type):<{width}} {c.n_frames:7d} {c.n_atoms:7d}{counts}")
        lines.append("")
        ranges = {
            "energy per atom": (self.energy_per_atom, "eV/atom"),
            "volume per atom": (self.volume_per_atom, "Å^3/atom"),
        }
        lines += [f"{name}: {r[0]:.4f} to {r[1]:.4f} {unit}" for name, (r, unit) in ranges.items() if r is not None]
        extremes = {
            "largest force": (self.max_force, "eV/Å"),
            "largest stress component": (self.max_stress, "eV/Å^3"),
            "nearest distance": (self.nearest_distance, "Å"),
        }
        lines += [f"{name}: {value:.4g} {unit}" for name, (value, unit) in extremes.items() if value is not None]
        isolated = ", ".join(f"{symbol} ({list_frames(f)})" for symbol, f in self.isolated_atoms.items())
        lines.append(f"isolated atoms: {isolated or 'none'}")
        if self.unlabelled:
            lines.append(f"without any label: {list_frames(self.unlabelled)}")
        lines += ["", f"warnings ({len(self.warnings)}):" if self.warnings else "no warnings"]
        lines += [f"  - {fault}" for fault in self.warnings]
        lines += [f"not checked: {words}" for words in self.unchecked]
        return "\n".join(lines)


@checked
def describe(batch: AtomsBatch) -> DataReport:
    """Count what a batch, with or without labels, holds and check it for faults."""
    labels, size, nearest = batch.all_labels, batch.n_atoms_per_frame, nearest_distances(batch)
    isolated, first = (size == 1) & np.isnan(nearest), np.append(batch.numbers, 0)[batch.offsets[:-1]]
    slopes = Slopes.of(batch)
    labelled = np.any(list(batch.labelled_frames.values()), axis=0)
    return DataReport(
        n_frames=batch.n_frames,
        n_atoms=batch.n_atoms,
        species={chemical_symbols[z]: int(np.sum(batch.numbers == z)) for z in batch.species},
        config_types=_count(batch),
        unlabelled=tuple(np.flatnonzero(~labelled).tolist()),
        isolated_atoms={
            chemical_symbols[z]: tuple(np.flatnonzero(isolated & (first == z)).tolist())
            for z in dict.fromkeys(first[isolated].tolist())
        },
        energy_per_atom=_range((labels.energy / np.maximum(size, 1))[~isolated]),
        max_force=_largest(np.linalg.norm(labels.forces, axis=1)),
        max_stress=_largest(np.abs(labels.virial).max(axis=(1, 2)) / batch.volumes),
        volume_per_atom=_range((batch.volumes / np.maximum(size, 1))[batch.pbc.all(axis=1)]),
        nearest_distance=None if np.isnan(nearest).all() else float(np.nanmin(nearest)),
        warnings=tuple(find_faults(batch, nearest, slopes)),
        unchecked=tuple(slopes.unchecked(batch)),
    )


@checked
def find_faults(batch: AtomsBatch, nearest: FloatArray | None = None, slopes: Slopes | None = None) -> list[Fault]:
    """Run every check; `nearest` (n_frames,) in Å and `slopes` spare computing them again."""
    nearest = nearest_distances(batch) if nearest is None else nearest
    return [
        *unread_labels(batch),
        *all_electron_units(batch),
        *magnitudes(batch),
        *label_consistency(batch, slopes),
        *energy_zeros(batch, nearest),
        *coincident_atoms(nearest),
        *close_atoms(nearest),
        *duplicates(batch),
        *energy_outliers(batch, nearest),
        *net_force(batch),
    ]


def _count(batch: AtomsBatch) -> tuple[ConfigTypeCount, ...]:
    types, counts = np.array(batch.all_labels.config_type, dtype=object), []
    for name in dict.fromkeys(types):
        part = batch.select(types == name)
        n_labels = {target: int(has.sum()) for target, has in part.all_labels.has.items()}
        counts.append(ConfigTypeCount(name, part.n_frames, part.n_atoms, n_labels))
    return tuple(counts)


def _range(values: FloatArray) -> Range | None:
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else None


def _largest(values: FloatArray) -> float | None:
    found = _range(values)
    return None if found is None else found[1]

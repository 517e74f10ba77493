"""Labels of one kind by themselves: outliers, forces that do not add up, units that magnitudes give away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable

import numpy as np

from gapkit import units
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks import Fault
from gapkit.typing import FloatArray

_OUTLIER_SCALES = 8.0  # robust standard deviations
_OUTLIER_FLOOR = 0.1  # eV/atom
_OUTLIER_FRACTION = 0.05
_HOT_FORCES = 2.0  # times the median of the group
_HOT_ENERGY = 2.0  # eV/atom
_LARGE_FORCE = 10.0  # eV/Å, median over frames of the rms component
_LARGE_STRESS = 1.0  # eV/Å^3, about 160 GPa
_NET_FORCE_FRACTION = 0.2
_NET_FORCE_PER_ATOM = 0.02  # eV/Å
_ALL_ELECTRON_TOLERANCE = 0.025


def energy_outliers(batch: AtomsBatch, nearest: FloatArray) -> list[Fault]:
    """Frames whose energy per atom lies far from all others of the composition; isolated atoms do not count."""
    labels = batch.all_labels
    counts = batch.compositions(batch.species)
    reduced = counts // np.maximum(np.gcd.reduce(counts, axis=1), 1)[:, None]
    per_atom = labels.energy / batch.n_atoms_per_frame
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for frame in np.flatnonzero(labels.has_energy & ~((batch.n_atoms_per_frame == 1) & np.isnan(nearest))):
        groups[reduced[frame].tobytes()].append(int(frame))
    force = rms_forces(batch)
    frames: list[int] = []
    for group in groups.values():
        energies = per_atom[group]
        distance = np.abs(energies - np.median(energies))
        scale = 1.4826 * np.median(distance)
        far = distance > max(_OUTLIER_SCALES * scale, _OUTLIER_FLOOR)
        # A hot frame has large forces with its large energy; NaN (no forces) explains nothing.
        hot = force[group] > _HOT_FORCES * np.median(force[group])
        far &= ~(hot & (energies > np.median(energies)) & (distance < _HOT_ENERGY))
        # A large share is another phase or temperature, not an accident.
        if len(group) >= 10 and 0 < far.sum() <= max(1, _OUTLIER_FRACTION * len(group)):
            frames += [group[k] for k in np.flatnonzero(far)]
    message = "energy per atom far from that of the other frames of the same composition; check that they converged"
    return [Fault("energy_outliers", tuple(sorted(frames)), message)] if frames else []


def net_force(batch: AtomsBatch) -> list[Fault]:
    """Fully labelled frames whose forces do not add up to zero."""
    forces = batch.all_labels.forces
    net = np.linalg.norm(batch.sum_over_frames(forces), axis=1)
    length = np.sqrt(batch.sum_over_frames(np.sum(forces**2, axis=1)))
    # NaN where any atom is without forces, and NaN compares false
    bad = (net > _NET_FORCE_FRACTION * length) & (net > _NET_FORCE_PER_ATOM * batch.n_atoms_per_frame)
    frames = np.flatnonzero(bad)
    if not len(frames):
        return []
    message = (
        f"the forces of a frame add up to as much as {net[frames].max():.2f} eV/Å instead of 0; an external field, "
        "constrained atoms with their forces set to zero, or a wrong order of atoms; mask such atoms with `force_mask`"
    )
    return [Fault("net_force", tuple(frames.tolist()), message)]


def magnitudes(batch: AtomsBatch) -> list[Fault]:
    """Forces or stresses too large, over the whole set, for eV/Å and eV/Å^3."""
    found = []
    frames, typical = _typical(rms_forces(batch))
    if typical > _LARGE_FORCE:
        message = (
            f"the typical force component is {typical:.1f} eV/Å, about 0.1 to 3 being usual; "
            "check that forces are in eV/Å, not kcal/mol/Å or kJ/mol/Å"
        )
        found.append(Fault("force_units", frames, message))
    frames, typical = _typical(np.max(np.abs(batch.all_labels.virial), axis=(1, 2)) / batch.volumes)
    if typical > _LARGE_STRESS:
        message = (
            f"the typical stress is {typical:.1f} eV/Å^3 ({typical / units.GPA:.0f} GPa), about 0.001 to 0.3 eV/Å^3 "
            "being usual; check that stresses are in eV/Å^3, not GPa or kbar"
        )
        found.append(Fault("stress_units", frames, message))
    return found


def _typical(sizes: FloatArray) -> tuple[tuple[int, ...], float]:
    """Frames that have a size, and the median."""
    frames = np.flatnonzero(np.isfinite(sizes))
    return tuple(frames.tolist()), float(np.median(sizes[frames])) if len(frames) else 0.0


def all_electron_units(batch: AtomsBatch) -> list[Fault]:
    """Total energies of all-electron codes that were left in Hartree, kcal/mol or kJ/mol.

    The total energy of an atom is, within 1% for light atoms, -(0.7687 Z^(7/3) - Z^2/2 + 0.2699 Z^(5/3)) Hartree
    (Englert and Schwinger, Phys. Rev. A 32, 26 (1985)). Only frames of atoms up to sulphur, with at least one of
    B, C, N, O, F are judged, since pseudopotential energies in eV can come close for others.
    """
    labels, z = batch.all_labels, batch.numbers.astype(float)
    total = batch.sum_over_frames(-(0.7687 * z ** (7 / 3) - 0.5 * z**2 + 0.2699 * z ** (5 / 3)))
    light = batch.sum_over_frames(z > 16) == 0
    organic = batch.compositions((5, 6, 7, 8, 9)).sum(axis=1) > 0
    frames = np.flatnonzero(labels.has_energy & light & organic)
    if not len(frames):
        return []
    ratio = labels.energy[frames] / total[frames]
    for name in ("Hartree", "kcal/mol", "kJ/mol"):
        expected = units.HARTREE / units.ENERGY_UNITS[name]
        close = np.abs(ratio / expected - 1.0) < _ALL_ELECTRON_TOLERANCE
        if close.mean() > 0.5:
            message = (
                f"total energies look like {name}: they are those of free atoms in that unit; "
                f"multiply energies (and forces) by {units.ENERGY_UNITS[name]:.6g} to have eV"
            )
            return [Fault("energy_units", tuple(frames[close].tolist()), message)]
    return []


def rms_forces(batch: AtomsBatch) -> FloatArray:
    """Root mean square (n_frames,) of the labelled force components in eV/Å, NaN where there is none."""
    labels = batch.all_labels
    squares = np.where(labels.has_forces, np.mean(labels.forces**2, axis=1), 0.0)
    number = batch.sum_over_frames(labels.has_forces)
    return np.sqrt(np.where(number > 0, batch.sum_over_frames(squares) / np.maximum(number, 1), np.nan))

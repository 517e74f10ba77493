"""Zeros of energy that do not fit together: no bond, and no heat of any reaction, is as large as they make it.

Energies per atom of one composition that fall into clusters far apart, free atoms far from what they make up, and
compositions that no energies of single species explain.
"""

from __future__ import annotations

import numpy as np
from ase.data import chemical_symbols

from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks import Fault
from gapkit.structures.checks.work import energies_and_work, like_frames
from gapkit.typing import BoolArray, FloatArray, IntArray

_BOND = 15.0  # eV/atom; tungsten, the strongest of solids, has 9
_CLUSTERED = 3.0  # times the width of the widest cluster
_FEW = 0.02  # of the frames, and at least two: fewer are outliers,
_OUTLIERS = 10  # which are looked for among so many
_PRESSED = 0.8  # times the usual shortest distance
_JUMP = 0.5  # eV/atom between neighbouring frames,
_WORK = 0.2  # of which the forces explain at most this part
_CROSSINGS = 3
_NEIGHBOURS = 0.4  # Å, rms displacement
_RANK = 1e-8

Groups = list[IntArray]


def energy_zeros(batch: AtomsBatch, nearest: FloatArray) -> list[Fault]:
    """All faults of this kind; `nearest` (n_frames,) in Å, NaN for free atoms."""
    has = batch.all_labels.has_energy
    per_atom = batch.all_labels.energy / np.maximum(batch.n_atoms_per_frame, 1)
    free = (batch.n_atoms_per_frame == 1) & np.isnan(nearest)
    compositions = _groups(batch, np.flatnonzero(has & ~free))
    found = _shifted(compositions, per_atom, nearest) or _neighbours(batch)
    found += _free_atoms(batch, has & free, compositions, per_atom)
    return (found or _unexplained(batch, compositions, has & free, per_atom)) + _undetermined(batch, has)


def _groups(batch: AtomsBatch, frames: IntArray) -> Groups:
    """Frames of the same ratio of species."""
    counts = batch.compositions(batch.species)[frames]
    ratios = counts // np.maximum(np.gcd.reduce(counts, axis=1), 1)[:, None]
    _, group = np.unique(ratios, axis=0, return_inverse=True)
    return [frames[group == k] for k in range(int(group.max(initial=-1)) + 1)]


def _clusters(values: FloatArray, gap: float, least: int) -> Groups:
    """Indices of the values between gaps, from low to high, where there are at least so many."""
    order = np.argsort(values)
    parts = np.split(order, np.flatnonzero(np.diff(values[order]) > gap) + 1)
    return [part for part in parts if len(part) >= least]


def _shifted(compositions: Groups, per_atom: FloatArray, nearest: FloatArray) -> list[Fault]:
    """Frames of one composition whose energies are in clusters that no bond is between."""
    frames: list[int] = []
    largest = 0.0
    for group in compositions:
        energies, distances = per_atom[group], nearest[group]
        parts = _clusters(energies, _BOND, 1 if len(group) < _OUTLIERS else max(2, int(_FEW * len(group))))
        usual = max(parts, key=len, default=group[:0])
        # Atoms pressed together explain a high energy.
        close = _PRESSED * np.median(distances[usual]) if len(usual) else 0.0
        high = energies[usual].max(initial=-np.inf)
        parts = [part for part in parts if not (energies[part[0]] > high and np.median(distances[part]) < close)]
        centres = np.array([np.median(energies[part]) for part in parts])
        width = max((np.ptp(energies[part]) for part in parts), default=0.0)
        if len(parts) > 1 and np.diff(centres).min() > max(_BOND, _CLUSTERED * width):
            frames += [int(group[k]) for part in parts if part is not usual for k in part]
            largest = max(largest, float(np.ptp(centres)))
    return [_fault(frames, largest, "frames of the same composition, in clusters")] if frames else []


def _neighbours(batch: AtomsBatch) -> list[Fault]:
    """Like frames between which the energy jumps and the forces do no work."""
    frames: list[int] = []
    largest = 0.0
    for group in like_frames(batch):
        n_atoms = int(batch.n_atoms_per_frame[group[0]])
        energies = batch.all_labels.energy[group] / n_atoms
        parts = _clusters(energies, _JUMP, 2)
        if len(parts) < 2:
            continue
        part_of = np.full(len(group), -1)
        for k, part in enumerate(parts):
            part_of[part] = k
        first, second = np.triu_indices(len(group), 1)
        pairs = energies_and_work(batch, group)
        if not len(pairs.energy):
            continue
        close = (pairs.displacement < _NEIGHBOURS) & (pairs.strain < _RANK) & np.isfinite(pairs.force_work)
        jump = np.abs(pairs.energy) / n_atoms
        crossing = close & (part_of[first] != part_of[second]) & (np.minimum(part_of[first], part_of[second]) >= 0)
        crossing &= (jump > _JUMP) & (np.abs(pairs.force_work) < _WORK * np.abs(pairs.energy))
        if crossing.sum() >= _CROSSINGS:
            usual = max(parts, key=len)
            frames += [group[k] for part in parts if part is not usual for k in part]
            largest = max(largest, float(np.median(jump[crossing])))
    return [_fault(frames, largest, "neighbouring frames, between which forces do no such work")] if frames else []


def _fault(frames: list[int], largest: float, between: str) -> Fault:
    message = (
        f"energies differ by {largest:.4g} eV/atom between {between}: they count from different zeros, as of two codes "
        "or pseudopotentials, or some without their free atoms; bring them to one zero, or remove one part"
    )
    return Fault("energy_zeros", tuple(sorted(frames)), message)


def _free_atoms(batch: AtomsBatch, free: BoolArray, compositions: Groups, per_atom: FloatArray) -> list[Fault]:
    """Free atoms that would be bound by more than any bond, or repelled, by frames of their species alone."""
    counts = batch.compositions(batch.species)
    known = {
        k: float(np.median(per_atom[frames]))
        for k in range(len(batch.species))
        if len(frames := np.flatnonzero(free & (counts[:, k] > 0)))
    }
    columns = list(known)
    bound = np.concatenate([
        per_atom[group] - counts[group][:, columns] @ np.array(list(known.values())) / batch.n_atoms_per_frame[group]
        for group in compositions
        if columns and counts[group[0]][columns].sum() == counts[group[0]].sum()
    ] or [np.empty(0)])  # fmt: skip
    if not len(bound) or abs(np.median(bound)) < _BOND:
        return []
    values = ", ".join(f"{chemical_symbols[batch.species[k]]} {energy:.6g} eV" for k, energy in known.items())
    message = (
        f"free atoms ({values}) are {abs(np.median(bound)):.4g} eV/atom {'above' if np.median(bound) < 0 else 'below'} "
        "the other frames of their species, more than any bond: they count from different zeros; bring them to one, or "
        "remove the free atoms"
    )
    return [Fault("free_atom_zeros", tuple(np.flatnonzero(free).tolist()), message)]


def _unexplained(batch: AtomsBatch, compositions: Groups, free: BoolArray, per_atom: FloatArray) -> list[Fault]:
    """Compositions, free atoms among them, whose energies are far from those of any sum over species."""
    groups = compositions + _groups(batch, np.flatnonzero(free))
    if not groups:
        return []
    counts = batch.compositions(batch.species).astype(float)
    fractions = np.array([counts[group[0]] / counts[group[0]].sum() for group in groups])
    energies = np.array([np.median(per_atom[group]) for group in groups])
    # without their mean, as least squares of the reference energies take them
    away = energies - energies.mean()
    residual = np.abs(away - fractions @ np.linalg.lstsq(fractions, away, rcond=_RANK)[0])
    if residual.max() < _BOND:
        return []
    message = (
        f"energies are up to {residual.max():.4g} eV/atom from any sum over species, more than any bond: compositions "
        "count from different zeros, as of two codes or pseudopotentials; bring them to one zero"
    )
    frames = np.concatenate(
        [group for group, size in zip(groups, residual, strict=True) if size >= 0.5 * residual.max()]
    )
    return [Fault("energy_zeros", tuple(sorted(frames.tolist())), message)]


def _undetermined(batch: AtomsBatch, has: BoolArray) -> list[Fault]:
    """Species whose energies no least squares can tell apart."""
    species = tuple(np.unique(batch.numbers[has[batch.frame_of_atom]]).tolist())
    if len(species) < 2:
        return []
    counts = batch.compositions(species)[has].astype(float)
    fractions = np.unique(counts / counts.sum(axis=1, keepdims=True), axis=0)
    _, sizes, axes = np.linalg.svd(fractions)
    rank = int((sizes > _RANK * sizes[0]).sum())
    mixed = np.linalg.norm(axes[rank:], axis=0) > 1e-6
    if not mixed.any():
        return []
    names = [chemical_symbols[z] for z, one in zip(species, mixed, strict=True) if one]
    given = ",".join(f"{name}=..." for name in names)
    message = (
        f"these compositions do not tell the energies of free atoms of {', '.join(names)} apart; for predictions of "
        f"other compositions give them (--e0 {given}, or `reference_energies`), or add frames of "
        "free atoms"
    )
    return [Fault("species_energies", (), message)]

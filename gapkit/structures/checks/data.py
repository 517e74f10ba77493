"""Look for faults in training data: each check returns what it found, in words, and changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from gapkit.structures.batch import AtomsBatch, Labels
from gapkit.structures.pairs import find_pairs, search_box
from gapkit.typing import FloatArray

CLOSE_ATOMS = 0.5  # Å
ISOLATED_BEYOND = 6.0  # Å
_ROUNDING = 6  # decimals of positions and cells that duplicates share
_SAME_ENERGY = 1e-3  # eV/atom
_SAME_FORCE = 1e-2  # eV/Å
_OUTLIER_SCALES = 8.0  # robust standard deviations
_OUTLIER_FLOOR = 0.1  # eV/atom
_OUTLIER_FRACTION = 0.05
_HOT_FORCES = 2.0  # times the median of the group
_HOT_ENERGY = 2.0  # eV/atom
_LARGE_FORCE = 10.0  # eV/Å, median over frames of the rms component
_LARGE_STRESS = 1.0  # eV/Å^3, about 160 GPa
_NET_FORCE_FRACTION = 0.2
_NET_FORCE_PER_ATOM = 0.02  # eV/Å


@dataclass(frozen=True)
class Fault:
    """Something suspicious in the data.

    Attributes
    ----------
    kind : str
        One of "energy_units", "force_units", "stress_units" (magnitudes), "energy_force_units",
        "energy_stress_units", "force_sign", "stress_sign" (labels against one another), "close_atoms",
        "duplicates", "contradictory_duplicates", "energy_outliers", "net_force".
    frames : tuple of int
        The frames concerned, counted from 0.
    message : str
        What was found, with units, and what to do.
    """

    kind: str
    frames: tuple[int, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message} ({list_frames(self.frames)})"


def list_frames(frames: Iterable[int], shown: int = 8) -> str:
    """Write frame numbers for people, leaving out the tail of a long list."""
    numbers = list(frames)
    more = f" and {len(numbers) - shown} more" if len(numbers) > shown else ""
    return f"frame{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:shown]))}{more}"


def nearest_distances(batch: AtomsBatch) -> FloatArray:
    """Return the shortest interatomic distance of each frame, images included.

    Returns
    -------
    distances : (n_frames,) float, Å
        NaN where no two atoms are within 6 Å.
    """
    nearest = np.full(batch.n_frames, np.nan)
    # Short lists first: most frames are settled by them.
    for cutoff in (2.0, 4.0, ISOLATED_BEYOND):
        for frame in np.flatnonzero(np.isnan(nearest)):
            atoms = slice(batch.offsets[frame], batch.offsets[frame + 1])
            positions, pbc = batch.positions[atoms], batch.pbc[frame]
            box = search_box(positions, batch.cells[frame], pbc)
            (distances,) = find_pairs(positions, box, pbc, cutoff, "d", full_list=False)
            if len(distances) and distances.min() < cutoff:
                nearest[frame] = distances.min()
    return nearest


def close_atoms(nearest: FloatArray) -> list[Fault]:
    """Frames in which two atoms are closer than 0.5 Å."""
    frames = np.flatnonzero(nearest < CLOSE_ATOMS)
    if not len(frames):
        return []
    message = (
        f"atoms closer than {CLOSE_ATOMS} Å, the closest {nearest[frames].min():.3f} Å; "
        "check that positions and cell are in Å, or remove these frames"
    )
    return [Fault("close_atoms", _tuple(frames), message)]


def duplicates(batch: AtomsBatch) -> list[Fault]:
    """Frames that repeat an earlier one, atom by atom, with the same or with other labels."""
    positions = np.round(batch.positions, _ROUNDING) + 0.0  # + 0.0 turns -0.0 into 0.0
    cells = np.round(batch.cells, _ROUNDING) + 0.0
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for frame in range(batch.n_frames):
        atoms = slice(batch.offsets[frame], batch.offsets[frame + 1])
        parts = (batch.numbers[atoms], positions[atoms], cells[frame], batch.pbc[frame])
        groups[tuple(part.tobytes() for part in parts)].append(frame)
    repeated = [frames for frames in groups.values() if len(frames) > 1]
    contradictory = [frames for frames in repeated if _contradict(batch, frames)]
    same = [frames for frames in repeated if frames not in contradictory]
    found = []
    if same:
        message = f"{len(same)} structures occur more than once; keep one of each, or they count double"
        found.append(Fault("duplicates", _tuple(sorted(chain(*same))), message))
    if contradictory:
        message = (
            f"{len(contradictory)} structures occur more than once with different labels; "
            "recompute them or keep the label that you trust"
        )
        found.append(Fault("contradictory_duplicates", _tuple(sorted(chain(*contradictory))), message))
    return found


def energy_outliers(batch: AtomsBatch, nearest: FloatArray) -> list[Fault]:
    """Frames whose energy per atom lies far from all others of the composition; isolated atoms do not count."""
    labels = batch.labels
    if labels is None:
        return []
    counts = batch.compositions(batch.species)
    reduced = counts // np.maximum(np.gcd.reduce(counts, axis=1), 1)[:, None]
    per_atom = labels.energy / batch.n_atoms_per_frame
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for frame in np.flatnonzero(labels.has_energy & ~((batch.n_atoms_per_frame == 1) & np.isnan(nearest))):
        groups[reduced[frame].tobytes()].append(int(frame))
    force = np.sqrt(frame_means(batch, labels))
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
    if not frames:
        return []
    message = "energy per atom far from that of the other frames of the same composition; check that they converged"
    return [Fault("energy_outliers", _tuple(sorted(frames)), message)]


def net_force(batch: AtomsBatch) -> list[Fault]:
    """Fully labelled frames whose forces do not add up to zero."""
    labels = batch.labels
    if labels is None:
        return []
    total = sum_over_frames(batch, labels.forces)
    squares = sum_over_frames(batch, np.sum(labels.forces**2, axis=1))
    net = np.linalg.norm(total, axis=1)
    atoms = batch.n_atoms_per_frame
    # NaN where any atom is without forces, and NaN compares false
    bad = (net > _NET_FORCE_FRACTION * np.sqrt(squares)) & (net > _NET_FORCE_PER_ATOM * atoms)
    frames = np.flatnonzero(bad)
    if not len(frames):
        return []
    message = (
        f"the forces of a frame add up to as much as {net[frames].max():.2f} eV/Å instead of 0; an external field, "
        "constrained atoms with their forces set to zero, or a wrong order of atoms; mask such atoms with `force_mask`"
    )
    return [Fault("net_force", _tuple(frames), message)]


def magnitudes(batch: AtomsBatch) -> list[Fault]:
    """Forces or stresses too large, over the whole set, for eV/Å and eV/Å^3."""
    labels = batch.labels
    if labels is None:
        return []
    found = []
    mean_square = frame_means(batch, labels)
    frames = np.flatnonzero(np.isfinite(mean_square))
    if len(frames) and (typical := float(np.median(np.sqrt(mean_square[frames])))) > _LARGE_FORCE:
        message = (
            f"the typical force component is {typical:.1f} eV/Å, about 0.1 to 3 being usual; "
            "check that forces are in eV/Å, not kcal/mol/Å or kJ/mol/Å"
        )
        found.append(Fault("force_units", _tuple(frames), message))
    stress = np.max(np.abs(labels.virial), axis=(1, 2)) / batch.volumes
    frames = np.flatnonzero(np.isfinite(stress))
    if len(frames) and (typical := float(np.median(stress[frames]))) > _LARGE_STRESS:
        message = (
            f"the typical stress is {typical:.1f} eV/Å^3 ({typical * 160.2:.0f} GPa), about 0.001 to 0.3 eV/Å^3 being "
            "usual; check that stresses are in eV/Å^3, not GPa or kbar"
        )
        found.append(Fault("stress_units", _tuple(frames), message))
    return found


def sum_over_frames(batch: AtomsBatch, values: FloatArray) -> FloatArray:
    """Sum (n_atoms, ...) values over the atoms of each frame; frames without atoms give zero."""
    total = np.zeros((batch.n_frames, *values.shape[1:]))
    np.add.at(total, batch.frame_of_atom, values)
    return total


def frame_means(batch: AtomsBatch, labels: Labels) -> FloatArray:
    """(n_frames,) mean square of the labelled force components in (eV/Å)^2, NaN where there is none."""
    squares = np.where(labels.has_forces, np.mean(labels.forces**2, axis=1), 0.0)
    number = sum_over_frames(batch, labels.has_forces.astype(float))
    means: FloatArray = np.where(number > 0, sum_over_frames(batch, squares) / np.maximum(number, 1), np.nan)
    return means


def _contradict(batch: AtomsBatch, frames: list[int]) -> bool:
    labels = batch.labels
    if labels is None:
        return False
    atoms = batch.n_atoms_per_frame[frames[0]]
    energies = labels.energy[frames][labels.has_energy[frames]]
    if len(energies) and np.ptp(energies) > _SAME_ENERGY * atoms:
        return True
    forces = np.stack([labels.forces[batch.offsets[f] : batch.offsets[f + 1]] for f in frames])
    complete = np.isfinite(forces).all(axis=(1, 2))
    return bool(complete.any() and np.ptp(forces[complete], axis=0).max() > _SAME_FORCE)


def _tuple(frames: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(frame) for frame in frames)

"""Structures alone: distances, and structures that repeat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable
from itertools import chain

import numpy as np

from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks import Fault
from gapkit.structures.pairs import COINCIDENT, find_pairs, search_box
from gapkit.typing import FloatArray

CLOSE_ATOMS = 0.5  # Å
ISOLATED_BEYOND = 6.0  # Å
_ROUNDING = 6  # decimals of positions and cells that duplicates share
_SAME_ENERGY = 1e-3  # eV/atom
_SAME_FORCE = 1e-2  # eV/Å


def nearest_distances(batch: AtomsBatch) -> FloatArray:
    """Shortest interatomic distance (n_frames,) of each frame in Å, images included; NaN beyond 6 Å."""
    nearest = np.full(batch.n_frames, np.nan)
    # Short lists first: most frames are settled by them.
    for cutoff in (2.0, 4.0, ISOLATED_BEYOND):
        for frame in np.flatnonzero(np.isnan(nearest)).tolist():
            positions, pbc = batch.positions[batch.atoms_of(frame)], batch.pbc[frame]
            box = search_box(positions, batch.cells[frame], pbc)
            (distances,) = find_pairs(
                positions, box, pbc, cutoff, "d", full_list=False, where=f"frame {batch.frames[frame]}"
            )
            if len(distances) and distances.min() < cutoff:
                nearest[frame] = distances.min()
    return nearest


def coincident(distance: float, atoms: str = "") -> str:
    """What is wrong with two atoms in one place, whose numbers may be told."""
    return (
        f"atoms must be at least {COINCIDENT:g} Å apart, got {distance:.3g} Å{atoms}; remove one of the two, or "
        "correct positions and cell"
    )


def coincident_atoms(nearest: FloatArray) -> list[Fault]:
    """Frames in which two atoms are in one place, of which nothing can be computed."""
    frames = np.flatnonzero(nearest < COINCIDENT)
    if not len(frames):
        return []
    return [Fault("coincident_atoms", tuple(frames.tolist()), coincident(float(nearest[frames].min())))]


def close_atoms(nearest: FloatArray) -> list[Fault]:
    """Frames in which two atoms are closer than 0.5 Å, though not in one place."""
    frames = np.flatnonzero((nearest < CLOSE_ATOMS) & (nearest >= COINCIDENT))
    if not len(frames):
        return []
    message = (
        f"atoms closer than {CLOSE_ATOMS} Å, the closest {nearest[frames].min():.3f} Å; "
        "check that positions and cell are in Å, or remove these frames"
    )
    return [Fault("close_atoms", tuple(frames.tolist()), message)]


def duplicates(batch: AtomsBatch) -> list[Fault]:
    """Frames that repeat an earlier one, atom by atom, with the same or with other labels."""
    positions = np.round(batch.positions, _ROUNDING) + 0.0  # + 0.0 turns -0.0 into 0.0
    cells = np.round(batch.cells, _ROUNDING) + 0.0
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for frame in range(batch.n_frames):
        atoms = batch.atoms_of(frame)
        structure = (batch.numbers[atoms], positions[atoms], cells[frame], batch.pbc[frame])
        groups[tuple(array.tobytes() for array in structure)].append(frame)
    repeated = [frames for frames in groups.values() if len(frames) > 1]
    contradictory = [frames for frames in repeated if _contradict(batch, frames)]
    same = [frames for frames in repeated if frames not in contradictory]
    found = []
    if same:
        message = f"{len(same)} structures occur more than once; keep one of each, or they count double"
        found.append(Fault("duplicates", tuple(sorted(chain(*same))), message))
    if contradictory:
        message = (
            f"{len(contradictory)} structures occur more than once with different labels; "
            "recompute them or keep the label that you trust"
        )
        found.append(Fault("contradictory_duplicates", tuple(sorted(chain(*contradictory))), message))
    return found


def _contradict(batch: AtomsBatch, frames: list[int]) -> bool:
    labels = batch.all_labels
    energies = labels.energy[frames][labels.has_energy[frames]]
    if len(energies) and np.ptp(energies) > _SAME_ENERGY * batch.n_atoms_per_frame[frames[0]]:
        return True
    forces = np.stack([labels.forces[batch.atoms_of(f)] for f in frames])
    complete = np.isfinite(forces).all(axis=(1, 2))
    return bool(complete.any() and np.ptp(forces[complete], axis=0).max() > _SAME_FORCE)

"""The one call of vesin (https://github.com/Luthaf/vesin), kept clear of geometries that crash it."""

from __future__ import annotations

from typing import Any

import numpy as np
import vesin

from gapkit.exceptions import InputError
from gapkit.typing import BoolArray, FloatArray

# Mean number of neighbours per atom beyond which a cutoff makes no sense.
MAX_NEIGHBOURS = 5000
# Pairs, images among them, that a search may look at in a frame: for each atom, or in all.
_MAX_LOOKS = 5000, 2e8
# Å; features of atoms that are closer are not finite.
COINCIDENT = 1e-3
# vesin bins atoms into at most 1e5 cells by scaling the counts along all three directions alike; up to 0.6.2 a thin
# direction can end with no cell at all, and the process dies of a division by zero. Keep well below that.
_SAFE_BINS = 9e4
_MAX_BINS = 1e5
_MAX_WIDENING = 4.0


def search_box(positions: FloatArray, cell: FloatArray, pbc: BoolArray) -> FloatArray:
    """Complete a cell (3, 3): open directions get a vector normal to the periodic ones, as long as the atoms extend.

    Periodic rows must be independent.  The box is never singular: open directions are at least 1 Å long.
    """
    if pbc.all():
        return np.ascontiguousarray(cell)
    box = np.array(cell)
    n_periodic = int(pbc.sum())
    axes = np.linalg.svd(cell[pbc])[2][n_periodic:] if n_periodic else np.eye(3)
    box[~pbc] = axes * np.maximum(np.ptp(positions @ axes.T, axis=0), 1.0)[:, None]
    return box


def estimate_neighbours(n_atoms: int, box: FloatArray, pbc: BoolArray, cutoff: float) -> float:
    """Estimate the mean number of neighbours per atom from the mean density in a `search_box`, without any list."""
    lengths = np.linalg.norm(box, axis=1)
    volume = abs(float(np.linalg.det(box)))
    # Where the atoms end before the sphere does, as far as they go counts.
    inside = np.minimum(1.0, lengths[~pbc] / (2.0 * cutoff))
    return float(n_atoms / volume * 4.0 / 3.0 * np.pi * min(cutoff, 1e90) ** 3 * np.prod(inside))


def find_pairs(
    positions: FloatArray, box: FloatArray, pbc: BoolArray, cutoff: float, quantities: str, *, full_list: bool = True,
    where: str = "the structure",
) -> tuple[Any, ...]:  # fmt: skip
    """Return vesin's `quantities` (i, j, S, d, D) of all pairs within `cutoff`, and in rare thin boxes of some beyond.

    The box (3, 3) is that of `search_box`; a full list has each pair from both ends.  InputError, which names the frame
    by `where`, before a search that would take too much memory or time.
    """
    _check_count(estimate_neighbours(len(positions), box, pbc, cutoff), where, cutoff)
    if not pbc.all():
        positions, box = _closed(positions, box, pbc, cutoff * _MAX_WIDENING)
    areas = np.linalg.norm(np.cross(box[[1, 2, 0]], box[[2, 0, 1]]), axis=1)
    heights = abs(np.linalg.det(box)) / areas
    searched = cutoff
    while _may_crash(heights, searched) and searched <= _MAX_WIDENING * cutoff:
        searched *= 1.1
    per_atom = _looks(len(positions), heights, searched)
    skewed = len(positions) * per_atom > max(_MAX_LOOKS[0] * len(positions), _MAX_LOOKS[1])
    if searched > _MAX_WIDENING * cutoff or skewed:
        remedy = "take a reduced cell (ase.geometry.minkowski_reduce)" if skewed else "look for atoms that flew off"
        raise InputError(
            f"{where}: `positions` and `cell` must be of a size that a cutoff of {cutoff:g} Å can search, got a box of "
            f"{' x '.join(f'{h:.3g}' for h in heights)} Å between its faces; check that they are in Å, or {remedy}"
        )
    finder = vesin.NeighborList(cutoff=searched, full_list=full_list, sorted=True)
    found = tuple(finder.compute(positions, box, True, quantities))
    _check_count((1 if full_list else 2) * len(found[0]) / max(len(positions), 1), where, cutoff)
    return found


def _check_count(count: float, where: str, cutoff: float) -> None:
    if count > MAX_NEIGHBOURS:
        raise InputError(
            f"`cutoff` must give at most {MAX_NEIGHBOURS} neighbours per atom, got about {count:.4g} in {where} with "
            f"{cutoff:g} Å; use a smaller cutoff, or check that positions and cell are in Å"
        )


def _looks(n_atoms: int, heights: FloatArray, cutoff: float) -> float:
    """Atoms and images at which a search looks for each atom: those of the bins around it."""
    bins = np.maximum(np.floor(heights / cutoff), 1.0)
    around = 2.0 * np.ceil(cutoff * bins / heights) + 1.0
    return float(n_atoms * np.prod(around / np.minimum(bins, _MAX_BINS)))


def _closed(positions: FloatArray, box: FloatArray, pbc: BoolArray, cutoff: float) -> tuple[FloatArray, FloatArray]:
    """Turn open directions into periodic ones with more vacuum than the cutoff: the same pairs and shifts.

    vesin 0.6.2 takes seconds for mixed boundaries, and for open ones with a cutoff far beyond the atoms, where it
    takes milliseconds for periodic ones.
    """
    axes = box[~pbc] / np.linalg.norm(box[~pbc], axis=1)[:, None]
    along = positions @ axes.T
    # The atoms stay clear of both ends of the box, so that none is wrapped and shifts along open directions are zero.
    moved = positions + (0.25 * cutoff - along.min(axis=0)) @ axes
    closed = np.array(box)
    closed[~pbc] = axes * (np.ptp(along, axis=0) + 1.5 * cutoff)[:, None]
    return moved, closed


def _may_crash(heights: FloatArray, cutoff: float) -> bool:
    bins = np.maximum(heights / cutoff, 1.0)
    total = float(np.prod(bins))
    return total > _SAFE_BINS and float(bins.min()) * (_MAX_BINS / total) ** (1 / 3) < 1.1

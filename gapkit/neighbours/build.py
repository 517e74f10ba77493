"""Build the neighbour list of a whole batch."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from gapkit.exceptions import InputError
from gapkit.neighbours.lists import NeighbourList, check_cutoff, compute_edges
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.pairs import MAX_NEIGHBOURS, estimate_neighbours, find_pairs, search_box
from gapkit.typing import IntArray

# vesin searches slightly farther; the strict test r < cutoff is made on gapkit's own distances.
_MARGIN = 1.0 + 1e-10


def build_neighbour_list(batch: AtomsBatch, cutoff: float) -> NeighbourList:
    """Find all pairs closer than `cutoff`, strictly, in every frame of a batch.

    Directions may be periodic or open, cells smaller than `cutoff` (Å), and atoms outside the cell. Atoms see their own
    images, never themselves.

    Raises
    ------
    InputError
        If `cutoff` is not a finite number > 0, or would give an average of more than 5,000 neighbours per atom.
    """
    check_cutoff(cutoff)
    cutoff = float(cutoff)
    none = np.empty(0, dtype=np.int64)
    found = [(none, none, np.empty((0, 3), dtype=np.int32))]
    for frame in range(batch.n_frames):
        start, stop = batch.offsets[frame], batch.offsets[frame + 1]
        positions, pbc = batch.positions[start:stop], batch.pbc[frame]
        if len(positions) == 0:
            continue
        box = search_box(positions, batch.cells[frame], pbc)
        _check_count(estimate_neighbours(len(positions), box, pbc, cutoff), frame, cutoff)
        i, j, s = find_pairs(positions, box, pbc, cutoff * _MARGIN, "ijS")
        _check_count(len(i) / len(positions), frame, cutoff)
        found.append((i.astype(np.int64) + start, j.astype(np.int64) + start, s))
    centres, indices, shifts = map(np.concatenate, zip(*found, strict=True))
    order = _edge_order(batch, centres, indices, shifts)
    centres, indices, shifts = centres[order], indices[order], np.ascontiguousarray(shifts[order])
    offsets = np.searchsorted(centres, np.arange(batch.n_atoms + 1))
    vectors, distances = compute_edges(offsets, indices, shifts, batch)
    edges = NeighbourList(offsets, indices, shifts, vectors, distances, cutoff)
    inside = distances < cutoff
    return edges if inside.all() else edges.subset(inside, cutoff)


def _check_count(count: float, frame: int, cutoff: float) -> None:
    if count > MAX_NEIGHBOURS:
        raise InputError(
            f"`cutoff` must give at most {MAX_NEIGHBOURS} neighbours per atom, got about {count:.0f} in frame {frame} "
            f"with {cutoff:g} Å; use a smaller cutoff, or check that positions and cell are in Å"
        )


def _edge_order(batch: AtomsBatch, centres: IntArray, indices: IntArray, shifts: NDArray[np.int32]) -> IntArray:
    """Order edges by centre, species of the neighbour, neighbour, shift."""
    if len(centres) == 0:
        return np.empty(0, dtype=np.int64)
    species = np.searchsorted(np.asarray(batch.species), batch.numbers)[indices]
    local = indices - batch.offsets[batch.frame_of_atom[indices]]
    low = shifts.min(axis=0)
    # Python integers: the test for overflow must not itself overflow.
    sizes = [len(batch.species), int(local.max()) + 1, *(int(n) + 1 for n in shifts.max(axis=0) - low)]
    columns = [species, local, *(shifts - low).T]
    if batch.n_atoms * prod(sizes) >= 2**63:
        return np.lexsort((*columns[::-1], centres))
    key = centres.astype(np.int64)
    for size, column in zip(sizes, columns, strict=True):
        key = key * size + column
    return np.argsort(key, kind="stable")

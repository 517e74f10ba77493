"""Neighbour lists of a whole batch of frames at once, in compressed sparse row (CSR) form, and how they are built."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from gapkit._core.edges import edge_vectors
from gapkit.exceptions import DataError, DataWarning, InputError
from gapkit.structures.arrays import frozen, read_only
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.checks.geometry import CLOSE_ATOMS, close_atoms, coincident
from gapkit.structures.pairs import COINCIDENT, find_pairs, search_box
from gapkit.typing import BoolArray, FloatArray, IntArray

# vesin searches slightly farther; the strict test r < cutoff is made on gapkit's own distances.
_MARGIN = 1.0 + 1e-10


@dataclass(frozen=True, eq=False)
class NeighbourList:
    """All neighbours of all atoms of a batch: a full list, each pair appears from both ends.

    The edges of atom i are offsets[i] .. offsets[i + 1] - 1, ordered by the atomic number of the neighbour, then by
    its index, then by its cell shift, so that the order does not depend on threads or on the library underneath.

    Attributes
    ----------
    offsets : (n_atoms + 1,) int
    indices : (n_edges,) int
        Index of the neighbour in the batch (not in its frame).
    shifts : (n_edges, 3) int32
        Cell shifts S of the neighbour.
    vectors : (n_edges, 3) float, Å
        r_j + S . cell - r_i.
    distances : (n_edges,) float, Å
    cutoff : float, Å
        Edges are those with distance < cutoff, strictly. After `moved`, distances may have left this range.
    """

    offsets: IntArray
    indices: IntArray
    shifts: NDArray[np.int32]
    vectors: FloatArray
    distances: FloatArray
    cutoff: float

    def __post_init__(self) -> None:
        n = len(self.indices)
        for name, dtype, *shape in (
            ("offsets", np.int64, len(self.offsets)), ("indices", np.int64, n), ("shifts", np.int32, n, 3),
            ("vectors", float, n, 3), ("distances", float, n),
        ):  # fmt: skip
            object.__setattr__(self, name, frozen(getattr(self, name), dtype, tuple(shape), name))

    @property
    def n_atoms(self) -> int:
        """Number of atoms, with or without neighbours."""
        return len(self.offsets) - 1

    @property
    def n_edges(self) -> int:
        """Number of edges; each pair counts twice."""
        return len(self.indices)

    @cached_property
    def centres(self) -> IntArray:
        """(n_edges,) index of the centre of each edge."""
        return read_only(np.repeat(np.arange(self.n_atoms, dtype=np.int64), np.diff(self.offsets)))

    def within(self, cutoff: float) -> NeighbourList:
        """Return the edges shorter than a smaller cutoff (Å), in the same order.

        Raises
        ------
        InputError
            If `cutoff` is not in (0, self.cutoff].
        """
        check_cutoff(cutoff)
        if cutoff > self.cutoff:
            raise InputError(
                f"`cutoff` must be <= {self.cutoff:g} Å, the cutoff of this list, got {cutoff:g}; build a longer list"
            )
        return self.subset(self.distances < cutoff, float(cutoff))

    def subset(self, edges: BoolArray, cutoff: float) -> NeighbourList:
        """Return the edges of a mask (n_edges,), in the same order."""
        keep = np.flatnonzero(edges)
        offsets = np.searchsorted(keep, self.offsets)
        return NeighbourList(
            offsets, self.indices[keep], self.shifts[keep], self.vectors[keep], self.distances[keep], cutoff
        )

    def of_frames(self, batch: AtomsBatch, frames: range) -> NeighbourList:
        """Edges of a contiguous range of the frames of `batch`, for ``batch.select(frames)``."""
        first, last = int(batch.offsets[frames.start]), int(batch.offsets[frames.stop])
        edges = slice(int(self.offsets[first]), int(self.offsets[last]))
        return NeighbourList(
            self.offsets[first : last + 1] - self.offsets[first], self.indices[edges] - first, self.shifts[edges],
            self.vectors[edges], self.distances[edges], self.cutoff,
        )  # fmt: skip

    def moved(self, batch: AtomsBatch) -> NeighbourList:
        """Return the same edges with vectors for the positions and cells of another batch.

        For molecular dynamics with a skin: build with cutoff + skin, call `moved` every step and `within(cutoff)` on
        the result, and rebuild when an atom has moved by more than half the skin. `batch` holds the same atoms in the
        same order, not wrapped back into the cell: the shifts are kept.

        Raises
        ------
        InputError
            If the number of atoms differs.
        """
        if batch.n_atoms != self.n_atoms:
            raise InputError(
                f"`batch` must hold the {self.n_atoms} atoms of this list, got {batch.n_atoms}; build a new list"
            )
        vectors, distances = compute_edges(self.offsets, self.indices, self.shifts, batch)
        return NeighbourList(self.offsets, self.indices, self.shifts, vectors, distances, self.cutoff)


def compute_edges(
    offsets: IntArray, indices: IntArray, shifts: NDArray[np.int32], batch: AtomsBatch
) -> tuple[FloatArray, FloatArray]:
    """Return vectors (n_edges, 3) and distances (n_edges,), in Å, of a given topology.

    DataError, with frame and atoms, if two of them are in one place: nothing can be computed of such a structure.
    """
    vectors = np.empty((len(indices), 3))
    distances = np.empty(len(indices))
    edge_vectors(offsets, indices, shifts, batch.positions, batch.cells, batch.frame_of_atom, vectors, distances)
    if distances.min(initial=np.inf) < COINCIDENT:
        edge = int(distances.argmin())
        centre, other = int(np.searchsorted(offsets, edge, side="right")) - 1, int(indices[edge])
        frame = batch.frame_of_atom[centre]
        atoms = f" between atoms {centre - batch.offsets[frame]} and {other - batch.offsets[frame]}"
        raise DataError(f"frame {batch.frames[frame]}: {coincident(float(distances[edge]), atoms)}")
    return vectors, distances


def check_cutoff(cutoff: float) -> None:
    """Raise InputError unless `cutoff` is a finite number > 0."""
    if isinstance(cutoff, bool) or not np.isscalar(cutoff) or isinstance(cutoff, (str, bytes)):
        raise InputError(f"`cutoff` must be one number in Å, got {cutoff!r}; give a float such as 5.0")
    if not np.isfinite(cutoff) or cutoff <= 0:
        raise InputError(f"`cutoff` must be a finite number > 0 Å, got {cutoff}; typical values are 4 to 8 Å")


def build_neighbour_list(batch: AtomsBatch, cutoff: float) -> NeighbourList:
    """Find all pairs closer than `cutoff`, strictly, in every frame of a batch.

    Directions may be periodic or open, cells smaller than `cutoff` (Å), and atoms outside the cell. Atoms see their own
    images, never themselves.

    Raises
    ------
    InputError
        If `cutoff` is not a finite number > 0, or would give an average of more than 5,000 neighbours per atom, or the
        structure cannot be searched.
    DataError
        If two atoms are in one place.
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
        i, j, s = find_pairs(positions, box, pbc, cutoff * _MARGIN, "ijS", where=f"frame {batch.frames[frame]}")
        found.append((i.astype(np.int64) + start, j.astype(np.int64) + start, s))
    centres, indices, shifts = map(np.concatenate, zip(*found, strict=True))
    order = _edge_order(batch, centres, indices, shifts)
    centres, indices, shifts = centres[order], indices[order], np.ascontiguousarray(shifts[order])
    offsets = np.searchsorted(centres, np.arange(batch.n_atoms + 1))
    vectors, distances = compute_edges(offsets, indices, shifts, batch)
    edges = NeighbourList(offsets, indices, shifts, vectors, distances, cutoff)
    inside = distances < cutoff
    return edges if inside.all() else edges.subset(inside, cutoff)


def warn_close(neighbours: NeighbourList, batch: AtomsBatch) -> None:
    """Warn with DataWarning of frames in which atoms are closer than any bond."""
    if neighbours.distances.min(initial=np.inf) >= CLOSE_ATOMS:
        return
    nearest = np.full(batch.n_frames, np.inf)
    np.minimum.at(nearest, batch.frame_of_atom[neighbours.centres], neighbours.distances)
    for fault in close_atoms(nearest):
        named = replace(fault, frames=tuple(batch.frames[list(fault.frames)].tolist()))
        warnings.warn(str(named), DataWarning, stacklevel=4)


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

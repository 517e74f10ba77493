"""The one walk over the instances of a batch, a chunk of like ones at a time.

An instance is what a descriptor yields: an atom, a pair, a triplet (see `descriptors.base`).  Design rows, predictions,
variances and the choice of points all see instances through `AppliedBasis.walk` or `chunks`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gapkit.descriptors.base import Features, View
from gapkit.gp.basis import SparseBasis, SparseBlock
from gapkit.gp.posterior import Posterior
from gapkit.neighbours import NeighbourList
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Atoms of a batch whose features are kept: some 10 kB each.
ATOMS_KEPT = 10_000


@dataclass(frozen=True, eq=False)
class Chunk:
    """Instances of one block, as its kernel sees them."""

    block: SparseBlock
    view: View
    features: Features
    x: FloatArray  # (n, d), scaled features
    norms: FloatArray  # (n,), their squared norms

    @property
    def centres(self) -> IntArray:
        """Central atom of each instance, (n,)."""
        return self.features.centres

    def reduced(self, workspace: Workspace | None = None) -> FloatArray:
        """Features (n, r) as far as inner products with the sparse points need them."""
        if self.block.projection is None or workspace is None:
            return self.block.reduce(self.x)
        return self.block.reduce(self.x, workspace.array("reduced", len(self.x), self.block.scaled.shape[1]))

    def kernel(self, workspace: Workspace | None = None) -> FloatArray:
        """Kernel values (n, m) with the sparse points."""
        arrays, points = workspace or Workspace(), self.block.scaled
        q = np.dot(self.reduced(workspace), points.T, out=arrays.array("q", len(self.x), len(points)))
        return self.block.kernel.value(q, self.norms, self.block.norms, overwrite_q=True)

    def prior(self) -> FloatArray:
        """Prior variance k(x, x) (n,) at unit scale, of whole vectors where x is a part of them."""
        squares = self.norms if self.features.squares is None else self.features.squares
        return self.block.kernel.diag_value(squares)


def chunks(
    view: View, block: SparseBlock, centres: IntArray, workspace: Workspace | None = None, at_once: int | None = None,
    kept: Features | None = None,
) -> Iterator[Chunk]:  # fmt: skip
    """Instances of `block` with these centres, as many at a time as fit the cache, or `at_once` if that is fewer.

    Empty chunks are left out.  With a workspace the next chunk overwrites the features; `kept` holds them all.
    """
    step = view.centres_per_chunk if at_once is None else min(at_once, view.centres_per_chunk)
    for start in range(0, len(centres), step):
        some = slice(start, start + step)
        features = view.features(block.species, centres[some], workspace) if kept is None else kept.take(some)
        if len(features.x):
            x = block.kernel.scale_features(features.x)
            yield Chunk(block, view, features, x, np.einsum("nd,nd->n", x, x))


@dataclass(frozen=True, eq=False)
class AppliedBasis:
    """A sparse basis applied to a batch and its neighbours."""

    basis: SparseBasis
    batch: AtomsBatch
    neighbours: NeighbourList  # with a cutoff of at least the reach of the basis; longer edges are skipped
    views: list[View]  # of every term
    _kept: dict[int, Features] = field(default_factory=dict, repr=False)
    _centres: dict[tuple[int, tuple[int, ...]], IntArray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, basis: SparseBasis, batch: AtomsBatch, neighbours: NeighbourList, *, keep: bool = False
    ) -> AppliedBasis:
        """Apply the engine of every term; `keep` the features of atomic blocks for several walks (`ATOMS_KEPT`)."""
        views = [term.engine.view(batch.numbers, neighbours) for term in basis.terms]
        applied = cls(basis, batch, neighbours, views)
        for block in basis.blocks if keep and batch.n_atoms <= ATOMS_KEPT else ():
            centres = applied.centres(block)
            if block.is_atomic and len(centres):
                features = views[block.term].features(block.species, centres)
                if features.divisible and len(features.x) == len(centres):
                    applied._kept[block.index] = features
        return applied

    def of_frames(self, frames: range) -> AppliedBasis:
        """The same for a contiguous range of frames; features that were kept are shared."""
        first, last = int(self.batch.offsets[frames.start]), int(self.batch.offsets[frames.stop])
        near = self.neighbours.of_frames(self.batch, frames)
        part = AppliedBasis.of(self.basis, self.batch.select(np.asarray(frames)), near)
        for index, features in self._kept.items():
            rows = slice(*np.searchsorted(features.centres, (first, last)))
            part._kept[index] = features.take(rows, first)
        return part

    def centres(self, block: SparseBlock) -> IntArray:
        """Atoms that can be the centre of an instance of `block`, ascending; found once."""
        key = (block.term, block.species)
        if key not in self._centres:
            self._centres[key] = self.views[block.term].centres(block.species)
        return self._centres[key]

    def walk(
        self, block: SparseBlock, centres: IntArray | None = None, workspace: Workspace | None = None,
        at_once: int | None = None,
    ) -> Iterator[Chunk]:  # fmt: skip
        """Chunks of `block` with these centres (None: all); arguments as for `chunks`."""
        chosen, kept = self.centres(block) if centres is None else centres, self._kept.get(block.index)
        if kept is not None and len(chosen):
            first, last = np.searchsorted(kept.centres, (chosen[0], chosen[-1] + 1))
            # those with gaps between are made anew: shared memory has none
            kept = kept.take(slice(first, last)) if last - first == len(chosen) else None
        return chunks(self.views[block.term], block, chosen, workspace, at_once, kept)


def between(sorted_atoms: IntArray, first: int, last: int) -> IntArray:
    """Those of some atoms, ascending, that are first .. last - 1."""
    return sorted_atoms[np.searchsorted(sorted_atoms, first) : np.searchsorted(sorted_atoms, last)]


class InnerProducts:
    """Inner products of reduced vectors y (n, r) with the sparse points of a block, a tile of points at a time.

    With `single`, features that are small in all points are multiplied in single precision at half the price: the
    rounding of a product is relative to its own size.
    """

    def __init__(self, block: SparseBlock, y: FloatArray, *, single: bool, workspace: Workspace) -> None:
        self._points = block.scaled
        self._split = block.split if single else None
        self._workspace = workspace
        self._large, self._small = y, None
        if self._split is not None:
            large = workspace.array("large", len(y), len(self._split.large))
            self._large = np.take(y, self._split.large, axis=1, out=large, mode="clip")
            self._small = workspace.single("small", len(y), len(self._split.small))
            self._small[:] = y[:, self._split.small]

    def forward(self, tile: slice) -> FloatArray:
        """Q (n, m) = y . x_s, in memory of the workspace."""
        large, small = self.parts(tile)
        if small is not None:
            large += small
        return large

    def parts(self, tile: slice) -> tuple[FloatArray, np.ndarray | None]:
        """The part in double and that in single precision, both (n, m)."""
        points = self._points if self._split is None else self._split.large_points
        q = self._workspace.array("q", len(self._large), tile.stop - tile.start)
        np.dot(self._large, points[tile].T, out=q)
        if self._split is None or self._small is None:
            return q, None
        small = self._workspace.single("small q", *q.shape)
        return q, np.dot(self._small, self._split.small_points[tile].T, out=small)

    def backward(self, slopes: FloatArray, tile: slice, out: FloatArray) -> None:
        """Write sum_s slopes_s x_s into `out` (n, r)."""
        if self._split is None:
            np.dot(slopes, self._points[tile], out=out)
            return
        single = self._workspace.single("small q", *slopes.shape)
        single[:] = slopes
        out[:, self._split.large] = slopes @ self._split.large_points[tile]
        out[:, self._split.small] = single @ self._split.small_points[tile]


def local_rows(applied: AppliedBasis, posterior: Posterior) -> tuple[FloatArray, FloatArray]:
    """Rows (n_atoms, M) of the local energies of atomic terms, and their prior variances (n_atoms,) in eV^2."""
    n_atoms = applied.batch.n_atoms
    rows, prior = np.zeros((n_atoms, applied.basis.n_columns)), np.zeros(n_atoms)
    for block in applied.basis.blocks:
        for chunk in applied.walk(block) if block.is_atomic else ():
            rows[chunk.centres, block.columns] = chunk.kernel()
            prior[chunk.centres] += chunk.prior() * posterior.variance_scale(block.index)
    return rows, prior


def local_dimensions(basis: SparseBasis) -> dict[int, int]:
    """Length r of the vectors of `local_vectors` by species."""
    first = next((term for term in basis.terms if term.engine.is_atomic), None)
    return {block.species[0]: block.scaled.shape[1] for block in (() if first is None else first.blocks)}


def local_vectors(applied: AppliedBasis) -> dict[int, tuple[IntArray, FloatArray]]:
    """By species: atoms, and their vectors (n, r) in the first atomic term, as far as its sparse points have them."""
    found: dict[int, tuple[IntArray, FloatArray]] = {}
    first = next((term for term in applied.basis.terms if term.engine.is_atomic), None)
    for block in () if first is None else first.blocks:
        parts = [np.zeros((0, block.scaled.shape[1]))]
        parts.extend(np.array(chunk.reduced()) for chunk in applied.walk(block))
        found[block.species[0]] = (applied.centres(block), np.concatenate(parts))
    return found

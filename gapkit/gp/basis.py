"""The sparse basis: engines, unit-scale kernels and sparse points of all terms, as the columns of one linear model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gapkit.descriptors.base import Block, Engine
from gapkit.gp.cholesky import cholesky
from gapkit.gp.solver import PriorBlock
from gapkit.kernels.base import GapKernel
from gapkit.typing import FloatArray, IntArray

# Features whose share of the points' norm (root mean square, all of them together) is below this are taken in single
# precision where derivative rows are made: what is lost is 1e-7 of a thousandth.
SINGLE_BELOW = 1e-2
# Too few of them do not pay for the copies.
MIN_SINGLE = 24


@dataclass(frozen=True, eq=False)
class Split:
    """Features that are large and small in the sparse points.

    Attributes
    ----------
    large, small : ndarray of int
        Their indices.
    large_points, small_points : ndarray
        The points (m, n_large) in double and (m, n_small) in single precision.
    """

    large: IntArray
    small: IntArray
    large_points: FloatArray
    small_points: np.ndarray


@dataclass(frozen=True, eq=False)
class SparseBlock:
    """Sparse points of one block of like instances.

    Attributes
    ----------
    block : tuple of int
        Species of the instances.
    points : ndarray (m, d)
        Descriptor vectors.
    scaled, norms : ndarray (m, r), (m,)
        The same as the kernel sees them, projected, and their squared norms.
    columns : slice
        Its columns in the linear model.
    projection : ndarray (d, r) or None
        Orthonormal directions that hold all points, where there are fewer of them than features: inner products with
        the points need no more.
    """

    block: Block
    points: FloatArray
    scaled: FloatArray
    norms: FloatArray
    columns: slice
    projection: FloatArray | None = None

    @cached_property
    def split(self) -> Split | None:
        """Large and small (reduced) features, where there are enough small ones."""
        squares = (self.scaled**2).mean(axis=0)
        order = np.argsort(squares)
        n_small = int(np.count_nonzero(np.cumsum(squares[order]) < SINGLE_BELOW**2 * squares.sum()))
        if n_small < MIN_SINGLE:
            return None
        small, large = np.sort(order[:n_small]), np.sort(order[n_small:])
        return Split(
            large, small, np.ascontiguousarray(self.scaled[:, large]), self.scaled[:, small].astype(np.float32)
        )

    def reduce(self, x: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Scaled features (n, d) as far as inner products with the points need them, (n, r)."""
        return x if self.projection is None else np.dot(x, self.projection, out=out)

    def expand(self, gradient: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """The gradient (n, d) with respect to scaled features from that with respect to reduced ones (n, r)."""
        return gradient if self.projection is None else np.dot(gradient, self.projection.T, out=out)


@dataclass(frozen=True, eq=False)
class BasisTerm:
    """One term: its engine, its kernel with delta = 1, and its sparse points block by block."""

    engine: Engine
    kernel: GapKernel
    blocks: tuple[SparseBlock, ...]


@dataclass(frozen=True, eq=False)
class SparseBasis:
    """All terms; column numbers run through terms and blocks in order."""

    terms: tuple[BasisTerm, ...]

    @classmethod
    def build(
        cls,
        engines: Sequence[Engine],
        kernels: Sequence[GapKernel],
        points: Sequence[Sequence[tuple[Block, FloatArray]]],
        *,
        tolerance: float = 0.0,
    ) -> SparseBasis:
        """Number the columns of the sparse points (block, (m, d)) of every term; blocks without points are left out.

        Parameters
        ----------
        tolerance : float
            Where the kernel is one of inner products, the points are replaced by their projection on their leading
            directions; what is left out of them is at most this part of their norm (root mean square).  A sparse point
            need not be the vector of any atom, so that the model stays exact; it is just another model.
        """
        reduced = []
        for kernel, blocks in zip(kernels, points, strict=True):
            of_term: list[tuple[Block, FloatArray, FloatArray | None]] = []
            for block, x in blocks:
                if len(x):
                    projection = None if kernel.uses_norms else leading_directions(x, tolerance)
                    of_term.append((block, x if projection is None else x @ projection, projection))
            reduced.append(of_term)
        return cls.restore(engines, kernels, reduced)

    @classmethod
    def restore(
        cls,
        engines: Sequence[Engine],
        kernels: Sequence[GapKernel],
        points: Sequence[Sequence[tuple[Block, FloatArray, FloatArray | None]]],
    ) -> SparseBasis:
        """The basis of blocks (block, points (m, d), None) or (block, reduced points (m, r), projection (d, r))."""
        terms = []
        start = 0
        for engine, kernel, blocks in zip(engines, kernels, points, strict=True):
            unit = kernel.unit_scale()
            sparse = []
            for block, x, projection in blocks:
                sparse.append(_block(unit, block, x, projection, slice(start, start + len(x))))
                start += len(x)
            terms.append(BasisTerm(engine, unit, tuple(sparse)))
        return cls(tuple(terms))

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        species: Sequence[Sequence[Sequence[int]]],
        engines: Sequence[Engine],
        kernels: Sequence[GapKernel],
    ) -> SparseBasis:
        """The basis whose `to_arrays` and `species` are given; engines as descriptors make them."""
        points = [
            [(tuple(z), arrays[f"points_{i}_{j}"], arrays.get(f"projection_{i}_{j}")) for j, z in enumerate(blocks)]
            for i, blocks in enumerate(species)
        ]
        adapted = [
            engine.with_arrays({n: arrays[f"{n}_{i}"] for n in engine.array_names if f"{n}_{i}" in arrays})
            for i, engine in enumerate(engines)
        ]
        return cls.restore(adapted, kernels, points)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Sparse points (m, d), or reduced ones (m, r) with their projection (d, r), and what engines adapted."""
        arrays = {}
        for i, term in enumerate(self.terms):
            for j, block in enumerate(term.blocks):
                arrays[f"points_{i}_{j}"] = block.points if block.projection is None else block.scaled
                if block.projection is not None:
                    arrays[f"projection_{i}_{j}"] = block.projection
            arrays |= {f"{name}_{i}": array for name, array in term.engine.to_arrays().items()}
        return arrays

    @property
    def species(self) -> list[list[list[int]]]:
        """Species of the blocks of every term, in the order of `to_arrays`."""
        return [[list(block.block) for block in term.blocks] for term in self.terms]

    @cached_property
    def n_columns(self) -> int:
        """Number of weights, M."""
        return sum(len(block.points) for term in self.terms for block in term.blocks)

    @property
    def reach(self) -> float:
        """Longest edge that any term needs, Å."""
        return max(term.engine.reach for term in self.terms)

    @property
    def n_layers(self) -> int:
        """Receptive field of the terms, in hops."""
        return max(term.engine.n_layers for term in self.terms)

    @property
    def term_of_block(self) -> list[int]:
        """Index of the term of every prior block."""
        return [i for i, term in enumerate(self.terms) for _ in term.blocks]

    def prior(self) -> list[PriorBlock]:
        """Cholesky factors of the unit-scale K_MM of every block, regularised as far as needed."""
        blocks = []
        for term in self.terms:
            name = type(term.engine).__name__.removesuffix("Engine")
            for block in term.blocks:
                q = block.scaled @ block.scaled.T
                factor = cholesky(term.kernel.value(q, block.norms, block.norms), name=f"K_MM of {name} {block.block}")
                blocks.append(PriorBlock(block.columns, factor.L, factor.jitter))
        return blocks


def _block(
    kernel: GapKernel, block: Block, points: FloatArray, projection: FloatArray | None, columns: slice
) -> SparseBlock:
    if projection is None:
        scaled = np.ascontiguousarray(kernel.scale_features(points))
    else:  # such kernels do not scale
        scaled, points = np.ascontiguousarray(points), points @ projection.T
    return SparseBlock(block, points, scaled, np.einsum("md,md->m", scaled, scaled), columns, projection)


# A projection costs a product of its own: fewer directions than this part of the features pay for it.
WORTHWHILE = 0.7


def leading_directions(x: FloatArray, tolerance: float) -> FloatArray | None:
    """Orthonormal directions (d, r) that hold x (m, d) but for a part `tolerance` of its norm; None: no gain."""
    if tolerance <= 0.0 or len(x) < 2 or x.shape[1] < 2:
        return None
    values, vectors = np.linalg.eigh(x.T @ x)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    # eigenvalues are squares, rounded: below 1e-15 of the sum they say nothing
    total = values.sum()
    left = np.cumsum(values[::-1])[::-1]
    rank = int(np.count_nonzero(left > max(tolerance**2, 1e-15) * total))
    worthwhile = rank * (x.shape[1] + len(x)) < WORTHWHILE * x.shape[1] * len(x)
    return np.ascontiguousarray(vectors[:, :rank]) if worthwhile else None

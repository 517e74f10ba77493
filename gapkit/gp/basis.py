"""The sparse basis: engines, unit-scale kernels and sparse points of all terms, as the columns of one linear model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.descriptors.base import Block, Engine
from gapkit.exceptions import InputError
from gapkit.gp.cholesky import cholesky
from gapkit.gp.solver import PriorBlock
from gapkit.gp.tiles import inner_products
from gapkit.io.arrays import Array, Arrays, Schema, orthonormal
from gapkit.io.codec import made
from gapkit.io.npy import PackedTriangle
from gapkit.io.values import ELEMENTS, ListOf, Number
from gapkit.kernels.base import GapKernel
from gapkit.typing import FloatArray, IntArray

# Features whose share of the points' norm (root mean square, all of them together) is below this are taken in single
# precision where derivative rows are made: what is lost is 1e-7 of a thousandth.
SINGLE_BELOW = 1e-2
MIN_SINGLE = 24  # fewer do not pay for the copies
# A projection costs a product of its own: fewer directions than this part of the features pay for it.
WORTHWHILE = 0.7

ORIGINS = Array(("M",), -1, whole=True)  # training frame of every sparse point; -1: none
BLOCKS = ListOf(ListOf(ListOf(Number(1, ELEMENTS, whole=True))))
POINTS: Schema = {
    "projection": Array(("d", "r"), -1.001, 1.001, rule=("orthonormal columns", orthonormal)),
    "points": Array(("m", "r")),
}

# Species, points (m, d) and None, or species, reduced points (m, r) and their projection (d, r).
PointsOfBlock: TypeAlias = tuple[Block, FloatArray, FloatArray | None]


@dataclass(frozen=True, eq=False)
class Split:
    """Indices of the features that are large and small in the sparse points, and the points' parts."""

    large: IntArray
    small: IntArray
    large_points: FloatArray  # (m, n_large)
    small_points: np.ndarray  # (m, n_small), single precision


@dataclass(frozen=True, eq=False)
class SparseBlock:
    """Sparse points of one block: instances of like species, which have a kernel matrix of their own."""

    term: int  # index of its term
    index: int  # among the blocks of all terms; -1 where there is no sparse point
    species: Block  # atomic numbers of an instance: (Z,), (Z1, Z2), ...
    engine: Engine
    kernel: GapKernel  # with delta = 1
    points: FloatArray  # (m, d), descriptor vectors
    scaled: FloatArray  # (m, r), scaled and projected points
    norms: FloatArray  # (m,), their squared norms
    columns: slice  # columns of the linear model
    projection: FloatArray | None = None  # (d, r), fewer orthonormal directions than features that hold all points
    share: float = 1.0  # of the norm of the whole points in `scaled` (root mean square)

    @property
    def is_atomic(self) -> bool:
        """Whether every atom is one instance."""
        return self.engine.is_atomic

    @cached_property
    def split(self) -> Split | None:
        """Large and small (reduced) features, where there are enough small ones."""
        squares = (self.scaled**2).mean(axis=0)
        order = np.argsort(squares)
        limit = SINGLE_BELOW**2 * squares.sum() / max(self.share, 1e-150) ** 2
        n_small = int(np.count_nonzero(np.cumsum(squares[order]) < limit))
        if n_small < MIN_SINGLE:
            return None
        small, large = np.sort(order[:n_small]), np.sort(order[n_small:])
        points = np.ascontiguousarray(self.scaled[:, large])
        return Split(large, small, points, self.scaled[:, small].astype(np.float32))

    def tiles(self, n_points: int) -> list[slice]:
        """Sparse points that are taken together, `n_points` each."""
        n = len(self.scaled)
        return [slice(start, min(start + n_points, n)) for start in range(0, n, n_points)]

    def prior_factor(self, nugget: FloatArray | None = None) -> FloatArray:
        """Cholesky factor of the unit-scale K_MM with a diagonal (m,) added, None: as little as it needs."""
        name = f"K_MM of {type(self.engine).__name__.removesuffix('Engine')} {self.species}"
        if nugget is None:
            K = self.kernel.value(inner_products(self.scaled), self.norms, self.norms, overwrite_q=True)
            return cholesky(K, name=name).L
        K = self.kernel(self.points, self.points)
        K[np.diag_indices_from(K)] += nugget
        return cholesky(K, name=name).L

    def share_of(self, part: FloatArray) -> float:
        """Norm of a part (m, r) of the scaled points over that of the whole (root mean square)."""
        return float(np.linalg.norm(part) / max(float(np.linalg.norm(self.scaled)), 1e-150))

    def reduce(self, x: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """Scaled features (n, d) as far as inner products with the points need them, (n, r)."""
        return x if self.projection is None else np.dot(x, self.projection, out=out)

    def expand(self, gradient: FloatArray, out: FloatArray | None = None) -> FloatArray:
        """The gradient (n, d) with respect to scaled features from that with respect to reduced ones (n, r)."""
        return gradient if self.projection is None else np.dot(gradient, self.projection.T, out=out)


@dataclass(frozen=True, eq=False)
class Unseen:
    """What the points of a block, L (m, m) their Cholesky factor, cannot see of its function, at unit scale."""

    block: SparseBlock
    x: FloatArray  # (n, d), scaled features
    norms: FloatArray  # (n,)
    white: FloatArray  # (m, n), L^-1 k_s
    prior: FloatArray  # (n,), prior variances

    @classmethod
    def of(cls, block: SparseBlock, L: FloatArray, x: FloatArray) -> Unseen:
        """At scaled features (n, d)."""
        norms = np.einsum("nd,nd->n", x, x)
        cross = block.kernel.value(block.scaled @ block.reduce(x).T, block.norms, norms)
        return cls(block, x, norms, solve_triangular(L, cross, lower=True), block.kernel.diag_value(norms))

    @property
    def variances(self) -> FloatArray:
        """Prior variances (n,) that the points leave."""
        return self.prior - np.einsum("mn,mn->n", self.white, self.white)

    def row(self, i: int) -> FloatArray:
        """Covariances (n,) of one with all that the points leave."""
        values = self.block.kernel.value(self.x[i : i + 1] @ self.x.T, self.norms[i : i + 1], self.norms)[0]
        return np.asarray(values - self.white[:, i] @ self.white)


@dataclass(frozen=True, eq=False)
class BasisTerm:
    """One term: its engine, its kernel with delta = 1, and its blocks with sparse points."""

    engine: Engine
    kernel: GapKernel
    blocks: tuple[SparseBlock, ...]

    @cached_property
    def unseen_blocks(self) -> tuple[SparseBlock, ...]:
        """Blocks of species of which the training set had no instance: without sparse points, in the index of none."""
        if not self.blocks:
            return ()
        none = np.zeros((0, self.engine.n_features))
        term, known = self.blocks[0].term, {block.species for block in self.blocks}
        return tuple(
            SparseBlock(term, -1, species, self.engine, self.kernel, none, none, np.zeros(0), slice(0, 0))
            for species in self.engine.blocks
            if species not in known
        )


@dataclass(frozen=True, eq=False)
class SparseBasis:
    """All terms; column numbers run through terms and blocks in order."""

    terms: tuple[BasisTerm, ...]

    @classmethod
    def build(
        cls, engines: Sequence[Engine], kernels: Sequence[GapKernel],
        points: Sequence[Sequence[tuple[Block, FloatArray]]], *, tolerance: float = 0.0,
    ) -> SparseBasis:  # fmt: skip
        """Number the columns of the sparse points (species, (m, d)) of every term; blocks without points are left out.

        Where the kernel is one of inner products, the points are replaced by their projection on their leading
        directions, which leaves out at most the part `tolerance` of their norm (root mean square).  A sparse point need
        not be the vector of any atom, so that the model stays exact; it is just another model.
        """

        def projected(kernel: GapKernel, species: Block, x: FloatArray) -> PointsOfBlock:
            projection = None if kernel.uses_norms else leading_directions(x, tolerance)
            return species, x if projection is None else x @ projection, projection

        pairs = zip(kernels, points, strict=True)
        found = [[projected(kernel, *block) for block in blocks if len(block[1])] for kernel, blocks in pairs]
        return cls.restore(engines, kernels, found)

    @classmethod
    def restore(
        cls, engines: Sequence[Engine], kernels: Sequence[GapKernel], points: Sequence[Sequence[PointsOfBlock]]
    ) -> SparseBasis:
        """The basis of given points."""
        terms = []
        for engine, kernel, of_term in zip(engines, kernels, points, strict=True):
            unit, blocks = kernel.unit_scale(), []
            for species, x, projection in of_term:
                if projection is None:
                    scaled, whole = np.ascontiguousarray(unit.scale_features(x)), x
                else:  # such kernels do not scale
                    scaled, whole = np.ascontiguousarray(x), x @ projection.T
                norms = np.einsum("md,md->m", scaled, scaled)
                blocks.append(SparseBlock(0, 0, species, engine, unit, whole, scaled, norms, slice(0), projection))
            terms.append(BasisTerm(engine, unit, tuple(blocks)))
        return cls.numbered(terms)

    @classmethod
    def numbered(cls, terms: Iterable[BasisTerm]) -> SparseBasis:
        """Terms, and their blocks and columns numbered from 0 on."""
        made: list[BasisTerm] = []
        index = start = 0
        for term in terms:
            blocks = []
            for block in term.blocks:
                columns = slice(start, start + len(block.points))
                blocks.append(replace(block, term=len(made), index=index, columns=columns))
                index, start = index + 1, columns.stop
            made.append(replace(term, blocks=tuple(blocks)))
        return cls(tuple(made))

    @classmethod
    def from_arrays(
        cls, arrays: Arrays, species: Sequence[Sequence[Sequence[int]]], engines: Sequence[Engine],
        kernels: Sequence[GapKernel],
    ) -> SparseBasis:  # fmt: skip
        """The basis whose `to_arrays` and `species` are given; engines as descriptors make them.

        InputError where one is not what belongs to the engines.
        """
        points, adapted = [], []
        for i, (engine, kernel, blocks) in enumerate(zip(engines, kernels, species, strict=True)):
            named = arrays.of(engine.array_schema, suffix=f"_{i}")
            found = {name: named[name] for name in engine.array_schema if name in named}
            adapted.append(engine := made(partial(engine.with_arrays, found), f"the engine of term {i}"))
            points.append([_points_of(arrays, engine, kernel, (i, j), z) for j, z in enumerate(blocks)])
            if len({block for block, *_ in points[-1]}) < len(blocks):
                raise InputError(f"`blocks[{i}]` must hold no two blocks of the same species, got {blocks}")
        return made(partial(cls.restore, adapted, kernels, points), "the sparse points")

    def to_arrays(self) -> dict[str, np.ndarray | PackedTriangle]:
        """Sparse points (m, d), or reduced ones (m, r) with their projection (d, r), and what engines adapted."""
        arrays: dict[str, np.ndarray | PackedTriangle] = {}
        for i, term in enumerate(self.terms):
            for j, block in enumerate(term.blocks):
                arrays[f"points_{i}_{j}"] = block.points if block.projection is None else block.scaled
                arrays |= {} if block.projection is None else {f"projection_{i}_{j}": block.projection}
            arrays |= {f"{name}_{i}": array for name, array in term.engine.to_arrays().items()}
        return arrays

    @property
    def species(self) -> list[list[list[int]]]:
        """Species of the blocks of every term, in the order of `to_arrays`."""
        return [[list(block.species) for block in term.blocks] for term in self.terms]

    @cached_property
    def blocks(self) -> tuple[SparseBlock, ...]:
        """Blocks of all terms, by index."""
        return tuple(block for term in self.terms for block in term.blocks)

    @cached_property
    def n_columns(self) -> int:
        """Number of weights, M."""
        return sum(len(block.points) for block in self.blocks)

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
        """Index of the term of every block."""
        return [block.term for block in self.blocks]

    def prior(self) -> list[PriorBlock]:
        """Cholesky factors of the unit-scale K_MM of every block, regularised as far as needed."""
        return [PriorBlock(block.columns, block.prior_factor()) for block in self.blocks]

    def prior_later(self) -> list[PriorBlock]:
        """The same, each made when it is first needed."""
        return [PriorBlock(block.columns, block.prior_factor) for block in self.blocks]


def _points_of(
    arrays: Arrays, engine: Engine, kernel: GapKernel, place: tuple[int, int], species: Sequence[int]
) -> PointsOfBlock:
    """Sparse points of a block of species, for an adapted engine."""
    i, j = place
    if tuple(species) not in engine.blocks:
        raise InputError(f"`blocks[{i}][{j}]` must be one of the term's blocks {engine.blocks}, got {species}")
    own = arrays.of(POINTS, suffix=f"_{i}_{j}", d=engine.n_features)
    projection = own.optional("projection")
    if projection is None:
        own.sizes["r"] = engine.n_features
    elif kernel.uses_norms:
        raise InputError(f"array `projection_{i}_{j}` is there, and its kernel {kernel!r} has none")
    return tuple(species), own["points"], projection


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

"""The sparse basis: engines, unit-scale kernels and sparse points of all terms, as the columns of one linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gapkit.descriptors.base import Block, Engine
from gapkit.gp.cholesky import cholesky
from gapkit.gp.solver import PriorBlock
from gapkit.kernels.base import GapKernel
from gapkit.typing import FloatArray


@dataclass(frozen=True, eq=False)
class SparseBlock:
    """Sparse points of one block of like instances.

    Attributes
    ----------
    block : tuple of int
        Species of the instances.
    points : ndarray (m, d)
        Descriptor vectors.
    scaled, norms : ndarray (m, d), (m,)
        The same as the kernel sees them, and their squared norms.
    columns : slice
        Its columns in the linear model.
    """

    block: Block
    points: FloatArray
    scaled: FloatArray
    norms: FloatArray
    columns: slice


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
    ) -> SparseBasis:
        """Number the columns of the sparse points (block, (m, d)) of every term; blocks without points are left out."""
        terms = []
        start = 0
        for engine, kernel, blocks in zip(engines, kernels, points, strict=True):
            unit = kernel.unit_scale()
            sparse = []
            for block, x in blocks:
                if len(x) == 0:
                    continue
                scaled = np.ascontiguousarray(unit.scale_features(x))
                columns = slice(start, start + len(x))
                sparse.append(SparseBlock(block, x, scaled, np.einsum("md,md->m", scaled, scaled), columns))
                start += len(x)
            terms.append(BasisTerm(engine, unit, tuple(sparse)))
        return cls(tuple(terms))

    @cached_property
    def n_columns(self) -> int:
        """Number of weights, M."""
        return sum(len(block.points) for term in self.terms for block in term.blocks)

    @property
    def reach(self) -> float:
        """Longest edge that any term needs, Å."""
        return max(term.engine.reach for term in self.terms)

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

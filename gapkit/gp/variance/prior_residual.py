"""Prior residual of terms whose atoms have many instances (pairs, triplets): extra points where the sparse ones end.

The function of such a term has few features and is smooth, so that what the sparse points leave of it, the residual
r(x, x') = k(x, x') - k_s K_MM^-1 k_s', has a small rank on the instances of a frame; it is zero between sparse points.
Points found by a pivoted Cholesky factorisation of r (source: Harbrecht, Peters and Schneider, Appl. Numer. Math. 62,
428 (2012)) span it to a tolerance: they serve as further sparse points, of which no data know.  They are instances or
points a little to either side of one, so that they span slopes (forces) as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.descriptors.base import Block, View
from gapkit.gp.basis import BasisTerm, SparseBasis, SparseBlock
from gapkit.gp.cholesky import cholesky
from gapkit.gp.posterior import Posterior
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray

# Residual variance, as a part of the prior's, that may stay unexplained, and the most pivots of a block.
TOLERANCE = 1e-8
MAX_PIVOTS = 500
# Distance in scaled features to the points beside an instance: small enough for a slope, not for the tolerance.
BESIDE = 0.1
# Instances that stand for all of a frame's.
MAX_INSTANCES = 5000


@dataclass(frozen=True, eq=False)
class ResidualBasis:
    """Extra points of the terms that are not atomic, for some frames.

    Attributes
    ----------
    basis : SparseBasis
        Terms and blocks with extra points.
    views : list of View
        Of its terms.
    parts : list of (columns, columns of the sparse basis, K_PM K_MM^-1, lower factor) for every block
        With the factor of the residual's matrix at unit scale divided by delta.
    """

    basis: SparseBasis
    views: list[View]
    parts: list[tuple[slice, slice, FloatArray, FloatArray]]

    @classmethod
    def of(
        cls, basis: SparseBasis, posterior: Posterior, views: Sequence[View], neighbours: NeighbourList
    ) -> ResidualBasis | None:
        """Extra points for all atoms of a neighbour list; None: there are none."""
        terms, found, parts = [], [], []
        index, start = 0, 0
        for term, view in zip(basis.terms, views, strict=True):
            scale = np.sqrt(posterior.variance_scale(index)) if term.blocks else 1.0
            known = {block.block: (block, posterior.prior[index + i].L) for i, block in enumerate(term.blocks)}
            index += len(term.blocks)
            blocks = []
            for species in term.engine.blocks if term.blocks and not term.engine.is_atomic else ():
                block, L = known.get(species, (_without_points(term, species), np.zeros((0, 0))))
                points = _pivots(term, view, block, L)
                if len(points) == 0:
                    continue
                columns = slice(start, start + len(points))
                start = columns.stop
                norms = np.einsum("pd,pd->p", points, points)
                cross = solve_triangular(L, term.kernel.value(block.scaled @ points.T, block.norms, norms), lower=True)
                residual = term.kernel.value(points @ points.T, norms, norms) - cross.T @ cross
                factor = cholesky(residual, name="the prior residual").L
                back = solve_triangular(L, cross, lower=True, trans="T").T
                parts.append((columns, block.columns, back, factor / scale))
                blocks.append(SparseBlock(species, points, points, norms, columns))
            if blocks:
                terms.append(BasisTerm(term.engine, term.kernel, tuple(blocks)))
                found.append(view)
        return cls(SparseBasis(tuple(terms)), found, parts) if terms else None

    def whiten(self, extra: FloatArray, rows: FloatArray) -> FloatArray:
        """Columns (p, n) whose inner products are the covariances that the sparse points cannot see, eV^2."""
        out = np.empty((self.basis.n_columns, len(extra)))
        for columns, known, back, factor in self.parts:
            left = extra[:, columns] - rows[:, known] @ back.T
            out[columns] = solve_triangular(factor, left.T, lower=True)
        return out


def _without_points(term: BasisTerm, species: Block) -> SparseBlock:
    """A block of instances of which the training set has none."""
    none = np.zeros((0, term.engine.n_features))
    return SparseBlock(species, none, none, np.zeros(0), slice(0, 0))


def _pivots(term: BasisTerm, view: View, block: SparseBlock, L: FloatArray) -> FloatArray:
    """Scaled features of the points at which the residual is largest, one after another."""
    x = _candidates(term, view, block, L)
    if len(x) == 0:
        return x
    norms = np.einsum("nd,nd->n", x, x)
    white, residual = _residual(term, block, L, x)
    limit = TOLERANCE * float(term.kernel.diag_value(norms).max())
    factors = np.zeros((min(MAX_PIVOTS, len(x)), len(x)))
    chosen: list[int] = []
    while len(chosen) < len(factors):
        pivot = int(np.argmax(residual))
        if residual[pivot] <= limit:
            break
        row = term.kernel.value(x[pivot : pivot + 1] @ x.T, norms[pivot : pivot + 1], norms)[0]
        row -= white[:, pivot] @ white
        row -= factors[: len(chosen), pivot] @ factors[: len(chosen)]
        factors[len(chosen)] = row / np.sqrt(residual[pivot])
        residual = residual - factors[len(chosen)] ** 2
        residual[pivot] = 0.0
        chosen.append(pivot)
    return x[chosen]


def _candidates(term: BasisTerm, view: View, block: SparseBlock, L: FloatArray) -> FloatArray:
    """Instances at or beside which the sparse points leave something open, and the points beside them."""
    parts = []
    centres = view.centres(block.block)
    for start in range(0, len(centres), view.centres_per_chunk):
        x = term.kernel.scale_features(view.features(block.block, centres[start : start + view.centres_per_chunk]).x)
        if len(x):
            around = _beside(x)
            residual = _residual(term, block, L, around)[1].reshape(-1, len(x)).max(axis=0)
            parts.append(x[residual > TOLERANCE * term.kernel.diag_value(np.einsum("nd,nd->n", x, x))])
    x = np.concatenate([np.zeros((0, block.scaled.shape[1])), *parts])
    return _beside(x[:: max(1, -(-len(x) // MAX_INSTANCES))])


def _beside(x: FloatArray) -> FloatArray:
    """The points (n, d), then those beside them along every feature, ((2 d + 1) n, d)."""
    steps = BESIDE * np.eye(x.shape[1])
    return np.concatenate([x, *(x + sign * step for step in steps for sign in (1.0, -1.0))])


def _residual(term: BasisTerm, block: SparseBlock, L: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """L^-1 k_s (m, n), and the prior variances (n,) that the sparse points leave."""
    norms = np.einsum("nd,nd->n", x, x)
    white = solve_triangular(L, term.kernel.value(block.scaled @ x.T, block.norms, norms), lower=True)
    return white, term.kernel.diag_value(norms) - np.einsum("mn,mn->n", white, white)

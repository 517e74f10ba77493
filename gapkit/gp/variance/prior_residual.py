"""Prior residual of terms whose atoms have many instances (pairs, triplets): extra points where the sparse ones end.

The function of such a term has few features and is smooth, so that what the sparse points leave of it, the residual
r(x, x') = k(x, x') - k_s K_MM^-1 k_s', has a small rank on the instances of a frame; it is zero between sparse points.
Points found by a pivoted Cholesky factorisation of r (source: Harbrecht, Peters and Schneider, Appl. Numer. Math. 62,
428 (2012)) span it to a tolerance: they serve as further sparse points, of which no data know.  They are instances or
points a little to either side of one, so that they span slopes (forces) as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.gp.basis import SparseBasis, SparseBlock, Unseen
from gapkit.gp.cholesky import cholesky, pivoted_cholesky
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.posterior import Posterior
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
    """Extra points of the terms that are not atomic, for the atoms of a batch."""

    applied: AppliedBasis  # the basis of the extra points alone
    # of every block: columns of the known points, and the factor of the residual's matrix at unit scale over delta
    parts: list[tuple[slice, FloatArray, FloatArray]]

    @classmethod
    def of(cls, applied: AppliedBasis, posterior: Posterior) -> ResidualBasis | None:
        """Extra points for all atoms of the batch; None: there are none."""
        terms, views, parts = [], [], []
        for term, view in zip(applied.basis.terms, applied.views, strict=True):
            blocks = []
            for block in () if term.engine.is_atomic else (*term.blocks, *term.unseen_blocks):
                L = posterior.prior[block.index].L if len(block.points) else np.zeros((0, 0))
                scale = np.sqrt(posterior.variance_scale(term.blocks[0].index))
                points = _pivots(applied, block, L)
                if len(points) == 0:
                    continue
                unseen = Unseen.of(block, L, points)
                norms, white = unseen.norms, unseen.white
                residual = block.kernel.value(points @ points.T, norms, norms) - white.T @ white
                factor = cholesky(residual, name="the prior residual").L
                back = solve_triangular(L, white, lower=True, trans="T").T
                parts.append((block.columns, back, factor / scale))
                blocks.append(replace(block, points=points, scaled=points, norms=norms))
            if blocks:
                terms.append(replace(term, blocks=tuple(blocks)))
                views.append(view)
        basis = SparseBasis.numbered(terms)
        return cls(AppliedBasis(basis, applied.batch, applied.neighbours, views), parts) if terms else None

    def whiten(self, extra: FloatArray, rows: FloatArray) -> FloatArray:
        """Columns (p, n) whose inner products are the covariances that the sparse points cannot see, eV^2."""
        out = np.empty((self.applied.basis.n_columns, len(extra)))
        for block, (known, back, factor) in zip(self.applied.basis.blocks, self.parts, strict=True):
            left = extra[:, block.columns] - rows[:, known] @ back.T
            out[block.columns] = solve_triangular(factor, left.T, lower=True)
        return out


def _pivots(applied: AppliedBasis, block: SparseBlock, L: FloatArray) -> FloatArray:
    """Scaled features of the points at which the residual is largest, one after another."""
    x = _candidates(applied, block, L)
    if len(x) == 0:
        return x
    unseen = Unseen.of(block, L, x)
    return x[pivoted_cholesky(unseen.variances, unseen.row, TOLERANCE * float(unseen.prior.max()), MAX_PIVOTS)[0]]


def _candidates(applied: AppliedBasis, block: SparseBlock, L: FloatArray) -> FloatArray:
    """Instances at or beside which the sparse points leave something open, and the points beside them."""
    parts = []
    for chunk in applied.walk(block):
        residual = Unseen.of(block, L, _beside(chunk.x)).variances.reshape(-1, len(chunk.x)).max(axis=0)
        parts.append(chunk.x[residual > TOLERANCE * chunk.prior()])
    x = np.concatenate([np.zeros((0, block.scaled.shape[1])), *parts])
    return _beside(x[:: max(1, -(-len(x) // MAX_INSTANCES))])


def _beside(x: FloatArray) -> FloatArray:
    """The points (n, d), then those beside them along every feature, ((2 d + 1) n, d)."""
    steps = BESIDE * np.eye(x.shape[1])
    return np.concatenate([x, *(x + sign * step for step in steps for sign in (1.0, -1.0))])

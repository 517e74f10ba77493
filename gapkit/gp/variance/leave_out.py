"""Leave-one-configuration-out residuals and variances from the fitted model itself: the block formula.

With W = R^-T Phi^T for the labelled rows Phi of a configuration, noise Lambda, H = W^T W and r = y - Phi a,

    residual of the model without it     Lambda^1/2 (1 - H~)^-1 Lambda^-1/2 r,  H~ = Lambda^-1/2 H Lambda^-1/2,
    its posterior covariance             Lambda^1/2 ((1 - H~)^-1 - 1) Lambda^1/2.

A configuration also gave sparse points, and a model without it would not have them.  A model without the points S is
the one whose weights a_S are zero: in whitened coordinates, everything is projected on the complement of the columns
R^-T e_S first (and of L^-1 e_S for the prior residual), and r grows by W^T Q Q^T R a, Q a basis of those columns.

Source of the first part: Rasmussen and Williams (2006), section 5.4.2; for blocks, Sundararajan and Keerthi, Neural
Comput. 13, 1103 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.gp.basis import SparseBasis
from gapkit.gp.posterior import Posterior
from gapkit.typing import FloatArray, IntArray

# Smallest eigenvalue of 1 - H~: a configuration that alone decides its own prediction has rounding there.
_SMALLEST = 1e-10


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What the model without a configuration says of it."""

    residual: FloatArray  # (n,), label less prediction
    covariance: FloatArray  # (n, n), posterior covariance of the rows (data part)
    # (M,), R (a - a_c) = R^-T Phi~^T u, u the whitened residual, a_c the weights without it, sparse points kept
    score: FloatArray


class LeaveOut:
    """Leaves configurations out of a fitted model with weights (M,), one at a time."""

    def __init__(self, basis: SparseBasis, posterior: Posterior, weights: FloatArray) -> None:
        self._basis, self._posterior, self._weights = basis, posterior, weights
        self._white_weights = posterior.R @ weights

    def residuals(self, rows: FloatArray, targets: FloatArray, sigmas: FloatArray, removed: IntArray) -> LeftOut:
        """Leave out a configuration of labelled rows (n, M), and the columns `removed` of the points that it gave.

        Targets (n,) are labels less what is not learned, `sigmas` (n,) the noise that they were fitted with.
        """
        white = self._posterior.whiten(rows)
        residual = targets - rows @ self._weights
        score, *_ = _solve(white, residual, sigmas)
        if len(removed):
            Q = _whitened_columns(self._posterior.R.T, removed)
            along = Q.T @ white
            residual = residual + along.T @ (Q.T @ self._white_weights)
            white = white - Q @ along
        _, left_out, covariance = _solve(white, residual, sigmas)
        return LeftOut(left_out, covariance, score)

    def unseen(self, seen: FloatArray, removed: IntArray) -> FloatArray:
        """Whitened columns `variances.seen_by_points` (m, n) without what the removed points see."""
        out, start = seen.copy(), 0
        for block in (block for block in self._basis.blocks if block.is_atomic):
            first, size = block.columns.start, len(block.points)
            own = removed[(removed >= first) & (removed < first + size)] - first
            if len(own):
                Q = _whitened_columns(self._posterior.prior[block.index].L, own)
                part = out[start : start + size]
                part -= Q @ (Q.T @ part)
            start += size
        return out


def _whitened_columns(lower: FloatArray, columns: IntArray) -> FloatArray:
    """Orthonormal basis (m, p) of L^-1 e_s of p columns s."""
    unit = (np.arange(len(lower))[:, None] == columns).astype(float)
    return np.linalg.qr(solve_triangular(lower, unit, lower=True))[0]


def _solve(white: FloatArray, residual: FloatArray, sigmas: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Score, residual and covariance without the configuration."""
    scaled = white / sigmas
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    left = np.maximum(1.0 - values, _SMALLEST)
    u = vectors @ ((vectors.T @ (residual / sigmas)) / left)
    turned = vectors * sigmas[:, None]
    covariance = (turned * (np.maximum(values, 0.0) / left)) @ turned.T
    return scaled @ u, sigmas * u, covariance

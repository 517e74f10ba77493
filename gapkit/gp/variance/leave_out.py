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

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gapkit.gp.basis import SparseBasis
from gapkit.gp.lapack import solve_lower
from gapkit.gp.posterior import Posterior
from gapkit.gp.tiles import factor_in_place, invert_in_place
from gapkit.typing import FloatArray, IntArray

# Smallest eigenvalue of 1 - H~: a configuration that alone decides its own prediction has rounding there.
_SMALLEST = 1e-10


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What the model without a configuration says of it."""

    residual: FloatArray  # (n,), label less prediction
    covariance: FloatArray  # (n, n), posterior covariance of the rows (data part)
    # (M,), R (a - a_c) = R^-T Phi~^T u, u the whitened residual, a_c the weights without it, sparse points kept; empty
    # where it was not wanted
    score: FloatArray


class LeaveOut:
    """Leaves configurations out of a fitted model with weights (M,), one at a time."""

    def __init__(self, basis: SparseBasis, posterior: Posterior, weights: FloatArray) -> None:
        self._basis, self._posterior, self._weights = basis, posterior, weights
        self._white_weights = posterior.R @ weights
        self._points: _Points | None = None

    def for_points(self, points: IntArray) -> LeaveOut:
        """The same with the columns (p,) of the points of several configurations whitened together."""
        other = copy(self)
        other._points = _Points(self._basis, self._posterior, points)
        return other

    def residuals(
        self, rows: FloatArray, targets: FloatArray, sigmas: FloatArray, removed: IntArray, *,
        white: FloatArray | None = None, score: bool = True,
    ) -> LeftOut:  # fmt: skip
        """Leave out a configuration of labelled rows (n, M), and the columns `removed` of the points that it gave.

        Targets (n,) are labels less what is not learned, `sigmas` (n,) the noise that they were fitted with; `white`
        (M, n) are the whitened rows where they are at hand.
        """
        white = self._posterior.whiten(rows) if white is None else white
        residual = targets - rows @ self._weights
        found = np.zeros(0)
        if score:
            scaled = white / sigmas
            found = scaled @ _solve(scaled, residual / sigmas)[0]
        if len(removed):
            Q = self._of(removed).in_weights(removed)
            along = Q.T @ white
            residual = residual + along.T @ (Q.T @ self._white_weights)
            white = white - Q @ along
        u, covariance = _solve(white / sigmas, residual / sigmas)
        return LeftOut(sigmas * u, sigmas[:, None] * covariance * sigmas, found)

    def unseen(self, seen: FloatArray, prior: FloatArray, removed: IntArray) -> FloatArray:
        """Part (n,) of the variance `prior` (n,) that the points but the removed ones do not see.

        `seen` (m, n) are the whitened columns of `seen_by_points`.
        """
        left = self.seen(seen, removed)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.clip(1.0 - np.einsum("mn,mn->n", left, left) / prior, 0.0, 1.0)

    def seen(self, seen: FloatArray, removed: IntArray) -> FloatArray:
        """Whitened columns (m, n) of `seen_by_points` of the points but the removed ones."""
        left = seen.copy()
        for rows, Q in self._of(removed).in_blocks(removed) if len(removed) else ():
            left[rows] -= Q @ (Q.T @ left[rows])
        return left

    def _of(self, removed: IntArray) -> _Points:
        return _Points(self._basis, self._posterior, removed) if self._points is None else self._points


class _Points:
    """R^-T e_s of some points s, and L^-1 e_s of those of atomic blocks."""

    def __init__(self, basis: SparseBasis, posterior: Posterior, points: IntArray) -> None:
        self._R, self._columns = posterior.R, np.unique(points)
        self._blocks: list[tuple[slice, int, _Columns]] = []
        start = 0
        for block in (block for block in basis.blocks if block.is_atomic):
            first, size = block.columns.start, len(block.points)
            own = self._columns[(self._columns >= first) & (self._columns < first + size)] - first
            self._blocks.append((slice(start, start + size), first, _Columns(posterior.prior[block.index].L, own)))
            start += size

    @cached_property
    def _weights(self) -> _Columns:
        return _Columns(self._R.T, self._columns)

    def in_weights(self, removed: IntArray) -> FloatArray:
        """Orthonormal basis (M, p) of R^-T e_s."""
        return self._weights.orthonormal(removed)

    def in_blocks(self, removed: IntArray) -> Iterator[tuple[slice, FloatArray]]:
        """For atomic blocks with any of them, rows of `seen_by_points` and an orthonormal basis of L^-1 e_s."""
        for rows, first, columns in self._blocks:
            own = removed[np.isin(removed - first, columns.columns)] - first
            if len(own):
                yield rows, columns.orthonormal(own)


class _Columns:
    """Columns (m, p) L^-1 e_s of a lower triangle."""

    def __init__(self, lower: FloatArray, columns: IntArray) -> None:
        self.columns = columns  # ascending
        self.white: FloatArray = np.zeros((len(lower), len(columns)), order="F")
        self.white[columns, np.arange(len(columns))] = 1.0
        solve_lower(lower, self.white)

    def orthonormal(self, chosen: IntArray) -> FloatArray:
        """Orthonormal basis (m, p) of some of them."""
        return np.linalg.qr(self.white[:, np.searchsorted(self.columns, chosen)])[0]


def _solve(scaled: FloatArray, residual: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(1 - H)^-1 r and (1 - H)^-1 - 1, H = scaled^T scaled."""
    H = scaled.T @ scaled
    inverse = np.asfortranarray(np.eye(len(H)) - H)
    if factor_in_place(inverse) and np.diagonal(inverse).min(initial=1.0) > _SMALLEST**0.5:
        invert_in_place(inverse)
        inverse += np.tril(inverse, -1).T
        covariance = inverse.copy()
        covariance[np.diag_indices_from(covariance)] -= 1.0
        return inverse @ residual, covariance
    values, vectors = np.linalg.eigh(H)
    left = np.maximum(1.0 - values, _SMALLEST)
    covariance = (vectors * (np.maximum(values, 0.0) / left)) @ vectors.T
    return vectors @ ((vectors.T @ residual) / left), covariance

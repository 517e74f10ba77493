"""The contract of a sparse-point selector."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator

from gapkit.exceptions import DataWarning, InputError
from gapkit.sparse.distinct import distinct_rows
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Selection:
    """Sparse points.

    Attributes
    ----------
    points : array of shape (m, d)
        The points, in the features' units.
    indices : array of shape (m,)
        For each point its row among the candidates, or -1 for a point that is no candidate.
    """

    points: FloatArray
    indices: IntArray

    def __len__(self) -> int:
        return len(self.points)


class SparseSelector(BaseEstimator):
    """Chooses sparse points for candidates; a subclass writes `_choose`.

    Parameters
    ----------
    duplicate_tolerance : float, default=1e-8
        Rows nearer to each other than this times the largest norm of a row count as one.
    """

    def __init__(self, *, duplicate_tolerance: float = 1e-8) -> None:
        self.duplicate_tolerance = duplicate_tolerance

    def select(
        self,
        X: FloatArray,
        n_select: int,
        *,
        rng: np.random.Generator,
        weights: FloatArray | None = None,
        strict: bool = False,
        name: str = "n_sparse",
    ) -> Selection:
        """Choose sparse points.

        Parameters
        ----------
        X : array of shape (n, d)
            Candidates.
        n_select : int
            How many points to choose, >= 1.
        rng : numpy.random.Generator
            Governs every draw; the same state gives the same points.
        weights : array of shape (n,), optional
            Relative importance of each candidate, >= 0. Used by Random, CUR and KMeans; the others choose by position.
        strict : bool, default=False
            Raise where more points are asked for than there are candidates; else take all of them, with a warning.
        name : str, default="n_sparse"
            What the caller calls `n_select`, for messages.

        Returns
        -------
        Selection
            Distinct points, at most `n_select`.

        Raises
        ------
        InputError
            If `X` is not a finite matrix with rows, `n_select` < 1, weights are unusable, or `strict` and n_select > n.

        Warns
        -----
        DataWarning
            If fewer points than asked for were chosen.
        """
        X = np.ascontiguousarray(X, dtype=np.float64)
        if X.ndim != 2 or len(X) == 0:
            raise InputError(f"candidates for sparse points must have shape (n, d) with n >= 1, got {X.shape}")
        if not np.isfinite(X).all():
            raise InputError("candidates for sparse points must be finite; check the structures for coinciding atoms")
        if int(n_select) != n_select or n_select < 1:
            raise InputError(f"`{name}` must be an integer >= 1, got {n_select!r}")
        if strict and n_select > len(X):
            raise InputError(f"`{name}` = {n_select} is more than the {len(X)} candidates; ask for at most that many")
        if weights is not None:
            weights = np.asarray(weights, dtype=np.float64)
            if weights.shape != (len(X),) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() == 0:
                raise InputError(f"`weights` must be {len(X)} finite numbers >= 0, not all zero, got {weights!r}")
        selection = self._choose(X, int(n_select), rng, weights)
        if len(selection) < n_select:
            warnings.warn(
                f"`{name}` = {n_select} points were asked for, but there are only {len(selection)} distinct ones among "
                f"{len(X)} candidates; all of them are taken",
                DataWarning,
                stacklevel=2,
            )
        return selection

    @abstractmethod
    def _choose(self, X: FloatArray, n_select: int, rng: np.random.Generator, weights: FloatArray | None) -> Selection:
        """At most `n_select` distinct points for the candidates `X`."""


class RowSelector(SparseSelector):
    """A selector whose points are rows of the candidates; a subclass writes `_select`, on distinct rows."""

    def _choose(self, X: FloatArray, n_select: int, rng: np.random.Generator, weights: FloatArray | None) -> Selection:
        """Remove duplicates, then let the subclass choose among distinct rows."""
        rows = distinct_rows(X, self.duplicate_tolerance)
        if weights is not None and np.count_nonzero(weights[rows]) >= n_select:
            rows = rows[weights[rows] > 0]
        if len(rows) > n_select:
            chosen = self._select(X[rows], n_select, rng, None if weights is None else weights[rows])
            rows = rows[chosen]
        return Selection(X[rows], rows)

    @abstractmethod
    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator, weights: FloatArray | None) -> IntArray:
        """`n_select` different row indices of `X`, which has more rows than that, all distinct."""


def draw_without_replacement(probabilities: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
    """`n_select` indices with chances in proportion to `probabilities` (Efraimidis and Spirakis, 2006).

    Entries that are zero are drawn only when all others are used up.
    """
    exponentials = rng.exponential(size=len(probabilities))
    keys = np.full(len(probabilities), np.inf)
    np.divide(exponentials, probabilities, out=keys, where=probabilities > 0)
    order = np.lexsort((exponentials, keys))
    return np.sort(order[:n_select])

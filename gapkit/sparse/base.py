"""The contract of a sparse-point selector."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import BaseEstimator

from gapkit.exceptions import DataWarning, InputError
from gapkit.sparse.distinct import distinct_rows
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Selection:
    """Sparse points (m, d) in the features' units, and of each its row among the candidates; -1: it is none."""

    points: FloatArray
    indices: IntArray

    def __len__(self) -> int:
        return len(self.points)


@dataclass(eq=False, repr=False)
class SparseSelector(BaseEstimator):
    """Chooses sparse points for candidates; a subclass writes `_choose`.

    Parameters
    ----------
    duplicate_tolerance : float, default=1e-8
        Rows nearer to each other than this times the largest norm of a row count as one.
    """

    duplicate_tolerance: float = field(default=1e-8, kw_only=True)

    def select(self, X: FloatArray, n_select: int, *, rng: np.random.Generator) -> Selection:
        """Distinct sparse points, at most `n_select`, of the candidates X (n, d); the same `rng` gives the same points.

        Raises
        ------
        InputError
            If `X` is not a finite matrix with rows, or `n_select` < 1.

        Warns
        -----
        DataWarning
            If there are fewer distinct candidates.
        """
        X = np.ascontiguousarray(X, dtype=np.float64)
        if X.ndim != 2 or len(X) == 0:
            raise InputError(f"candidates for sparse points must have shape (n, d) with n >= 1, got {X.shape}")
        if not np.isfinite(X).all():
            raise InputError("candidates for sparse points must be finite; check the structures for coinciding atoms")
        if int(n_select) != n_select or n_select < 1:
            raise InputError(f"`n_sparse` must be an integer >= 1, got {n_select!r}")
        selection = self._choose(X, int(n_select), rng)
        if len(selection) < n_select:
            warnings.warn(
                f"`n_sparse` = {n_select} points were asked for, but there are only {len(selection)} distinct ones "
                f"among {len(X)} candidates; all of them are taken", DataWarning, stacklevel=2,
            )  # fmt: skip
        return selection

    @abstractmethod
    def _choose(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> Selection:
        """At most `n_select` distinct points for the candidates `X`."""


class RowSelector(SparseSelector):
    """A selector whose points are rows of the candidates; a subclass writes `_select`, on distinct rows."""

    def _choose(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> Selection:
        rows = distinct_rows(X, self.duplicate_tolerance)
        if len(rows) > n_select:
            rows = rows[self._select(X[rows], n_select, rng)]
        return Selection(X[rows], rows)

    @abstractmethod
    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        """`n_select` different row indices of `X`, which has more rows than that, all distinct."""

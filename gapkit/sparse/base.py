"""The contract of a sparse-point selector, and rows that it counts as one: they differ by rounding alone."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from sklearn.base import BaseEstimator

from gapkit.exceptions import DataWarning, InputError
from gapkit.options.checked import Parameters, checked, in_final_types
from gapkit.options.kinds import Count, NotNegative
from gapkit.options.values import between
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Selection:
    """Sparse points (m, d) in the features' units, and of each its row among the candidates; -1: it is none."""

    points: FloatArray
    indices: IntArray

    def __len__(self) -> int:
        return len(self.points)


@dataclass(eq=False, repr=False)
class SparseSelector(Parameters, BaseEstimator):
    """Chooses sparse points for candidates; a subclass writes `_choose`.

    Parameters
    ----------
    duplicate_tolerance : float, default=1e-8
        Rows nearer to each other than this times the largest norm of a row count as one.
    """

    duplicate_tolerance: Annotated[float, between(0.0, 1.0)] = field(default=1e-8, kw_only=True)

    @checked
    def select(self, X: FloatArray, n_select: Count, *, rng: np.random.Generator) -> Selection:
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
        selection = in_final_types(self)._choose(X, n_select, rng)
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


@checked
def distinct_rows(X: FloatArray, tolerance: NotNegative) -> IntArray:
    """Indices, ascending, of the first of each set of rows that agree to within `tolerance`.

    Two rows of X (n, d) agree when their distance is at most `tolerance` >= 0 times the largest norm of any row. Pairs
    are found by sorting a projection on a fixed random direction: rows that agree are neighbours there, to within the
    same distance.
    """
    if len(X) < 2:
        return np.arange(len(X))
    largest = float(np.sqrt(np.einsum("ij,ij->i", X, X).max()))
    reach = tolerance * largest
    # not the caller's generator: the answer must not depend on it
    direction = np.random.default_rng(0).standard_normal(X.shape[1])
    direction /= np.linalg.norm(direction)
    projection = X @ direction
    slack = reach + 1e-13 * largest  # equal rows may be projected with different rounding
    alive = np.argsort(projection, kind="stable")
    shift = 1
    while shift < len(alive):
        t = projection[alive]
        near = np.flatnonzero(t[shift:] - t[:-shift] <= slack)
        if len(near) == 0:
            break
        first, second = alive[near], alive[near + shift]
        removed = np.maximum(first, second)[_distances(X, first, second) <= reach]
        if len(removed):
            alive = alive[~np.isin(alive, removed)]
            shift = 1
        else:
            shift += 1
    return np.sort(alive)


def _distances(X: FloatArray, first: IntArray, second: IntArray, piece: int = 4096) -> FloatArray:
    """|X[first] - X[second]| without holding all pairs at once."""
    out = np.empty(len(first))
    for start in range(0, len(first), piece):
        part = slice(start, start + piece)
        difference = X[first[part]] - X[second[part]]
        out[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return out

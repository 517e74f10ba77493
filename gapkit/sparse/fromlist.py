"""Sparse points that the user gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.options.kinds import Whole
from gapkit.sparse.base import Selection, SparseSelector, distinct_rows
from gapkit.typing import FloatArray


@registered("SparseSelector", "from_list")
@dataclass(eq=False, repr=False)
class FromList(SparseSelector):
    """Takes given points, or given rows of the candidates; the first `n_select` distinct ones, in the order given.

    Parameters
    ----------
    points : array-like of shape (m, d), optional
        The points themselves.
    indices : sequence of int, optional
        Rows of the candidates. Exactly one of `points` and `indices` must be given.
    duplicate_tolerance : as in `SparseSelector`
    """

    points: FloatArray | None = None
    indices: Sequence[Whole] | None = field(default=None, kw_only=True)

    def _choose(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> Selection:
        if (self.points is None) == (self.indices is None):
            raise InputError("FromList needs exactly one of `points` and `indices`")
        if self.indices is not None:
            indices = np.asarray(self.indices, dtype=np.int64).ravel()
            if len(indices) == 0 or indices.min() < 0 or indices.max() >= len(X):
                raise InputError(f"`indices` must be rows of the {len(X)} candidates, 0 to {len(X) - 1}")
            points = X[indices]
        else:
            points = np.array(self.points, dtype=np.float64)
            if points.ndim != 2 or len(points) == 0 or points.shape[1] != X.shape[1] or not np.isfinite(points).all():
                raise InputError(f"`points` must be finite and of shape (m, {X.shape[1]}), got shape {points.shape}")
            indices = np.full(len(points), -1, dtype=np.int64)
        rows = distinct_rows(points, self.duplicate_tolerance)[:n_select]
        return Selection(points[rows], indices[rows])

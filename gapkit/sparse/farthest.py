"""Sparse points by farthest-point sampling."""

from __future__ import annotations

import numpy as np

from gapkit.io.registry import registered
from gapkit.sparse.base import RowSelector
from gapkit.typing import FloatArray, IntArray


@registered("SparseSelector", "farthest_point")
class FarthestPoint(RowSelector):
    """Adds, again and again, the row farthest from all rows chosen so far; the first is drawn by `rng`.

    Own loop rather than scikit-matter's: one matrix-vector product per point and nothing else. Cost n d n_select.

    References
    ----------
    Eldar, Lindenbaum, Porat, Zeevi, IEEE Trans. Image Process. 6, 1305 (1997).
    """

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        X = X - X.mean(axis=0)  # |a|^2 + |b|^2 - 2 a.b loses digits far from the origin
        norms = np.einsum("ij,ij->i", X, X)
        chosen = np.empty(n_select, dtype=np.int64)
        chosen[0] = rng.integers(len(X))
        nearest = np.full(len(X), np.inf)
        for i in range(n_select):
            if i:
                chosen[i] = np.argmax(nearest)
            last = chosen[i]
            np.minimum(nearest, norms + norms[last] - 2.0 * (X @ X[last]), out=nearest)
            nearest[last] = -np.inf
        return chosen

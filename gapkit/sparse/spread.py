"""Sparse points spread over the candidates: farthest-point sampling and clustering."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from gapkit.io.registry import registered
from gapkit.sparse.base import RowSelector
from gapkit.typing import FloatArray, IntArray

_PIECE = 64  # centres compared with all rows at once


@registered("SparseSelector", "farthest_point")
class FarthestPoint(RowSelector):
    """Adds, again and again, the row farthest from all rows chosen so far; the first is drawn by `rng`.

    Own loop rather than scikit-matter's: one matrix-vector product per point and nothing else. Cost n d n_select.

    Source: Eldar, Lindenbaum, Porat, Zeevi, IEEE Trans. Image Process. 6, 1305 (1997).
    """

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        X = X - X.mean(axis=0)  # |a|^2 + |b|^2 - 2 a.b loses digits far from the origin
        norms = np.einsum("ij,ij->i", X, X)
        chosen = np.empty(n_select, dtype=np.int64)
        nearest = np.full(len(X), np.inf)
        for i in range(n_select):
            chosen[i] = last = np.argmax(nearest) if i else rng.integers(len(X))
            np.minimum(nearest, norms + norms[last] - 2.0 * (X @ X[last]), out=nearest)
            nearest[last] = -np.inf
        return chosen


@registered("SparseSelector", "kmeans")
@dataclass(eq=False, repr=False)
class KMeans(RowSelector):
    """Clusters the candidates (mini-batch k-means) and takes the row nearest to each centre.

    A row that is nearest to two centres counts for one; the other takes its next nearest.

    Parameters
    ----------
    batch_size : int, default=2048
        Rows per step of the clustering.
    duplicate_tolerance : as in `SparseSelector`
    """

    batch_size: int = field(default=2048, kw_only=True)

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        batch_size, seed = max(int(self.batch_size), n_select), int(rng.integers(2**31))
        model = MiniBatchKMeans(n_select, batch_size=batch_size, n_init=1, max_iter=20, random_state=seed)
        targets = model.fit(X).cluster_centers_ - X.mean(axis=0)
        centred = X - X.mean(axis=0)
        norms = np.einsum("ij,ij->i", centred, centred)
        free = np.zeros(len(X))
        chosen = np.empty(n_select, dtype=np.int64)
        for start in range(0, n_select, _PIECE):
            squares = norms[:, None] - 2.0 * (centred @ targets[start : start + _PIECE].T)
            for i, column in enumerate(squares.T, start):
                chosen[i] = np.argmin(column + free)
                free[chosen[i]] = np.inf
        return chosen

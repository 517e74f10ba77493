"""Sparse points by clustering."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from gapkit.io.registry import registered
from gapkit.sparse.base import RowSelector
from gapkit.typing import FloatArray, IntArray

_PIECE = 64  # centres compared with all rows at once


@registered("SparseSelector", "kmeans")
class KMeans(RowSelector):
    """Clusters the candidates (mini-batch k-means) and takes the row nearest to each centre.

    A row that is nearest to two centres counts for one; the other takes its next nearest.

    Parameters
    ----------
    batch_size : int, default=2048
        Rows per step of the clustering.
    duplicate_tolerance : float, default=1e-8
        As in `SparseSelector`.
    """

    def __init__(self, *, batch_size: int = 2048, duplicate_tolerance: float = 1e-8) -> None:
        super().__init__(duplicate_tolerance=duplicate_tolerance)
        self.batch_size = batch_size

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        model = MiniBatchKMeans(
            n_select,
            batch_size=max(int(self.batch_size), n_select),
            n_init=1,
            max_iter=20,
            random_state=int(rng.integers(2**31)),
        )
        centres = model.fit(X).cluster_centers_
        centred, targets = X - X.mean(axis=0), centres - X.mean(axis=0)
        norms = np.einsum("ij,ij->i", centred, centred)
        free = np.zeros(len(X))
        chosen = np.empty(n_select, dtype=np.int64)
        for start in range(0, n_select, _PIECE):
            squares = norms[:, None] - 2.0 * (centred @ targets[start : start + _PIECE].T)
            for i, column in enumerate(squares.T, start):
                chosen[i] = np.argmin(column + free)
                free[chosen[i]] = np.inf
        return chosen

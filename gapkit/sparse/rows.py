"""Rows of the candidates as sparse points: drawn uniformly or by leverage (CUR), or spread by distance or clusters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from gapkit.io.registry import registered
from gapkit.options.kinds import Count
from gapkit.sparse.base import RowSelector
from gapkit.typing import FloatArray, IntArray

_DEFAULT_RANK = 60
_PIECE = 64  # centres compared with all rows at once


@registered("SparseSelector", "random")
class Random(RowSelector):
    """Draws distinct rows without replacement, uniformly."""

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        return draw_without_replacement(np.ones(len(X)), n_select, rng)


@registered("SparseSelector", "cur")
@dataclass(eq=False, repr=False)
class CUR(RowSelector):
    """Draws rows in proportion to their leverage on the leading singular subspace of the candidates.

    The leverage of row i is the squared norm of row i of U_k, the k leading left singular vectors of X. Rows that are
    needed to span the data get a leverage near one, rows that are much like many others a small one. X is not centred,
    as the dot-product kernel sees it.

    Source: Mahoney and Drineas, PNAS 106, 697 (2009), eq. 3; Halko, Martinsson and Tropp, SIAM Rev. 53, 217 (2011),
    algorithm 4.4.

    Parameters
    ----------
    rank : int, optional
        k. Default: min(n_select, d, 60), which keeps 20,000 x 5,000 candidates to seconds; ranks of 30 to 200 gave
        errors alike within the spread of seeds for a metal alloy and a molecule.
    duplicate_tolerance : as in `SparseSelector`
    """

    rank: Count | None = field(default=None, kw_only=True)

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        rank = min(n_select, _DEFAULT_RANK) if self.rank is None else self.rank
        return draw_without_replacement(leverage_scores(X, min(rank, *X.shape), rng), n_select, rng)


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

    batch_size: Count = field(default=2048, kw_only=True)

    def _select(self, X: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
        batch_size, seed = max(self.batch_size, n_select), int(rng.integers(2**31))
        model = MiniBatchKMeans(n_select, batch_size=batch_size, n_init=1, max_iter=20, random_state=seed)
        centred, targets = X - X.mean(axis=0), model.fit(X).cluster_centers_ - X.mean(axis=0)
        norms = np.einsum("ij,ij->i", centred, centred)
        free = np.zeros(len(X))
        chosen = np.empty(n_select, dtype=np.int64)
        for start in range(0, n_select, _PIECE):
            squares = norms[:, None] - 2.0 * (centred @ targets[start : start + _PIECE].T)
            for i, column in enumerate(squares.T, start):
                chosen[i] = np.argmin(column + free)
                free[chosen[i]] = np.inf
        return chosen


def leverage_scores(X: FloatArray, rank: int, rng: np.random.Generator) -> FloatArray:
    """Squared row norms of the `rank` leading left singular vectors of X, shape (n,); they sum to the numerical rank.

    Where d is large, X is first projected on a random approximation of its leading right singular subspace, found with
    one power iteration: three products of X with `rank` + 10 columns.
    """
    width = rank + 10
    if X.shape[1] > max(500, 2 * width):
        X = X @ np.linalg.qr(X.T @ (X @ rng.standard_normal((X.shape[1], width))))[0]
    values, vectors = np.linalg.eigh(X.T @ X)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    kept = values > values[0] * np.finfo(np.float64).eps * max(X.shape)
    U = (X @ vectors[:, kept]) / np.sqrt(values[kept])
    return np.einsum("ij,ij->i", U, U)


def draw_without_replacement(probabilities: FloatArray, n_select: int, rng: np.random.Generator) -> IntArray:
    """`n_select` indices with chances in proportion to `probabilities` (Efraimidis and Spirakis, 2006).

    Entries that are zero are drawn only when all others are used up.
    """
    exponentials = rng.exponential(size=len(probabilities))
    keys = np.full(len(probabilities), np.inf)
    np.divide(exponentials, probabilities, out=keys, where=probabilities > 0)
    return np.sort(np.lexsort((exponentials, keys))[:n_select])

"""Whitened principal coordinates of descriptor vectors, and nearest neighbours in them.

The vectors of one species are centred and divided by their standard deviations along the leading principal axes:
Euclidean distances there are Mahalanobis distances (source: Mahalanobis, Proc. Natl. Inst. Sci. India 2, 49 (1936)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from gapkit.io.arrays import Array
from gapkit.parallel import look
from gapkit.typing import FloatArray, IntArray

Vectors = dict[int, tuple[IntArray, FloatArray]]
"""By species: atoms and their descriptor vectors (n, d)."""

# Number of principal axes, and the smallest standard deviation of an axis as a part of the largest.
N_AXES = 12
SMALLEST = 1e-4
ROUNDING = 1e-6
NO_FRAME = -2  # of a query from outside the reference set
QUERIES = 32  # at a time
AT_ONCE = 1000  # queries between which an interrupt is obeyed
FEW = 7  # points of the query's own frame that are looked at first


WHITENING = {"mean": Array(("d",)), "axes": Array(("d", "axes"))}
FRAMES = Array(("n",), NO_FRAME, whole=True)


@dataclass(frozen=True, eq=False)
class Whitening:
    """z = axes^T (x - mean)."""

    mean: FloatArray  # (d,)
    axes: FloatArray  # (d, r) principal axes over the standard deviations along them, the largest first

    @classmethod
    def of(cls, x: FloatArray) -> Whitening:
        """From the vectors (n, d) of a sample."""
        mean = x.mean(axis=0)
        values, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / max(len(x) - 1, 1))
        # where all are alike, anything that differs by more than rounding is far
        values, vectors = np.maximum(values[::-1], ROUNDING**2 * (mean @ mean) + 1e-300), vectors[:, ::-1]
        n_axes = int(np.count_nonzero(values[:N_AXES] > SMALLEST**2 * values[0]))
        return cls(mean, vectors[:, :n_axes] / np.sqrt(values[:n_axes]))

    def __call__(self, x: FloatArray) -> FloatArray:
        """Coordinates (n, r) of vectors (n, d)."""
        return np.asarray((x - self.mean) @ self.axes)

    def turned(self, B: FloatArray) -> Whitening:
        """The same coordinates from other vectors x' (n, d'), x = x' B with orthonormal columns B (d', d)."""
        return Whitening(B @ self.mean, B @ self.axes)


def nearest(points: FloatArray, squares: FloatArray, queries: FloatArray) -> tuple[FloatArray, IntArray]:
    """Distance (n,) of queries (n, r) to the nearest of some points (m, r), of squared norms (m,), and its index.

    By matrix products, a few queries at a time: in a dozen dimensions a tree looks at most of the points as well, one
    after another.
    """
    found, indices = np.empty(len(queries)), np.empty(len(queries), np.int64)
    for start in range(0, len(queries), QUERIES):
        some = queries[start : start + QUERIES]
        indices[start : start + QUERIES] = which = np.argmin(squares - (2.0 * some) @ points.T, axis=1)
        found[start : start + QUERIES] = np.linalg.norm(some - points[which], axis=1)
    return found, indices


def _query(tree: cKDTree, queries: FloatArray, k: int) -> tuple[FloatArray, IntArray]:
    """Distances and indices (n, k) of the nearest points, some queries at a time."""
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.intp)
    for start in range(0, len(queries), AT_ONCE):
        look()
        some = slice(start, start + AT_ONCE)
        distances[some], indices[some] = tree.query(queries[some], k=np.arange(1, k + 1))
    return distances, indices


def nearest_others(
    points: FloatArray, frames: IntArray, queries: FloatArray, own: IntArray, k: int
) -> tuple[FloatArray, IntArray]:
    """Distances and indices (n, k) of the nearest points of other frames than the query's own.

    With fewer than k of them the distance is infinite and the index len(points).
    """
    tree = cKDTree(points)
    distances = np.full((len(queries), k), np.inf)
    indices = np.full((len(queries), k), len(points))
    met = np.unique(own)
    counts = np.bincount(frames[np.isin(frames, met) & (frames >= 0)], minlength=1)
    enough = min(len(points), k + int(counts.max()))  # so many hold k others, whatever the frame
    left, wanted = np.arange(len(queries)), min(enough, k + (FEW if counts.any() else 0))
    while len(left):
        near, found = _query(tree, queries[left], wanted)
        strange = frames[found] != own[left, None]
        done = (strange.sum(axis=1) >= k) | (wanted == enough)
        order = np.argsort(~strange, axis=1, kind="stable")[done, :k]
        near = np.take_along_axis(np.where(strange, near, np.inf)[done], order, axis=1)
        found = np.where(np.isfinite(near), np.take_along_axis(found[done], order, axis=1), len(points))
        distances[left[done], : order.shape[1]], indices[left[done], : order.shape[1]] = near, found
        left, wanted = left[~done], min(enough, 4 * wanted)
    return distances, indices

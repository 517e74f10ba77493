"""Kinds of structures: the groups of frames at whose level error bars must hold.

Kinds are configuration types where they are named, and clusters of average neighbourhoods where all frames bear one
name, or nearly each its own.  Source: MacQueen, Proc. 5th Berkeley Symp. 1, 281 (1967), k-means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.typing import BoolArray, FloatArray, IntArray

# Frames of a cluster on average, and the most clusters.
FRAMES_OF_A_CLUSTER, MOST_CLUSTERS = 25, 8
# Fewest frames of a kind that tell what is usual in it.
COMMON = 20
# Names beyond so many, or of fewer frames on average, are no kinds; and the most groups that are left out.
MOST_NAMES, FRAMES_OF_A_NAME = 50, 3
MOST_GROUPS = 8

NONE = -1  # no kind is known


@dataclass(frozen=True, eq=False)
class Kinds:
    """The kind of every frame."""

    of_frame: IntArray  # (n_frames,), index of its name, or -1
    names: tuple[str, ...]

    @classmethod
    def of(cls, config_types: Sequence[str], averages: FloatArray, frames: IntArray) -> Kinds:
        """From names (n_frames,), or averages (n, r) of some frames (n,) where the names tell no kinds."""
        names, of_frame = np.unique(np.asarray(config_types, dtype=str), return_inverse=True)
        n_clusters = int(np.clip(len(averages) // FRAMES_OF_A_CLUSTER, 1, MOST_CLUSTERS))
        if 1 < len(names) <= min(MOST_NAMES, len(of_frame) // FRAMES_OF_A_NAME):
            return cls(of_frame.astype(np.int64), tuple(names.tolist()))
        if n_clusters == 1:
            return cls(np.zeros(len(of_frame), np.int64), (str(names[0]) if len(names) == 1 else "all",))
        of_some = _clusters(averages, n_clusters)
        of_frame = np.full(len(config_types), NONE)
        of_frame[frames] = of_some
        return cls(of_frame, tuple(f"cluster {k + 1}" for k in range(int(of_some.max()) + 1)))

    @property
    def common(self) -> BoolArray:
        """Mask (n_frames,) of the frames whose kind has at least twenty; of all where none has."""
        sizes = np.bincount(self.of_frame[self.of_frame != NONE], minlength=1)
        found = (sizes[self.of_frame] >= COMMON) & (self.of_frame != NONE)
        return np.asarray(found if found.any() else np.ones(len(found), bool))

    def some_of_each_first(self, order: IntArray, n: int) -> IntArray:
        """Frames in this order, but the first `n` of each kind before all others."""
        kinds = self.of_frame[order]
        by_kind = np.argsort(kinds, kind="stable")
        starts = np.searchsorted(kinds[by_kind], kinds[by_kind])
        place = np.empty(len(order), np.int64)
        place[by_kind] = np.arange(len(order)) - starts
        return np.asarray(order[np.argsort(place >= n, kind="stable")])

    def groups(self) -> list[tuple[str, IntArray]]:
        """Names of the kinds, and their frames, ascending."""
        return [(name, np.flatnonzero(self.of_frame == kind)) for kind, name in enumerate(self.names)]


def _clusters(averages: FloatArray, n_clusters: int) -> IntArray:
    """Number (n,) of the cluster of each."""
    from sklearn.cluster import KMeans  # slow to import

    n_clusters = min(n_clusters, len(np.unique(averages.round(9), axis=0)))
    found = KMeans(n_clusters, n_init=4, random_state=0).fit_predict(averages)
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def groups_to_leave_out(
    kinds: Kinds, points: FloatArray, frames: IntArray, n_atoms: IntArray, most: int, budget: int,
    rng: np.random.Generator,
) -> list[tuple[str, IntArray]]:  # fmt: skip
    """Up to eight groups of frames, each to be left out together, of up to `most` atoms each and `budget` together.

    A group is a kind, or of a larger one a cluster of similar frames, the one farthest from the others.  `points`
    (n, r) are averages of the frames `frames` (n,); `n_atoms` (n_frames,) are those of all frames.
    """
    row_of = np.full(len(kinds.of_frame), NONE)
    row_of[frames] = np.arange(len(frames))
    groups = kinds.groups()
    chosen: list[tuple[str, IntArray]] = []
    left = budget
    for k in rng.permutation(len(groups)):
        if len(chosen) == MOST_GROUPS or left <= 0:
            break
        name, own = groups[k]
        if n_atoms[own].sum() > min(most, budget):
            own = own[row_of[own] != NONE]
            own = _farthest_part(points[row_of[own]], own, n_atoms, min(most, max(budget // 2, 1)))
            name += ", a part"
        size = int(n_atoms[own].sum())
        if 0 < size <= min(most, left) and len(own) < len(kinds.of_frame):
            chosen.append((name, own))
            left -= size
    return chosen


def _farthest_part(points: FloatArray, frames: IntArray, n_atoms: IntArray, most: int) -> IntArray:
    """Of clusters of the frames those of the cluster, of up to `most` atoms, whose centre is farthest from all."""
    n_clusters = min(int(n_atoms[frames].sum() // most) + 2, len(frames))
    if n_clusters < 2:
        return frames[:0]
    of_frame = _clusters(points, n_clusters)
    apart = {}
    for k in range(int(of_frame.max()) + 1):
        own = of_frame == k
        if n_atoms[frames[own]].sum() <= most and not own.all():
            apart[k] = float(np.linalg.norm(points[own].mean(axis=0) - points[~own].mean(axis=0)))
    return frames[of_frame == max(apart, key=lambda k: apart[k])] if apart else frames[:0]

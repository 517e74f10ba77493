"""Frames whose average neighbourhood is unlike that of any training frame.

Every atom of a strained crystal may look like some atom of a hot one, and yet the crystal is like no frame that is
known: all its atoms are displaced alike.  The average over the N atoms of a frame shows it, as thermal motion moves it
by no more than its standard error.  The sign of a frame is

    d / sqrt(s^2 + e^2),

d the distance of its average to the nearest training frame's, s the usual distance between training frames there
(median over the five nearest of the distance of each to its own fifth), and e the standard error of its average, from
the scatter of its own atoms; where e is larger than that of the training frames there, the excess counts nine times.
Source: Breunig et al., Proc. SIGMOD 93 (2000), local outlier factor, here with e.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from gapkit.io.arrays import Array, Arrays
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.neighbourhoods import FRAMES, Vectors
from gapkit.uncertainty.tail import Tail

# Axes in which averages are remembered, the smallest spread along one as a part of the largest, and the frames that
# tell how dense training frames are.
N_AXES, SMALLEST = 32, 1e-3
N_NEAREST = 5
# Spacings below this part of their median are those of near-twins.
RESOLUTION = 0.1
NO_KIND = -1
# Squared standard errors that the average of a frame is allowed beyond those of the training frames there: it has fewer
# atoms than they, or hotter ones.
SMALL_FRAMES = 8.0
POINTS = ("points", "spacings", "squared_errors", "frames", "kinds")

AVERAGES = {
    "points": Array(("n", "axes")), "spacings": Array(("n",), 0.0), "frames": FRAMES,
    "squared_errors": Array(("n",), 0.0),
    "kinds": Array(("n",), -1, whole=True),
    "tail": Array((3,), 0.0, above=True),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FrameAverages:
    """Sums over the atoms of frames, per atom, by species; zeros for a species that a frame lacks."""

    means: dict[int, FloatArray]  # by species (n_frames, d)
    squared_errors: FloatArray  # (n_frames,), squared standard error of the average, all components together

    @classmethod
    def of(cls, vectors: Vectors, frame_of_atom: IntArray, n_frames: int) -> FrameAverages:
        """From the vectors of all atoms; the scatter is that within each species."""
        n_atoms = np.maximum(np.bincount(frame_of_atom, minlength=n_frames), 1)
        means, scatter = {}, np.zeros(n_frames)
        for z, (atoms, x) in vectors.items():
            frames = frame_of_atom[atoms]
            sums, counts = np.zeros((n_frames, x.shape[1])), np.bincount(frames, minlength=n_frames)
            order = np.argsort(frames, kind="stable")
            present, starts = np.unique(frames[order], return_index=True)
            if len(present):
                sums[present] = np.add.reduceat(x[order], starts)
            squares = np.bincount(frames, np.einsum("nd,nd->n", x, x), minlength=n_frames)
            scatter += squares - np.einsum("nd,nd->n", sums, sums) / np.maximum(counts, 1)
            means[z] = sums / n_atoms[:, None]
        return cls(means, np.maximum(scatter, 0.0) / n_atoms**2)

    def take(self, frames: IntArray) -> FrameAverages:
        """Those of some frames."""
        return FrameAverages({z: part[frames] for z, part in self.means.items()}, self.squared_errors[frames])

    @property
    def joined(self) -> FloatArray:
        """All species side by side, (n_frames, d)."""
        return np.hstack(list(self.means.values()))

    @classmethod
    def join(cls, parts: list[FrameAverages]) -> FrameAverages:
        """Those of frames one part after another."""
        means = {z: np.concatenate([part.means[z] for part in parts]) for z in parts[0].means}
        return cls(means, np.concatenate([part.squared_errors for part in parts]))


@dataclass(frozen=True, eq=False)
class KnownAverages:
    """Average neighbourhoods of training frames."""

    means: dict[int, FloatArray]  # by species (d,), the origin of `axes`
    axes: dict[int, FloatArray]  # by species (d, r); orthonormal columns of all species together
    points: FloatArray  # (n, r)
    spacings: FloatArray  # (n,), distance to the fifth nearest other one
    squared_errors: FloatArray  # (n,), those of `FrameAverages`
    frames: IntArray  # (n,), training frame of each
    kinds: IntArray  # (n,), index of its kind, or -1
    tail: Tail  # of the sign of training frames compared with all others

    @classmethod
    def of(cls, averages: FrameAverages, frames: IntArray) -> KnownAverages:
        """From averages of the training frames `frames` (n,), which all set the threshold."""
        species, sizes = list(averages.means), [part.shape[1] for part in averages.means.values()]
        X = averages.joined
        mean = X.mean(axis=0)
        from sklearn.utils.extmath import randomized_svd  # slow to import

        _, spread, directions = randomized_svd(X - mean, min(N_AXES, *X.shape), random_state=0)
        n_axes = max(int(np.count_nonzero(spread > SMALLEST * spread[0])), 1)
        axes = directions[:n_axes].T
        ends = np.cumsum(sizes)[:-1]
        known = cls(
            {z: part.copy() for z, part in zip(species, np.split(mean, ends), strict=True)},
            {z: part.copy() for z, part in zip(species, np.split(axes, ends), strict=True)},
            (X - mean) @ axes, np.zeros(len(X)), averages.squared_errors, frames, np.full(len(X), NO_KIND),
            Tail.of(np.ones(1)),
        )  # fmt: skip
        return replace(known, spacings=known._nearest()[0][:, -1]).learned(averages, np.ones(len(frames), bool))

    def learned(self, averages: FrameAverages, common: BoolArray, kinds: IntArray | None = None) -> KnownAverages:
        """With the threshold of the mask `common` (n,) of its frames, whose averages are given, and kinds (n,)."""
        distances, nearest = self._nearest()
        signs = self._signs(distances[:, 0], nearest, averages.squared_errors)
        kinds = self.kinds if kinds is None else kinds
        return replace(self, kinds=kinds, tail=Tail.of(signs[common] if common.any() else signs))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)

    def _nearest(self) -> tuple[FloatArray, IntArray]:
        """Distances and indices (n, k) of the nearest others of every point."""
        k = min(N_NEAREST, len(self.points) - 1)
        if k == 0:
            return np.zeros((len(self.points), 1)), np.zeros((len(self.points), 1), np.int64)
        distances, nearest = self._tree.query(self.points, k=np.arange(2, k + 2))
        return distances, nearest

    def signs(self, averages: FrameAverages) -> tuple[FloatArray, IntArray]:
        """The sign (n_frames,), not yet over its threshold, and the kind of the nearest training frame of each."""
        projected, squares = self._projected(averages)
        beyond = np.maximum(squares - np.einsum("nr,nr->n", projected, projected), 0.0)  # no training frame is there
        distances, nearest = self._tree.query(projected, k=min(N_NEAREST, len(self.points)))
        distances, nearest = distances.reshape(len(projected), -1), nearest.reshape(len(projected), -1)
        found = self._signs(np.sqrt(distances[:, 0] ** 2 + beyond), nearest, averages.squared_errors)
        return found, self.kinds[nearest[:, 0]]

    def _projected(self, averages: FrameAverages) -> tuple[FloatArray, FloatArray]:
        """Coordinates (n, r) of averages, and squared distances (n,) from the origin in all features."""
        n = len(averages.squared_errors)
        projected, squares = np.zeros((n, self.points.shape[1])), np.zeros(n)
        for z, mean in self.means.items():
            apart = averages.means[z] - mean if z in averages.means else np.tile(-mean, (n, 1))
            projected += apart @ self.axes[z]
            squares += np.einsum("nd,nd->n", apart, apart)
        return projected, squares

    def _signs(self, distances: FloatArray, nearest: IntArray, squared_errors: FloatArray) -> FloatArray:
        usual, usual_error = (np.median(part[nearest], axis=1) for part in (self.spacings, self.squared_errors))
        smallest = RESOLUTION * np.median(self.spacings) + 1e-12
        larger = np.maximum(squared_errors - usual_error, 0.0)
        return np.asarray(distances / np.sqrt(usual**2 + squared_errors + SMALL_FRAMES * larger + smallest**2))

    def without(self, frames: IntArray) -> KnownAverages:
        """Without some training frames; the threshold stays as it is."""
        left = ~np.isin(self.frames, frames)
        parts = {name: getattr(self, name)[left] for name in POINTS}
        return replace(self, **parts)

    def turned(self, maps: dict[int, FloatArray]) -> KnownAverages:
        """For other vectors x' with x = x' B; B (d', d) by species, with orthonormal columns."""
        means, axes = (
            {z: maps[z] @ part if z in maps else part for z, part in of_species.items()}
            for of_species in (self.means, self.axes)
        )
        return replace(self, means=means, axes=axes)

    def with_known(self, averages: FrameAverages, frames: IntArray) -> KnownAverages:
        """With further training frames; the threshold stays as it is."""
        points = np.concatenate([self.points, self._projected(averages)[0]])
        known = replace(
            self, points=points, frames=np.concatenate([self.frames, frames]),
            kinds=np.concatenate([self.kinds, np.full(len(frames), NO_KIND)]),
            squared_errors=np.concatenate([self.squared_errors, averages.squared_errors]),
        )  # fmt: skip
        return replace(known, spacings=known._nearest()[0][:, -1])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays."""
        arrays = {name: getattr(self, name) for name in POINTS}
        arrays["tail"] = self.tail.to_array()
        for z in self.means:
            arrays |= {f"mean_{z}": self.means[z], f"axes_{z}": self.axes[z]}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, dimensions: Mapping[int, int]) -> KnownAverages | None:
        """The averages whose `to_arrays` gave these, None where there are none."""
        if "points" not in arrays:
            return None
        own = arrays.of(AVERAGES)
        points, spacings, squared_errors, frames, kinds = (own[name] for name in POINTS)
        means, axes = {}, {}
        for z, d in dimensions.items():
            of_species = arrays.of({"mean": Array((d,)), "axes": Array((d, points.shape[1]))}, suffix=f"_{z}")
            if "mean" in of_species:
                means[z], axes[z] = of_species["mean"], of_species["axes"]
        return cls(means, axes, points, spacings, squared_errors, frames, kinds, Tail.from_array(own["tail"]))

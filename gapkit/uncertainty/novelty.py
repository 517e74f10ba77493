"""Extrapolation: atoms unlike the training set.

Three signs of an atom, the first two with a threshold for every species, and one of a frame:

novelty    part of the prior variance that the sparse points cannot see;
distance   Mahalanobis distance to the nearest neighbourhood of the training set, in the leading whitened axes;
pair       distance of two atoms over the shortest one of their species in the training set;
average    distance of the frame's average neighbourhood to the nearest one of the training set (`averages`).

Novelties, distances and averages are told over their thresholds, everywhere: above 1 is extrapolation.  Thresholds are
quantiles (`tail`) over configurations left out, at one minus the rate of false alarms.  They are those of common kinds
of structure (`kinds`): a member of a rare kind that is left out is itself novel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.arrays import Array, Arrays, ascending
from gapkit.io.values import ELEMENTS
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.averages import NO_KIND, FrameAverages, KnownAverages
from gapkit.uncertainty.extrapolation import Extrapolation, closeness
from gapkit.uncertainty.neighbourhoods import FRAMES, WHITENING, Vectors, Whitening, nearest, nearest_others
from gapkit.uncertainty.tail import TAIL, Tail

# Default rate of flagged atoms in structures like the training set.
FALSE_ALARM = 1e-3
# Rate of frames flagged by their average, over that of atoms.
FRAMES_PER_ATOM = 5.0
# Bound of thresholds: a few odd configurations must not hide all others.
LARGEST_NOVELTY = 0.5


def _are_pairs(pairs: np.ndarray) -> bool:
    species = pairs[:, :2]
    return bool((species == np.rint(species)).all() and (species <= ELEMENTS).all() and ascending(species))


DETECTOR = {
    "species": Array(("species",), 1, ELEMENTS, whole=True),
    "pairs": Array(("pairs", 3), 0.0, above=True, rule=("two atomic numbers, ascending, and a distance", _are_pairs)),
}
KNOWN = {"points": Array(("n", "axes")), "frames": FRAMES, "tails": Array((2, 3), 0.0, above=True)}
NO_ATOM = -1  # unknown: files of before told the frame alone
ATOMS = {"atoms": Array(("n",), NO_ATOM, whole=True)}


@dataclass(frozen=True, eq=False)
class KnownSpecies:
    """Neighbourhoods of one species in the training set."""

    whitening: Whitening
    points: FloatArray  # (n, r) whitened vectors of (a sample of) its atoms
    frames: IntArray  # (n,)
    atoms: IntArray  # (n,), within their frames
    novelty: Tail
    distance: Tail

    @classmethod
    def of(
        cls, x: FloatArray, frames: IntArray, novelty: FloatArray, atoms: IntArray | None = None,
        common: BoolArray | None = None,
    ) -> KnownSpecies:  # fmt: skip
        """From vectors (n, d), their frames and atoms, and novelties (m,) without the own configuration.

        The mask `common` (n,) has the atoms whose distances set the threshold.
        """
        whitening = Whitening.of(x)
        points = whitening(x)
        some = slice(None) if common is None or not common.any() else common
        distance, _ = nearest_others(points, frames, points[some], frames[some], 1)
        known = distance[np.isfinite(distance)]
        atoms = np.full(len(frames), NO_ATOM) if atoms is None else atoms
        return cls(whitening, points, frames, atoms, Tail.of(novelty), Tail.of(known if len(known) else np.ones(1)))

    @cached_property
    def _squares(self) -> FloatArray:
        return np.einsum("nr,nr->n", self.points, self.points)

    def nearest(self, x: FloatArray) -> tuple[FloatArray, IntArray]:
        """Distance (n,) of vectors (n, d) to the nearest known one, in standard deviations of the training set.

        And its index among the `points`.
        """
        return nearest(self.points, self._squares, self.whitening(x))


@dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """Thresholds of a fitted model."""

    species: dict[int, KnownSpecies]  # by atomic number; empty without an atomic term
    pairs: dict[tuple[int, int], float]  # smallest distance in Å of each pair (ascending) in the training set
    averages: KnownAverages | None = None  # none without an atomic term, and in files of before

    def thresholds(self, false_alarm: float = FALSE_ALARM) -> dict[int, tuple[float, float]]:
        """Novelty (no unit) and distance (standard deviations) by species, which share the rate of false alarms."""
        if not 0.0 < false_alarm <= TAIL:
            raise InputError(f"`false_alarm` must be > 0 and at most {TAIL}, got {false_alarm!r}")
        rate = 0.5 * false_alarm
        return {
            z: (min(known.novelty.threshold(rate), LARGEST_NOVELTY), known.distance.threshold(rate))
            for z, known in self.species.items()
        }

    def relative(self, numbers: IntArray, unseen: FloatArray, false_alarm: float = FALSE_ALARM) -> FloatArray:
        """Novelty (n_atoms,) over its threshold, from the part `unseen` (n_atoms,) of the prior variance.

        Infinite for species without a threshold, NaN without an atomic term.
        """
        novelty = np.full(len(numbers), np.inf if self.species else np.nan)
        for z, (limit, _) in self.thresholds(false_alarm).items():
            own = numbers == z
            novelty[own] = unseen[own] / limit
        return novelty

    def closest(self, z1: IntArray, z2: IntArray, unknown: float) -> FloatArray:
        """Smallest known distance (n,) in Å of pairs of species (n,); `unknown` where there is none."""
        table = np.full((ELEMENTS + 1, ELEMENTS + 1), unknown)
        for (one, other), distance in self.pairs.items():
            table[one, other] = table[other, one] = distance
        return np.asarray(table[z1, z2])

    def average_threshold(self, false_alarm: float = FALSE_ALARM) -> float:
        """What `KnownAverages.signs` of a frame like the training set seldom exceeds; infinite without averages."""
        return np.inf if self.averages is None else self.averages.tail.threshold(FRAMES_PER_ATOM * false_alarm)

    def detect(
        self, numbers: IntArray, unseen: FloatArray, vectors: Vectors, pair: FloatArray, frame_of_atom: IntArray,
        n_frames: int, false_alarm: float = FALSE_ALARM,
    ) -> Extrapolation:  # fmt: skip
        """Compare atoms with the thresholds; `pair` is that of `Extrapolation`, `unseen` that of `relative`."""
        relative, distance = self.relative(numbers, unseen, false_alarm), np.full(len(numbers), np.nan)
        nearest_frame, nearest_atom = np.full((2, len(numbers)), NO_ATOM)
        for z, (_, far) in self.thresholds(false_alarm).items():
            if z in vectors:
                atoms, x = vectors[z]
                found, which = self.species[z].nearest(x)
                distance[atoms] = found / far
                nearest_frame[atoms], nearest_atom[atoms] = self.species[z].frames[which], self.species[z].atoms[which]
        average, kinds = np.full(n_frames, np.nan), np.full(n_frames, NO_KIND)
        if self.averages is not None:
            signs, kinds = self.averages.signs(FrameAverages.of(vectors, frame_of_atom, n_frames))
            average = signs / self.average_threshold(false_alarm)
        flagged = (relative > 1.0) | (distance > 1.0) | (closeness(pair) > 1.0)  # unknown species: infinite novelty
        frames = (np.bincount(frame_of_atom[flagged], minlength=n_frames) > 0) | (average > 1.0)
        return Extrapolation(
            relative, distance, pair, average, flagged, frames, false_alarm, numbers, frame_of_atom, nearest_frame,
            nearest_atom, flagged | (average > 1.0)[frame_of_atom], kinds,
        )  # fmt: skip

    def with_known(
        self, vectors: Vectors, frame_of_atom: IntArray, n_frames: int, first: int,
        pairs: dict[tuple[int, int], float],
    ) -> NoveltyDetector:  # fmt: skip
        """With the neighbourhoods, averages and closest pairs of new training frames, the first of number `first`.

        Thresholds stay as they are; species without any stay unknown.
        """
        species = dict(self.species)
        starts = np.searchsorted(frame_of_atom, np.arange(n_frames))
        for z, (own, x) in vectors.items():
            if (known := species.get(z)) is not None:
                frames = frame_of_atom[own]
                species[z] = replace(
                    known, points=np.concatenate([known.points, known.whitening(x)]),
                    frames=np.concatenate([known.frames, first + frames]),
                    atoms=np.concatenate([known.atoms, own - starts[frames]]),
                )  # fmt: skip
        averages = self.averages
        if averages is not None:
            new = FrameAverages.of(vectors, frame_of_atom, n_frames)
            averages = averages.with_known(new, first + np.arange(n_frames))
        closest = {pair: min(pairs.get(pair, np.inf), self.pairs.get(pair, np.inf)) for pair in pairs | self.pairs}
        return NoveltyDetector(species, closest, averages)

    def turned(self, maps: dict[int, FloatArray]) -> NoveltyDetector:
        """For other vectors x' with x = x' B; B (d', d) by species, with orthonormal columns."""
        species = {
            z: replace(known, whitening=known.whitening.turned(maps[z])) if z in maps else known
            for z, known in self.species.items()
        }
        return NoveltyDetector(species, self.pairs, self.averages and self.averages.turned(maps))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays."""
        arrays: dict[str, np.ndarray] = {
            "pairs": np.array([[a, b, d] for (a, b), d in self.pairs.items()]).reshape(-1, 3),
            "species": np.array(list(self.species), np.int64),
        }
        for z, known in self.species.items():
            arrays[f"tails_{z}"] = np.array([known.novelty.to_array(), known.distance.to_array()])
            arrays[f"mean_{z}"], arrays[f"axes_{z}"] = known.whitening.mean, known.whitening.axes
            arrays[f"points_{z}"], arrays[f"frames_{z}"] = known.points, known.frames
            arrays[f"atoms_{z}"] = known.atoms
        if self.averages is not None:
            arrays |= {f"average_{name}": array for name, array in self.averages.to_arrays().items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays, dimensions: Mapping[int, int]) -> NoveltyDetector:
        """The detector whose `to_arrays` gave these; `dimensions` are the lengths of vectors by species.

        InputError where they are not those of a detector.
        """
        whole, species = arrays.of(DETECTOR), {}
        for z in whole["species"].tolist():
            if z not in dimensions:
                raise InputError(f"`species` of the detector must have an atomic term, got {z}")
            own = arrays.of({**WHITENING, **KNOWN, **ATOMS}, suffix=f"_{z}", d=dimensions[z])
            whitening, points, frames = Whitening(own["mean"], own["axes"]), own["points"], own["frames"]
            atoms = np.full(len(points), NO_ATOM) if (found := own.optional("atoms")) is None else found
            species[z] = KnownSpecies(whitening, points, frames, atoms, *map(Tail.from_array, own["tails"]))
        pairs = {(int(a), int(b)): float(d) for a, b, d in whole["pairs"]}
        return cls(species, pairs, KnownAverages.from_arrays(arrays.of({}, "average_"), dimensions))

"""Extrapolation: atoms unlike the training set.

Three signs, each with a threshold for every species:

novelty    part of the prior variance that the sparse points cannot see;
distance   Mahalanobis distance to the nearest neighbourhood of the training set, in the leading whitened axes;
pair       distance of two atoms over the shortest one of their species in the training set.

Novelties and distances are told over their thresholds, everywhere: above 1 is extrapolation.  The first two thresholds
are quantiles over the atoms of configurations left out, at one minus the rate of false alarms.
Small rates are beyond the sample: its upper tail is a power law (source: Weissman, J. Am. Stat. Assoc. 73, 812 (1978),
with Hill's estimate of the exponent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.arrays import Array, Arrays, ascending
from gapkit.io.values import ELEMENTS
from gapkit.printing import columns
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.neighbourhoods import FRAMES, WHITENING, Whitening, nearest, nearest_others

# Default rate of flagged atoms in structures like the training set.
FALSE_ALARM = 1e-3
# Upper tail as a part of the sample, and the fewest values of an estimate of its exponent.
TAIL, MIN_TAIL = 0.05, 8
# Bounds of exponents and thresholds: a few odd configurations must not hide all others.
LARGEST_EXPONENT, LARGEST_NOVELTY = 3.0, 0.5
# Novelties and distances of twins are zero but for rounding.
ROUNDING = 1e-12
# Pairs closer by this part than any pair of the training set are too close.
PAIR_MARGIN = 0.02


def _are_pairs(pairs: np.ndarray) -> bool:
    species = pairs[:, :2]
    return bool((species == np.rint(species)).all() and (species <= ELEMENTS).all() and ascending(species))


DETECTOR = {
    "species": Array(("species",), 1, ELEMENTS, whole=True),
    "pairs": Array(("pairs", 3), 0.0, above=True, rule=("two atomic numbers, ascending, and a distance", _are_pairs)),
}
KNOWN = {"points": Array(("n", "axes")), "frames": FRAMES, "tails": Array((2, 3), 0.0, above=True)}


@dataclass(frozen=True)
class Tail:
    """P(value > start (1 / q)^exponent) = part * q for q <= 1."""

    part: float
    start: float
    exponent: float

    @classmethod
    def of(cls, values: FloatArray) -> Tail:
        """From a sample (n,) of values >= 0."""
        ordered = np.sort(np.maximum(values, ROUNDING))[::-1]
        if len(ordered) < 2:
            return cls(1.0, float(ordered[0]) if len(ordered) else ROUNDING, 1.0)
        n_tail = min(max(int(TAIL * len(ordered)), MIN_TAIL), len(ordered) - 1)
        start = ordered[n_tail]
        exponent = float(np.mean(np.log(ordered[:n_tail] / start)))
        return cls(n_tail / len(ordered), float(start), float(np.clip(exponent, 1e-3, LARGEST_EXPONENT)))

    def threshold(self, rate: float) -> float:
        """Quantile at 1 - `rate`; the start of the tail for larger rates."""
        return self.start * max(self.part / rate, 1.0) ** self.exponent


@dataclass(frozen=True, eq=False)
class KnownSpecies:
    """Neighbourhoods of one species in the training set."""

    whitening: Whitening
    points: FloatArray  # (n, r) whitened vectors of (a sample of) its atoms
    frames: IntArray  # (n,)
    novelty: Tail
    distance: Tail

    @classmethod
    def of(cls, x: FloatArray, frames: IntArray, novelty: FloatArray) -> KnownSpecies:
        """From vectors (n, d), their frames, and novelties (m,) without the own configuration."""
        whitening = Whitening.of(x)
        points = whitening(x)
        distance, _ = nearest_others(points, frames, points, frames, 1)
        known = distance[np.isfinite(distance)]
        return cls(whitening, points, frames, Tail.of(novelty), Tail.of(known if len(known) else np.ones(1)))

    @cached_property
    def _squares(self) -> FloatArray:
        return np.einsum("nr,nr->n", self.points, self.points)

    def distances(self, x: FloatArray) -> FloatArray:
        """Distance (n,) of vectors (n, d) to the nearest known one, in standard deviations of the training set."""
        return nearest(self.points, self._squares, self.whitening(x))


@dataclass(frozen=True, eq=False, repr=False)
class Extrapolation:
    """Signs of extrapolation of the atoms of a batch.

    Attributes
    ----------
    novelty, distance : ndarray (n_atoms,)
        In units of their thresholds: above 1 is extrapolation.  NaN without an atomic term.
    pair : ndarray (n_atoms,)
        Distance over the shortest one of its species in the training set, smallest over the neighbours; below 0.98 is
        extrapolation.  Infinite without neighbours.
    atoms : ndarray (n_atoms,) of bool
        Mask of atoms with any of the three signs.
    frames : ndarray (n_frames,) of bool
        Mask of frames with such an atom.
    false_alarm : float
        Rate of flagged atoms in structures like the training set.
    """

    novelty: FloatArray
    distance: FloatArray
    pair: FloatArray
    atoms: BoolArray
    frames: BoolArray
    false_alarm: float

    def __repr__(self) -> str:
        signs = {
            "novelty": (self.novelty > 1.0, np.max, self.novelty, "threshold"),
            "distance": (self.distance > 1.0, np.max, self.distance, "threshold"),
            "pair": (self.pair < 1.0 - PAIR_MARGIN, np.min, self.pair, "closest known"),
        }
        rows = []
        for name, (flags, extreme, values, of) in signs.items():
            known = values[~np.isnan(values)]
            most = f"{extreme(known):.3g} of the {of}" if len(known) else "-"
            rows.append((name, f"{np.count_nonzero(flags)}", most))
        head = (
            f"extrapolation: {np.count_nonzero(self.atoms)} of {len(self.atoms)} atoms in "
            f"{np.count_nonzero(self.frames)} of {len(self.frames)} frames are unlike the training set (false alarms: "
            f"{self.false_alarm:g})"
        )
        return "\n".join([head, *columns(("sign", "atoms", "most extreme"), rows)])


@dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """Thresholds of a fitted model."""

    species: dict[int, KnownSpecies]  # by atomic number; empty without an atomic term
    pairs: dict[tuple[int, int], float]  # smallest distance in Å of each pair (ascending) in the training set

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

    def detect(
        self, numbers: IntArray, unseen: FloatArray, vectors: dict[int, tuple[IntArray, FloatArray]], pair: FloatArray,
        frame_of_atom: IntArray, n_frames: int, false_alarm: float = FALSE_ALARM,
    ) -> Extrapolation:  # fmt: skip
        """Compare atoms with the thresholds; `pair` is that of `Extrapolation`, `unseen` that of `relative`."""
        relative, distance = self.relative(numbers, unseen, false_alarm), np.full(len(numbers), np.nan)
        for z, (_, far) in self.thresholds(false_alarm).items():
            if z in vectors:
                atoms, x = vectors[z]
                distance[atoms] = self.species[z].distances(x) / far
        unknown = ~np.isin(numbers, list(self.species)) & bool(self.species)
        atoms_flagged = (relative > 1.0) | (distance > 1.0) | (pair < 1.0 - PAIR_MARGIN) | unknown
        frames = np.bincount(frame_of_atom[atoms_flagged], minlength=n_frames) > 0
        return Extrapolation(relative, distance, pair, atoms_flagged, frames, false_alarm)

    def with_known(
        self, vectors: dict[int, tuple[IntArray, FloatArray]], pairs: dict[tuple[int, int], float]
    ) -> NoveltyDetector:
        """With neighbourhoods, by species frames (n,) and vectors (n, d), and closest pairs of new training frames.

        Thresholds stay as they are; species without any stay unknown.
        """
        species = dict(self.species)
        for z, (frames, x) in vectors.items():
            if (known := species.get(z)) is not None:
                points = np.concatenate([known.points, known.whitening(x)])
                species[z] = replace(known, points=points, frames=np.concatenate([known.frames, frames]))
        closest = {pair: min(pairs.get(pair, np.inf), self.pairs.get(pair, np.inf)) for pair in pairs | self.pairs}
        return NoveltyDetector(species, closest)

    def turned(self, maps: dict[int, FloatArray]) -> NoveltyDetector:
        """For other vectors x' with x = x' B; B (d', d) by species, with orthonormal columns."""
        species = {
            z: replace(known, whitening=known.whitening.turned(maps[z])) if z in maps else known
            for z, known in self.species.items()
        }
        return NoveltyDetector(species, self.pairs)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The state as arrays."""
        arrays: dict[str, np.ndarray] = {
            "pairs": np.array([[a, b, d] for (a, b), d in self.pairs.items()]).reshape(-1, 3),
            "species": np.array(list(self.species), np.int64),
        }
        for z, known in self.species.items():
            tails = [known.novelty, known.distance]
            arrays[f"tails_{z}"] = np.array([[tail.part, tail.start, tail.exponent] for tail in tails])
            arrays[f"mean_{z}"], arrays[f"axes_{z}"] = known.whitening.mean, known.whitening.axes
            arrays[f"points_{z}"], arrays[f"frames_{z}"] = known.points, known.frames
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
            own = arrays.of({**WHITENING, **KNOWN}, suffix=f"_{z}", d=dimensions[z])
            whitening = Whitening(own["mean"], own["axes"])
            tails = [Tail(*row) for row in own["tails"].tolist()]
            species[z] = KnownSpecies(whitening, own["points"], own["frames"], *tails)
        return cls(species, {(int(a), int(b)): float(d) for a, b, d in whole["pairs"]})

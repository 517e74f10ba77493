"""Calibration of a model: from epistemic variances to error bars and intervals.

    sigma_cal^2 = m^2 (a^2 + b^2 sigma_data^2) + v(sigma_prior^2)

sigma_data is the data part of the posterior standard deviation, sigma_prior its rest, the prior residual.  m is the
factor of the structure's kind (`kind_factors`), of forces times the difficulty of the neighbourhood (`difficulty`); v
is the scale of the prior residual (`prior_scale`).

a, b and m are learned from configurations left out that look like the rest of the training set: they tell how far the
next frame of a kind is.  v is learned from kinds left out: it tells how far the next kind is.  The prior residual has a
share g = t^8 / (1 + t^8), t the novelty in units of its threshold: between training points it says nothing about
errors, beyond them everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.arrays import Array, Arrays
from gapkit.io.values import ELEMENTS
from gapkit.targets import shown_quantities
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.conformal import INTERVALS, Intervals
from gapkit.uncertainty.difficulty import DIFFICULTY, N_AXES, Difficulty
from gapkit.uncertainty.kind_factors import KindFactors, kind_factors, widening
from gapkit.uncertainty.neighbourhoods import WHITENING, Vectors, Whitening
from gapkit.uncertainty.prior_scale import PriorScale
from gapkit.uncertainty.scale import LEVEL, Scale, fit_scale, level_factor, scores_of

# Novelty in units of its threshold; below it g is under a thousandth, and the prior residual is not computed.
NEGLIGIBLE = 0.4


def _is_prior(numbers: np.ndarray) -> bool:
    factor, ceiling, n_kinds = numbers
    return bool(np.isfinite(factor) and ceiling > 0.0 and np.isfinite(n_kinds) and n_kinds == np.rint(n_kinds))


PRIOR = Array(
    (3,), 0.0, infinite=True, rule=("a finite factor, a ceiling above 0 and a whole number of kinds", _is_prior)
)
SPECIES = Array(("species",), 1, ELEMENTS, whole=True)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scales, intervals and difficulties learned from residuals."""

    scales: dict[str, Scale]  # of the labels at hand: "energy" (eV/atom), "forces" (eV/Å), "stress" (eV/Å^3)
    intervals: dict[str, Intervals]  # likewise
    difficulty: dict[int, tuple[Whitening, Difficulty]]  # by species; for forces
    n_configurations: int
    source: str  # "leave-one-out" or "frames"
    priors: dict[str, PriorScale] = field(default_factory=dict)  # as `scales`; the prior itself where there is none
    difference: float = 1.0  # factor of the standard deviations of energy differences
    kinds: KindFactors | None = None

    def factors(self, quantity: str, vectors: Vectors, frame_of_atom: IntArray, kinds: IntArray) -> FloatArray:
        """Factors of standard deviations: of forces (n_atoms,), else (n_frames,); `kinds` (n_frames,) of the frames."""
        of_frames = np.ones(len(kinds)) if self.kinds is None else self.kinds.of(quantity, kinds)
        if quantity != "forces":
            return of_frames
        m = np.ones(len(frame_of_atom))
        for z, (atoms, x) in vectors.items():
            if z in self.difficulty:
                whitening, known = self.difficulty[z]
                m[atoms] = known.factors(whitening(x))
        return m * of_frames[frame_of_atom]

    def variances(
        self, kind: str, data: FloatArray, prior: FloatArray, novelty: FloatArray, factors: FloatArray | None = None
    ) -> FloatArray:
        """Calibrated variances (n, c) from their parts (n, c), t (n,) and `factors` (n,), in the unit of `scales`."""
        return self.known_variances(kind, data, factors) + self.prior(kind)(prior, novelty)

    def known_variances(self, kind: str, data: FloatArray, factors: FloatArray | None = None) -> FloatArray:
        """The same without what the prior says: as for structures like the training set."""
        m2 = 1.0 if factors is None else factors[:, None] ** 2
        return np.asarray(m2 * self.scales[kind](data))

    def prior(self, kind: str) -> PriorScale:
        """Scale of the prior residual of a kind."""
        return self.priors.get(kind, PriorScale())

    def summary(self) -> str:
        """One line for every kind, in its unit."""
        shown = shown_quantities()
        lines = [
            f"  {kind}: a = {scale.a * shown[kind].printed_factor:.3g} {shown[kind].printed_unit}, b = {scale.b:.3g}"
            for kind, scale in self.scales.items()
        ]
        for kind in self.scales if self.kinds is not None and len(self.kinds.names) > 1 else ():
            assert self.kinds is not None
            lines.append(f"  {kind} by kind, times: {self.kinds.in_words(kind)}")
        for kind, prior in self.priors.items():
            how = prior.in_words(shown[kind].printed_factor, shown[kind].printed_unit)
            lines.append(f"  {kind} of new kinds: {how}")
        return "\n".join([f"calibrated on {self.n_configurations} configurations ({self.source})", *lines])

    def turned(self, maps: dict[int, FloatArray]) -> Calibration:
        """For other vectors x' with x = x' B; B (d', d) by species, with orthonormal columns."""
        difficulty = {
            z: (whitening.turned(maps[z]) if z in maps else whitening, known)
            for z, (whitening, known) in self.difficulty.items()
        }
        return replace(self, difficulty=difficulty)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything but `n_configurations` and `source`."""
        arrays: dict[str, np.ndarray] = {
            "difficulty": np.array(list(self.difficulty), np.int64), "difference": np.array([self.difference]),
        }  # fmt: skip
        if self.kinds is not None:
            arrays |= {f"kind_{name}": array for name, array in self.kinds.to_arrays().items()}
        for kind, scale in self.scales.items():
            arrays[f"scale_{kind}"] = np.array([scale.a, scale.b])
            if (prior := self.priors.get(kind)) is not None:
                arrays[f"prior_{kind}"] = np.array([prior.factor, prior.ceiling, prior.n_kinds])
            intervals = self.intervals[kind]
            for name in ("species", "edges", "table"):
                arrays[f"interval_{name}_{kind}"] = getattr(intervals, name)
            arrays[f"interval_count_{kind}"] = np.array([intervals.n_configurations])
        for z, (whitening, known) in self.difficulty.items():
            arrays[f"mean_{z}"], arrays[f"axes_{z}"] = whitening.mean, whitening.axes
            arrays[f"points_{z}"], arrays[f"frames_{z}"], arrays[f"logs_{z}"] = known.points, known.frames, known.logs
        return arrays

    @classmethod
    def from_arrays(
        cls, arrays: Arrays, n_configurations: int, source: str, dimensions: Mapping[int, int],
        kinds: Sequence[str] = (),
    ) -> Calibration:  # fmt: skip
        """The calibration whose `to_arrays` gave these.

        `dimensions` are the lengths of vectors by species, `kinds` the names of kinds with factors of their own.
        InputError where they are not those of a calibration.
        """
        scales, intervals, priors = {}, {}, {}
        for kind in shown_quantities():
            of_kind = arrays.of({"scale": Array((2,), 0.0), "prior": PRIOR}, suffix=f"_{kind}")
            if "scale" in of_kind:
                scales[kind] = Scale(*of_kind["scale"].tolist())
                if (prior := of_kind.optional("prior")) is not None:
                    priors[kind] = PriorScale(float(prior[0]), float(prior[1]), int(prior[2]))
                found = arrays.of(INTERVALS, "interval_", f"_{kind}")
                n = int(found["count"][0])
                intervals[kind] = Intervals(found["species"], found["edges"], found["table"], n)
        difficulty = {}
        for z in arrays.of({"difficulty": SPECIES})["difficulty"].tolist():
            if z not in dimensions:
                raise InputError(f"`difficulty` must be of species with an atomic term, got {z}")
            own = arrays.of({**WHITENING, **DIFFICULTY}, suffix=f"_{z}", d=dimensions[z])
            whitening = Whitening(own["mean"], own["axes"])
            own.sizes["leading"] = min(own.sizes["axes"], N_AXES)
            difficulty[z] = (whitening, Difficulty(own["points"], own["frames"], own["logs"]))
        difference = arrays.of({"difference": Array((1,), 0.0, above=True)}).optional("difference")
        factor = 1.0 if difference is None else float(difference[0])
        of_kinds = KindFactors.from_arrays(arrays.of({}, "kind_"), tuple(kinds), scales) if kinds else None
        return cls(scales, intervals, difficulty, n_configurations, source, priors, factor, of_kinds)


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of one quantity outside the training set, next to what was predicted for them."""

    frames: IntArray  # (n,)
    errors: FloatArray  # (n, c)
    data: FloatArray  # (n, c), data variances
    known: BoolArray  # (n,), mask of structures like the training set: they alone set the level


@dataclass(frozen=True, eq=False)
class Structures:
    """The structures that labels belong to."""

    numbers: IntArray  # (n_atoms,)
    novelty: FloatArray  # (n_atoms,), over its threshold
    vectors: Vectors
    atoms: IntArray  # (n,), those of the labels of forces
    kinds: IntArray  # (n_frames,), indices of `names`, or -1
    names: tuple[str, ...]


def fit_calibration(labels: Mapping[str, Labels], structures: Structures, source: str) -> Calibration:
    """Calibrate on labels by quantity; CalibrationError with fewer than ten configurations."""
    scales, intervals, of_kinds = {}, {}, {}
    difficulty: dict[int, tuple[Whitening, Difficulty]] = {}
    names, kinds = structures.names, structures.kinds
    counts = np.zeros(len(names), np.int64)
    for quantity, of in labels.items():
        own, frames, errors = of.known, of.frames, of.errors
        # a single value of a frame is as many as there are frames: the next one is the largest once in n + 1
        n_frames = len(np.unique(frames[own]))
        level = LEVEL if quantity == "forces" else min(LEVEL * (1.0 + 1.0 / n_frames), 1.0)
        scale = fit_scale(errors[own], of.data[own], level)
        variances = scale(of.data)
        if quantity == "forces":
            difficulty, m = _difficulties(frames, errors, variances, structures)
            variances = variances * m[:, None] ** 2
        factors, of_kind = kind_factors(scores_of(errors[own], variances[own]), frames[own], kinds, len(names))
        of_kinds[quantity], counts = factors * widening(of_kind), np.maximum(counts, of_kind)
        variances = variances * np.append(of_kinds[quantity], 1.0)[kinds[frames], None] ** 2
        factor = level_factor(errors[own], variances[own], level)
        scale, variances = scale.times(factor), variances * factor**2
        scores, atoms = scores_of(errors[own], variances[own]), structures.atoms
        groups = (part[atoms[own]] for part in (structures.numbers, structures.novelty)) if quantity == "forces" else ()
        scales[quantity], intervals[quantity] = scale, Intervals.of(scores, frames[own], *groups)
    n = len(np.unique(np.concatenate([of.frames[of.known] for of in labels.values()])))
    return Calibration(
        scales, intervals, difficulty, n, source, kinds=KindFactors(names, counts, of_kinds) if names else None
    )


def _difficulties(
    frames: IntArray, errors: FloatArray, variances: FloatArray, structures: Structures
) -> tuple[dict[int, tuple[Whitening, Difficulty]], FloatArray]:
    """Difficulties by species, and m (n,) of the labels of forces without their own configurations."""
    difficulty, m = {}, np.ones(len(variances))
    row_of_atom = np.full(len(structures.numbers), -1)
    row_of_atom[structures.atoms] = np.arange(len(structures.atoms))
    for z, (own, x) in structures.vectors.items():
        labelled = row_of_atom[own] >= 0
        rows, x = row_of_atom[own[labelled]], x[labelled]
        if len(rows) < 2:
            continue
        whitening = Whitening.of(x)
        known = Difficulty.of(whitening(x), frames[rows], errors[rows], variances[rows])
        m[rows] = known.factors(whitening(x), frames[rows])
        difficulty[z] = (whitening, known)
    return difficulty, m

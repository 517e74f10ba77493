"""Calibration of a model: from epistemic variances to error bars and intervals.

    sigma_cal^2 = m^2 (a^2 + b^2 sigma_data^2) + g sigma_prior^2

sigma_data is the data part of the posterior standard deviation, m the difficulty of the neighbourhood (forces only),
sigma_prior the prior residual.  The prior is wider than the truth: between training points its residual says nothing
about errors, beyond them everything.  g = t^2 / (1 + t^2), t the novelty in units of its threshold, blends it in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.arrays import Array, Arrays
from gapkit.io.values import ELEMENTS
from gapkit.targets import shown_quantities
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.conformal import INTERVALS, Intervals
from gapkit.uncertainty.difficulty import DIFFICULTY, N_AXES, Difficulty
from gapkit.uncertainty.neighbourhoods import WHITENING, Whitening
from gapkit.uncertainty.scale import Scale, fit_scale, level_factor, scores_of

# Novelty in units of its threshold; below it g is under a thousandth, and the prior residual is not computed.
NEGLIGIBLE = 0.03

SPECIES = Array(("species",), 1, ELEMENTS, whole=True)

Vectors = dict[int, tuple[IntArray, FloatArray]]
"""By species: atoms and their descriptor vectors (n, d)."""


def share_of_prior(novelty: FloatArray) -> FloatArray:
    """G = t^2 / (1 + t^2) for novelties in units of their threshold (NaN: 1)."""
    square = np.where(np.isfinite(novelty), novelty, np.inf) ** 2
    return np.where(np.isinf(square), 1.0, square / (1.0 + np.where(np.isinf(square), 0.0, square)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scales, intervals and difficulties learned from residuals."""

    scales: dict[str, Scale]  # of the labels at hand: "energy" (eV/atom), "forces" (eV/Å), "stress" (eV/Å^3)
    intervals: dict[str, Intervals]  # likewise
    difficulty: dict[int, tuple[Whitening, Difficulty]]  # by species; for forces
    n_configurations: int
    source: str  # "leave-one-out" or "frames"

    def factors(self, vectors: Vectors, n_atoms: int) -> FloatArray:
        """Difficulty m (n_atoms,) of the atoms' forces."""
        m = np.ones(n_atoms)
        for z, (atoms, x) in vectors.items():
            if z in self.difficulty:
                whitening, known = self.difficulty[z]
                m[atoms] = known.factors(whitening(x))
        return m

    def variances(
        self, kind: str, data: FloatArray, prior: FloatArray, novelty: FloatArray, factors: FloatArray | None = None
    ) -> FloatArray:
        """Calibrated variances (n, c) of a kind from their parts (n, c), t (n,) and m (n,), in the unit of `scales`."""
        m2 = 1.0 if factors is None else factors[:, None] ** 2
        return np.asarray(m2 * self.scales[kind](data) + share_of_prior(novelty)[:, None] * prior)

    def summary(self) -> str:
        """One line for every kind, in its unit."""
        shown = shown_quantities()
        lines = [
            f"  {kind}: a = {scale.a * shown[kind].printed_factor:.3g} {shown[kind].printed_unit}, b = {scale.b:.3g}"
            for kind, scale in self.scales.items()
        ]
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
        arrays: dict[str, np.ndarray] = {"difficulty": np.array(list(self.difficulty), np.int64)}
        for kind, scale in self.scales.items():
            arrays[f"scale_{kind}"] = np.array([scale.a, scale.b])
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
        cls, arrays: Arrays, n_configurations: int, source: str, dimensions: Mapping[int, int]
    ) -> Calibration:
        """The calibration whose `to_arrays` gave these; `dimensions` are the lengths of vectors by species.

        InputError where they are not those of a calibration.
        """
        scales, intervals = {}, {}
        for kind in shown_quantities():
            of_kind = arrays.of({"scale": Array((2,), 0.0)}, suffix=f"_{kind}")
            if "scale" in of_kind:
                scales[kind] = Scale(*of_kind["scale"].tolist())
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
        return cls(scales, intervals, difficulty, n_configurations, source)


def fit_calibration(
    residuals: dict[str, tuple[IntArray, FloatArray, FloatArray]], atoms: IntArray, numbers: IntArray,
    novelty: FloatArray, vectors: Vectors, *, source: str,
) -> Calibration:  # fmt: skip
    """Calibrate on `residuals` of labels outside the training set: frames (n,), errors and data variances (n, c).

    `atoms` (n,) are those of the rows of "forces"; species `numbers` and `novelty` over its threshold (n_atoms,) are of
    all atoms.  CalibrationError with fewer than ten configurations.
    """
    scales, intervals = {}, {}
    difficulty: dict[int, tuple[Whitening, Difficulty]] = {}
    for kind, (frames, errors, data) in residuals.items():
        scale = fit_scale(errors, data)
        variances = scale(data)
        if kind == "forces":
            m = np.ones(len(variances))
            row_of_atom = np.full(len(numbers), -1)
            row_of_atom[atoms] = np.arange(len(atoms))
            for z, (own, x) in vectors.items():
                labelled = row_of_atom[own] >= 0
                rows, x = row_of_atom[own[labelled]], x[labelled]
                if len(rows) < 2:
                    continue
                whitening = Whitening.of(x)
                known = Difficulty.of(whitening(x), frames[rows], errors[rows], variances[rows])
                m[rows] = known.factors(whitening(x), frames[rows])
                difficulty[z] = (whitening, known)
            variances = variances * m[:, None] ** 2
            factor = level_factor(errors, variances)
            scale, variances = scale.times(factor), variances * factor**2
        scores = scores_of(errors, variances)
        groups = (numbers[atoms], novelty[atoms]) if kind == "forces" else (None, None)
        scales[kind], intervals[kind] = scale, Intervals.of(scores, frames, *groups)
    n_configurations = len(np.unique(np.concatenate([frames for frames, _, _ in residuals.values()])))
    return Calibration(scales, intervals, difficulty, n_configurations, source)

"""Factors of error bars by kind of structure (Mondrian calibration).

A kind whose configurations, left out one at a time, have larger errors for their variances than others has wider bars:
its factor is the level of its |error| / sigma over that of all, to the power n / (n + n_0), n the configurations of the
kind and n_0 those that the common level weighs.  Where n is small it is wider by Student's quantile at n + n_0 degrees
of freedom over that at N + n_0, N all configurations.  A structure belongs to the kind of the training frame with the
most similar average (`averages`).

With it, intervals hold by kind: of exchangeable configurations of a kind a part of about p is covered at the level p,
as far as its factor is known.  Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005),
section 4.5 (Mondrian); Student, Biometrika 6, 1 (1908).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gapkit.io.arrays import Array, Arrays
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.scale import LEVEL, Z

# Configurations that the common level weighs, where one of the kind has many values and where it has one.
COMMON_OF_MANY, COMMON_OF_ONE = 4.0, 8.0
MANY = 10  # values
# Errors of symmetry are zero up to rounding, and tell nothing of a kind's other errors.
SMALLEST = 1e-6  # of the root mean square
LARGEST_SCORE = 3.0  # that a single value counts as
LIMITS = (0.25, 4.0)


@dataclass(frozen=True, eq=False)
class KindFactors:
    """Factors of the standard deviations of every kind."""

    names: tuple[str, ...]
    counts: IntArray  # (n_kinds,), configurations that they were learned from
    factors: dict[str, FloatArray]  # by quantity (n_kinds,)

    def of(self, quantity: str, kinds: IntArray) -> FloatArray:
        """Factors (n,) of structures of kinds (n,); 1 where the kind is not known."""
        factors = np.append(self.factors.get(quantity, np.ones(len(self.names))), 1.0)
        return np.asarray(factors[np.where((kinds >= 0) & (kinds < len(self.names)), kinds, -1)])

    def in_words(self, quantity: str) -> str:
        """The factors by name, and how many configurations each comes from."""
        factors = self.factors.get(quantity)
        if factors is None:
            return ""
        return ", ".join(
            f"{name} {factor:.2f} ({n})" for name, factor, n in zip(self.names, factors, self.counts, strict=True) if n
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything but the names."""
        return {"counts": self.counts, **{f"factors_{name}": values for name, values in self.factors.items()}}

    @classmethod
    def from_arrays(cls, arrays: Arrays, names: tuple[str, ...], quantities: Mapping[str, object]) -> KindFactors:
        """The factors whose `to_arrays` gave these."""
        n = len(names)
        counts = arrays.of({"counts": Array((n,), 0, whole=True)})["counts"]
        found = {}
        for name in quantities:
            own = arrays.of({f"factors_{name}": Array((n,), 0.0, above=True)})
            if f"factors_{name}" in own:
                found[name] = own[f"factors_{name}"]
        return cls(names, counts, found)


def kind_factors(scores: FloatArray, frames: IntArray, kinds: IntArray, n_kinds: int) -> tuple[FloatArray, IntArray]:
    """Factors (n_kinds,) before widening, and configurations of each kind.

    Scores (n, c) are |error| / sigma of targets of the frames (n,); `kinds` (n_frames,) are those of all frames.
    """
    found, counts = np.ones(n_kinds), np.zeros(n_kinds, np.int64)
    smallest = SMALLEST * np.sqrt(np.mean(scores**2)) if scores.size else 0.0
    pooled = _level(scores[scores > smallest])
    for kind in range(n_kinds):
        own = kinds[frames] == kind
        values = scores[own][scores[own] > smallest]
        counts[kind] = n = len(np.unique(frames[own]))
        if values.size:
            few = values.size < MANY * n
            over_all = _bounded_mean(values / pooled) if few else _level(values) / pooled
            found[kind] = np.clip(over_all ** (n / (n + (COMMON_OF_ONE if few else COMMON_OF_MANY))), *LIMITS)
    return found, counts


def widening(counts: IntArray) -> FloatArray:
    """Student's quantiles (n_kinds,) for so many configurations over that for all; 1 for a kind without any."""
    own, all_of_them = (stdtrit(n + COMMON_OF_MANY, 0.5 + LEVEL / 2) for n in (counts, counts.sum()))
    return np.where(counts > 0, own / all_of_them, 1.0)


def _level(values: FloatArray) -> float:
    """Quantile of scores (n,) at 90 % over that of a normal distribution; 0 without any."""
    return float(np.quantile(values, LEVEL, method="higher")) / Z if values.size else 0.0


def _bounded_mean(values: FloatArray) -> float:
    """Root mean square of scores (n,), none of which counts as more than three."""
    return float(np.sqrt(np.mean(np.minimum(values, LARGEST_SCORE) ** 2)))

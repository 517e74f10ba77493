"""Upper tails of samples: thresholds at rates beyond the sample.

The tail is a power law.  Source: Weissman, J. Am. Stat. Assoc. 73, 812 (1978), with Hill's estimate of the exponent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.typing import FloatArray

# Upper tail as a part of the sample, and the fewest values of an estimate of its exponent.
TAIL, MIN_TAIL = 0.05, 8
# A few odd values must not hide all others.
LARGEST_EXPONENT = 3.0
# Values of twins are zero but for rounding.
ROUNDING = 1e-12


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

    def to_array(self) -> FloatArray:
        """Its three numbers."""
        return np.array([self.part, self.start, self.exponent])

    @classmethod
    def from_array(cls, numbers: FloatArray) -> Tail:
        """The tail whose `to_array` gave these."""
        return cls(*numbers.tolist())

"""Scale of the prior residual, learned from kinds of structures that were left out.

    v(P) = x V / (x + V),  x = c^2 g P

P is the prior residual of a target, g the share that follows from the novelty of its neighbourhood, V the ceiling: the
mean square of the labels.  A kernel's scale is an extrapolation where no data are; the labels bound what is possible.

c of a kind brings 90 % of its errors within 1.645 standard deviations; that of the model is the largest of all kinds
left out: of G exchangeable kinds and a new one, the new one needs more with a probability of 1 / (G + 1) (source: Vovk,
Gammerman and Shafer, Algorithmic Learning in a Random World (2005), section 2.2).  With few kinds it is wider by
Student's quantile over the normal one (source: Student, Biometrika 6, 1 (1908)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gapkit.typing import FloatArray
from gapkit.uncertainty.scale import LEVEL, Z

# Shares of the prior below which a target says nothing of its scale, and the fewest targets of a kind that count.
LEAST_SHARE, FEWEST = 0.1, 3
# The prior is never taken for less than it says, and a single odd kind does not make bars that say nothing.
LIMITS = (1.0, 10.0)
# g = t^8 / (1 + t^8): nothing where structures are like the training set, for all that c may be.
SHARPNESS = 8

# Errors (n,), variances without a prior part (n,), shares times prior residuals (n,), and shares (n,) of one kind.
OfKind = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


def share_of_prior(novelty: FloatArray) -> FloatArray:
    """Share g = t^8 / (1 + t^8) for novelties t in units of their threshold (NaN: 1)."""
    with np.errstate(over="ignore", divide="ignore"):
        return np.where(np.isnan(novelty), 1.0, 1.0 / (1.0 + 1.0 / np.asarray(novelty, np.float64) ** SHARPNESS))


@dataclass(frozen=True)
class PriorScale:
    """Variance of a target from its prior residual."""

    factor: float = 1.0  # c, widened for the number of kinds
    ceiling: float = np.inf  # V, square of the target's unit
    n_kinds: int = 0  # that it was learned from; 0: from none

    def __call__(self, prior: FloatArray, novelty: FloatArray) -> FloatArray:
        """Variances (n, c) from prior residuals (n, c) and novelties (n,) of the targets, over their threshold."""
        return self.of_share(share_of_prior(novelty)[:, None] * prior)

    def of_share(self, prior: FloatArray) -> FloatArray:
        """The same for prior residuals times their share, any shape."""
        x = self.factor**2 * prior
        return x if np.isinf(self.ceiling) else x / (1.0 + x / self.ceiling)

    def in_words(self, factor: float, unit: str) -> str:
        """Factor, ceiling in a printed unit, and how far it can be believed."""
        source = "no kind was novel when it was left out"
        if self.n_kinds:
            kinds = "1 kind" if self.n_kinds == 1 else f"{self.n_kinds} kinds"
            source = f"from {kinds} left out, {widening(self.n_kinds):.2f} times wider for their small number"
        most = f", at most {np.sqrt(self.ceiling) * factor:.3g} {unit}" if np.isfinite(self.ceiling) else ""
        return f"c = {self.factor:.3g} ({source}){most}"

    @classmethod
    def fit(cls, kinds: Sequence[OfKind], ceiling: float) -> PriorScale:
        """From kinds left out; without any that was novel to the model, c is 1."""
        needs = []
        for errors, known, prior, share in kinds:
            some = (share > LEAST_SHARE) & (prior > 0.0)
            if np.count_nonzero(some) >= FEWEST:
                missing = np.maximum((errors[some] / Z) ** 2 - known[some], 0.0)
                x = missing / np.maximum(1.0 - missing / ceiling, 1e-12)  # no c is enough beyond the ceiling
                needs.append(float(np.sqrt(np.quantile(x / prior[some], LEVEL, method="higher"))))
        if not needs:
            return cls(ceiling=ceiling)
        return cls(float(np.clip(max(needs) * widening(len(needs)), *LIMITS)), ceiling, len(needs))


def widening(n_kinds: int) -> float:
    """Student's quantile over the normal one, with as many degrees of freedom as kinds."""
    return float(stdtrit(n_kinds, 0.5 + LEVEL / 2)) / Z

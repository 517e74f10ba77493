"""Whole numbers in given proportions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapkit.typing import IntArray


def largest_remainder(total: int, weights: Sequence[float]) -> IntArray:
    """Whole numbers (n,) in proportion to weights that sum to `total`, by the method of largest remainders.

    A larger weight never gets less than a smaller one; of equal ones the first is served first.
    """
    shares = total * np.asarray(weights, dtype=float) / float(np.sum(weights))
    counts = np.floor(shares).astype(np.int64)
    # Rounded, so that equal weights are ties; a share of 0.9999... that was cut to zero is the first to be served.
    lost = np.round(shares - counts, 9)
    counts[np.argsort(-lost, kind="stable")[: total - int(counts.sum())]] += 1
    return counts

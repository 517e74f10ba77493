"""Cutoff functions of many edges in one pass."""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit


@jit
def cosine_switch(distances, cutoff, width, values, slopes):
    """(1 + cos(pi p)) / 2 with p = (r - cutoff + width) / width between 0 and 1, and its derivative."""
    for i in range(distances.shape[0]):
        p = (distances[i] - cutoff + width) / width
        if p <= 0.0:
            values[i] = 1.0
            slopes[i] = 0.0
        elif p >= 1.0:
            values[i] = 0.0
            slopes[i] = 0.0
        else:
            values[i] = 0.5 * (1.0 + np.cos(np.pi * p))
            slopes[i] = -0.5 * np.pi / width * np.sin(np.pi * p)


@jit
def quintic_switch(distances, cutoff, width, values, slopes):
    """1 - 10 p^3 + 15 p^4 - 6 p^5 with p as above, and its derivative."""
    for i in range(distances.shape[0]):
        p = (distances[i] - cutoff + width) / width
        if p <= 0.0:
            values[i] = 1.0
            slopes[i] = 0.0
        elif p >= 1.0:
            values[i] = 0.0
            slopes[i] = 0.0
        else:
            rest = p * (1.0 - p)
            values[i] = 1.0 - p * p * p * (10.0 - p * (15.0 - 6.0 * p))
            slopes[i] = -30.0 * rest * rest / width

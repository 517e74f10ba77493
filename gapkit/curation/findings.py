"""What a check of single frames finds, and what such checks share."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray

SCALES = 8.0  # robust standard deviations
MIN_GROUP = 8

Found = list["Finding"]


@dataclass(frozen=True, order=True)
class Finding:
    """Something suspicious about one frame.

    Attributes
    ----------
    frame : int
        Counted from 0.
    kind : str
        Those of `gapkit.structures.Finding`, and "unusable" (NaN, wrong shapes, stale labels), "no_cell",
        "energy_force", "energy_stress" (differences along a trajectory), "net_force_outlier", "net_torque",
        "energy_outlier", "force_outlier", "isolated_atoms", "volume_outlier", "distance_outlier", "mixed_units".
    severity : {"error", "warning", "info"}
        An error cannot be right; a warning is to be looked at.
    message : str
        What was found, with units, and what to do.
    value, threshold : float or None
        What was measured and the limit that it passed, in the unit that the message gives; None where the check is of
        the whole set.
    """

    frame: int
    kind: str
    severity: str
    message: str
    value: float | None = None
    threshold: float | None = None


def robust_scale(values: FloatArray) -> tuple[float, float]:
    """Median, and standard deviation from the median absolute deviation."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def same_composition(batch: AtomsBatch, frames: IntArray) -> list[IntArray]:
    """Positions in `frames` of those of each reduced composition."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, counts in enumerate(batch.compositions(batch.species)[frames].tolist()):
        units_of_formula = max(gcd(*counts), 1)
        groups.setdefault(tuple(n // units_of_formula for n in counts), []).append(k)
    return [np.array(group) for group in groups.values()]

"""What a check of single frames finds, and what such checks share."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray

SCALES = 8.0  # robust standard deviations
MIN_GROUP = 8

GROSS = 10.0  # limits beyond which no rare structure is an excuse

Found = list["Finding"]

KINDS = {
    "conflicting_labels": "two values for one label, or other names for it than in the rest of the file",
    "unusable": "NaN, wrong shapes, labels of other positions",
    "unlabelled": "no energy, forces or stress",
    "no_cell": "no periodic direction, where most frames have one",
    "mixed_units": "energies of a source that are to those of the others as one unit to another",
    "energy_units": "total energies that look like Hartree, kcal/mol or kJ/mol",
    "force_units": "forces of a size that is not of eV/Å",
    "stress_units": "stresses of a size that is not of eV/Å^3",
    "energy_force_units": "energy differences that are a unit's multiple of the work of the forces",
    "energy_stress_units": "energy differences that are a unit's multiple of the work of the stresses",
    "force_sign": "energies that rise where forces say that they fall",
    "stress_sign": "energies that fall where stresses say that they rise",
    "close_atoms": "atoms that are too close to be meant",
    "contradictory_duplicates": "one structure with different labels",
    "duplicates": "one structure more than once",
    "energy_force": "an energy off the work of the forces towards neighbouring frames",
    "energy_stress": "an energy off the work of stresses and forces towards frames of other volume",
    "energy_outlier": "an energy that a robust pair model of the set cannot explain",
    "energy_outliers": "an energy per atom far from those of the same composition",
    "force_outlier": "a force that stands out of its frame or configuration type",
    "net_force": "forces that do not add up to zero",
    "net_force_outlier": "a net force beyond those of the same source",
    "net_torque": "forces that would make a molecule spin",
    "isolated_atoms": "atoms without neighbours in a larger frame",
    "volume_outlier": "a volume per atom far from those of the same composition",
    "distance_outlier": "a shortest distance far from those of the same composition",
}
"""What the kinds of findings mean."""


@dataclass(frozen=True, order=True)
class Finding:
    """Something suspicious about one frame.

    Attributes
    ----------
    frame : int
        Counted from 0.
    kind : str
        One of `KINDS`.
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


def severity_of(value: float, limit: float) -> str:
    """Of something that stands out: "error" where it is far beyond the limit."""
    return "error" if abs(value) > GROSS * limit else "warning"


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

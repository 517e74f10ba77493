"""Findings about single frames, and the robust statistics of the checks."""

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

ACTIONS = ("stop", "drop", "flag", "ignore")

# Wrong units, signs or keys concern whole files: leaving single frames out would hide it. What is wrong with one frame
# beyond doubt goes; what stands out is written down, for a rare structure stands out as well.
_KINDS = {
    "conflicting_labels": ("stop", "two values for one label, or other names for it than in the rest of the file"),
    "unusable": ("stop", "NaN, wrong shapes, labels of other positions"),
    "unlabelled": ("drop", "no energy, forces or stress"),
    "unread_labels": ("flag", "no label, but an entry of its shape under another name"),
    "two_energies": ("ignore", "an energy and a free energy, of which the first is read"),
    "no_cell": ("stop", "no periodic direction, where most frames have one"),
    "mixed_units": ("stop", "energies of a source that are to those of the others as one unit to another"),
    "energy_units": ("stop", "total energies that look like Hartree, kcal/mol or kJ/mol"),
    "force_units": ("stop", "forces of a size that is not of eV/Å"),
    "stress_units": ("stop", "stresses of a size that is not of eV/Å^3"),
    "energy_force_units": ("stop", "energy differences that are a unit's multiple of the work of the forces"),
    "energy_stress_units": ("stop", "energy differences that are a unit's multiple of the work of the stresses"),
    "force_sign": ("stop", "energies that rise where forces say that they fall"),
    "stress_sign": ("stop", "energies that fall where stresses say that they rise"),
    "energy_zeros": ("stop", "energies that differ by more than any bond, or jump where forces do no work"),
    "free_atom_zeros": ("stop", "free atoms that are bound by more than any bond"),
    "species_energies": ("ignore", "compositions that do not tell the energies of free atoms apart"),
    "coincident_atoms": ("drop", "two atoms in one place"),
    "close_atoms": ("drop", "atoms that are too close to be meant"),
    "contradictory_duplicates": ("drop", "one structure with different labels"),
    "duplicates": ("ignore", "one structure more than once"),  # a step of their own
    "energy_force": ("flag", "an energy off the work of the forces towards neighbouring frames"),
    "energy_stress": ("flag", "an energy off the work of stresses and forces towards frames of other volume"),
    "energy_outlier": ("flag", "an energy that a robust pair model of the set cannot explain"),
    "energy_outliers": ("flag", "an energy per atom far from those of the same composition"),
    "force_outlier": ("flag", "a force that stands out of its frame or configuration type"),
    "net_force": ("flag", "forces that do not add up to zero"),
    "net_force_outlier": ("flag", "a net force beyond those of the same source"),
    "net_torque": ("flag", "forces that would make a molecule spin"),
    "isolated_atoms": ("flag", "atoms without neighbours in a larger frame"),
    "volume_outlier": ("flag", "a volume per atom far from those of the same composition"),
    "distance_outlier": ("flag", "a shortest distance far from those of the same composition"),
}
KINDS = {kind: meaning for kind, (_, meaning) in _KINDS.items()}
"""Meaning of each kind of finding."""
DEFAULT_ACTIONS = {kind: action for kind, (action, _) in _KINDS.items()}
"""Action of a recipe on each kind of finding, one of `ACTIONS`; a recipe may name another."""


@dataclass(frozen=True, order=True)
class Finding:
    """A suspicion about one frame, counted from 0; its `kind` is one of `KINDS`.

    `severity` is "error" (cannot be right), "warning" (to be looked at) or "info". The measured `value` and its limit
    `threshold` are in the unit of the message, or None for a check of the whole set.
    """

    frame: int
    kind: str
    severity: str
    message: str
    value: float | None = None
    threshold: float | None = None


def severity_of(value: float, limit: float) -> str:
    """Severity of an outlier: "error" far beyond the limit."""
    return "error" if abs(value) > GROSS * limit else "warning"


def robust_scale(values: FloatArray) -> tuple[float, float]:
    """Median, and standard deviation from the median absolute deviation."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def same_composition(batch: AtomsBatch, frames: IntArray) -> list[IntArray]:
    """Positions in `frames` by reduced composition."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, counts in enumerate(batch.compositions(batch.species)[frames].tolist()):
        units_of_formula = max(gcd(*counts), 1)
        groups.setdefault(tuple(n // units_of_formula for n in counts), []).append(k)
    return [np.array(group) for group in groups.values()]

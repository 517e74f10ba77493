"""Conformal prediction intervals: quantiles of |error| / sigma_cal over configurations left out.

The configuration is the exchangeable unit: atoms of one frame are correlated.  With K configurations and their N
scores |error| / sigma_cal, each of weight 1 / (N + N / K), and the rest (a new configuration of the average size) at
infinity, the quantile of level p covers a random component of new configurations with a probability of about p.

Source: Lee, Barber and Willett, J. R. Stat. Soc. B (2025), doi 10.1093/jrsssb/qkae102 (hierarchical conformal
prediction, here with weights in proportion to the sizes of configurations); groups: Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World (2005), section 4.5 (Mondrian).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.exceptions import CalibrationError, InputError
from gapkit.io.arrays import Array, ascending, strictly_ascending
from gapkit.io.values import ELEMENTS
from gapkit.typing import FloatArray, IntArray

LEVELS = np.round(np.arange(0.05, 0.996, 0.005), 3)
"""Tabulated levels; others take the next higher one."""

# Fewest configurations of a group with quantiles of its own.
MIN_CONFIGURATIONS = 20
# Fewest of a calibration: with less, 90 % would need the largest score of all, or more.
LEAST = 10
N_BINS = 3


INTERVALS = {
    "species": Array(("groups",), 0, ELEMENTS, whole=True, rule=("ascending, each once", strictly_ascending)),
    "edges": Array(("groups", N_BINS - 1), rule=("ascending", ascending)),
    "table": Array(("groups", N_BINS, len(LEVELS)), 0.0, infinite=True, rule=("ascending with the level", ascending)),
    "count": Array((1,), LEAST, whole=True),
}


def conformal_quantiles(scores: FloatArray, frames: IntArray) -> FloatArray:
    """Quantiles of scores (n,) at `LEVELS`; infinite where there are too few frames."""
    n_frames = len(np.unique(frames))
    reached = np.arange(1, len(scores) + 1) / (len(scores) * (1.0 + 1.0 / n_frames))
    return np.append(np.sort(scores), np.inf)[np.searchsorted(reached, LEVELS - 1e-12)]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Quantiles of |error| / sigma_cal by group."""

    species: IntArray  # (s,) atomic numbers, ascending; [0] where there are no groups (energies, stresses)
    edges: FloatArray  # (s, N_BINS - 1) novelty over its threshold between the bins of each species
    table: FloatArray  # (s, N_BINS, len(LEVELS))
    n_configurations: int

    @classmethod
    def of(
        cls, scores: FloatArray, frames: IntArray, species: IntArray | None = None, novelty: FloatArray | None = None
    ) -> Intervals:
        """From the scores (n, c) of targets, their frames, and the species and novelty of atoms.

        CalibrationError with fewer than ten configurations.
        """
        n_configurations = len(np.unique(frames))
        if n_configurations < LEAST:
            raise CalibrationError(
                f"intervals need at least {LEAST} configurations, got {n_configurations}; add labelled frames"
            )
        c = scores.shape[1]
        whole = conformal_quantiles(scores.ravel(), np.repeat(frames, c))
        if species is None or novelty is None:
            table = np.tile(whole, (1, N_BINS, 1))
            return cls(np.zeros(1, np.int64), np.zeros((1, N_BINS - 1)), table, n_configurations)
        kinds = np.unique(species)
        edges, table = np.zeros((len(kinds), N_BINS - 1)), np.empty((len(kinds), N_BINS, len(LEVELS)))
        for i, z in enumerate(kinds):
            own = np.flatnonzero(species == z)
            edges[i] = np.quantile(novelty[own], np.arange(1, N_BINS) / N_BINS)
            of_species = _enough(scores[own], frames[own], whole)
            bins = np.searchsorted(edges[i], novelty[own])
            for j in range(N_BINS):
                table[i, j] = _enough(scores[own[bins == j]], frames[own[bins == j]], of_species)
        return cls(kinds, edges, table, n_configurations)

    def factors(self, level: float, species: IntArray | None = None, novelty: FloatArray | None = None) -> FloatArray:
        """Half-widths of intervals in sigma_cal: (n,) for atoms, (1,) without them.

        InputError if `level` is not between 0 and 1, CalibrationError if it takes more configurations.
        """
        if not 0.0 < level < 1.0:
            raise InputError(f"`interval` must be a level between 0 and 1, such as 0.9, got {level!r}")
        at = int(np.searchsorted(LEVELS, level - 1e-9))
        column = self.table[:, :, at] if at < len(LEVELS) else np.full(self.table.shape[:2], np.inf)
        if not np.isfinite(column).all():
            raise CalibrationError(
                f"intervals of level {level} need more configurations than the {self.n_configurations} of the "
                f"calibration (at least {int(np.ceil(level / (1.0 - level)))} in every group); ask for a lower level "
                "or calibrate with more frames"
            )
        if species is None or novelty is None:
            return column[0, :1]
        row = np.searchsorted(self.species, species).clip(max=len(self.species) - 1)
        bins = (novelty[:, None] > self.edges[row]).sum(axis=1)
        return np.asarray(column[row, bins])


def _enough(scores: FloatArray, frames: IntArray, larger: FloatArray) -> FloatArray:
    """Quantiles of a group, or those of the larger group around it."""
    if len(np.unique(frames)) < MIN_CONFIGURATIONS:
        return larger
    found = conformal_quantiles(scores.ravel(), np.repeat(frames, scores.shape[1]))
    return np.where(np.isfinite(found), found, np.maximum(larger, scores.max()))

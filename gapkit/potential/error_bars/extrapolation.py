"""Atoms compared with the training set: signs of extrapolation."""

from __future__ import annotations

import numpy as np

from gapkit.exceptions import NotFittedModelError
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.neighbours import NeighbourList
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray
from gapkit.uncertainty.calibration import Vectors
from gapkit.uncertainty.novelty import FALSE_ALARM, Extrapolation


def compare_with_training(
    state: FittedState, applied: AppliedBasis, novelty: FloatArray, false_alarm: float = FALSE_ALARM
) -> tuple[Extrapolation, Vectors]:
    """Signs of extrapolation and descriptor vectors of atoms; `novelty` (n_atoms,) from the model's prediction."""
    detector = state.detector
    if detector is None:
        raise NotFittedModelError(
            'this model has no thresholds of novelty; fit it with `calibration="leave-one-out"` (the default)'
        )
    batch, vectors = applied.batch, local_vectors(applied)
    pair = _pair_ratios(batch, applied.neighbours, detector.pairs)
    found = detector.detect(batch.numbers, novelty, vectors, pair, batch.frame_of_atom, batch.n_frames, false_alarm)
    return found, vectors


def _pair_ratios(batch: AtomsBatch, neighbours: NeighbourList, closest: dict[tuple[int, int], float]) -> FloatArray:
    """Smallest ratio (n_atoms,) of a pair's distance to the closest such pair known; 0 for pairs that are unknown."""
    ratios, table = np.full(batch.n_atoms, np.inf), np.full((128, 128), np.inf)
    for (one, other), distance in closest.items():
        table[one, other] = table[other, one] = distance
    owners = np.repeat(np.arange(batch.n_atoms), np.diff(neighbours.offsets))
    a, b = batch.numbers[owners], batch.numbers[neighbours.indices]
    np.minimum.at(ratios, owners, neighbours.distances / table[a, b])
    return ratios


def closest_pairs(batch: AtomsBatch, neighbours: NeighbourList) -> dict[tuple[int, int], float]:
    """Smallest distance in Å of every pair of species (ascending) among the neighbours."""
    owners = np.repeat(np.arange(batch.n_atoms), np.diff(neighbours.offsets))
    a, b = batch.numbers[owners], batch.numbers[neighbours.indices]
    table = np.full((128, 128), np.inf)
    np.minimum.at(table, (np.minimum(a, b), np.maximum(a, b)), neighbours.distances)
    return {(int(i), int(j)): float(table[i, j]) for i, j in np.argwhere(np.isfinite(table))}

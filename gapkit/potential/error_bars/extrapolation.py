"""Atoms compared with the training set: signs of extrapolation."""

from __future__ import annotations

import numpy as np

from gapkit.exceptions import NotFittedModelError
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.neighbours import NeighbourList
from gapkit.parallel import limit_blas
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray
from gapkit.uncertainty.calibration import Vectors
from gapkit.uncertainty.novelty import FALSE_ALARM, Extrapolation, NoveltyDetector


def detector_of(state: FittedState) -> NoveltyDetector:
    """What knows the thresholds; NotFittedModelError where there are none."""
    if state.detector is None:
        raise NotFittedModelError(
            'this model has no thresholds of novelty; fit it with `calibration="leave-one-out"` (the default)'
        )
    return state.detector


def compare_with_training(
    state: FittedState, applied: AppliedBasis, unseen: FloatArray, false_alarm: float = FALSE_ALARM
) -> tuple[Extrapolation, Vectors]:
    """Signs of extrapolation and descriptor vectors of atoms; `unseen` (n_atoms,) is that of `Predictions`."""
    detector, batch = detector_of(state), applied.batch
    pair = _pair_ratios(batch, applied.neighbours, detector.pairs)
    with limit_blas(1, 0):  # the products are small: threads would cost more than they save
        vectors = local_vectors(applied)
        found = detector.detect(batch.numbers, unseen, vectors, pair, batch.frame_of_atom, batch.n_frames, false_alarm)
    return found, vectors


def signs_of_extrapolation(
    state: FittedState, applied: AppliedBasis, false_alarm: float = FALSE_ALARM, *, n_jobs: int | None = None
) -> Extrapolation:
    """The same where nothing has been predicted: no forces are computed, no error bars."""
    detector_of(state).thresholds(false_alarm)  # errors before the work
    unseen = state.sparse.unseen(applied, n_jobs=n_jobs)
    return compare_with_training(state, applied, unseen, false_alarm)[0]


def _pair_ratios(batch: AtomsBatch, neighbours: NeighbourList, closest: dict[tuple[int, int], float]) -> FloatArray:
    """Smallest ratio (n_atoms,) of a pair's distance to the closest such pair known; 0 for pairs that are unknown."""
    ratios, table = np.full(batch.n_atoms, np.inf), np.full((128, 128), np.inf)
    for (one, other), distance in closest.items():
        table[one, other] = table[other, one] = distance
    of_edges = neighbours.distances / table[batch.numbers[neighbours.centres], batch.numbers[neighbours.indices]]
    some = np.flatnonzero(np.diff(neighbours.offsets))
    ratios[some] = np.minimum.reduceat(of_edges, neighbours.offsets[some]) if len(some) else np.inf
    return ratios


def closest_pairs(batch: AtomsBatch, neighbours: NeighbourList) -> dict[tuple[int, int], float]:
    """Smallest distance in Å of every pair of species (ascending) among the neighbours."""
    owners = np.repeat(np.arange(batch.n_atoms), np.diff(neighbours.offsets))
    a, b = batch.numbers[owners], batch.numbers[neighbours.indices]
    table = np.full((128, 128), np.inf)
    np.minimum.at(table, (np.minimum(a, b), np.maximum(a, b)), neighbours.distances)
    return {(int(i), int(j)): float(table[i, j]) for i, j in np.argwhere(np.isfinite(table))}

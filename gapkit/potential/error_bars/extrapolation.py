"""Atoms compared with the training set: signs of extrapolation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase.data import chemical_symbols

from gapkit.exceptions import NotFittedModelError
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.neighbours import NeighbourList
from gapkit.parallel import limit_blas
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray
from gapkit.uncertainty.extrapolation import Extrapolation
from gapkit.uncertainty.neighbourhoods import Vectors
from gapkit.uncertainty.novelty import FALSE_ALARM, NoveltyDetector


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
    pair = _pair_ratios(batch, applied.neighbours, detector)
    with limit_blas(1, 0):  # the products are small: threads would cost more than they save
        vectors = local_vectors(applied)
        found = detector.detect(batch.numbers, unseen, vectors, pair, batch.frame_of_atom, batch.n_frames, false_alarm)
    around = largest_around(found.atoms.astype(np.float64), applied.neighbours) > 0.0
    return replace(found, forces=found.forces | around), vectors


def signs_of_extrapolation(
    state: FittedState, applied: AppliedBasis, false_alarm: float = FALSE_ALARM, *, n_jobs: int | None = None
) -> Extrapolation:
    """The same where nothing has been predicted: no forces are computed, no error bars."""
    detector_of(state).thresholds(false_alarm)  # errors before the work
    unseen = state.sparse.unseen(applied, n_jobs=n_jobs)
    found, _ = compare_with_training(state, applied, unseen, false_alarm)
    return replace(found, symbols=tuple(chemical_symbols[z] for z in applied.batch.numbers))


def novelty_of_targets(
    novelty: FloatArray, average: FloatArray, batch: AtomsBatch, neighbours: NeighbourList
) -> tuple[FloatArray, FloatArray]:
    """Novelty (n_atoms,) of the forces and (n_frames,) of energies and stresses, over the threshold.

    A force is the slope of the energies of the atom and its neighbours, an energy their sum: each is as novel as the
    most novel of them, or as the square of the frame's `average` (n_frames,), which is seldom small.  Unknown novelties
    are infinite, unknown averages none.
    """
    known, average = np.where(np.isnan(novelty), np.inf, novelty), np.nan_to_num(average, nan=0.0, posinf=np.inf) ** 2
    of_atoms = largest_around(known, neighbours)
    of_frames = np.maximum(np.maximum.reduceat(known, batch.offsets[:-1]), average)
    return np.maximum(of_atoms, average[batch.frame_of_atom]), of_frames


def largest_around(values: FloatArray, neighbours: NeighbourList) -> FloatArray:
    """Largest value (n_atoms,) of every atom and its neighbours."""
    largest, some = values.copy(), np.flatnonzero(np.diff(neighbours.offsets))
    if len(some):
        around = np.maximum.reduceat(values[neighbours.indices], neighbours.offsets[some])
        largest[some] = np.maximum(largest[some], around)
    return largest


def _pair_ratios(batch: AtomsBatch, neighbours: NeighbourList, detector: NoveltyDetector) -> FloatArray:
    """Smallest ratio (n_atoms,) of a pair's distance to the closest such pair known; 0 for pairs that are unknown."""
    ratios = np.full(batch.n_atoms, np.inf)
    species = batch.numbers[neighbours.centres], batch.numbers[neighbours.indices]
    of_edges = neighbours.distances / detector.closest(*species, np.inf)
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

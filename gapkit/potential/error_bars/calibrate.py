"""Thresholds of novelty and calibrations: from configurations left out of the fit, or from frames not fitted to."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from gapkit.exceptions import CalibrationError, CalibrationWarning
from gapkit.gp.chunks import frame_chunks
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.gp.variance.targets import target_variances
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import limit_blas
from gapkit.potential.error_bars.extrapolation import closest_pairs, compare_with_training
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut, leave_one_out, unseen_left_out
from gapkit.potential.state import FittedState
from gapkit.potential.training.estimate import FREE, LARGEST_SHARE, SHARE_OF_CALIBRATION, FitCosts
from gapkit.potential.training.sparse_points import ATOMS_PER_WAVE
from gapkit.progress import Stages
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.calibration import Calibration, Vectors, fit_calibration
from gapkit.uncertainty.conformal import LEAST, MIN_CONFIGURATIONS
from gapkit.uncertainty.novelty import KnownSpecies, NoveltyDetector

# Most atoms of the configurations that are left out, one after another, and of the largest of them.
ATOMS_LEFT_OUT = 4000
LARGEST_FRAME = 1000
# Atoms that stand for the training set where distances to it are measured.
ATOMS_REMEMBERED = 10_000

# Frames (n,), errors (n, c) and data variances (n, c) of every kind.
_Residuals = dict[str, tuple[IntArray, FloatArray, FloatArray]]


def learn_uncertainty(
    state: FittedState, batch: AtomsBatch, rng: np.random.Generator, n_jobs: int | None, stages: Stages | None = None
) -> FittedState:
    """The state with thresholds of novelty, and a calibration from training frames left out if they are enough.

    How many are left out follows from what the fit cost (`FitCosts.atoms_to_leave_out`).  Thresholds of novelty are
    learned from more: they are tails, and what a model without a frame sees of it is cheap.
    """
    stages = Stages() if stages is None else stages
    try:
        order = _shuffled(batch, rng)
        frames = frames_to_leave_out(state, batch, order)
        others = np.setdiff1d(order[: _n_frames(batch, order, ATOMS_LEFT_OUT)], frames)
        with limit_blas(n_jobs, 0), stages.stage("calibrate", total=len(frames), unit="frame") as bar:
            stages.note(f"{len(frames):,} of {batch.n_frames:,} frames left out, one at a time")
            found = leave_one_out(state, batch, frames, scores=False, n_jobs=n_jobs, ticked=bar.update)
            unseen = np.concatenate([found.unseen, unseen_left_out(state, batch, others, n_jobs)])
            numbers = np.concatenate([batch.select(chosen).numbers for chosen in (frames, others)])
            state = replace(state, detector=learn_novelty(state, batch, numbers, unseen, rng))
            return replace(state, calibration=calibrate_left_out(state, batch.select(frames), found))
    except CalibrationError as error:
        warnings.warn(f"standard deviations are not calibrated: {error}", CalibrationWarning, stacklevel=3)
        return state


def frames_to_leave_out(state: FittedState, batch: AtomsBatch, order: IntArray) -> IntArray:
    """The first frames of an order, ascending: as many as the fit's time allows, and no fewer than intervals need."""
    of_terms = [(term.engine, sum(len(block.points) for block in term.blocks)) for term in state.sparse.basis.terms]
    costs = FitCosts.of(batch, of_terms)
    usual, largest = (
        _n_frames(batch, order, costs.atoms_to_leave_out(ATOMS_LEFT_OUT, *allowed))
        for allowed in ((SHARE_OF_CALIBRATION,), (LARGEST_SHARE, FREE))
    )
    least = max(min(largest, MIN_CONFIGURATIONS), LEAST)
    return np.sort(order[: min(_n_frames(batch, order, ATOMS_LEFT_OUT), max(usual, least))])


def choose_frames(batch: AtomsBatch, n_atoms: int, rng: np.random.Generator) -> IntArray:
    """Random frames of about `n_atoms` atoms together, ascending; very large frames are left out."""
    order = _shuffled(batch, rng)
    return np.sort(order[: _n_frames(batch, order, n_atoms)])


def _shuffled(batch: AtomsBatch, rng: np.random.Generator) -> IntArray:
    """Frames that are not too large, in random order; CalibrationError if there are none."""
    order = rng.permutation(np.flatnonzero(batch.n_atoms_per_frame <= LARGEST_FRAME))
    if len(order) == 0:
        raise CalibrationError(
            f"frames of up to {LARGEST_FRAME} atoms are needed to be left out, the smallest has "
            f"{batch.n_atoms_per_frame.min()}; add smaller ones, or call `calibrate` with frames not fitted to"
        )
    return order


def _n_frames(batch: AtomsBatch, order: IntArray, n_atoms: int) -> int:
    """How many frames in this order have about `n_atoms` atoms together."""
    return int(np.searchsorted(np.cumsum(batch.n_atoms_per_frame[order]), n_atoms)) + 1


def learn_novelty(
    state: FittedState, batch: AtomsBatch, numbers: IntArray, unseen: FloatArray, rng: np.random.Generator
) -> NoveltyDetector:
    """Thresholds from the training set; `unseen` (n,) is of atoms of it without their own sparse points."""
    numbers, unseen = numbers[np.isfinite(unseen)], unseen[np.isfinite(unseen)]  # without prior nothing is to be seen
    remembered = choose_frames(batch, ATOMS_REMEMBERED, rng)
    vectors: dict[int, list[tuple[IntArray, FloatArray]]] = {}
    pairs: dict[tuple[int, int], float] = {}
    for span in frame_chunks(batch, ATOMS_PER_WAVE):
        part = batch.select(np.arange(span.start, span.stop))
        neighbours = build_neighbour_list(part, state.reach)
        for pair, distance in closest_pairs(part, neighbours).items():
            pairs[pair] = min(distance, pairs.get(pair, np.inf))
        chosen = np.isin(span.start + part.frame_of_atom, remembered)
        for z, (atoms, x) in local_vectors(AppliedBasis.of(state.sparse.basis, part, neighbours)).items():
            keep = chosen[atoms]
            vectors.setdefault(z, []).append((span.start + part.frame_of_atom[atoms[keep]], x[keep]))
    species = {}
    for z, found in vectors.items():
        of_frame, x = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        own = unseen[numbers == z]
        if len(x):  # a species that was not left out is judged as the others
            species[z] = KnownSpecies.of(x, of_frame, own if len(own) else unseen)
    return NoveltyDetector(species, pairs)


def calibrate_left_out(state: FittedState, part: AtomsBatch, found: LeaveOneOut) -> Calibration:
    """Calibrate on the training frames `part` that were left out."""
    residuals = {name: (one.frames, one.errors, one.variances) for name, one in found.residuals.items()}
    vectors = local_vectors(AppliedBasis.of(state.sparse.basis, part, build_neighbour_list(part, state.reach)))
    assert state.detector is not None
    novelty = state.detector.relative(part.numbers, found.unseen)
    return _fit(residuals, found.atoms, part, novelty, vectors, "leave-one-out")


def calibrate_on(state: FittedState, batch: AtomsBatch, n_jobs: int | None = None) -> Calibration:
    """Calibrate on labelled frames that the model was not fitted to."""
    applied = state.apply(batch)
    p = state.evaluate(applied, uncertainty="parts", n_jobs=n_jobs)
    assert p.unseen is not None
    found, vectors = compare_with_training(state, applied, p.unseen)
    has = batch.comparable
    variances = target_variances(
        applied, state.sparse.posterior, kinds=[kind for kind, mask in has.items() if mask.any()],
        prior_of=np.zeros(batch.n_atoms, bool), n_jobs=n_jobs,
    )  # fmt: skip
    residuals = {}
    for kind, target in TARGETS.items():
        parts, rows = variances.parts.get(kind), np.flatnonzero(has[kind])
        if parts is None or not hasattr(p, kind):
            continue
        errors = target.to_components(getattr(p, kind) - batch.all_labels.values[kind])[rows]
        data = np.einsum("ncc->nc", parts.data)[rows]
        of_row = batch.frame_of_atom[rows] if target.per_atom else rows
        factor = target.shown.factor(batch.n_atoms_per_frame, batch.volumes)[of_row, None]
        residuals[target.shown.name] = (of_row, errors * factor, data * factor**2)
    return _fit(residuals, np.flatnonzero(has["forces"]), batch, found.novelty, vectors, "frames")


def _fit(
    residuals: _Residuals, atoms: IntArray, batch: AtomsBatch, novelty: FloatArray, vectors: Vectors, source: str
) -> Calibration:
    """Calibrate on the kinds that enough configurations have; `atoms` (n,) are those of the forces."""
    residuals = {name: found for name, found in residuals.items() if len(np.unique(found[0])) >= LEAST}
    if not residuals:
        raise CalibrationError(
            f"a calibration needs at least {LEAST} labelled configurations of a kind, got {batch.n_frames} frames; add "
            'frames, or use the uncalibrated standard deviations (`std="epistemic"`)'
        )
    novelty = np.where(np.isfinite(novelty), novelty, 0.0)  # unknown where there is no threshold
    return fit_calibration(residuals, atoms, batch.numbers, novelty, vectors, source=source)

"""Thresholds of novelty and a calibration, from configurations and kinds left out of the fit."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from gapkit.exceptions import CalibrationError, CalibrationWarning
from gapkit.parallel import limit_blas
from gapkit.potential.error_bars.calibrate import calibrate_left_out, prior_scales
from gapkit.potential.error_bars.leave_kinds_out import leave_kind_out
from gapkit.potential.error_bars.leave_one_out import leave_one_out, unseen_left_out
from gapkit.potential.error_bars.training_set import Remembered
from gapkit.potential.state import FittedState
from gapkit.potential.training.estimate import FREE, LARGEST_SHARE, SHARE_OF_CALIBRATION, FitCosts
from gapkit.progress import Stages
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.averages import KnownAverages
from gapkit.uncertainty.conformal import LEAST, MIN_CONFIGURATIONS
from gapkit.uncertainty.kinds import Kinds, groups_to_leave_out
from gapkit.uncertainty.novelty import KnownSpecies, NoveltyDetector

# Most atoms of the configurations that are left out, one after another, and of the largest of them.
ATOMS_LEFT_OUT = 4000
LARGEST_FRAME = 1000
# Most atoms of a kind that is left out, and the part of all atoms left out that are left out with their kind.
ATOMS_OF_A_KIND, PART_OF_KINDS = 600, 0.25
# Atoms, but no more than half of all, that may be left out with their kinds however short the fit was.
LEAST_OF_KINDS = 300
# Frames of every kind among those that are left out one at a time.
OF_EACH_KIND = 6


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
        with limit_blas(n_jobs, 0), stages.stage("calibrate", unit="frame") as bar:
            known = Remembered.of(state, batch, rng)
            averages = None if known.averages is None else KnownAverages.of(known.averages, known.frames)
            points = np.zeros((0, 1)) if averages is None else averages.points
            kinds = Kinds.of(batch.all_labels.config_type, points, known.frames[: len(points)])
            order = kinds.some_of_each_first(order, OF_EACH_KIND)
            frames = frames_to_leave_out(state, batch, order)
            part = int(PART_OF_KINDS / (1.0 - PART_OF_KINDS) * batch.n_atoms_per_frame[frames].sum())
            budget = max(part, min(LEAST_OF_KINDS, batch.n_atoms // 2))
            groups = groups_to_leave_out(
                kinds, points, known.frames[: len(points)], batch.n_atoms_per_frame, ATOMS_OF_A_KIND, budget, rng
            )  # fmt: skip
            bar.reset(total=len(frames) + sum(len(own) for _, own in groups))
            stages.note(f"{len(frames):,} of {batch.n_frames:,} frames left out, one at a time")
            found = leave_one_out(state, batch, frames, scores=False, n_jobs=n_jobs, ticked=bar.update)
            others = np.setdiff1d(order[: _n_frames(batch, order, ATOMS_LEFT_OUT)], frames)
            unseen = np.concatenate([found.unseen, unseen_left_out(state, batch, others, n_jobs)])
            left_out = np.concatenate([frames, others])
            detector = learn_novelty(known, averages, kinds, batch, left_out, unseen)
            state = replace(state, detector=detector)
            calibration = calibrate_left_out(state, batch.select(frames), frames, found, kinds.names)
            of_kinds = []
            for name, own in groups:
                of_kinds.append(leave_kind_out(state, batch, name, own, rng, n_jobs))
                bar.update(len(own))
            if groups:
                stages.note(f"{len(groups)} kinds left out")
            priors = prior_scales(state, batch, calibration, of_kinds)
            return replace(state, calibration=replace(calibration, priors=priors))
    except CalibrationError as error:
        warnings.warn(f"standard deviations are not calibrated: {error}", CalibrationWarning, stacklevel=3)
        return state


def frames_to_leave_out(state: FittedState, batch: AtomsBatch, order: IntArray) -> IntArray:
    """The first frames of an order, ascending: as many as the fit's time allows, and no fewer than intervals need."""
    of_terms = [(term.engine, sum(len(block.points) for block in term.blocks)) for term in state.sparse.basis.terms]
    costs = FitCosts.of(batch, of_terms)
    usual, largest = (
        _n_frames(batch, order, int((1.0 - PART_OF_KINDS) * costs.atoms_to_leave_out(ATOMS_LEFT_OUT, *allowed)))
        for allowed in ((SHARE_OF_CALIBRATION,), (LARGEST_SHARE, FREE))
    )
    least = max(min(largest, MIN_CONFIGURATIONS), LEAST)
    return np.sort(order[: min(_n_frames(batch, order, ATOMS_LEFT_OUT), max(usual, least))])


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
    known: Remembered, averages: KnownAverages | None, kinds: Kinds, batch: AtomsBatch, left_out: IntArray,
    unseen: FloatArray,
) -> NoveltyDetector:  # fmt: skip
    """Thresholds from common kinds; `unseen` (n,) is of atoms of the frames `left_out`, without their own points."""
    part = batch.select(left_out)
    numbers = part.numbers
    # without prior nothing is to be seen, and what a rare kind looks like to a model without it is not usual
    usual = np.isfinite(unseen) & kinds.common[left_out][part.frame_of_atom]
    usual = usual if usual.any() else np.isfinite(unseen)
    species = {}
    for z, (frames, atoms, x) in known.vectors.items():
        own = unseen[usual & (numbers == z)]
        # a species that was not left out is judged as the others
        novelty = own if len(own) else unseen[usual]
        species[z] = KnownSpecies.of(x, frames, novelty, atoms, kinds.common[frames])
    if averages is not None and known.averages is not None:
        averages = averages.learned(known.averages, kinds.common[known.frames], kinds.of_frame[known.frames])
    return NoveltyDetector(species, known.pairs, averages)

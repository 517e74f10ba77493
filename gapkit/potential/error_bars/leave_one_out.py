"""Leave-one-configuration-out predictions of training frames, without refitting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gapkit.gp.instances import AppliedBasis, local_rows
from gapkit.gp.variance.leave_out import LeaveOut
from gapkit.gp.variance.targets import seen_by_points, target_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import map_blocks
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.training.rows import TrainingTargets
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS, Target
from gapkit.typing import FloatArray, IntArray

# Errors and variances of a frame by kind, what is unseen of its atoms, and its score.
_LeftOut = tuple[dict[str, FloatArray], dict[str, FloatArray], FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Errors and variances of one kind of target where it is labelled."""

    frames: IntArray  # (n,), of the batch
    rows: IntArray  # (n,), the labelled frame or atom itself
    errors: FloatArray  # (n, c), prediction less label: eV/atom, eV/Å or eV/Å^3
    variances: FloatArray  # (n, c), data part of the posterior variance; squares of the same unit


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Every frame as the model without it predicts it."""

    residuals: dict[str, Residuals]  # of "energy", "forces" and "stress"; empty where there are no labels
    unseen: FloatArray  # (n_atoms,), that of `Predictions` without the frame's own sparse points
    scores: FloatArray  # (n_frames, M), `gp.variance.leave_out.LeftOut.score` of every frame

    energy = property(lambda self: self.residuals["energy"], doc="Residuals of energies, eV/atom.")
    forces = property(lambda self: self.residuals["forces"], doc="Residuals of forces, eV/Å.")
    stress = property(lambda self: self.residuals["stress"], doc="Residuals of stresses, eV/Å^3.")
    atoms = property(lambda self: self.forces.rows, doc="Atoms of the batch to which the rows of `forces` belong.")

    def of(self, target: Target) -> Residuals:
        """Residuals of a target."""
        return self.residuals[target.shown.name]


def leave_one_out(
    state: FittedState, batch: AtomsBatch, frames: IntArray | None = None, *, n_jobs: int | None = None
) -> LeaveOneOut:
    """Leave each of some frames (None: all) out of the model that was fitted to all of `batch`.

    Indices of the result are those of ``batch.select(frames)``.
    """
    frames = np.arange(batch.n_frames) if frames is None else frames
    part = batch.select(frames)
    targets = state.row_maker.targets(part)
    leaver = LeaveOut(state.sparse.basis, state.sparse.posterior, state.sparse.weights)

    def one(index: int) -> _LeftOut:
        removed = np.flatnonzero(state.origins == frames[index])
        labels = targets.of_frames(part.offsets, index, index + 1)
        return _leave_out(state, leaver, part.select([index]), labels, removed)

    errors, variances, unseen, scores = zip(*map_blocks(one, range(part.n_frames), n_jobs), strict=True)
    residuals = {}
    for kind, target in TARGETS.items():
        of_row = np.repeat(np.arange(part.n_frames), [len(found[kind]) for found in errors])
        factor = target.shown.factor(part.n_atoms_per_frame, part.volumes)[of_row, None]
        known = np.isfinite(factor[:, 0])
        e, v = (np.concatenate([found[kind] for found in parts]) for parts in (errors, variances))
        rows = np.flatnonzero(targets.has[kind])[known]
        residuals[target.shown.name] = Residuals(of_row[known], rows, (e * factor)[known], (v * factor**2)[known])
    return LeaveOneOut(residuals, np.concatenate(unseen), np.stack(scores))


def jackknife(state: FittedState, batch: AtomsBatch, n_jobs: int | None = None) -> FittedState:
    """The state with the jackknife's covariance over the frames of its training set; without factors, calibration."""
    scores = leave_one_out(state, batch, n_jobs=n_jobs).scores
    sparse = SparseModel(state.sparse.basis, state.sparse.posterior.with_scores(scores), state.sparse.weights)
    return replace(state, sparse=sparse, factors=None, rows=None, calibration=None)


def _leave_out(
    state: FittedState, leaver: LeaveOut, batch: AtomsBatch, labels: TrainingTargets, removed: IntArray
) -> _LeftOut:
    basis, posterior = state.sparse.basis, state.sparse.posterior
    applied = AppliedBasis.of(basis, batch, build_neighbour_list(batch, basis.reach))
    # rows as the fit made them: R knows of no others
    made = target_rows(applied, [kind for kind, has in labels.has.items() if has.any()], single=True)
    rows, values, sigmas = [np.zeros((0, basis.n_columns))], [np.zeros(0)], [np.zeros(0)]
    for kind in [kind for kind in TARGETS if kind in made]:
        has = labels.has[kind]
        rows.append(made[kind][has].reshape(-1, basis.n_columns))
        values.append(labels.values[kind][has].ravel())
        sigma = labels.sigmas[kind][has] * state.noise.get(kind, np.nan)
        sigmas.append(np.repeat(sigma, TARGETS[kind].components))
    found = leaver.residuals(np.concatenate(rows), np.concatenate(values), np.concatenate(sigmas), removed)
    diagonal = np.maximum(np.diagonal(found.covariance), 0.0)
    errors, variances = {}, {}
    start = 0
    for kind, target in TARGETS.items():
        shape = (int(labels.has[kind].sum()), target.components)
        own = slice(start, start + shape[0] * shape[1])
        start = own.stop
        errors[kind], variances[kind] = -found.residual[own].reshape(shape), diagonal[own].reshape(shape)
    phi, prior = local_rows(applied, posterior)
    seen = leaver.unseen(seen_by_points(basis, posterior, phi), removed)
    with np.errstate(invalid="ignore", divide="ignore"):
        unseen = np.clip(1.0 - np.einsum("mn,mn->n", seen, seen) / prior, 0.0, 1.0)
    return errors, variances, unseen, found.score

"""Leave-one-configuration-out predictions of training frames, without refitting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gapkit.gp.instances import AppliedBasis
from gapkit.gp.local_rows import local_rows
from gapkit.gp.variance.leave_out import LeaveOut
from gapkit.gp.variance.targets import seen_by_points, target_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import map_blocks
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.training.rows import TrainingTargets
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS, Target
from gapkit.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Residuals:
    """Errors and variances of one kind of target where it is labelled.

    Attributes
    ----------
    frames, rows : ndarray (n,) of int
        Frame of the batch, and the labelled frame or atom itself.
    errors : ndarray (n, c)
        Prediction less label: eV/atom, eV/Å or eV/Å^3.
    variances : ndarray (n, c)
        Data part of the posterior variance; squares of the same unit.
    """

    frames: IntArray
    rows: IntArray
    errors: FloatArray
    variances: FloatArray


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Every frame as the model without it predicts it.

    Attributes
    ----------
    residuals : dict of str to Residuals
        By what is shown of each target: "energy", "forces", "stress"; empty where there are no labels.
    novelty : ndarray (n_atoms,)
        Prior residual over prior variance of the local energy, without the frame's own sparse points.
    scores : ndarray (n_frames, M)
        `gp.leave_out.LeftOut.score` of every frame.
    """

    residuals: dict[str, Residuals]
    novelty: FloatArray
    scores: FloatArray

    def of(self, target: Target) -> Residuals:
        """Residuals of a target."""
        return self.residuals[target.shown.name]

    @property
    def energy(self) -> Residuals:
        """Of energies, eV/atom."""
        return self.residuals["energy"]

    @property
    def forces(self) -> Residuals:
        """Of forces, eV/Å."""
        return self.residuals["forces"]

    @property
    def stress(self) -> Residuals:
        """Of stresses, eV/Å^3."""
        return self.residuals["stress"]

    @property
    def atoms(self) -> IntArray:
        """Atoms of the batch to which the rows of `forces` belong."""
        return self.forces.rows


def leave_one_out(
    state: FittedState, batch: AtomsBatch, frames: IntArray | None = None, *, n_jobs: int | None = None
) -> LeaveOneOut:
    """Leave each of some frames out of the model that was fitted to all of `batch`.

    Parameters
    ----------
    frames : ndarray of int or None
        Frames of the training set; None: all.  Indices of the result are those of ``batch.select(frames)``.
    """
    frames = np.arange(batch.n_frames) if frames is None else frames
    part = batch.select(frames)
    targets = state.row_maker.targets(part)
    leaver = LeaveOut(state.sparse.basis, state.sparse.posterior, state.sparse.weights)

    def one(index: int) -> _LeftOut:
        removed = np.flatnonzero(state.origins == frames[index])
        labels = _of_frame(targets, part, index, state.noise)
        return _leave_out(state.sparse, leaver, part.select([index]), labels, removed)

    results = map_blocks(one, range(part.n_frames), n_jobs)
    residuals = {}
    for kind, target in TARGETS.items():
        of_row = np.repeat(np.arange(part.n_frames), [len(found.errors[kind]) for found in results])
        factor = target.shown.factor(part.n_atoms_per_frame, part.volumes)[of_row, None]
        errors = np.concatenate([found.errors[kind] for found in results]) * factor
        variances = np.concatenate([found.variances[kind] for found in results]) * factor**2
        known = np.isfinite(factor[:, 0])
        rows = np.flatnonzero(targets.has[kind])[known]
        residuals[target.shown.name] = Residuals(of_row[known], rows, errors[known], variances[known])
    novelty = np.concatenate([found.novelty for found in results])
    return LeaveOneOut(residuals, novelty, np.stack([found.score for found in results]))


def jackknife(state: FittedState, batch: AtomsBatch, n_jobs: int | None = None) -> FittedState:
    """The state with the jackknife's covariance over the frames of its training set; without factors, calibration."""
    scores = leave_one_out(state, batch, n_jobs=n_jobs).scores
    sparse = SparseModel(state.sparse.basis, state.sparse.posterior.with_scores(scores), state.sparse.weights)
    return replace(state, sparse=sparse, factors=None, rows=None, calibration=None)


@dataclass(frozen=True, eq=False)
class _LeftOut:
    errors: dict[str, FloatArray]
    variances: dict[str, FloatArray]
    novelty: FloatArray
    score: FloatArray


@dataclass(frozen=True, eq=False)
class _Labels:
    """Labels of one kind of one frame: values (n, c), mask (n,) and sigmas (n,)."""

    values: FloatArray
    has: BoolArray
    sigmas: FloatArray


def _of_frame(targets: TrainingTargets, batch: AtomsBatch, frame: int, noise: dict[str, float]) -> dict[str, _Labels]:
    found = {}
    for kind, target in TARGETS.items():
        span = target.span(batch.offsets, frame, frame + 1)
        values = targets.values[kind][span]
        found[kind] = _Labels(values, targets.has[kind][span], targets.sigmas[kind][span] * noise.get(kind, np.nan))
    return found


def _leave_out(
    model: SparseModel, leaver: LeaveOut, batch: AtomsBatch, labels: dict[str, _Labels], removed: IntArray
) -> _LeftOut:
    basis, posterior = model.basis, model.posterior
    applied = AppliedBasis.of(basis, batch, build_neighbour_list(batch, basis.reach))
    # rows as the fit made them: R knows of no others
    made = target_rows(applied, [kind for kind, label in labels.items() if label.has.any()], single=True)
    rows, values, sigmas = [np.zeros((0, basis.n_columns))], [np.zeros(0)], [np.zeros(0)]
    for kind, label in labels.items():
        if label.has.any():
            rows.append(made[kind][label.has].reshape(-1, basis.n_columns))
            values.append(label.values[label.has].ravel())
            sigmas.append(np.repeat(label.sigmas[label.has], TARGETS[kind].components))
    found = leaver.residuals(np.concatenate(rows), np.concatenate(values), np.concatenate(sigmas), removed)
    diagonal = np.maximum(np.diagonal(found.covariance), 0.0)
    errors, variances = {}, {}
    start = 0
    for kind, label in labels.items():
        shape = (int(label.has.sum()), TARGETS[kind].components)
        own = slice(start, start + shape[0] * shape[1])
        start = own.stop
        errors[kind], variances[kind] = -found.residual[own].reshape(shape), diagonal[own].reshape(shape)
    phi, prior = local_rows(applied, posterior)
    seen = leaver.unseen(seen_by_points(basis, posterior, phi), removed)
    with np.errstate(invalid="ignore", divide="ignore"):
        novelty = np.clip(1.0 - np.einsum("mn,mn->n", seen, seen) / prior, 0.0, 1.0)
    return _LeftOut(errors, variances, novelty, found.score)

"""Leave-one-configuration-out predictions of training frames, without refitting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gapkit.gp.chunks import frame_chunks
from gapkit.gp.instances import AppliedBasis, local_rows
from gapkit.gp.variance.leave_out import LeaveOut, LeftOut
from gapkit.gp.variance.targets import seen_by_points, target_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import map_blocks
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.training.rows import TrainingTargets
from gapkit.printing import columns
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS, Target, shown_quantities
from gapkit.typing import FloatArray, IntArray

# Atoms of small frames whose rows are made together.
ATOMS_PER_CHUNK = 64

# Errors and variances of a frame by kind, what is unseen of its atoms, and its score.
_LeftOut = tuple[dict[str, FloatArray], dict[str, FloatArray], FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Errors and variances of one kind of target where it is labelled."""

    frames: IntArray  # (n,), of the batch
    rows: IntArray  # (n,), the labelled frame or atom itself
    errors: FloatArray  # (n, c), prediction less label: eV/atom, eV/Å or eV/Å^3
    variances: FloatArray  # (n, c), data part of the posterior variance; squares of the same unit


@dataclass(frozen=True, eq=False, repr=False)
class LeaveOneOut:
    """Every frame as the model without it predicts it."""

    residuals: dict[str, Residuals]  # of "energy", "forces" and "stress"; empty where there are no labels
    unseen: FloatArray  # (n_atoms,), that of `Predictions` without the frame's own sparse points
    scores: FloatArray  # (n_frames, M), `gp.variance.leave_out.LeftOut.score` of every frame

    energy = property(lambda self: self.residuals["energy"], doc="Residuals of energies, eV/atom.")
    forces = property(lambda self: self.residuals["forces"], doc="Residuals of forces, eV/Å.")
    stress = property(lambda self: self.residuals["stress"], doc="Residuals of stresses, eV/Å^3.")
    atoms = property(lambda self: self.forces.rows, doc="Atoms of the batch to which the rows of `forces` belong.")

    def __repr__(self) -> str:
        rows = []
        for name, shown in shown_quantities().items():
            errors = self.residuals[name].errors * shown.printed_factor
            if errors.size:
                numbers = (np.abs(errors).mean(), np.sqrt((errors**2).mean()), np.abs(errors).max())
                rows.append((name, shown.printed_unit, str(len(errors)), *(f"{number:.4g}" for number in numbers)))
        head = f"{len(self.scores)} frames, each predicted without itself"
        return "\n".join([head, *columns(("", "unit", "labels", "MAE", "RMSE", "largest"), rows)])

    def of(self, target: Target) -> Residuals:
        """Residuals of a target."""
        return self.residuals[target.shown.name]


def leave_one_out(
    state: FittedState, batch: AtomsBatch, frames: IntArray | None = None, *, scores: bool = True,
    n_jobs: int | None = None, ticked: Callable[[int], object] | None = None,
) -> LeaveOneOut:  # fmt: skip
    """Leave each of some frames (None: all) out of the model that was fitted to all of `batch`.

    Indices of the result are those of ``batch.select(frames)``.  Without `scores` those of the result are empty;
    `ticked` is told how many frames have just been done.
    """
    frames = np.arange(batch.n_frames) if frames is None else frames
    part = batch.select(frames)
    targets = state.row_maker.targets(part)
    leaver = LeaveOut(state.sparse.basis, state.sparse.posterior, state.sparse.weights)

    def of_chunk(chunk: range) -> list[_LeftOut]:
        removed = [np.flatnonzero(state.origins == frame) for frame in frames[chunk.start : chunk.stop]]
        labels = targets.of_frames(part.offsets, chunk.start, chunk.stop)
        found = _leave_out(state, leaver, part.select(np.asarray(chunk)), labels, removed, scores)
        if ticked is not None:
            ticked(len(chunk))
        return found

    chunks = list(frame_chunks(part, ATOMS_PER_CHUNK))
    of_frames = [left for several in map_blocks(of_chunk, chunks, n_jobs) for left in several]
    errors, variances, unseen, of_weights = zip(*of_frames, strict=True)
    residuals = {}
    for kind, target in TARGETS.items():
        of_row = np.repeat(np.arange(part.n_frames), [len(found[kind]) for found in errors])
        factor = target.shown.factor(part.n_atoms_per_frame, part.volumes)[of_row, None]
        known = np.isfinite(factor[:, 0])
        e, v = (np.concatenate([found[kind] for found in parts]) for parts in (errors, variances))
        rows = np.flatnonzero(targets.has[kind])[known]
        residuals[target.shown.name] = Residuals(of_row[known], rows, (e * factor)[known], (v * factor**2)[known])
    return LeaveOneOut(residuals, np.concatenate(unseen), np.stack(of_weights))


def unseen_left_out(state: FittedState, batch: AtomsBatch, frames: IntArray, n_jobs: int | None = None) -> FloatArray:
    """`LeaveOneOut.unseen` of the atoms of some frames alone, which needs no labels and a fraction of the time."""
    if len(frames) == 0:
        return np.zeros(0)
    part, basis, posterior = batch.select(frames), state.sparse.basis, state.sparse.posterior
    leaver = LeaveOut(basis, posterior, state.sparse.weights)

    def of_chunk(chunk: range) -> FloatArray:
        own = part.select(np.asarray(chunk))
        phi, prior = local_rows(AppliedBasis.of(basis, own, build_neighbour_list(own, basis.reach)), posterior)
        seen = seen_by_points(basis, posterior, phi)
        removed = [np.flatnonzero(state.origins == frame) for frame in frames[chunk.start : chunk.stop]]
        left = leaver.for_points(np.concatenate(removed))
        spans = [slice(begin, end) for begin, end in pairwise(own.offsets)]
        each = zip(spans, removed, strict=True)
        return np.concatenate([left.unseen(seen[:, atoms], prior[atoms], points) for atoms, points in each])

    return np.concatenate(map_blocks(of_chunk, frame_chunks(part, ATOMS_PER_CHUNK), n_jobs))


def jackknife(state: FittedState, batch: AtomsBatch, n_jobs: int | None = None) -> FittedState:
    """The state with the jackknife's covariance over the frames of its training set; without factors, calibration."""
    scores = leave_one_out(state, batch, n_jobs=n_jobs).scores
    sparse = SparseModel(state.sparse.basis, state.sparse.posterior.with_scores(scores), state.sparse.weights)
    return replace(state, sparse=sparse, factors=None, rows=None, calibration=None)


def _leave_out(
    state: FittedState, leaver: LeaveOut, batch: AtomsBatch, labels: TrainingTargets, removed: list[IntArray],
    score: bool,
) -> list[_LeftOut]:  # fmt: skip
    """Leave out every frame of a batch, one at a time; what all of them need is made together."""
    basis, posterior = state.sparse.basis, state.sparse.posterior
    applied = AppliedBasis.of(basis, batch, build_neighbour_list(batch, basis.reach))
    # rows as the fit made them: R knows of no others
    rows = LabelledRows.of(state, applied, labels, single=True)
    white, leaver = posterior.whiten(rows.Phi), leaver.for_points(np.concatenate(removed))
    phi, prior = local_rows(applied, posterior)
    seen = seen_by_points(basis, posterior, phi)
    results = []
    for frame, points in enumerate(removed):
        own, atoms = np.flatnonzero(rows.frames == frame), slice(batch.offsets[frame], batch.offsets[frame + 1])
        found = leaver.residuals(rows.Phi[own], rows.y[own], rows.sigma[own], points, white=white[:, own], score=score)
        errors, variances = rows.by_kind(found, own)
        unseen = leaver.unseen(seen[:, atoms], prior[atoms], points)
        results.append((errors, variances, unseen, found.score))
    return results


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows of all labels of a batch, kind after kind."""

    Phi: FloatArray  # (n, M)
    y: FloatArray  # (n,), labels less what is not learned
    sigma: FloatArray  # (n,), noise
    frames: IntArray  # (n,)
    kinds: IntArray  # (n,), place in the table of targets
    targets: IntArray  # (n,), frame or atom
    made: dict[str, FloatArray]  # (n, c, M), rows of labelled and other targets by kind

    @classmethod
    def of(
        cls, state: FittedState, applied: AppliedBasis, labels: TrainingTargets, *, single: bool,
        n_jobs: int | None = 1,
    ) -> LabelledRows:  # fmt: skip
        """With the noise that the fit found; options as for `target_rows`."""
        batch, n_columns = applied.batch, applied.basis.n_columns
        wanted = [kind for kind, has in labels.has.items() if has.any()]
        made = target_rows(applied, wanted, single=single, n_jobs=n_jobs)
        none = np.zeros(0, int)
        parts: list[tuple[Any, ...]] = [(np.zeros((0, n_columns)), np.zeros(0), np.zeros(0), none, none, none)]
        for number, (kind, target) in enumerate(TARGETS.items()):
            if kind in wanted:
                has, c = np.flatnonzero(labels.has[kind]), target.components
                rows = made[kind][has].reshape(-1, n_columns)
                frames = batch.frame_of_atom if target.per_atom else np.arange(batch.n_frames)
                sigma = labels.sigmas[kind][has] * state.noise.get(kind, np.nan)
                each = (np.repeat(part, c) for part in (sigma, frames[has]))
                parts.append(
                    (rows, labels.values[kind][has].ravel(), *each, np.full(len(rows), number), np.repeat(has, c))
                )
        Phi, y, sigma, frames, kinds, targets = (np.concatenate(part) for part in zip(*parts, strict=True))
        return cls(Phi, y, sigma, frames, kinds, targets, made)

    def by_kind(self, found: LeftOut, own: IntArray) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """Errors and variances (n, c) by kind of what was found for the rows `own`."""
        diagonal = np.maximum(np.diagonal(found.covariance), 0.0)
        errors, variances = {}, {}
        for number, (kind, target) in enumerate(TARGETS.items()):
            mine = self.kinds[own] == number
            errors[kind] = -found.residual[mine].reshape(-1, target.components)
            variances[kind] = diagonal[mine].reshape(-1, target.components)
        return errors, variances

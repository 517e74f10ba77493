"""Leave-one-configuration-out predictions of training frames, without refitting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.gp.local_rows import local_rows
from gapkit.gp.variance.leave_out import LeaveOut
from gapkit.gp.variance.targets import TargetRows, seen_by_points
from gapkit.neighbours import build_neighbour_list
from gapkit.parallel import map_blocks
from gapkit.potential.model import SparseModel
from gapkit.potential.training.rows import TrainingTargets
from gapkit.structures import AtomsBatch
from gapkit.typing import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Residuals:
    """Errors and standard deviations of one kind of target where it is labelled.

    Attributes
    ----------
    frames : ndarray (n,) of int
        Frame of the batch.
    errors : ndarray (n, c)
        Prediction less label: eV/atom, eV/Å or eV/Å^3.
    variances : ndarray (n, c)
        What the weights still have after the data (data part); squares of the same unit.
    """

    frames: IntArray
    errors: FloatArray
    variances: FloatArray


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Every frame as the model without it predicts it.

    Attributes
    ----------
    energy, forces, stress : Residuals
        One, three and six components; empty where there are no labels.
    atoms : ndarray (n_labelled_atoms,) of int
        Atoms of the batch to which the rows of `forces` belong.
    novelty : ndarray (n_atoms,)
        Prior residual over prior variance of the local energy, without the frame's own sparse points.
    scores : ndarray (n_frames, M)
        `gp.leave_out.LeftOut.score` of every frame.
    """

    energy: Residuals
    forces: Residuals
    stress: Residuals
    atoms: IntArray
    novelty: FloatArray
    scores: FloatArray


COMPONENTS = {"energy": 1, "forces": 3, "virial": 6}


def leave_one_out(
    model: SparseModel,
    batch: AtomsBatch,
    labelled: TrainingTargets,
    noise: dict[str, float],
    removed: list[IntArray],
    *,
    n_jobs: int | None = None,
) -> LeaveOneOut:
    """Leave every frame of `batch` out of the model that was fitted to all of them (and others).

    Parameters
    ----------
    labelled : TrainingTargets
        Labels of the batch with their relative sigmas.
    noise : dict
        Sigma of every kind.
    removed : list of ndarray
        Columns of the sparse points that each frame gave.
    """
    leaver = LeaveOut(model.basis, model.posterior, model.weights)

    def one(frame: int) -> _One:
        return _leave_out(
            model, leaver, batch.select([frame]), _of_frame(labelled, batch, frame), noise, removed[frame]
        )

    results = map_blocks(one, range(batch.n_frames), n_jobs)
    residuals = {}
    for kind, c in COMPONENTS.items():
        scale = {
            "energy": 1.0 / batch.n_atoms_per_frame,
            "forces": np.ones(batch.n_frames),
            "virial": 1.0 / batch.volumes,
        }
        frames = np.concatenate([np.full(len(found.errors[kind]), f) for f, found in enumerate(results)]).astype(int)
        by = scale[kind][frames][:, None]
        errors = np.concatenate([found.errors[kind] for found in results]).reshape(-1, c) * by
        variances = np.concatenate([found.variances[kind] for found in results]).reshape(-1, c) * by**2
        residuals[kind] = Residuals(frames, -errors if kind == "virial" else errors, variances)
    stress = residuals["virial"]
    known = np.isfinite(batch.volumes)[stress.frames]
    stress = Residuals(stress.frames[known], stress.errors[known], stress.variances[known])
    return LeaveOneOut(
        residuals["energy"], residuals["forces"], stress, np.flatnonzero(labelled.has["forces"]),
        np.concatenate([found.novelty for found in results]), np.stack([found.score for found in results]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _One:
    errors: dict[str, FloatArray]
    variances: dict[str, FloatArray]
    novelty: FloatArray
    score: FloatArray


_Labels = dict[str, tuple[FloatArray, BoolArray, FloatArray]]


def _of_frame(labelled: TrainingTargets, batch: AtomsBatch, frame: int) -> _Labels:
    """Values (n, c), mask (n,) and relative sigmas (n,) of every kind of one frame."""
    atoms = slice(int(batch.offsets[frame]), int(batch.offsets[frame + 1]))
    spans = {"energy": slice(frame, frame + 1), "forces": atoms, "virial": slice(frame, frame + 1)}
    return {
        kind: (
            getattr(labelled, kind)[span].reshape(-1, COMPONENTS[kind]),
            labelled.has[kind][span],
            labelled.sigmas[kind][span],
        )
        for kind, span in spans.items()
    }


def _leave_out(
    model: SparseModel, leaver: LeaveOut, batch: AtomsBatch, labelled: _Labels, noise: dict[str, float],
    removed: IntArray,
) -> _One:  # fmt: skip
    basis, posterior = model.basis, model.posterior
    neighbours = build_neighbour_list(batch, basis.reach)
    wanted = {kind: bool(has.any()) for kind, (_, has, _) in labelled.items()}
    # rows as the fit made them: R knows of no others
    made = TargetRows.of(
        basis, posterior, batch, neighbours, forces=wanted["forces"], virial=wanted["virial"],
        prior_of=np.zeros(batch.n_atoms, bool), single=True,
    ).rows  # fmt: skip
    rows, values, sigmas = [np.zeros((0, basis.n_columns))], [np.zeros(0)], [np.zeros(0)]
    for kind, (value, has, sigma) in labelled.items():
        if wanted[kind]:
            rows.append(made[kind][has].reshape(-1, basis.n_columns))
            values.append(value[has].ravel())
            sigmas.append(np.repeat(sigma[has] * noise[kind], COMPONENTS[kind]))
    found = leaver.residuals(np.concatenate(rows), np.concatenate(values), np.concatenate(sigmas), removed)
    errors, variances = {}, {}
    start = 0
    for kind, c in COMPONENTS.items():
        n = int(labelled[kind][1].sum())
        own = slice(start, start + n * c)
        start = own.stop
        errors[kind] = -found.residual[own].reshape(n, c)
        variances[kind] = np.maximum(np.diagonal(found.covariance)[own], 0.0).reshape(n, c)
    phi, prior = local_rows(basis, posterior, batch, neighbours)
    seen = leaver.unseen(seen_by_points(basis, posterior, phi), removed)
    with np.errstate(invalid="ignore", divide="ignore"):
        novelty = np.clip(1.0 - np.einsum("mn,mn->n", seen, seen) / prior, 0.0, 1.0)
    return _One(errors, variances, novelty, found.score)

"""Kinds of structures as a model without them predicts them, without refitting: the block formula for their frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.gp.instances import AppliedBasis, local_rows
from gapkit.gp.variance.leave_out import LeaveOut
from gapkit.gp.variance.targets import functionals, inner, seen_by_points
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.error_bars.leave_one_out import LabelledRows
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray, IntArray

# Atoms of a kind whose forces get a prior residual, which is the dear part, and the frames that they are taken from.
ATOMS_WITH_PRIOR, FRAMES_WITH_PRIOR = 18, 6
# A stress is a derivative of the energy, whose scale it shares: its own prior would take as long as all others.
WITH_PRIOR = ("energy", "forces")


@dataclass(frozen=True, eq=False)
class TargetsLeftOut:
    """Some labels of one quantity of a kind."""

    targets: IntArray  # (n,), frames or atoms of the kind
    errors: FloatArray  # (n, c), prediction less label, in the unit of the quantity
    data: FloatArray  # (n, c), data part of the variance
    prior: FloatArray  # (n, c), prior residual


@dataclass(frozen=True, eq=False)
class KindLeftOut:
    """A kind as the model without its frames, and without the sparse points that they gave, predicts it."""

    name: str
    frames: IntArray  # of the training set
    applied: AppliedBasis  # to them
    unseen: FloatArray  # (n_atoms,), that of `Predictions`
    quantities: dict[str, TargetsLeftOut]  # by name, where there are labels


def leave_kind_out(
    state: FittedState, batch: AtomsBatch, name: str, frames: IntArray, rng: np.random.Generator,
    n_jobs: int | None = None,
) -> KindLeftOut:  # fmt: skip
    """Leave the training frames `frames` of `batch` out together; prior residuals are those of random atoms of them."""
    part, basis, posterior = batch.select(frames), state.sparse.basis, state.sparse.posterior
    applied = AppliedBasis.of(basis, part, build_neighbour_list(part, basis.reach))
    labels = state.row_maker.targets(part)
    rows = LabelledRows.of(state, applied, labels, single=True, n_jobs=n_jobs)
    removed = np.flatnonzero(np.isin(state.origins, frames))
    leaver = LeaveOut(basis, posterior, state.sparse.weights).for_points(removed)
    everything = np.arange(len(rows.y))
    found = leaver.residuals(rows.Phi, rows.y, rows.sigma, removed, score=False)
    errors, variances = rows.by_kind(found, everything)
    phi, prior_of_atoms = local_rows(applied, posterior)
    unseen = leaver.unseen(seen_by_points(basis, posterior, phi), prior_of_atoms, removed)
    wanted = _some_atoms(part, rng)
    quantities = {}
    for kind, index, prior in _priors(applied, state, [kind for kind in WITH_PRIOR if kind in rows.made], wanted):
        target = TARGETS[kind]
        of_kind = rows.kinds == list(TARGETS).index(kind)
        labelled = rows.targets[of_kind][:: target.components]
        chosen = np.intersect1d(index, labelled)
        if len(chosen) == 0:
            continue
        flat = rows.made[kind][chosen]
        seen = leaver.seen(seen_by_points(basis, posterior, flat.reshape(-1, basis.n_columns)), removed)
        residual = prior[np.searchsorted(index, chosen)] - inner(seen, flat.shape)
        frame = part.frame_of_atom[chosen] if target.per_atom else chosen
        factor = target.shown.factor(part.n_atoms_per_frame, part.volumes)[frame, None]
        row = np.searchsorted(labelled, chosen)
        values = TargetsLeftOut(
            chosen, errors[kind][row] * factor, variances[kind][row] * factor**2,
            np.maximum(np.einsum("ncc->nc", residual), 0.0) * factor**2,
        )  # fmt: skip
        if np.isfinite(factor).all():
            quantities[target.shown.name] = values
    return KindLeftOut(name, frames, applied, unseen, quantities)


def _some_atoms(part: AtomsBatch, rng: np.random.Generator) -> BoolArray:
    """Mask (n_atoms,) of random atoms of random frames."""
    frames = rng.permutation(part.n_frames)[:FRAMES_WITH_PRIOR]
    atoms = np.flatnonzero(np.isin(part.frame_of_atom, frames))
    mask = np.zeros(part.n_atoms, bool)
    mask[rng.permutation(atoms)[:ATOMS_WITH_PRIOR]] = True
    return mask


def _priors(
    applied: AppliedBasis, state: FittedState, kinds: list[str], wanted: BoolArray
) -> list[tuple[str, IntArray, FloatArray]]:
    """By kind, indices (n,), ascending, and prior covariances (n, c, c) of the atomic terms, eV^2."""
    found: dict[str, dict[int, FloatArray]] = {}
    for one in functionals(applied, state.sparse.posterior, kinds, wanted):
        of_kind = found.setdefault(one.kind, {})
        of_kind[one.index] = of_kind.get(one.index, np.zeros(())) + one.covariance(one)
    return [
        (kind, np.array(sorted(values)), np.array([values[i] for i in sorted(values)]))
        for kind, values in found.items()
        if kind in kinds
    ]

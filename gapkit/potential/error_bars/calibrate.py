"""Calibrations: from training frames and kinds that were left out, or from frames that a model was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from gapkit.exceptions import CalibrationError
from gapkit.gp.instances import AppliedBasis, local_vectors
from gapkit.gp.variance.targets import target_variances
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.error_bars.ceilings import label_ceilings
from gapkit.potential.error_bars.differences import difference_factor
from gapkit.potential.error_bars.extrapolation import compare_with_training, novelty_of_targets
from gapkit.potential.error_bars.leave_kinds_out import KindLeftOut
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.averages import NO_KIND, FrameAverages
from gapkit.uncertainty.calibration import NEGLIGIBLE, Calibration, Labels, Structures, fit_calibration
from gapkit.uncertainty.conformal import LEAST
from gapkit.uncertainty.neighbourhoods import Vectors
from gapkit.uncertainty.novelty import NoveltyDetector
from gapkit.uncertainty.prior_scale import OfKind, PriorScale, share_of_prior


@dataclass(frozen=True, eq=False)
class Outside:
    """Labels of structures that the model did not know, next to its predictions, by name of the quantity."""

    applied: AppliedBasis
    novelty: FloatArray  # (n_atoms,), over its threshold
    average: FloatArray  # (n_frames,), likewise
    kinds: IntArray  # (n_frames,), indices of names
    vectors: Vectors
    frames: dict[str, IntArray]  # (n,), of the batch
    errors: dict[str, FloatArray]  # (n, c)
    data: dict[str, FloatArray]  # (n, c), data variances
    atoms: IntArray  # (n,), of the forces

    def calibration(self, state: FittedState, names: tuple[str, ...], source: str) -> Calibration:
        """Of the quantities that enough configurations have; what is novel to the model sets no level."""
        batch = self.applied.batch
        of_atoms, of_frames = novelty_of_targets(self.novelty, self.average, batch, self.applied.neighbours)
        enough = {}
        for name, frames in self.frames.items():
            if len(np.unique(frames)) >= LEAST:
                usual = (of_atoms[self.atoms] if name == "forces" else of_frames[frames]) <= 1.0
                known = usual if len(np.unique(frames[usual])) >= LEAST else np.ones(len(frames), bool)
                enough[name] = Labels(frames, self.errors[name], self.data[name], known)
        if not enough:
            raise CalibrationError(
                f"a calibration needs at least {LEAST} labelled configurations of a kind, got {batch.n_frames} frames; "
                'add frames, or use the uncalibrated standard deviations (`std="epistemic"`)'
            )
        novelty = np.where(np.isfinite(self.novelty), self.novelty, 0.0)  # unknown where there is no threshold
        structures = Structures(batch.numbers, novelty, self.vectors, self.atoms, self.kinds, names)
        found = fit_calibration(enough, structures, source)
        if "energy" not in enough:
            return found
        own = enough["energy"].known
        residuals = self.frames["energy"][own], self.errors["energy"][own, 0], self.data["energy"][own, 0]
        return replace(found, difference=difference_factor(state, self.applied, *residuals, found.scales["energy"]))


def calibrate_left_out(
    state: FittedState, part: AtomsBatch, frames: IntArray, found: LeaveOneOut, names: tuple[str, ...]
) -> Calibration:
    """Calibrate on the training frames `part`, of numbers `frames`, that were left out one at a time.

    `names` are those of the kinds that the detector knows.
    """
    assert state.detector is not None
    applied = AppliedBasis.of(state.sparse.basis, part, build_neighbour_list(part, state.reach))
    vectors = local_vectors(applied)
    residuals = found.residuals.items()
    outside = Outside(
        applied, state.detector.relative(part.numbers, found.unseen),
        *_averages(state.detector, vectors, part, [frames[k : k + 1] for k in range(part.n_frames)]), vectors,
        {name: one.frames for name, one in residuals}, {name: one.errors for name, one in residuals},
        {name: one.variances for name, one in residuals}, found.atoms,
    )  # fmt: skip
    return outside.calibration(state, names, "leave-one-out")


def calibrate_on(state: FittedState, batch: AtomsBatch, n_jobs: int | None = None) -> Calibration:
    """Calibrate on labelled frames that the model was not fitted to; their config types are kinds."""
    applied = state.apply(batch)
    p = state.evaluate(applied, uncertainty="parts", n_jobs=n_jobs)
    assert p.unseen is not None
    signs, vectors = compare_with_training(state, applied, p.unseen)
    of_atoms, of_frames = novelty_of_targets(signs.novelty, signs.average, batch, applied.neighbours)
    has = batch.comparable
    kinds, prior_of = [kind for kind, mask in has.items() if mask.any()], of_atoms > NEGLIGIBLE
    found = target_variances(applied, state.sparse.posterior, kinds=kinds, prior_of=prior_of, n_jobs=n_jobs)
    frames, errors, data, prior = {}, {}, {}, {}
    for kind, target in TARGETS.items():
        parts, rows = found.parts.get(kind), np.flatnonzero(has[kind])
        if parts is None or not hasattr(p, kind):
            continue
        name = target.shown.name
        frames[name] = batch.frame_of_atom[rows] if target.per_atom else rows
        factor = target.shown.factor(batch.n_atoms_per_frame, batch.volumes)[frames[name], None]
        errors[name] = target.to_components(getattr(p, kind) - batch.all_labels.values[kind])[rows] * factor
        data[name], prior[name] = (np.einsum("ncc->nc", part)[rows] * factor**2 for part in (parts.data, parts.prior))
    atoms = np.flatnonzero(has["forces"])
    outside = Outside(applied, signs.novelty, signs.average, signs.kinds, vectors, frames, errors, data, atoms)
    before = state.calibration
    names = before.kinds.names if before is not None and before.kinds is not None else ()
    calibration = outside.calibration(state, names, "frames")
    old, types = before.priors if before is not None else {}, np.array(batch.all_labels.config_type)
    priors, ceilings = {}, label_ceilings(state, batch)
    for name in calibration.scales:
        factors = calibration.factors(name, vectors, batch.frame_of_atom, signs.kinds)
        rows = atoms if name == "forces" else frames[name]
        known = calibration.known_variances(name, data[name], factors[rows])
        novelty = (of_atoms if name == "forces" else of_frames)[rows]
        of_type = types[frames[name]]
        of_kinds = [
            _of_kind(errors[name][own], known[own], prior[name][own], novelty[own])
            for own in (of_type == kind for kind in np.unique(of_type))
        ]
        found_scale = PriorScale.fit(of_kinds, ceilings.get(name, np.inf))
        priors[name] = old.get(name, found_scale) if found_scale.n_kinds == 0 else found_scale
    return replace(calibration, priors=priors)


def prior_scales(
    state: FittedState, batch: AtomsBatch, calibration: Calibration, kinds: list[KindLeftOut]
) -> dict[str, PriorScale]:
    """Scales of the prior residual from kinds of the training set `batch` that were left out."""
    assert state.detector is not None
    ceilings = label_ceilings(state, batch)
    of_kinds: dict[str, list[OfKind]] = {name: [] for name in calibration.scales}
    for kind in kinds:
        part, vectors = kind.applied.batch, local_vectors(kind.applied)
        novelty = state.detector.relative(part.numbers, kind.unseen)
        average, kinds_without = _averages(state.detector, vectors, part, [kind.frames] * part.n_frames)
        of_atoms, of_frames = novelty_of_targets(novelty, average, part, kind.applied.neighbours)
        for name, left in kind.quantities.items():
            if name in calibration.scales:
                factors = calibration.factors(name, vectors, part.frame_of_atom, kinds_without)[left.targets]
                known = calibration.known_variances(name, left.data, factors)
                own = (of_atoms if name == "forces" else of_frames)[left.targets]
                of_kinds[name].append(_of_kind(left.errors, known, left.prior, own))
    scales = {name: PriorScale.fit(found, ceilings.get(name, np.inf)) for name, found in of_kinds.items()}
    if "stress" in scales and "energy" in scales:
        scales["stress"] = replace(scales["energy"], ceiling=ceilings.get("stress", np.inf))
    return scales


def _averages(
    detector: NoveltyDetector, vectors: Vectors, batch: AtomsBatch, without: list[IntArray]
) -> tuple[FloatArray, IntArray]:
    """Sign of the average (n_frames,) and kinds of frames without some training frames for each; NaN, -1: unknown."""
    n = batch.n_frames
    if detector.averages is None:
        return np.full(n, np.nan), np.full(n, NO_KIND)
    of_frames, known = FrameAverages.of(vectors, batch.frame_of_atom, n), detector.averages
    signs, kinds = np.empty(n), np.empty(n, np.int64)
    for _, several in groupby(range(n), lambda k: id(without[k])):
        some = np.array(list(several))
        signs[some], kinds[some] = known.without(without[some[0]]).signs(of_frames.take(some))
    return signs / detector.average_threshold(), kinds


def _of_kind(errors: FloatArray, known: FloatArray, prior: FloatArray, novelty: FloatArray) -> OfKind:
    """Errors, variances and prior residuals (n, c) of targets of novelties (n,), as `PriorScale.fit` takes them."""
    share = np.broadcast_to(share_of_prior(novelty)[:, None], prior.shape)
    return errors.ravel(), known.ravel(), (share * prior).ravel(), share.ravel()

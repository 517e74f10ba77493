"""Standard deviations and intervals of a fitted potential's predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.variance.targets import target_variances
from gapkit.neighbours import NeighbourList
from gapkit.potential.error_bars.close_pairs import LOCAL, ClosePairs, closer_than_known
from gapkit.potential.error_bars.extrapolation import compare_with_training, novelty_of_targets
from gapkit.potential.predictions import Predictions
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray
from gapkit.uncertainty.calibration import NEGLIGIBLE, Calibration
from gapkit.uncertainty.extrapolation import Extrapolation
from gapkit.uncertainty.neighbourhoods import Vectors

Std = Literal["calibrated", "epistemic", "total"]
STDS: tuple[Std, ...] = ("calibrated", "epistemic", "total")


def check_std(state: FittedState, std: Std | None) -> Std:
    """The kind of standard deviations that `std` means, after a check; None: calibrated if the model is."""
    if std is not None and std not in STDS:
        raise InputError(f"`std` must be one of {', '.join(STDS)}, or None, got {std!r}")
    if std == "calibrated" and state.calibration is None:
        raise NotFittedModelError(
            'this model has no calibration; fit it with `calibration="leave-one-out"`, call `calibrate` with '
            'labelled frames, or ask for `std="epistemic"`'
        )
    return std or ("epistemic" if state.calibration is None else "calibrated")


def predict_with_error_bars(
    state: FittedState, batch: AtomsBatch, neighbours: NeighbourList, std: Std | None = None,
    interval: float | None = None, *, single: bool = False, n_jobs: int | None = None,
) -> Predictions:  # fmt: skip
    """Predictions with standard deviations, intervals at a level, novelties and flags of extrapolation in one pass."""
    kind = check_std(state, std)
    if interval is not None and kind != "calibrated":
        raise InputError(f"`interval` needs calibrated standard deviations, these are {kind}")
    applied = state.apply(batch, neighbours)
    p = state.evaluate(applied, uncertainty="parts", single=single, n_jobs=n_jobs)
    known = None
    if state.detector is not None and p.unseen is not None:
        known = compare_with_training(state, applied, p.unseen)
        p = replace(p, extrapolating=known[0].forces, extrapolating_frames=known[0].frames)
    if kind == "calibrated":
        assert known is not None
        bars = _calibrated(state, applied, p, *known, interval, n_jobs)
    else:
        bars = _epistemic(state, applied, kind == "total", n_jobs)
    return replace(p, std=kind, **bars)


def _epistemic(state: FittedState, applied: AppliedBasis, noisy: bool, n_jobs: int | None) -> dict[str, Any]:
    """Posterior standard deviations and variances as they are, or with the noise of new labels (`noisy`)."""
    batch = applied.batch
    kinds = ("forces", "virial") if np.isfinite(batch.volumes).any() else ("forces",)
    found = target_variances(applied, state.sparse.posterior, kinds=kinds, n_jobs=n_jobs)
    bars: dict[str, Any] = {"variances": found}
    for kind, target in TARGETS.items():
        parts = found.parts.get(kind)
        if parts is None:
            continue
        noise = state.noise.get(kind, 0.0) ** 2 if noisy else 0.0
        std = np.sqrt(parts.std**2 + (noise * batch.n_atoms_per_frame[:, None] if target.grows else noise))
        if target.shown.per == "volume":
            std /= batch.volumes[:, None]
        bars[f"{target.shown.name}_std"] = std if target.shape else std[:, 0]
    return bars


def _calibrated(
    state: FittedState, applied: AppliedBasis, p: Predictions, signs: Extrapolation, vectors: Vectors,
    interval: float | None, n_jobs: int | None,
) -> dict[str, Any]:  # fmt: skip
    """Calibrated standard deviations, and intervals at the level `interval`, of the kinds with a calibration."""
    batch, calibration = applied.batch, state.calibration
    assert calibration is not None
    novelty = np.where(np.isnan(signs.novelty), np.inf, signs.novelty)
    of_atoms, of_frames = novelty_of_targets(signs.novelty, signs.average, batch, applied.neighbours)
    closer = closer_than_known(applied, state.detector)
    has_volume = bool(np.isfinite(batch.volumes).any())
    shown = {kind: target.shown for kind, target in TARGETS.items() if target.shown.name in calibration.scales}
    kinds = [
        kind
        for kind, quantity in shown.items()
        if f"{quantity.name}_std" in Predictions.__dataclass_fields__ and (has_volume or quantity.per != "volume")
    ]
    posterior = state.sparse.posterior
    prior_of = of_atoms > NEGLIGIBLE
    found = target_variances(applied, posterior, kinds=kinds, prior_of=prior_of, n_jobs=n_jobs)
    n_atoms = batch.n_atoms_per_frame
    bars: dict[str, Any] = {"energy_std": np.full(batch.n_frames, np.nan)}
    bars["local_energies_std"] = _of_local_energies(calibration, p, batch, signs, closer)
    for kind in kinds:
        parts, target, name = found.parts[kind], TARGETS[kind], shown[kind].name
        factor = 1.0 if target.per_atom else target.shown.factor(n_atoms, batch.volumes)[:, None]
        data, prior = (np.einsum("ncc->nc", part) * factor**2 for part in (parts.data, parts.prior))
        factors = calibration.factors(name, vectors, batch.frame_of_atom, signs.kinds)
        novelties = of_atoms if target.per_atom else of_frames
        variances = calibration.variances(name, data, prior, novelties, factors)
        std = np.sqrt(closer.widened(kind, variances, factor))
        if target.shown.per == "atom":
            std = std * n_atoms[:, None]
        bars[f"{name}_std"] = std if target.shape else std[:, 0]
        if interval is not None:
            groups = (batch.numbers, novelty) if kind == "forces" else (None, None)
            width = std * calibration.intervals[name].factors(interval, *groups)[:, None]
            bars[f"{name}_interval"] = width if target.shape else width[:, 0]
    return bars


def _of_local_energies(
    calibration: Calibration, p: Predictions, batch: AtomsBatch, signs: Extrapolation, closer: ClosePairs
) -> FloatArray:
    """Standard deviations (n_atoms,) in eV by the calibration of energies per atom; NaN where there is none."""
    assert p.local_data_variance is not None
    assert p.local_prior_variance is not None
    if "energy" not in calibration.scales:
        return np.full(batch.n_atoms, np.nan)
    data, prior = p.local_data_variance[:, None], p.local_prior_variance[:, None]
    factors = calibration.factors("energy", {}, batch.frame_of_atom, signs.kinds)[batch.frame_of_atom]
    variances = calibration.variances("energy", data, prior, signs.novelty, factors)
    return np.asarray(np.sqrt(closer.widened(LOCAL, variances))[:, 0])

"""Standard deviations, intervals and extrapolation flags of a fitted potential's predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from gapkit.gp.local_rows import local_vectors
from gapkit.gp.noise import Noise
from gapkit.gp.variance.targets import TargetVariances, target_variances
from gapkit.neighbours import NeighbourList
from gapkit.potential.model import SparseModel
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray
from gapkit.uncertainty.calibration import NEGLIGIBLE, Calibration, Vectors
from gapkit.uncertainty.novelty import FALSE_ALARM, Extrapolation, NoveltyDetector

Std = Literal["calibrated", "epistemic", "total"]
STDS: tuple[Std, ...] = ("calibrated", "epistemic", "total")


@dataclass(frozen=True, eq=False)
class ErrorBars:
    """Standard deviations of the targets of some frames.

    Attributes
    ----------
    energy : ndarray (n_frames,), eV;  forces : ndarray (n_atoms, 3) or None, eV/Å;
    stress : ndarray (n_frames, 6) or None, eV/Å^3, NaN without a three-dimensional cell
    variances : TargetVariances or None
        Epistemic ones with their two parts; None for calibrated stds.
    intervals : dict of kind to half-widths of intervals, the stds' shapes and units; empty unless asked for
    """

    energy: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None
    variances: TargetVariances | None = None
    intervals: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """What is known of the atoms of some frames before any error bar.

    Attributes
    ----------
    vectors : dict
        By species: atoms and descriptor vectors.
    extrapolation : Extrapolation
    """

    vectors: Vectors
    extrapolation: Extrapolation


def look_at(
    model: SparseModel, detector: NoveltyDetector, batch: AtomsBatch, neighbours: NeighbourList, novelty: FloatArray,
    false_alarm: float = FALSE_ALARM,
) -> Neighbourhoods:  # fmt: skip
    """Compare the atoms of a batch with the training set; `novelty` (n_atoms,) from the model's prediction."""
    vectors = local_vectors(model.basis, batch, neighbours)
    pair = pair_ratios(batch, neighbours, detector.pairs)
    found = detector.detect(batch.numbers, novelty, vectors, pair, batch.frame_of_atom, batch.n_frames, false_alarm)
    return Neighbourhoods(vectors, found)


def pair_ratios(batch: AtomsBatch, neighbours: NeighbourList, closest: dict[tuple[int, int], float]) -> FloatArray:
    """Smallest ratio (n_atoms,) of a pair's distance to the closest such pair known; 0 for pairs that are unknown."""
    ratios = np.full(batch.n_atoms, np.inf)
    if neighbours.n_edges:
        owners = np.repeat(np.arange(batch.n_atoms), np.diff(neighbours.offsets))
        a, b = batch.numbers[owners], batch.numbers[neighbours.indices]
        table = np.full((128, 128), np.inf)
        for (one, other), distance in closest.items():
            table[one, other] = table[other, one] = distance
        np.minimum.at(ratios, owners, neighbours.distances / table[a, b])
    return ratios


def closest_pairs(batch: AtomsBatch, neighbours: NeighbourList) -> dict[tuple[int, int], float]:
    """Smallest distance in Å of every pair of species (ascending) among the neighbours."""
    owners = np.repeat(np.arange(batch.n_atoms), np.diff(neighbours.offsets))
    a, b = batch.numbers[owners], batch.numbers[neighbours.indices]
    table = np.full((128, 128), np.inf)
    np.minimum.at(table, (np.minimum(a, b), np.maximum(a, b)), neighbours.distances)
    return {(int(i), int(j)): float(table[i, j]) for i, j in np.argwhere(np.isfinite(table))}


def epistemic(
    model: SparseModel, batch: AtomsBatch, *, noise: Noise | None = None, forces: bool = True, stress: bool = True,
    n_jobs: int | None = None,
) -> ErrorBars:  # fmt: skip
    """Posterior standard deviations as they are; with `noise` that of new labels is added."""
    stress = stress and bool(np.isfinite(batch.volumes).any())
    found = target_variances(
        model.basis, model.posterior, batch, model.reach, forces=forces, virial=stress, n_jobs=n_jobs
    )
    extra = {kind: 0.0 if noise is None else (getattr(noise, kind) or 0.0) for kind in ("energy", "forces", "virial")}
    n_atoms = batch.n_atoms_per_frame
    energy = np.sqrt(found.energy.total[:, 0, 0] + extra["energy"] ** 2 * n_atoms)
    stds = None if found.forces is None else np.sqrt(found.forces.std**2 + extra["forces"] ** 2)
    stresses = None
    if found.virial is not None:
        stresses = np.sqrt(found.virial.std**2 + extra["virial"] ** 2 * n_atoms[:, None]) / batch.volumes[:, None]
    return ErrorBars(energy, stds, stresses, found)


def calibrated(
    model: SparseModel, calibration: Calibration, batch: AtomsBatch, known: Neighbourhoods, *, interval: float | None,
    forces: bool = True, stress: bool = True, n_jobs: int | None = None,
) -> ErrorBars:  # fmt: skip
    """Calibrated standard deviations, and intervals at the level `interval`; None for kinds without a calibration."""
    novelty = np.nan_to_num(known.extrapolation.novelty, nan=np.inf)
    forces = forces and "forces" in calibration.scales
    stress = stress and "stress" in calibration.scales and bool(np.isfinite(batch.volumes).any())
    found = target_variances(
        model.basis, model.posterior, batch, model.reach, forces=forces, virial=stress,
        prior_of=novelty > NEGLIGIBLE, n_jobs=n_jobs,
    )  # fmt: skip
    of_frame = np.maximum.reduceat(novelty, batch.offsets[:-1])
    per_atom = batch.n_atoms_per_frame[:, None]
    bars: dict[str, FloatArray] = {}
    if "energy" in calibration.scales:
        parts = [part[:, 0] / per_atom**2 for part in (found.energy.data, found.energy.prior)]
        bars["energy"] = np.sqrt(calibration.variances("energy", parts[0], parts[1], of_frame))
    if found.forces is not None:
        data, prior = (np.einsum("ncc->nc", part) for part in (found.forces.data, found.forces.prior))
        m = calibration.factors(known.vectors, batch.n_atoms)
        bars["forces"] = np.sqrt(calibration.variances("forces", data, prior, novelty, m))
    if found.virial is not None:
        volumes = batch.volumes[:, None] ** 2
        data, prior = (np.einsum("ncc->nc", part) / volumes for part in (found.virial.data, found.virial.prior))
        bars["stress"] = np.sqrt(calibration.variances("stress", data, prior, of_frame))
    widths: dict[str, FloatArray] = {}
    if interval is not None:
        for kind, stds in bars.items():
            groups = (batch.numbers, novelty) if kind == "forces" else (None, None)
            widths[kind] = stds * calibration.intervals[kind].factors(interval, *groups)[:, None]
    total = {kind: stds[:, 0] * batch.n_atoms_per_frame if kind == "energy" else stds for kind, stds in bars.items()}
    if "energy" in widths:
        widths["energy"] = widths["energy"][:, 0] * batch.n_atoms_per_frame
    energy = total.get("energy", np.full(batch.n_frames, np.nan))
    return ErrorBars(energy, total.get("forces"), total.get("stress"), None, widths)

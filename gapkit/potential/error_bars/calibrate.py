"""What a fit learns about its own errors: thresholds of novelty, and a calibration by configurations left out."""

from __future__ import annotations

import numpy as np

from gapkit.exceptions import CalibrationError
from gapkit.gp.chunks import frame_chunks
from gapkit.gp.local_rows import local_vectors
from gapkit.gp.noise import Noise
from gapkit.gp.variance.targets import target_variances
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut, leave_one_out
from gapkit.potential.error_bars.standard_deviations import Neighbourhoods, closest_pairs
from gapkit.potential.model import SparseModel
from gapkit.potential.predictions import Predictions
from gapkit.potential.training.rows import make_targets
from gapkit.potential.training.sparse_points import ATOMS_PER_WAVE
from gapkit.structures import AtomsBatch
from gapkit.targets import to_voigt
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.calibration import Calibration, Vectors, fit_calibration
from gapkit.uncertainty.conformal import LEAST
from gapkit.uncertainty.novelty import KnownSpecies, NoveltyDetector

# Atoms of the configurations that are left out, one after another, and of the largest of them.
ATOMS_LEFT_OUT = 4000
LARGEST_FRAME = 1000
# Atoms that stand for the training set where distances to it are measured.
ATOMS_REMEMBERED = 10_000


def choose_frames(batch: AtomsBatch, n_atoms: int, rng: np.random.Generator) -> IntArray:
    """Random frames of about `n_atoms` atoms together, ascending; very large frames are left out.

    Raises
    ------
    CalibrationError
        If all are very large.
    """
    order = rng.permutation(np.flatnonzero(batch.n_atoms_per_frame <= LARGEST_FRAME))
    if len(order) == 0:
        raise CalibrationError(
            f"frames of up to {LARGEST_FRAME} atoms are needed to be left out, the smallest has "
            f"{batch.n_atoms_per_frame.min()}; add smaller ones, or call `calibrate` with frames not fitted to"
        )
    n_frames = int(np.searchsorted(np.cumsum(batch.n_atoms_per_frame[order]), n_atoms)) + 1
    return np.sort(order[:n_frames])


def leave_out(
    model: SparseModel, batch: AtomsBatch, frames: IntArray, noise: dict[str, float], given: Noise,
    origins: IntArray, n_jobs: int | None,
) -> LeaveOneOut:  # fmt: skip
    """Leave each of some training frames out; `origins` (M,) are the frames that gave the sparse points."""
    part = batch.select(frames)
    assert part.labels is not None
    labelled = make_targets(part, part.labels, *model.offsets(part), given)
    removed = [np.flatnonzero(origins == frame) for frame in frames]
    return leave_one_out(model, part, labelled, noise, removed, n_jobs=n_jobs)


def learn_novelty(
    model: SparseModel, batch: AtomsBatch, frames: IntArray, novelty: FloatArray, rng: np.random.Generator
) -> NoveltyDetector:
    """Thresholds from the training set.

    Parameters
    ----------
    frames : ndarray of int
        Those whose `novelty` (n_atoms of them,), with their own sparse points left out, is given.
    """
    numbers = batch.select(frames).numbers
    remembered = choose_frames(batch, ATOMS_REMEMBERED, rng)
    vectors: dict[int, list[tuple[IntArray, FloatArray]]] = {}
    pairs: dict[tuple[int, int], float] = {}
    for span in frame_chunks(batch, ATOMS_PER_WAVE):
        part = batch.select(np.arange(span.start, span.stop))
        neighbours = build_neighbour_list(part, model.reach)
        for pair, distance in closest_pairs(part, neighbours).items():
            pairs[pair] = min(distance, pairs.get(pair, np.inf))
        chosen = np.isin(span.start + part.frame_of_atom, remembered)
        for z, (atoms, x) in local_vectors(model.basis, part, neighbours).items():
            keep = chosen[atoms]
            vectors.setdefault(z, []).append((span.start + part.frame_of_atom[atoms[keep]], x[keep]))
    species = {}
    for z, parts in vectors.items():
        of_frame, x = (np.concatenate([part[i] for part in parts]) for i in range(2))
        own = novelty[numbers == z]
        if len(x):  # a species that was not left out is judged as the others
            species[z] = KnownSpecies.of(x, of_frame, own if len(own) else novelty)
    return NoveltyDetector(species, pairs)


def calibrate_left_out(
    model: SparseModel, detector: NoveltyDetector, batch: AtomsBatch, frames: IntArray, found: LeaveOneOut
) -> Calibration:
    """Calibrate on training frames that were left out."""
    part = batch.select(frames)
    residuals = {
        kind: (residual.frames, residual.errors, residual.variances)
        for kind, residual in (("energy", found.energy), ("forces", found.forces), ("stress", found.stress))
        if len(np.unique(residual.frames)) >= LEAST
    }
    neighbours = build_neighbour_list(part, model.reach)
    vectors = local_vectors(model.basis, part, neighbours)
    return _fit(
        residuals, found.atoms, part, _relative(detector, part.numbers, found.novelty), vectors, "leave-one-out"
    )


def calibrate_on(model: SparseModel, batch: AtomsBatch, predictions: Predictions, known: Neighbourhoods) -> Calibration:
    """Calibrate on labelled frames that the model was not fitted to."""
    labels = batch.labels
    assert labels is not None
    has_stress = labels.has_virial & np.isfinite(batch.volumes)
    variances = target_variances(
        model.basis, model.posterior, batch, model.reach, forces=bool(labels.has_forces.any()),
        virial=bool(has_stress.any()), prior_of=np.zeros(batch.n_atoms, bool),
    )  # fmt: skip
    residuals = {}
    n_atoms = batch.n_atoms_per_frame[:, None]
    with_energy, atoms, with_stress = map(np.flatnonzero, (labels.has_energy, labels.has_forces, has_stress))
    if len(with_energy):
        errors = (predictions.energy - labels.energy)[:, None] / n_atoms
        residuals["energy"] = (
            with_energy,
            errors[with_energy],
            (variances.energy.data[:, 0] / n_atoms**2)[with_energy],
        )
    if variances.forces is not None:
        data = np.einsum("ncc->nc", variances.forces.data)
        residuals["forces"] = (
            batch.frame_of_atom[atoms], (predictions.forces - labels.forces)[atoms], data[atoms],
        )  # fmt: skip
    if variances.virial is not None:
        volumes = batch.volumes[with_stress, None]
        data = np.einsum("ncc->nc", variances.virial.data)[with_stress] / volumes**2
        errors = to_voigt((predictions.virial - labels.virial)[with_stress])
        residuals["stress"] = (with_stress, -errors / volumes, data)
    residuals = {kind: part for kind, part in residuals.items() if len(np.unique(part[0])) >= LEAST}
    novelty = np.nan_to_num(known.extrapolation.novelty, nan=0.0)
    return _fit(residuals, atoms, batch, novelty, known.vectors, "frames")


def _fit(
    residuals: dict[str, tuple[IntArray, FloatArray, FloatArray]], atoms: IntArray, batch: AtomsBatch,
    novelty: FloatArray, vectors: Vectors, source: str,
) -> Calibration:  # fmt: skip
    if not residuals:
        raise CalibrationError(
            f"a calibration needs at least {LEAST} labelled configurations of a kind, got {batch.n_frames} frames; add "
            'frames, or use the uncalibrated standard deviations (`std="epistemic"`)'
        )
    return fit_calibration(residuals, atoms, batch.numbers, novelty, vectors, source=source)


def _relative(detector: NoveltyDetector, numbers: IntArray, novelty: FloatArray) -> FloatArray:
    """Novelty in units of its threshold; zero for species without one."""
    out = np.zeros(len(numbers))
    for z, (limit, _) in detector.thresholds().items():
        out[numbers == z] = novelty[numbers == z] / limit
    return out

"""Energy outliers of a robust linear model of composition and pair distances."""

from __future__ import annotations

import numpy as np

from gapkit.curation.findings import MIN_GROUP, Finding, Found, robust_scale, same_composition, severity_of
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import AtomsBatch, Labels
from gapkit.structures.checks.labels import rms_forces
from gapkit.typing import BoolArray, FloatArray

ENERGY_FLOOR, ENERGY_SCALES = 0.02, 10.0  # eV/atom; robust standard deviations: errors of a pair model have long tails
FIT_CUTOFF, MAX_CENTRES, RIDGE, N_ROUNDS = 6.0, 10, 1e-6, 10


def energy_outliers(batch: AtomsBatch, labels: Labels, alone: BoolArray) -> Found:
    """Outliers of the energy per atom, about a robust linear model of composition and pair distances."""
    frames = np.flatnonzero(labels.has_energy & ~alone)
    if len(frames) < MIN_GROUP:
        return []
    residual = pair_model_residuals(batch.select(frames))
    hot = rms_forces(batch)[frames]
    types = np.array(labels.config_type)
    found = []
    for group in same_composition(batch, frames):
        if len(group) < MIN_GROUP:
            continue
        own, group_types = residual[group], types[frames[group]]
        middle, scale = np.full(len(group), robust_scale(own)[0]), np.full(len(group), robust_scale(own)[1])
        # surfaces or defects are all off the bulk: they are compared with each other
        for name in np.unique(group_types):
            alike = group_types == name
            if alike.sum() >= MIN_GROUP:
                middle[alike], spread = robust_scale(own[alike])
                scale[alike] = np.maximum(scale[alike], spread)
        typical = float(np.nanmedian(hot[group])) if np.isfinite(hot[group]).any() else 0.0
        # hot frames scatter more about any cheap model; NaN (no forces) gives no such excuse
        excuse = np.fmax(hot[group] / typical if typical > 0.0 else 1.0, 1.0)
        limit = np.maximum(ENERGY_SCALES * scale, ENERGY_FLOOR) * excuse
        for k in np.flatnonzero(np.abs(own - middle) > limit):
            value = float(own[k] - middle[k])
            message = (
                f"the energy is {value:+.3f} eV/atom off a pair model of the frames of this composition, at most "
                f"{limit[k]:.3f} being usual; check that the calculation converged"
            )
            frame, severity = int(frames[group[k]]), severity_of(value, float(limit[k]))
            found.append(Finding(frame, "energy_outlier", severity, message, value, float(limit[k])))
    return found


def pair_model_residuals(batch: AtomsBatch) -> FloatArray:
    """Energy per atom (n_frames,) less that of a linear model of composition and Gaussians of pair distances, in eV.

    Iteratively reweighted least squares with Tukey's biweight (Huber, Robust Statistics (1981), chapter 7).
    """
    labels = batch.labels or Labels.empty(batch.n_frames, batch.n_atoms)
    size = batch.n_atoms_per_frame[:, None]
    columns = [batch.compositions(batch.species) / size]
    pairs = [(a, b) for k, a in enumerate(batch.species) for b in batch.species[k:]]
    n_centres = min(MAX_CENTRES, batch.n_frames // (5 * len(pairs)))
    if n_centres:
        neighbours = build_neighbour_list(batch, FIT_CUTOFF)
        z = np.sort(np.stack([batch.numbers[neighbours.centres], batch.numbers[neighbours.indices]], axis=1), axis=1)
        owner, distances = batch.frame_of_atom[neighbours.centres], neighbours.distances
        low = float(np.quantile(distances, 1e-3)) if len(distances) else 1.0
        centres, width = np.linspace(low, FIT_CUTOFF, n_centres, endpoint=False), (FIT_CUTOFF - low) / n_centres
        fade = 0.5 + 0.5 * np.cos(np.pi * distances / FIT_CUTOFF)
        for a, b in pairs:
            own = (z[:, 0] == a) & (z[:, 1] == b)
            for centre in centres:
                values = fade[own] * np.exp(-0.5 * ((distances[own] - centre) / width) ** 2)
                columns.append(np.bincount(owner[own], values, minlength=batch.n_frames)[:, None] / size)
    x = np.concatenate(columns, axis=1)
    x = x / np.maximum(np.sqrt(np.mean(x**2, axis=0)), 1e-12)
    y = labels.energy / batch.n_atoms_per_frame
    offset = float(np.median(y))
    weights, residual = np.ones(len(y)), y - offset
    for _ in range(N_ROUNDS):
        gram = (x.T * weights) @ x + RIDGE * len(y) * np.eye(x.shape[1])
        residual = y - offset - x @ np.linalg.solve(gram, x.T @ (weights * (y - offset)))
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
        weights = np.maximum(1.0 - (residual / (6.0 * scale)) ** 2, 0.0) ** 2
        weights[np.abs(residual) > 6.0 * scale] = 0.0
    return residual

"""Outliers among labels: energies off a robust pair model; forces that stand out, do not cancel, or spin a molecule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gapkit.curation.findings import MIN_GROUP, SCALES, Finding, Found, robust_scale, same_composition, severity_of
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import AtomsBatch, Labels
from gapkit.structures.checks.labels import rms_forces
from gapkit.typing import BoolArray, FloatArray

ENERGY_FLOOR, ENERGY_SCALES = 0.02, 10.0  # eV/atom; robust standard deviations: errors of a pair model have long tails
FIT_CUTOFF, MAX_CENTRES, RIDGE, N_ROUNDS = 6.0, 10, 1e-6, 10
LOUD, NET_PART = 6.0, 0.5
LOUDEST, LOUDEST_QUANTILE = 5.0, 0.9  # times the largest force of nearly all frames of the configuration type
NET_FORCE, SMALL_PART = 5e-3, 0.1  # eV/Å times the root of the number of atoms; of the frames of a group
NET_TORQUE_PART, NET_TORQUE = 0.2, 0.02  # none, eV per atom


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
    y = batch.all_labels.energy / batch.n_atoms_per_frame
    offset = float(np.median(y))
    weights, residual = np.ones(len(y)), y - offset
    for _ in range(N_ROUNDS):
        gram = (x.T * weights) @ x + RIDGE * len(y) * np.eye(x.shape[1])
        residual = y - offset - x @ np.linalg.solve(gram, x.T @ (weights * (y - offset)))
        scale = max(1.4826 * float(np.median(np.abs(residual))), 1e-6)
        weights = np.maximum(1.0 - (residual / (6.0 * scale)) ** 2, 0.0) ** 2
        weights[np.abs(residual) > 6.0 * scale] = 0.0
    return residual


def loud_forces(batch: AtomsBatch, labels: Labels) -> Found:
    """Single atoms with a force that stands out of the frame unbalanced, or far beyond frames of its type."""
    lengths = np.linalg.norm(labels.forces, axis=1)
    loudest = np.array([np.max(lengths[a:b]) for a, b in pairwise(batch.offsets)])
    types = np.array(labels.config_type)
    found = []
    for frame in np.flatnonzero(np.isfinite(loudest) & (batch.n_atoms_per_frame > 2)):
        atoms = slice(batch.offsets[frame], batch.offsets[frame + 1])
        forces, own = labels.forces[atoms], lengths[atoms]
        atom = int(own.argmax())
        rest = float(np.sqrt(np.mean(np.delete(own, atom) ** 2)))
        # an excess on one atom is balanced nowhere else: it remains as net force
        unbalanced = float(forces.sum(axis=0) @ forces[atom]) > NET_PART * own[atom] ** 2
        like = loudest[(types == types[frame]) & np.isfinite(loudest)]
        usual = LOUDEST * float(np.quantile(like, LOUDEST_QUANTILE)) if len(like) >= MIN_GROUP else np.inf
        limit = min(LOUD * rest if unbalanced else np.inf, usual if usual > 0.0 else np.inf)
        if own[atom] > max(limit, 0.1):
            message = (
                f"the force on atom {atom} is {own[atom]:.3g} eV/Å, at most {limit:.3g} being usual for such a frame; "
                "recompute this frame, or exclude the atom with `force_mask`"
            )
            value, severity = float(own[atom]), severity_of(float(own[atom]), float(limit))
            found.append(Finding(int(frame), "force_outlier", severity, message, value, float(limit)))
    return found


def net_forces(batch: AtomsBatch, labels: Labels, sources: np.ndarray) -> Found:
    """Outliers in the net force among frames of a source: one atom is wrong, or some are missing.

    Net forces over the root of the number of atoms, as of independent errors, are compared by median and median
    absolute deviation, with a floor.
    """
    size = batch.n_atoms_per_frame
    net = np.linalg.norm(batch.sum_over_frames(labels.forces), axis=1) / np.sqrt(np.maximum(size, 1))
    known = np.isfinite(net) & (size > 1)
    found = []
    for name in np.unique(sources[known]):
        own = np.flatnonzero(known & (sources == name))
        others = own if len(own) >= MIN_GROUP else np.flatnonzero(known)
        if len(others) < MIN_GROUP:
            continue
        middle, scale = robust_scale(net[others])
        limit = max(middle + SCALES * scale, NET_FORCE)
        # a large share is another setting or an external field, not an accident
        if np.mean(net[others] > limit) > SMALL_PART:
            continue
        for f in own[net[own] > limit]:
            value, usual = float(net[f] * np.sqrt(size[f])), float(limit * np.sqrt(size[f]))
            message = (
                f"the forces add up to {value:.3g} eV/Å, at most {usual:.3g} being usual; recompute this frame, or "
                "exclude wrong or constrained atoms with `force_mask`"
            )
            found.append(Finding(int(f), "net_force_outlier", "warning", message, value, usual))
    return found


def net_torques(batch: AtomsBatch, labels: Labels) -> Found:
    """Molecules with a net torque."""
    size = batch.n_atoms_per_frame
    centres = batch.sum_over_frames(batch.positions) / size[:, None]
    torques = np.cross(batch.positions - centres[batch.frame_of_atom], labels.forces)
    net = np.linalg.norm(batch.sum_over_frames(torques), axis=1)
    single = np.sqrt(batch.sum_over_frames(np.sum(torques**2, axis=1)))
    limit = np.maximum(NET_TORQUE_PART * single, NET_TORQUE * size)
    text = "the torques add up to {0:.3g} eV instead of 0; an external field, or constrained or reordered atoms"
    return [
        Finding(int(f), "net_torque", "warning", text.format(net[f]), float(net[f]), float(limit[f]))
        for f in np.flatnonzero((net > limit) & ~batch.pbc.any(axis=1))
    ]

"""Forces that stand out of their frame, do not cancel, or would make a molecule spin."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from gapkit.curation.findings import MIN_GROUP, SCALES, Finding, Found, robust_scale, severity_of
from gapkit.structures import AtomsBatch, Labels

LOUD, NET_PART = 6.0, 0.5
LOUDEST, LOUDEST_QUANTILE = 5.0, 0.9  # times the largest force of nearly all frames of the configuration type
NET_FORCE, SMALL_PART = 5e-3, 0.1  # eV/Å times the root of the number of atoms; of the frames of a group
NET_TORQUE_PART, NET_TORQUE = 0.2, 0.02  # none, eV per atom


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

"""Checks of single frames: every finding names its frame, the measurement and its limit.

Checks of whole data sets (units, signs, duplicates) are those of `gapkit.structures`, given to their frames here.
Further checks compare a frame with its neighbours along a trajectory or with its like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from gapkit import units
from gapkit.curation.findings import MIN_GROUP, SCALES, Finding, Found, robust_scale, same_composition
from gapkit.curation.label_outliers import energy_outliers, loud_forces, net_forces, net_torques
from gapkit.curation.trajectory_checks import along_trajectories
from gapkit.exceptions import DataError, InputError
from gapkit.neighbours import build_neighbour_list
from gapkit.options.checked import checked
from gapkit.structures import AtomsBatch, LabelKeys, Labels, find_faults, to_batch
from gapkit.structures.checks.geometry import ISOLATED_BEYOND, coincident_atoms, nearest_distances
from gapkit.structures.checks.work import label_consistency
from gapkit.structures.pairs import COINCIDENT
from gapkit.typing import BoolArray, FloatArray

SMALL_DISTANCE = 0.6  # times the usual shortest one
VOLUME_FACTOR = 3.0  # slabs in vacuum have twice the volume per atom
UNIT_TOLERANCE = 0.03
ERRORS = {"close_atoms", "coincident_atoms", "contradictory_duplicates"}


@checked
def check(
    frames: Sequence[Atoms], *, keys: LabelKeys | None = None, sources: Sequence[str] | None = None
) -> list[Finding]:
    """Check frames and their labels.

    Parameters
    ----------
    frames : sequence of Atoms
        In the order of their making; unreadable frames are reported and left out of all other checks.
    keys : LabelKeys, optional
    sources : sequence of str, optional
        File or program of each frame, for comparisons of units between them. None: configuration types.

    Returns
    -------
    findings : list of Finding
        By frame, then kind.
    """
    if sources is not None and len(sources) != len(frames):
        raise InputError(f"`sources` must have one name per frame ({len(frames)}), got {len(sources)}")
    found, usable = [], []
    for frame, atoms in enumerate(frames):
        try:
            to_batch(atoms, keys=keys, strict=False)
            usable.append(frame)
        except DataError as error:
            # the reader counts from the start of its own list
            message = str(error).replace("frame 0 ", f"frame {frame} ", 1)
            found.append(Finding(frame, "unusable", "error", message))
    if usable:
        batch = to_batch([frames[k] for k in usable], keys=keys, strict=False)
        nearest = nearest_distances(batch)
        found += [
            Finding(usable[k], fault.kind, "error", fault.message)
            for fault in coincident_atoms(nearest)
            for k in fault.frames
        ]
        apart = ~(nearest < COINCIDENT)  # no other check can be made of the rest
        usable, batch, nearest = [usable[k] for k in np.flatnonzero(apart)], batch.select(apart), nearest[apart]
    if usable:
        labels = batch.all_labels
        names = np.array(labels.config_type if sources is None else [sources[k] for k in usable], dtype=str)
        found += [replace(f, frame=usable[f.frame]) for f in _check(batch, nearest, labels, names)]
    return sorted(set(found), key=lambda f: (f.frame, f.kind, f.message))


def _check(batch: AtomsBatch, nearest: FloatArray, labels: Labels, sources: np.ndarray) -> Found:
    alone = (batch.n_atoms_per_frame == 1) & np.isnan(nearest)
    found = [
        Finding(frame, fault.kind, "error" if fault.kind in ERRORS else "warning", fault.message)
        for fault in find_faults(batch, nearest)
        for frame in fault.frames
    ]
    found += along_trajectories(batch)
    found += energy_outliers(batch, labels, alone)
    found += loud_forces(batch, labels)
    found += net_forces(batch, labels, sources)
    found += net_torques(batch, labels)
    found += _cells(batch, nearest, alone)
    found += _isolated(batch, alone)
    mixed = _mixed_units(batch, labels, alone, sources)
    if mixed:  # which explain zeros of energy that do not fit together
        found = [finding for finding in found if finding.kind != "energy_zeros"]
    return found + mixed


def _cells(batch: AtomsBatch, nearest: FloatArray, alone: BoolArray) -> Found:
    """Frames without the periodicity of the set, and volumes or shortest distances far from those of their like."""
    found = []
    periodic = batch.pbc.any(axis=1)
    if 2 * int((periodic & ~alone).sum()) > int((~alone).sum()):
        text = "this frame has no periodic direction, as most others have; set its cell and pbc, if it has lost them"
        found += [Finding(int(f), "no_cell", "warning", text) for f in np.flatnonzero(~periodic & ~alone)]
    volumes = np.where(batch.pbc.all(axis=1), batch.volumes / batch.n_atoms_per_frame, np.nan)
    for kind, what, values, unit, factor in (
        ("volume_outlier", "volume", volumes, "Å^3/atom", VOLUME_FACTOR),
        ("distance_outlier", "shortest distance", nearest, "Å", 1.0 / SMALL_DISTANCE),
    ):
        frames = np.flatnonzero(np.isfinite(values) & ~alone)
        for group in same_composition(batch, frames):
            known = frames[group]
            middle, scale = robust_scale(np.log(values[known])) if len(known) >= MIN_GROUP else (0.0, np.inf)
            low, high = np.exp(middle + np.array([-1.0, 1.0]) * max(np.log(factor), SCALES * scale))
            for f in known[(values[known] < low) | (values[known] > high)]:
                limit = low if values[f] < low else high
                message = (
                    f"the {what} is {values[f]:.3g} {unit}, {np.exp(middle):.3g} being usual; check the cell, in Å"
                )
                found.append(Finding(int(f), kind, "warning", message, float(values[f]), float(limit)))
    return found


def _isolated(batch: AtomsBatch, alone: BoolArray) -> Found:
    """Atoms of larger frames without any neighbour, and frames of one free atom."""
    neighbours = build_neighbour_list(batch, ISOLATED_BEYOND)
    lonely = np.bincount(batch.frame_of_atom[np.diff(neighbours.offsets) == 0], minlength=batch.n_frames)
    found = [
        Finding(int(f), "isolated_atoms", "info", "a free atom: it sets the zero of energy")
        for f in np.flatnonzero(alone)
    ]
    for f in np.flatnonzero((lonely > 0) & ~alone):
        message = f"{lonely[f]} atoms have no neighbour within {ISOLATED_BEYOND:g} Å; look for atoms that flew off"
        found.append(Finding(int(f), "isolated_atoms", "warning", message, float(lonely[f]), 0.0))
    return found


def _mixed_units(batch: AtomsBatch, labels: Labels, alone: BoolArray, sources: np.ndarray) -> Found:
    """Sources with energies in another unit than all others', or with contradictory labels."""
    names = np.unique(sources)
    if len(names) < 2:
        return []
    found: Found = []
    energies = labels.energy / batch.n_atoms_per_frame
    for name in names:
        own = np.flatnonzero(sources == name)
        for fault in label_consistency(batch.select(own)):
            found += [Finding(int(own[f]), fault.kind, "warning", fault.message) for f in fault.frames]
    frames = np.flatnonzero(labels.has_energy & ~alone)
    for group in same_composition(batch, frames):
        known = frames[group]
        for name in np.unique(sources[known]):
            inside = sources[known] == name
            # the smaller part is the odd one
            if 2 * inside.sum() > len(known) or inside.all():
                continue
            here, there = np.median(energies[known[inside]]), np.median(energies[known[~inside]])
            ratio = float(here / there) if there else np.inf
            sizes = [(unit, f) for unit, size in units.ENERGY_UNITS.items() if unit != "eV" for f in (size, 1.0 / size)]
            for unit, factor in sizes:
                if abs(ratio / factor - 1.0) < UNIT_TOLERANCE:
                    message = (
                        f"energies of {name!r} are {ratio:.4g} times those of the other frames of this composition, "
                        f"as for eV and {unit} in one set; convert all to eV"
                    )
                    found += [Finding(int(f), "mixed_units", "error", message, ratio, factor) for f in known[inside]]
    return found

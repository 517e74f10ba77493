"""Check frames one by one: every finding names its frame, what was measured, and what it should have been.

The checks of whole data sets (units, signs, duplicates) are those of `gapkit.structures`; here their findings are given
to their frames, and checks are added that compare a frame with its neighbours along a trajectory or with its like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import gcd

import numpy as np
from ase import Atoms

from gapkit import units
from gapkit.exceptions import DataError, InputError
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import AtomsBatch, LabelKeys, Labels, find_faults, to_batch
from gapkit.structures.checks import ISOLATED_BEYOND, frame_means, nearest_distances, sum_over_frames
from gapkit.structures.consistency import energies_and_work, label_consistency
from gapkit.typing import BoolArray, FloatArray, IntArray

SCALES = 8.0  # robust standard deviations
MIN_GROUP = 8
WINDOW = 4  # frames on either side with which one is compared
WORK_PART, WORK_FLOOR = 0.2, 2e-3  # of the work itself; eV times the root of the number of atoms
MAX_DISPLACEMENT, MAX_STRAIN, STRAINED_DISPLACEMENT = 0.4, 0.05, 0.05  # Å rms, none, Å rms
ENERGY_FLOOR = 0.02  # eV/atom
FIT_CUTOFF, MAX_CENTRES, RIDGE, N_ROUNDS = 6.0, 10, 1e-6, 10
LOUD, NET_PART = 6.0, 0.5
LOUDEST, LOUDEST_QUANTILE = 5.0, 0.9  # times the largest force of nearly all frames of the configuration type
NET_TORQUE_PART, NET_TORQUE = 0.2, 0.02  # none, eV per atom
SMALL_DISTANCE = 0.6  # times the usual shortest one
VOLUME_FACTOR = 3.0  # slabs in vacuum have twice the volume per atom
UNIT_TOLERANCE = 0.03
ENERGY_UNITS = {
    "Hartree": units.HARTREE,
    "Rydberg": units.RYDBERG,
    "kcal/mol": units.KCAL_PER_MOL,
    "kJ/mol": units.KJ_PER_MOL,
}
ERRORS = {"close_atoms", "contradictory_duplicates"}

Found = list["Finding"]


@dataclass(frozen=True, order=True)
class Finding:
    """Something suspicious about one frame.

    Attributes
    ----------
    frame : int
        Counted from 0.
    kind : str
        Those of `gapkit.structures.Finding`, and "unusable" (NaN, wrong shapes, stale labels), "no_cell",
        "energy_force", "energy_stress" (differences along a trajectory), "net_torque", "energy_outlier",
        "force_outlier", "isolated_atoms", "volume_outlier", "distance_outlier", "mixed_units".
    severity : {"error", "warning", "info"}
        An error cannot be right; a warning is to be looked at.
    message : str
        What was found, with units, and what to do.
    value, threshold : float or None
        What was measured and the limit that it passed, in the unit that the message gives; None where the check is of
        the whole set.
    """

    frame: int
    kind: str
    severity: str
    message: str
    value: float | None = None
    threshold: float | None = None


def check(
    frames: Sequence[Atoms], *, keys: LabelKeys | None = None, sources: Sequence[str] | None = None
) -> list[Finding]:
    """Check frames and their labels.

    Parameters
    ----------
    frames : sequence of Atoms
        In the order in which they were made; frames that cannot be read are reported and left out of all other checks.
    keys : LabelKeys, optional
    sources : sequence of str, optional
        File or program that each frame is from: units are then compared between them. None: configuration types.

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
            # the reader counts from the start of what it is given
            message = str(error).replace("frame 0 ", f"frame {frame} ", 1)
            found.append(Finding(frame, "unusable", "error", message))
    if usable:
        batch = to_batch([frames[k] for k in usable], keys=keys, strict=False)
        labels = batch.labels or Labels.empty(batch.n_frames, batch.n_atoms)
        names = np.array(labels.config_type if sources is None else [sources[k] for k in usable], dtype=str)
        found += [replace(f, frame=usable[f.frame]) for f in _check(replace(batch, labels=labels), labels, names)]
    return sorted(set(found), key=lambda f: (f.frame, f.kind, f.message))


def _check(batch: AtomsBatch, labels: Labels, sources: np.ndarray) -> Found:
    nearest = nearest_distances(batch)
    alone = (batch.n_atoms_per_frame == 1) & np.isnan(nearest)
    found = [
        Finding(frame, fault.kind, "error" if fault.kind in ERRORS else "warning", fault.message)
        for fault in find_faults(batch, nearest)
        for frame in fault.frames
    ]
    found += _along_trajectories(batch)
    found += _energies(batch, labels, alone)
    found += _forces(batch, labels)
    found += _torques(batch, labels)
    found += _cells(batch, nearest, alone)
    found += _isolated(batch, alone)
    return found + _mixed_units(batch, labels, alone, sources)


def robust_scale(values: FloatArray) -> tuple[float, float]:
    """Median, and standard deviation from the median absolute deviation."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def _along_trajectories(batch: AtomsBatch) -> Found:
    """Frames whose energy is off the work of forces or stress, from the frames before and after."""
    found: Found = []
    keys = [batch.numbers[a:b].tobytes() for a, b in pairwise(batch.offsets)]
    groups: dict[object, list[int]] = {}
    for frame, key in enumerate(keys):
        groups.setdefault((key, batch.pbc[frame].tobytes()), []).append(frame)
    for group in groups.values():
        if len(group) < 3:
            continue
        by_volume = [group[k] for k in np.argsort(np.nan_to_num(batch.volumes[group]), kind="stable")]
        for kind, order in (("energy_force", group), ("energy_stress", by_volume)):
            found += _off_the_line(batch, kind, order)
    return found


def _off_the_line(batch: AtomsBatch, kind: str, order: list[int]) -> Found:
    parts = [energies_and_work(batch, order[k : k + 1 + WINDOW]) for k in range(len(order) - 1)]
    # pairs come with those of the first frame in front; there is none at all in frames that are partly periodic
    n = [min(WINDOW, len(order) - 1 - k, len(p.energy)) for k, p in enumerate(parts)]
    first = np.repeat(np.arange(len(parts)), n)
    second = first + 1 + np.concatenate([np.arange(m) for m in n])
    energy, force_work, stress_work, moved, strain = (
        np.concatenate([getattr(p, name)[:m] for p, m in zip(parts, n, strict=True)])
        for name in ("energy", "force_work", "stress_work", "displacement", "strain")
    )
    if kind == "energy_force":
        work, step, near = force_work, moved, (strain < 1e-6) & (moved > 0.0) & (moved < MAX_DISPLACEMENT)
    else:
        work, step, near = (
            stress_work,
            strain,
            (strain > 1e-6) & (strain < MAX_STRAIN) & (moved < STRAINED_DISPLACEMENT),
        )
    near &= np.isfinite(work) & np.isfinite(energy)
    if near.sum() < MIN_GROUP:
        return []
    residual = np.abs(energy - work)
    # the error of the trapezoidal rule grows as the cube of the step
    cubes = np.maximum(step, 1e-12) ** 3
    usual = SCALES * 1.4826 * float(np.median((residual / cubes)[near])) * cubes
    floor = WORK_FLOOR * np.sqrt(int(batch.n_atoms_per_frame[order[0]]))
    excess = residual / np.maximum.reduce([usual, np.full(len(usual), floor), WORK_PART * np.abs(work)])
    found = []
    for k, frame in enumerate(order):
        own = np.flatnonzero(near & ((first == k) | (second == k)))
        # a wrong frame is off towards nearly all of its neighbours, they are off only towards it
        if len(own) > 1 and (value := float(np.median(excess[own]))) > 1.0:
            off = float(np.median(residual[own]))
            what = "forces" if kind == "energy_force" else "stress"
            message = (
                f"the energy is {off:.3g} eV away from the work of the {what} towards the neighbouring frames, at most "
                f"{off / value:.3g} eV being usual; recompute this frame"
            )
            found.append(Finding(frame, kind, "warning", message, off, off / value))
    return found


def _energies(batch: AtomsBatch, labels: Labels, alone: BoolArray) -> Found:
    """Energies per atom that a robust linear model of composition and pair distances cannot explain."""
    frames = np.flatnonzero(labels.has_energy & ~alone)
    if len(frames) < MIN_GROUP:
        return []
    residual = pair_model_residuals(batch.select(frames))
    hot = np.sqrt(frame_means(batch, labels))[frames]
    types = np.array(labels.config_type)
    found = []
    for group in _same_composition(batch, frames):
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
        limit = np.maximum(SCALES * scale, ENERGY_FLOOR) * excuse
        for k in np.flatnonzero(np.abs(own - middle) > limit):
            value = float(own[k] - middle[k])
            message = (
                f"the energy is {value:+.3f} eV/atom off a pair model of the frames of this composition, at most "
                f"{limit[k]:.3f} being usual; check that the calculation converged"
            )
            found.append(Finding(int(frames[group[k]]), "energy_outlier", "warning", message, value, float(limit[k])))
    return found


def pair_model_residuals(batch: AtomsBatch) -> FloatArray:
    """Energy per atom (n_frames,) less that of a linear model of composition and Gaussians of pair distances, in eV.

    Fitted by iteratively reweighted least squares with Tukey's biweight, so that outliers do not draw it to themselves
    (Huber, Robust Statistics (1981), chapter 7).
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


def _forces(batch: AtomsBatch, labels: Labels) -> Found:
    """Single atoms whose force stands out of the frame and is not balanced, or is far beyond frames of its kind."""
    lengths = np.linalg.norm(labels.forces, axis=1)
    loudest = np.array([np.max(lengths[a:b]) for a, b in pairwise(batch.offsets)])
    types = np.array(labels.config_type)
    found = []
    for frame in np.flatnonzero(np.isfinite(loudest) & (batch.n_atoms_per_frame > 2)):
        atoms = slice(batch.offsets[frame], batch.offsets[frame + 1])
        forces, own = labels.forces[atoms], lengths[atoms]
        atom = int(own.argmax())
        rest = float(np.sqrt(np.mean(np.delete(own, atom) ** 2)))
        # what is too much on one atom is missing nowhere else: it remains as net force
        unbalanced = float(forces.sum(axis=0) @ forces[atom]) > NET_PART * own[atom] ** 2
        like = loudest[(types == types[frame]) & np.isfinite(loudest)]
        usual = LOUDEST * float(np.quantile(like, LOUDEST_QUANTILE)) if len(like) >= MIN_GROUP else np.inf
        limit = min(LOUD * rest if unbalanced else np.inf, usual if usual > 0.0 else np.inf)
        if own[atom] > max(limit, 0.1):
            message = (
                f"the force on atom {atom} is {own[atom]:.3g} eV/Å, at most {limit:.3g} being usual for such a frame; "
                "recompute this frame, or exclude the atom with `force_mask`"
            )
            found.append(Finding(int(frame), "force_outlier", "warning", message, float(own[atom]), float(limit)))
    return found


def _torques(batch: AtomsBatch, labels: Labels) -> Found:
    """Molecules whose forces would make them spin."""
    size = batch.n_atoms_per_frame
    centres = sum_over_frames(batch, batch.positions) / size[:, None]
    torques = np.cross(batch.positions - centres[batch.frame_of_atom], labels.forces)
    net = np.linalg.norm(sum_over_frames(batch, torques), axis=1)
    single = np.sqrt(sum_over_frames(batch, np.sum(torques**2, axis=1)))
    limit = np.maximum(NET_TORQUE_PART * single, NET_TORQUE * size)
    text = "the torques add up to {0:.3g} eV instead of 0; an external field, or constrained or reordered atoms"
    return [
        Finding(int(f), "net_torque", "warning", text.format(net[f]), float(net[f]), float(limit[f]))
        for f in np.flatnonzero((net > limit) & ~batch.pbc.any(axis=1))
    ]


def _cells(batch: AtomsBatch, nearest: FloatArray, alone: BoolArray) -> Found:
    """Frames without the periodicity of the set, and volumes or shortest distances far from those of their like."""
    found = []
    periodic = batch.pbc.any(axis=1)
    if 2 * int((periodic & ~alone).sum()) > int((~alone).sum()):
        text = "this frame has no periodic direction, as most others have; set its cell and pbc, if it has lost them"
        found += [Finding(int(f), "no_cell", "warning", text) for f in np.flatnonzero(~periodic & ~alone)]
    volumes = np.where(batch.pbc.all(axis=1), batch.volumes / batch.n_atoms_per_frame, np.nan)
    for kind, values, unit, factors in (
        ("volume_outlier", volumes, "Å^3/atom", (1.0 / VOLUME_FACTOR, VOLUME_FACTOR)),
        ("distance_outlier", nearest, "Å", (SMALL_DISTANCE, 1.0 / SMALL_DISTANCE)),
    ):
        for group in _same_composition(batch, np.flatnonzero(np.isfinite(values) & ~alone)):
            known = np.flatnonzero(np.isfinite(values) & ~alone)[group]
            middle, scale = robust_scale(np.log(values[known])) if len(known) >= MIN_GROUP else (0.0, np.inf)
            low = np.exp(middle + min(np.log(factors[0]), -SCALES * scale))
            high = np.exp(middle + max(np.log(factors[1]), SCALES * scale))
            for f in known[(values[known] < low) | (values[known] > high)]:
                limit = low if values[f] < low else high
                what = "volume" if kind == "volume_outlier" else "shortest distance"
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
    """Sources whose energies are to all others' as one unit is to eV, or whose labels contradict each other."""
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
    for group in _same_composition(batch, frames):
        known = frames[group]
        for name in np.unique(sources[known]):
            inside = sources[known] == name
            # the smaller part is the odd one
            if 2 * inside.sum() > len(known) or inside.all():
                continue
            here, there = np.median(energies[known[inside]]), np.median(energies[known[~inside]])
            for unit, size in ENERGY_UNITS.items():
                ratio = float(here / there) if there else np.inf
                for factor in (size, 1.0 / size):
                    if abs(ratio / factor - 1.0) < UNIT_TOLERANCE:
                        message = (
                            f"energies of {name!r} are {ratio:.4g} times those of the other frames of this "
                            f"composition, as for eV and {unit} in one set; convert all to eV"
                        )
                        found += [
                            Finding(int(f), "mixed_units", "error", message, ratio, factor) for f in known[inside]
                        ]
    return found


def _same_composition(batch: AtomsBatch, frames: IntArray) -> list[IntArray]:
    """Positions in `frames` of those of each reduced composition."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for k, counts in enumerate(batch.compositions(batch.species)[frames].tolist()):
        units_of_formula = max(gcd(*counts), 1)
        groups.setdefault(tuple(n // units_of_formula for n in counts), []).append(k)
    return [np.array(group) for group in groups.values()]

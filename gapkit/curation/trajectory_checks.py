"""Energies against the work of forces or stress along trajectories."""

from __future__ import annotations

import numpy as np

from gapkit.curation.findings import MIN_GROUP, SCALES, Finding, Found
from gapkit.structures import AtomsBatch
from gapkit.structures.checks.work import energies_and_work, same_atoms
from gapkit.typing import FloatArray

WINDOW = 4  # frames on either side with which one is compared
WORK_PART, WORK_FLOOR = 0.2, 2e-3  # of the work itself; eV times the root of the number of atoms
MAX_DISPLACEMENT, MAX_STRAIN, STRAINED_DISPLACEMENT = 0.4, 0.05, 0.05  # Å rms, none, Å rms


def along_trajectories(batch: AtomsBatch) -> Found:
    """Frames with an energy off the work of forces or stress from the frames before and after."""
    found: Found = []
    for group in same_atoms(batch, range(batch.n_frames), 3):
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
        # atoms may move within the cell as it is strained; without forces that goes unnoticed
        work, step = stress_work + np.nan_to_num(force_work), strain
        near = (strain > 1e-6) & (strain < MAX_STRAIN) & (moved < STRAINED_DISPLACEMENT)
    near &= np.isfinite(work) & np.isfinite(energy)
    if near.sum() < MIN_GROUP:
        return []
    residual = np.abs(energy - work)
    # the error of the trapezoidal rule grows as the cube of the step
    cubes = np.maximum(step, 1e-12) ** 3
    usual = SCALES * 1.4826 * float(np.median((residual / cubes)[near])) * cubes
    floor = WORK_FLOOR * np.sqrt(int(batch.n_atoms_per_frame[order[0]]))
    excess = residual / np.maximum.reduce([usual, np.full(len(usual), floor), WORK_PART * np.abs(work)])
    pairs = np.flatnonzero(near)
    ends = np.concatenate([first[pairs], second[pairs]])
    ranked = np.argsort(ends, kind="stable")
    pairs_of = np.split(np.tile(pairs, 2)[ranked], np.searchsorted(ends[ranked], np.arange(1, len(order))))

    def of_frame(k: int, values: FloatArray) -> float:
        own = pairs_of[k][near[pairs_of[k]]]
        return float(np.median(values[own])) if len(own) > 1 else 0.0

    # a wrong frame is off towards nearly all of its neighbours, they are off only towards it
    off = np.array([of_frame(k, excess) for k in range(len(order))])
    found: Found = []
    what = "forces" if kind == "energy_force" else "stress and forces"
    while off[worst := int(off.argmax())] > 1.0:
        value = of_frame(worst, residual)
        limit = value / float(off[worst])
        message = (
            f"the energy is {value:.3g} eV away from the work of the {what} towards the neighbouring frames, at most "
            f"{limit:.3g} eV being usual; recompute this frame"
        )
        found.append(Finding(order[worst], kind, "warning", message, value, limit))
        own = pairs_of[worst]
        near[own] = False  # they would put the blame on the others
        for k in {worst, *first[own].tolist(), *second[own].tolist()}:
            off[k] = of_frame(k, excess)
    return found

"""Duplicates: frames of one structure, atom by atom or up to symmetry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from gapkit.descriptors.base import Descriptor
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import NotNegative, Positive
from gapkit.selection.fingerprints import FingerprintSpace, close_pairs, match_distance
from gapkit.structures import AtomsBatch, to_batch
from gapkit.structures.checks.work import same_atoms
from gapkit.typing import FloatArray, IntArray

TOLERANCE = 0.02  # largest distance, in standard deviations, of frames that are equal up to symmetry
SAME_POSITION = 1e-5  # Å
SAME_VOLUME = 1e-3  # relative
SAME_ENERGY = 1e-3  # eV/atom
N_SIGNATURES = 4


@dataclass(frozen=True)
class DuplicateGroup:
    """Frames of one structure, counted from 0 and ascending.

    Its kind is "exact", the same atoms in the same order at the same place, once wrapped into the same cell;
    "symmetry", also rotated, mirrored, translated or permuted; or "supercell", also repeated.  Distances are from the
    first frame: largest displacements in Å ("exact"), or by descriptors in standard deviations of the set.
    """

    kind: str
    frames: tuple[int, ...]
    distances: tuple[float, ...]


@checked
def find_duplicates(
    frames: Sequence[Atoms] | AtomsBatch, *, symmetry: bool = True, supercells: bool = False,
    tolerance: Positive = TOLERANCE, energy_tolerance: NotNegative | None = SAME_ENERGY,
    descriptor: Descriptor | None = None,
) -> list[DuplicateGroup]:  # fmt: skip
    """Group frames of one structure.

    Parameters
    ----------
    frames : sequence of Atoms, or AtomsBatch
    symmetry : bool
        Also find structures equal up to symmetry: equal descriptors atom by atom, and volumes per atom within a
        thousandth.
    supercells : bool
        Also find repeated cells; needs `symmetry`.
    tolerance : float
        Largest distance by descriptors of structures that are equal up to symmetry.
    energy_tolerance : float or None
        eV/atom, largest difference of energies of structures equal up to symmetry; None: any. Exact duplicates need
        not agree: contradictory labels are for `gapkit.structures.find_faults`.
    descriptor : Descriptor, optional
        None: the default SOAP of the frames.

    Returns
    -------
    groups : list of DuplicateGroup
        Disjoint, in the order of their first frames.
    """
    if supercells and not symmetry:
        raise InputError("`supercells` must come with `symmetry`, got symmetry=False; leave out one of the two")
    batch = frames if isinstance(frames, AtomsBatch) else to_batch(frames)
    exact = components(batch.n_frames, [pair[:2] for pair in _exact_pairs(batch)])
    groups = exact
    if symmetry:
        first = np.unique(exact, return_index=True)[1]
        links = _symmetric_pairs(batch, first, supercells, tolerance, energy_tolerance, descriptor)
        groups = components(len(first), links)[exact]
    space = None
    found = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        if len(members) < 2:
            continue
        if len(np.unique(exact[members])) == 1:
            kind, distances = "exact", [float(_displacements(batch, members[0], [k])[0]) for k in members.tolist()]
        else:
            space = FingerprintSpace.of(batch, descriptor) if space is None else space
            prints = space(batch.select(members))
            distances = [match_distance(prints, 0, prints, k) for k in range(len(members))]
            kind = "symmetry" if len(np.unique(batch.n_atoms_per_frame[members])) == 1 else "supercell"
        found.append(DuplicateGroup(kind, tuple(members.tolist()), tuple(distances)))
    return sorted(found, key=lambda duplicate: duplicate.frames)


def components(n: int, links: Sequence[tuple[int, int]]) -> IntArray:
    """Number (n,) of the connected component of each node, in order of their first nodes."""
    pairs = np.array(links, np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    labels = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _exact_pairs(batch: AtomsBatch) -> list[tuple[int, int]]:
    """Pairs of frames with all atoms and cell vectors within 1e-5 Å, up to lattice vectors."""
    found = []
    for members in same_atoms(batch, range(batch.n_frames), 2):
        frames = np.array(members)
        signatures, slack = _signatures(batch, frames)
        for a, b in cKDTree(signatures).query_pairs(slack):
            i, j = int(frames[min(a, b)]), int(frames[max(a, b)])
            if _displacements(batch, i, [j])[0] < SAME_POSITION:
                found.append((i, j))
    return found


def _signatures(batch: AtomsBatch, frames: IntArray) -> tuple[FloatArray, float]:
    """Signatures (n, m) of frames that do not change with wrapping, and the largest difference between equal frames.

    They are random projections of cosines and sines of fractional coordinates, and the cell.
    """
    n_atoms = int(batch.n_atoms_per_frame[frames[0]])
    fractional, cells = _fractional(batch, frames)
    pbc = batch.pbc[frames[0]]
    angles = 2.0 * np.pi * fractional
    waves = np.concatenate([np.where(pbc, np.cos(angles), fractional), np.where(pbc, np.sin(angles), 0.0)], axis=2)
    waves = waves.reshape(len(frames), -1)
    weights = np.random.default_rng(0).normal(size=(waves.shape[1], N_SIGNATURES))
    shortest = min(float(np.linalg.norm(cells, axis=2).min()), 1.0)
    slack = 10.0 * SAME_POSITION / shortest * np.sqrt(2.0 * n_atoms) * N_SIGNATURES
    return np.concatenate([waves @ weights, cells.reshape(len(frames), -1)], axis=1), slack


def _fractional(batch: AtomsBatch, frames: IntArray) -> tuple[FloatArray, FloatArray]:
    """Fractional coordinates (n, n_atoms, 3) and cells (n, 3, 3), in open directions Å and unit vectors."""
    atoms = batch.offsets[frames][:, None] + np.arange(batch.n_atoms_per_frame[frames[0]])
    cells = np.where(batch.pbc[frames][:, :, None], batch.cells[frames], np.eye(3))
    # an open direction that is no longer independent of the periodic ones is replaced by their normal
    flat = np.abs(np.linalg.det(cells)) < 1e-6
    for k in np.flatnonzero(flat):
        open_rows = ~batch.pbc[frames[k]]
        cells[k][open_rows] = np.linalg.svd(cells[k][~open_rows])[2][int((~open_rows).sum()) :]
    return np.einsum("fai,fij->faj", batch.positions[atoms], np.linalg.inv(cells)), cells


def _displacements(batch: AtomsBatch, frame: int, others: Sequence[int]) -> FloatArray:
    """Largest displacement (n,) in Å of an atom or a cell vector from `frame` to each of the others."""
    fractional, cells = _fractional(batch, np.array([frame, *others]))
    step = fractional[1:] - fractional[0]
    step -= np.round(step) * batch.pbc[frame]
    moved = np.linalg.norm(np.einsum("fai,ij->faj", step, cells[0]), axis=2).max(axis=1)
    return np.maximum(moved, np.linalg.norm(cells[1:] - cells[0], axis=2).max(axis=1))


def _symmetric_pairs(
    batch: AtomsBatch, frames: IntArray, supercells: bool, tolerance: float, energy_tolerance: float | None,
    descriptor: Descriptor | None,
) -> list[tuple[int, int]]:  # fmt: skip
    """Pairs of indices into `frames` of structures that are equal up to symmetry."""
    chosen = batch.select(frames)
    prints = FingerprintSpace.of(batch, descriptor)(chosen)
    volumes = chosen.volumes / chosen.n_atoms_per_frame
    energies = chosen.all_labels.energy / chosen.n_atoms_per_frame
    limits = np.full(len(frames), tolerance)
    found = []
    for i, j, _ in close_pairs(prints, prints, limits, limits, supercells=supercells, distinct=True):
        # NaN, no volume or energy, compares false
        other_volume = chosen.pbc[i].all() and abs(volumes[i] - volumes[j]) > SAME_VOLUME * volumes[i]
        other_energy = energy_tolerance is not None and abs(energies[i] - energies[j]) > energy_tolerance
        if (chosen.pbc[i] == chosen.pbc[j]).all() and not other_volume and not other_energy:
            found.append((i, j))
    return found

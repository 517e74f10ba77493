"""Coverage: distances, strains, densities, energies and neighbourhoods of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from gapkit.descriptors.base import Descriptor
from gapkit.exceptions import InputError
from gapkit.io.plain import plain
from gapkit.neighbours import build_neighbour_list
from gapkit.options.checked import checked
from gapkit.options.kinds import Positive
from gapkit.selection.fingerprints import FingerprintSpace
from gapkit.structures import AtomsBatch, to_batch
from gapkit.typing import BoolArray, FloatArray
from gapkit.uncertainty.neighbourhoods import NO_FRAME, nearest_others

MAX_DISTANCE, BIN_WIDTH = 6.0, 0.1  # Å
QUANTILE = 0.95  # part of the set's own atoms within r of an atom of another frame, which defines r
CHUNK_FRAMES = 50
SAME_FAMILY, N_TRIED = 0.3, 20  # norm of the Green-Lagrange strain; cells

Range = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Coverage:
    """Span of a data set.

    Attributes
    ----------
    edges : ndarray (n_bins + 1,), Å
        Bins of the histograms of distances.
    pairs : dict of (str, str) to ndarray (n_bins,) of int
        Histograms of pairs of atoms, counted once, by species in order of atomic number.
    volumetric_strain : ndarray (n_frames,)
        J - 1, J the determinant of the deformation of the cell; NaN without a comparable cell.
    shear_strain : ndarray (n_frames,)
        Equivalent strain sqrt(2/3 e:e), e the deviator of the Green-Lagrange strain (F F^T - 1) / 2.
    volume_per_atom : (low, high) in Å^3, or None
        Range over frames periodic in all directions.
    energy_per_atom : (low, high) in eV, or None
    reach : dict of str to float
        r by species, in standard deviations along principal axes; NaN for a species of one frame only.
    covered : dict of str to float, or None
        Part of the atoms of the pool within r of an atom of the set, by species; None without a pool.
    covered_frames : float or None
        Part of the frames of the pool with all atoms covered.
    """

    edges: FloatArray
    pairs: dict[tuple[str, str], np.ndarray]
    volumetric_strain: FloatArray
    shear_strain: FloatArray
    volume_per_atom: Range | None
    energy_per_atom: Range | None
    reach: dict[str, float]
    covered: dict[str, float] | None
    covered_frames: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings, for JSON; NaN becomes None."""
        return dict(plain(asdict(self)))


@checked
def measure_coverage(
    frames: Sequence[Atoms] | AtomsBatch, pool: Sequence[Atoms] | AtomsBatch | None = None, *,
    reference_cell: ArrayLike | None = None, max_distance: Positive = MAX_DISTANCE,
    descriptor: Descriptor | None = None,
) -> Coverage:  # fmt: skip
    """Measure the span of a data set.

    Parameters
    ----------
    frames : sequence of Atoms, or AtomsBatch
    pool : sequence of Atoms, or AtomsBatch, optional
        Structures to be covered.
    reference_cell : array_like (3, 3), optional
        Å, unstrained cell of all periodic frames. None: the mean cell of a frame's composition, over cells within a
        strain of 0.3 of each other, as long as there are two.
    max_distance : float
        Å; end of the histograms.
    descriptor : Descriptor, optional
        None: the default SOAP of the frames.
    """
    if not max_distance >= BIN_WIDTH:
        raise InputError(f"`max_distance` must be >= {BIN_WIDTH} Å, got {max_distance!r}; 6 Å is usual")
    batch = frames if isinstance(frames, AtomsBatch) else to_batch(frames, strict=False)
    edges = np.linspace(0.0, max_distance, round(max_distance / BIN_WIDTH) + 1)
    stretches = _stretches(batch, reference_cell)
    periodic = batch.pbc.all(axis=1)
    reach, covered, covered_frames = _descriptor_space(batch, pool, descriptor)
    green = 0.5 * (stretches - np.eye(3))
    deviator = green - np.trace(green, axis1=1, axis2=2)[:, None, None] / 3.0 * np.eye(3)
    volumetric, known = np.full(batch.n_frames, np.nan), np.isfinite(stretches[:, 0, 0])
    volumetric[known] = np.sqrt(np.linalg.det(stretches[known])) - 1.0
    return Coverage(
        edges=edges, pairs=_pair_counts(batch, edges), volumetric_strain=volumetric,
        shear_strain=np.sqrt(2.0 / 3.0 * np.sum(deviator**2, axis=(1, 2))),
        volume_per_atom=_range((batch.volumes / batch.n_atoms_per_frame)[periodic]),
        energy_per_atom=_range(batch.all_labels.energy / batch.n_atoms_per_frame),
        reach=reach, covered=covered, covered_frames=covered_frames,
    )  # fmt: skip


def _pair_counts(batch: AtomsBatch, edges: FloatArray) -> dict[tuple[str, str], np.ndarray]:
    species = batch.species
    counts = {(a, b): np.zeros(len(edges) - 1, np.int64) for k, a in enumerate(species) for b in species[k:]}
    for start in range(0, batch.n_frames, CHUNK_FRAMES):
        part = batch.select(np.arange(start, min(start + CHUNK_FRAMES, batch.n_frames)))
        neighbours = build_neighbour_list(part, float(edges[-1]))
        z = np.sort(np.stack([part.numbers[neighbours.centres], part.numbers[neighbours.indices]], axis=1), axis=1)
        for (a, b), total in counts.items():
            own = (z[:, 0] == a) & (z[:, 1] == b)
            # a full list holds every pair from both ends
            total += np.histogram(neighbours.distances[own], edges)[0] // 2
    return {(chemical_symbols[a], chemical_symbols[b]): total for (a, b), total in counts.items()}


def _stretches(batch: AtomsBatch, reference_cell: ArrayLike | None) -> FloatArray:
    """Stretch tensors F F^T (n_frames, 3, 3), cell = reference F, from inner products of cell vectors; else NaN."""
    found = np.full((batch.n_frames, 3, 3), np.nan)
    periodic = batch.pbc.all(axis=1)
    metrics = batch.cells @ batch.cells.transpose(0, 2, 1)
    if reference_cell is not None:
        reference = np.asarray(reference_cell, float)
        if reference.shape != (3, 3) or not abs(np.linalg.det(reference)) > 0.0:
            raise InputError(f"`reference_cell` must be (3, 3) with a volume, in Å, got {reference.tolist()}")
        found[periodic] = _relative(metrics[periodic], reference)
        return found
    compositions = batch.compositions(batch.species)
    for composition in np.unique(compositions[periodic], axis=0):
        left = np.flatnonzero(periodic & (compositions == composition).all(axis=1))
        # cells of other settings are no strains of each other: families are taken off one by one
        while len(left) > 1:
            family = left[_family(metrics[left])]
            if len(family) > 1:
                mean = np.linalg.cholesky(metrics[family].mean(axis=0))
                found[family] = _relative(metrics[family], mean)
            left = np.setdiff1d(left, family)
    return found


def _relative(metrics: FloatArray, reference: FloatArray) -> FloatArray:
    """F F^T (n, 3, 3) of cells with the inner products `metrics`."""
    inverse = np.linalg.inv(reference)
    return np.asarray(inverse @ metrics @ inverse.T)


def _family(metrics: FloatArray) -> BoolArray:
    """Mask (n,) of the largest group of cells within `SAME_FAMILY` of one of them."""
    best = np.zeros(len(metrics), bool)
    # any member finds its family; a few spread over all are enough for a large one
    for k in np.unique(np.linspace(0, len(metrics) - 1, N_TRIED).astype(int)):
        stretch = _relative(metrics, np.linalg.cholesky(metrics[k]))
        near = np.linalg.norm(0.5 * (stretch - np.eye(3)), axis=(1, 2)) < SAME_FAMILY
        if near.sum() > best.sum():
            best = near
    return best


def _descriptor_space(
    batch: AtomsBatch, pool: Sequence[Atoms] | AtomsBatch | None, descriptor: Descriptor | None
) -> tuple[dict[str, float], dict[str, float] | None, float | None]:
    other = None if pool is None else pool if isinstance(pool, AtomsBatch) else to_batch(pool, labels=False)
    space = FingerprintSpace.of(batch, descriptor, () if other is None else other.species)
    known, strange = space(batch), None if other is None else space(other)
    reach: dict[str, float] = {}
    covered: dict[str, float] = {}
    uncovered = np.zeros(0 if other is None else other.n_frames, np.int64)
    for z in known.species:
        own = known.numbers == z
        points, frames = known.vectors[own].astype(float), batch.frame_of_atom[own]
        nearest = nearest_others(points, frames, points, frames, 1)[0][:, 0] if len(points) else np.full(1, np.nan)
        finite = nearest[np.isfinite(nearest)]
        radius = float(np.quantile(finite, QUANTILE)) if len(finite) else float("nan")
        if len(points):
            reach[chemical_symbols[z]] = radius
        if other is None or strange is None or not (strange.numbers == z).any():
            continue
        theirs = strange.numbers == z
        inside = np.zeros(int(theirs.sum()), bool)
        if len(points):
            queries = strange.vectors[theirs].astype(float)
            nobody = np.full(len(queries), NO_FRAME)
            # float32 keeps about seven digits: what is the same must be inside even where r is 0
            inside = nearest_others(points, frames, queries, nobody, 1)[0][:, 0] <= radius + 1e-5
        covered[chemical_symbols[z]] = float(inside.mean())
        np.add.at(uncovered, other.frame_of_atom[theirs][~inside], 1)
    return reach, None if other is None else covered, None if other is None else float(np.mean(uncovered == 0))


def _range(values: FloatArray) -> Range | None:
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if len(values) else None

"""Fingerprints: whitened SOAP vectors of atoms, and the distance of two frames by them.

The distance of two frames is the least root mean square distance of their atoms' whitened vectors over all one-to-one
assignments within species (the best match of De, Bartók, Csányi and Ceriotti, Phys. Chem. Chem. Phys. 18, 13754 (2016),
section 2.3): no rotation, translation or permutation changes it, and repeating the cell does not either when every atom
counts as often as the sizes ask for. Its unit is the standard deviation of atoms of the reference set along a principal
axis (Mahalanobis).

Matching the sorted values of every axis on its own can only be cheaper than one assignment for all axes. Hence a lower
bound from plain Euclidean distances, after which few pairs are left to match.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.utils.extmath import randomized_svd

from gapkit.descriptors import SOAP
from gapkit.descriptors.base import Descriptor, Engine
from gapkit.exceptions import InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.defaults import default_terms
from gapkit.structures import AtomsBatch, to_batch
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.neighbourhoods import Whitening

CHUNK_ATOMS = 2000
SAMPLE_ATOMS = 8000  # for the principal axes
LONG_VECTOR, N_LEADING = 800, 48  # longer vectors are first reduced to this many leading axes
MAX_REPEATED = 512  # atoms up to which cells of different sizes are repeated to be compared
BLOCK_FRAMES = 1000
ALIKE = 1e-5
BLOCK_PAIRS = 200
ROUNDING = 1e-5

DESCRIPTOR = SOAP(5.0, 6, 4, 0.5)  # of selections without a model

Frames = Sequence[Atoms] | AtomsBatch


def as_batch(frames: Frames, name: str = "frames") -> AtomsBatch:
    """The structures of `frames`, without labels if they come as atoms."""
    batch = frames if isinstance(frames, AtomsBatch) else to_batch(frames, labels=False)
    if batch.n_frames == 0:
        raise InputError(f"`{name}` must hold at least one frame, got none; pass ase.Atoms objects")
    return batch


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """Whitened vectors of the atoms of some frames, as in `AtomsBatch`."""

    offsets: IntArray  # (n_frames + 1,)
    numbers: IntArray  # (n_atoms,)
    # (n_atoms, r), of float32, standard deviations along the leading principal axes of the species; zero where it has
    # fewer than r
    vectors: NDArray[np.float32]
    species: tuple[int, ...]  # atomic numbers, ascending
    compositions: IntArray  # (n_frames, n_species)

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.offsets) - 1

    def of_frames(self) -> FloatArray:
        """One vector (n_frames, n_species r + n_species) per frame: means by species, zero without, and fractions."""
        frame_of_atom = np.repeat(np.arange(self.n_frames), np.diff(self.offsets))
        parts = []
        for column, z in enumerate(self.species):
            own = self.numbers == z
            total = np.zeros((self.n_frames, self.vectors.shape[1]))
            np.add.at(total, frame_of_atom[own], self.vectors[own])
            parts.append(total / np.maximum(self.compositions[:, column], 1)[:, None])
        sizes = np.maximum(self.compositions.sum(axis=1), 1)
        return np.concatenate([*parts, self.compositions / sizes[:, None]], axis=1)

    def of_frame(self, frame: int) -> list[FloatArray]:
        """Vectors (n, r) of the atoms of a frame, species by species."""
        atoms = slice(self.offsets[frame], self.offsets[frame + 1])
        numbers, vectors = self.numbers[atoms], self.vectors[atoms].astype(float)
        return [vectors[numbers == z] for z in self.species]

    def select(self, frames: IntArray) -> Fingerprints:
        """Fingerprints of some frames, in the given order."""
        counts = np.diff(self.offsets)[frames]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        atoms = np.arange(offsets[-1]) + np.repeat(self.offsets[frames] - offsets[:-1], counts)
        return Fingerprints(offsets, self.numbers[atoms], self.vectors[atoms], self.species, self.compositions[frames])


@dataclass(frozen=True, eq=False)
class FingerprintSpace:
    """A descriptor with the principal axes of a reference set."""

    engine: Engine
    whitenings: dict[int, Whitening]  # by atomic number, for the species of the reference set

    @classmethod
    def of(
        cls, reference: Frames, descriptor: Descriptor | None = None, species: Sequence[int] = ()
    ) -> FingerprintSpace:
        """Principal axes of a reference set, with further `species` (atomic numbers) of other frames.

        A descriptor has a vector for every atom, else InputError; None: the default SOAP of a potential.
        """
        batch = as_batch(reference, "reference")
        if descriptor is None:
            descriptor = next(term.descriptor for term in default_terms(batch) if isinstance(term.descriptor, SOAP))
        engine = atomic_engine(descriptor, sorted({*batch.species, *species}))
        vectors = vectors_by_species(engine, _sample(batch))
        return cls(engine, {z: _whitening(x) for z, (_, x) in vectors.items() if len(x)})

    def __call__(self, frames: Frames) -> Fingerprints:
        """Fingerprints of `frames`, a few thousand atoms at a time."""
        batch = as_batch(frames)
        n_axes = max((w.axes.shape[1] for w in self.whitenings.values()), default=0)
        vectors = np.zeros((batch.n_atoms, max(n_axes, 1)), np.float32)
        for span in frame_chunks(batch, CHUNK_ATOMS):
            part = vectors[batch.offsets[span.start] : batch.offsets[span.stop]]
            for z, (atoms, x) in vectors_by_species(self.engine, batch.select(np.asarray(span))).items():
                if z in self.whitenings:
                    whitened = self.whitenings[z](x)
                    part[atoms, : whitened.shape[1]] = whitened
        species = tuple(sorted(block[0] for block in self.engine.blocks))
        return Fingerprints(batch.offsets, batch.numbers, vectors, species, batch.compositions(species))


def match_distance(a: Fingerprints, i: int, b: Fingerprints, j: int) -> float:
    """Distance of frame i of `a` and frame j of `b`, of the same reduced composition, by optimal assignment."""
    total, n_atoms = 0.0, 0
    for x, y in zip(a.of_frame(i), b.of_frame(j), strict=True):
        if not len(x):
            continue
        repeats = len(x) * len(y) // gcd(len(x), len(y))
        cost = cdist(x, y, "sqeuclidean")
        n_atoms += repeats
        # where all atoms are alike, as in a crystal, any assignment is the best, and the solver is slow with ties
        if min(np.ptp(x, axis=0).max(), np.ptp(y, axis=0).max()) < ALIKE:
            total += float(cost.mean()) * repeats
            continue
        if len(x) != len(y):
            cost = np.repeat(np.repeat(cost, repeats // len(x), axis=0), repeats // len(y), axis=1)
        total += float(cost[linear_sum_assignment(cost)].sum())
    return float(np.sqrt(total / max(n_atoms, 1)))


def lower_bounds(
    a: Fingerprints, b: Fingerprints, *, supercells: bool = False
) -> Iterator[tuple[IntArray, IntArray, FloatArray]]:
    """Blocks of comparable frames of `a` (m,) and `b` (n,) of one space, with lower bounds (m, n) of their distances.

    `supercells`: also compare cells of different sizes, repeated to no more than 512 atoms.
    """
    rows, columns = _by_composition(a), _by_composition(b)
    for key, sizes in rows.items():
        for size, frames in sizes.items():
            for other, partners in columns.get(key, {}).items():
                repeats = size * other // gcd(size, other)
                if size != other and (not supercells or repeats * sum(key) > MAX_REPEATED):
                    continue
                y = _sorted_axes(b, partners, repeats // other)
                for start in range(0, len(frames), BLOCK_FRAMES):
                    block = frames[start : start + BLOCK_FRAMES]
                    x = _sorted_axes(a, block, repeats // size)
                    yield block, partners, cdist(x, y) / np.sqrt(repeats * sum(key))


def close_pairs(
    a: Fingerprints, b: Fingerprints, limits_a: FloatArray, limits_b: FloatArray, *, supercells: bool = False,
    distinct: bool = False,
) -> Iterator[tuple[int, int, float]]:  # fmt: skip
    """Pairs (i of `a`, j of `b`, distance) closer than the larger of limits_a[i] and limits_b[j].

    Two lower bounds leave few pairs to match: that of sorted axes, and the distance of every atom from the nearest one
    of the other frame.

    Limits are in standard deviations; `distinct`: `a` and `b` are the same, and only i < j count.
    """
    for rows, columns, bounds in lower_bounds(a, b, supercells=supercells):
        vectors = _stacked(a, rows)
        for j, bound in zip(columns.tolist(), bounds.T, strict=True):
            limits = np.maximum(limits_a[rows], limits_b[j])
            tried = np.flatnonzero((bound < limits) & (rows < j)) if distinct else np.flatnonzero(bound < limits)
            for start in range(0, len(tried), BLOCK_PAIRS):
                part = tried[start : start + BLOCK_PAIRS]
                nearest = nearest_atoms([x[part] for x in vectors], b.of_frame(j))
                for k in part[nearest < limits[part]].tolist():
                    distance = match_distance(a, int(rows[k]), b, j)
                    if distance < limits[k]:
                        yield int(rows[k]), j, distance


def _stacked(prints: Fingerprints, frames: IntArray) -> list[FloatArray]:
    """Vectors (n, m, r) of frames of one composition, species by species."""
    by_species = zip(*(prints.of_frame(frame) for frame in frames), strict=True)
    return [np.stack(parts) for parts in by_species]


def nearest_atoms(frames: Sequence[FloatArray], other: Sequence[FloatArray]) -> FloatArray:
    """Lower bounds (n,) of the distances of frames, (n, m, r) by species, from another one, (m', r) by species."""
    from_frames, from_other, n_atoms = np.zeros(len(frames[0])), np.zeros(len(frames[0])), 0
    for x, y in zip(frames, other, strict=True):
        if not len(y):
            continue
        squares = np.einsum("nmr,nmr->nm", x, x)[:, :, None] + np.einsum("mr,mr->m", y, y)
        squares -= 2.0 * (x.reshape(-1, x.shape[2]) @ y.T).reshape(squares.shape)
        repeated = x.shape[1] * len(y) // gcd(x.shape[1], len(y))
        from_frames += np.maximum(squares.min(axis=2), 0.0).mean(axis=1) * repeated
        from_other += np.maximum(squares.min(axis=1), 0.0).mean(axis=1) * repeated
        n_atoms += repeated
    # rounding of the differences must not hide what is the same
    return np.asarray(np.sqrt(np.maximum(from_frames, from_other) / max(n_atoms, 1)) - ROUNDING)


def _by_composition(prints: Fingerprints) -> dict[tuple[int, ...], dict[int, IntArray]]:
    """Frames by reduced composition and number of its units."""
    found: dict[tuple[int, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for frame, counts in enumerate(prints.compositions.tolist()):
        units = max(gcd(*counts), 1)
        found[tuple(n // units for n in counts)][units].append(frame)
    return {key: {size: np.array(frames) for size, frames in sizes.items()} for key, sizes in found.items()}


def _sorted_axes(prints: Fingerprints, frames: IntArray, repeats: int) -> FloatArray:
    """Coordinates of the atoms of each frame, sorted along every axis within every species: (n, n_atoms r)."""
    return np.stack(
        [
            np.concatenate([np.repeat(np.sort(x, axis=0), repeats, axis=0).ravel() for x in prints.of_frame(frame)])
            for frame in frames
        ]
    )


def atomic_engine(descriptor: Descriptor | None, species: Sequence[int]) -> Engine:
    """Engine of a descriptor with one vector for each atom; None: SOAP with a cutoff of 5 Å."""
    engine = (descriptor or DESCRIPTOR).engine(species)
    if not engine.is_atomic:
        raise InputError(f"`descriptor` must have one vector for each atom, got {descriptor!r}; pass a SOAP")
    return engine


def vectors_by_species(engine: Engine, batch: AtomsBatch) -> dict[int, tuple[IntArray, FloatArray]]:
    """Atoms (n,) and their descriptor vectors (n, d) by species."""
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    found = {}
    for block in engine.blocks:
        centres, n = view.centres(block), view.centres_per_chunk
        parts = [np.zeros((0, engine.n_features))]
        parts += [view.features(block, centres[k : k + n]).x for k in range(0, len(centres), n)]
        found[block[0]] = (centres, np.concatenate(parts))
    return found


def _sample(batch: AtomsBatch) -> AtomsBatch:
    """Frames spread evenly over the whole set, as many as the sample may have atoms."""
    share = min(1.0, SAMPLE_ATOMS / max(batch.n_atoms, 1))
    n = max(int(share * batch.n_frames), 1)
    frames = np.linspace(0, batch.n_frames - 1, n).astype(int)
    # every composition is seen: rare species need axes too
    _, first = np.unique(batch.compositions(batch.species) > 0, axis=0, return_index=True)
    return batch.select(np.union1d(frames, first))


def _whitening(x: FloatArray) -> Whitening:
    leading = np.eye(x.shape[1])
    if x.shape[1] > LONG_VECTOR:
        n = min(N_LEADING, len(x))
        leading = randomized_svd(x - x.mean(axis=0), n, random_state=0)[2].T
    whitening = Whitening.of(x @ leading)
    return Whitening(x.mean(axis=0), np.ascontiguousarray(leading @ whitening.axes))

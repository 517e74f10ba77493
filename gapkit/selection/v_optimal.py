"""V-optimal selection: least expected mean squared error of forces and energies of the whole pool.

The model is a sparse Gaussian process on points of the pool, in which a force, or the energy of a frame less those of
average atoms, is a row phi of weights with the prior N(0, 1).  With H_f the sum of phi^T phi / sigma^2 over the rows of
a frame, and H its mean over all force components of the pool, frames S leave a mean squared error of J = V + B (in
units of the squared noise of forces):

- variance, V = tr[(1 + sum_S H_f)^-1 H], from noise and lack of data (Cohn, Neural Netw. 9, 1071 (1996); Yu, Bi and
  Tresp, ICML 2006, 1081, "transductive experimental design");
- bias, B = c |H^-1/2 (H_S - H) H^-1/2|^2, H_S the mean over S.  No model is right everywhere, and the best fit for the
  pool has data with the second moments of the pool (Box and Draper, J. Am. Stat. Assoc. 54, 622 (1959)).  V alone
  prefers extreme frames: informative, but few, and worst described by models.

Every step takes the frame with the largest decrease of J of a random part of those left (Mirzasoleiman et al., AAAI
2015, 1812).  Labels play no part.  All numbers below were set on silicon, lithium, an alloy and a molecule together;
the result depends little on any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from gapkit.descriptors import Descriptor
from gapkit.gp.basis import SparseBasis
from gapkit.gp.chunks import frame_chunks, frame_parts
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.term import Term, TermPlan
from gapkit.potential.training.sparse_points import select_points
from gapkit.selection.fingerprints import DESCRIPTOR, atomic_engine
from gapkit.structures import AtomsBatch, to_batch
from gapkit.typing import BoolArray, FloatArray, IntArray

N_POINTS = 300  # sparse points
RANK, FRAMES_FOR_DIRECTIONS = 40, 300  # directions of largest variance in the pool; frames in the sample for them
SIGNAL_TO_NOISE = 10.0  # prior standard deviation of a force over its noise
ENERGY_NOISE = 0.1  # noise of an energy, per atom, over that of a force, Å
BIAS = 0.1  # sets c: B of a single frame on average
SMALLEST = 1e-4  # eigenvalue of H, over the largest, in B
PART, MOST = 0.5, 500  # part of the frames left, and their largest number, in a step
ATOMS_AT_ONCE = 1000


@dataclass(frozen=True, eq=False)
class Information:
    """Information of the labels of frames on r directions of the weights, with noise of 1 eV/Å."""

    forces: FloatArray  # (n_frames, r, r), Gram matrices Phi^T Phi of the force rows of every frame
    energy: FloatArray  # (n_frames, r), energy rows in units of their noise, orthogonal to the composition
    n_rows: IntArray  # (n_frames,), force components

    @classmethod
    def of(cls, frames: Sequence[Atoms], descriptor: Descriptor | None, rng: np.random.Generator) -> Information:
        """Two passes over the rows, 1,000 atoms at a time; 13 kB are kept of a frame.

        5,000 frames of 64 atoms take some two minutes, and 0.4 GB with the arrays of `VOptimal`.
        """
        batch = to_batch(frames, labels=False)
        term = Term(descriptor or DESCRIPTOR)
        engine = atomic_engine(term.descriptor, term.descriptor.resolve_species(batch.species))
        points = select_points([TermPlan(term, engine, min(N_POINTS, batch.n_atoms), False)], batch, rng)
        vectors = [[(block, part.x) for block, part in of_term] for of_term in points]
        basis = SparseBasis.build([engine], [term.resolved_kernel()], vectors)
        white = np.zeros((basis.n_columns, basis.n_columns))
        for block in basis.prior():
            white[block.columns, block.columns] = solve_triangular(block.L, np.eye(len(block.L)), lower=True).T
        some = np.arange(batch.n_frames)
        if len(some) > FRAMES_FOR_DIRECTIONS:
            some = np.sort(rng.choice(some, FRAMES_FOR_DIRECTIONS, replace=False))
        sample = batch.select(some)
        total, energy = np.zeros(white.shape), np.zeros((len(some), len(white)))
        for frame, row, rows in _rows(basis, white, sample):
            total += rows.T @ rows
            energy[frame] += row
        energy = _without_composition(energy, sample)
        directions = np.linalg.eigh(total + energy.T @ energy)[1][:, ::-1][:, :RANK]
        rank = directions.shape[1]
        forces, energy = np.zeros((batch.n_frames, rank, rank)), np.zeros((batch.n_frames, rank))
        for frame, row, rows in _rows(basis, white @ directions, batch):
            forces[frame] += rows.T @ rows
            energy[frame] += row
        return cls(forces, _without_composition(energy, batch), 3 * batch.n_atoms_per_frame)

    def __getitem__(self, part: slice) -> Information:
        return Information(self.forces[part], self.energy[part], self.n_rows[part])


def _rows(basis: SparseBasis, transform: FloatArray, batch: AtomsBatch) -> Iterator[tuple[int, FloatArray, FloatArray]]:
    """Frame, energy row (r,) and force rows (n, r), times `transform`; large frames in parts that add up."""
    for span in frame_chunks(batch, ATOMS_AT_ONCE):
        part = batch.select(np.arange(span.start, span.stop))
        applied = AppliedBasis.of(basis, part, build_neighbour_list(part, basis.reach))
        for atoms in frame_parts(part, ATOMS_AT_ONCE):
            made = design_rows(applied, ("forces",), atoms=atoms)
            assert made.forces is not None
            energy, forces = made.energy @ transform, made.forces @ transform
            for i in range(part.n_frames):
                own = forces if atoms is not None else forces[part.offsets[i] : part.offsets[i + 1]]
                yield span.start + i, energy[i], own.reshape(-1, own.shape[2])


def _without_composition(energy: FloatArray, batch: AtomsBatch) -> FloatArray:
    """Energy rows (n_frames, r) less energies of atoms by least squares, in units of their noise."""
    root = np.sqrt(batch.n_atoms_per_frame)[:, None]
    counts = [np.bincount(batch.frame_of_atom, batch.numbers == z, batch.n_frames) for z in batch.species]
    of_species, rows = np.stack(counts, axis=1) / root, energy / root
    return np.asarray(rows - of_species @ np.linalg.lstsq(of_species, rows, rcond=None)[0]) / ENERGY_NOISE


class VOptimal:
    """Decrease of J, the error of the `pool`, by every frame of it, given those `known` and those added so far."""

    def __init__(self, pool: Information, known: Information, rng: np.random.Generator) -> None:
        self._n_rows, self._rng = pool.n_rows, rng
        n_rows = int(pool.n_rows.sum())
        noise = max(float(np.einsum("nii->", pool.forces)) / n_rows, 1e-300) / SIGNAL_TO_NOISE**2  # squared
        values, vectors = np.linalg.eigh(_grams(pool).sum(axis=0) / n_rows)
        self._mean = np.maximum(values, 0.0) / noise  # H, diagonal in these coordinates
        self._H = vectors.T @ _grams(pool) @ vectors / noise
        # products with these are those with H^-1/2 from both sides
        root = 1.0 / np.sqrt(np.maximum(self._mean, max(SMALLEST * self._mean.max(), 1e-300)))
        self._scale = np.outer(root, root)
        alone = float(self._mismatch(self._H, pool.n_rows).mean())
        self._weight = BIAS / alone if alone > 0.0 else 0.0
        self._sum = vectors.T @ _grams(known).sum(axis=0) @ vectors / noise
        self._n = int(known.n_rows.sum())

    def _mismatch(self, sums: FloatArray, n_rows: IntArray) -> FloatArray:
        """Squared norms of the differences of second moments, (n,), from sums over frames."""
        difference = (sums / n_rows[:, None, None] - np.diag(self._mean)) * self._scale
        return np.einsum("nij,nij->n", difference, difference)

    def _error(self, sums: FloatArray, n_rows: IntArray) -> FloatArray:
        """J, (n,), from sums of H_f and of rows."""
        left = np.linalg.inv(np.eye(len(self._mean)) + sums)
        return np.einsum("nii,i->n", left, self._mean) + self._weight * self._mismatch(sums, n_rows)

    def now(self, free: BoolArray) -> FloatArray:
        """Decrease of J, (n_frames,), by a part of the frames that are `free`; -inf for others."""
        some = np.flatnonzero(free)
        n = min(MOST, int(np.ceil(PART * len(some))))
        if n < len(some):
            some = np.sort(self._rng.choice(some, n, replace=False))
        before = self._error(self._sum[None], np.array([max(self._n, 1)]))[0]
        gains = np.full(len(free), -np.inf)
        gains[some] = before - self._error(self._sum + self._H[some], self._n + self._n_rows[some])
        return gains

    def add(self, i: int) -> None:
        self._sum = self._sum + self._H[i]
        self._n += int(self._n_rows[i])


def _grams(frames: Information) -> FloatArray:
    """All rows of every frame, (n_frames, r, r)."""
    return frames.forces + frames.energy[:, :, None] * frames.energy[:, None, :]

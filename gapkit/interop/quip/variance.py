"""QUIP's `local_gap_variance`: what the sparse points cannot see of every atom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from gapkit.descriptors.base import Block, Engine
from gapkit.descriptors.three_body import MULTIPLICITY, TripletEngine
from gapkit.descriptors.triplet_distances import TripletDistancesEngine, orders_of
from gapkit.descriptors.two_body import PairEngine
from gapkit.gp.basis import SparseBlock
from gapkit.gp.cholesky import cholesky
from gapkit.gp.instances import AppliedBasis, Chunk
from gapkit.gp.solver import PriorBlock
from gapkit.neighbours import NeighbourList
from gapkit.options.checked import checked
from gapkit.options.kinds import Positive
from gapkit.potential import GAP
from gapkit.potential.state import state_of
from gapkit.structures import to_batch
from gapkit.typing import FloatArray

# QUIP's `gap_variance_regularisation`, eV.
REGULARISATION = 1e-3
# A sparse point that is no instance, such as a mean of some, may lie beyond the cutoff: its alpha takes the weight.
SMALLEST = 1e-6


@checked
def gap_variance(
    model: GAP, frames: Atoms | Sequence[Atoms], *, regularisation: Positive = REGULARISATION
) -> FloatArray:
    """Local variances as QUIP defines them, (n_atoms,) in eV^2, atoms of all frames one after another.

    Every instance has v = delta^2 + rho^2 - k^T (K_MM + rho^2)^-1 k, where k and K_MM contain the cutoff factors of the
    sparse points.  With f its own factor, v f^2 is shared by the atoms of a pair or triangle, and is the centre's for
    soap and angle_3b.  No data and no noise are in it.  As delta^2 stands for k(x, x), it may be negative where soap
    has a `covariance_sigma0`; QUIP then stops.  `regularisation` is rho, eV.
    """
    state = state_of(model)
    sparse = state.sparse
    batch = to_batch(frames, labels=False)
    neighbours = state.neighbours(batch)
    variance = np.zeros(batch.n_atoms)
    applied = AppliedBasis.of(sparse.basis, batch, neighbours)
    for block in sparse.basis.blocks:
        delta = np.sqrt(sparse.posterior.variance_scale(block.index))
        jitter = (regularisation / delta) ** 2
        factor = prior_factor(block, jitter)
        for chunk in applied.walk(block):
            _add(chunk, factor, jitter, delta, neighbours, variance)
    return variance


def prior_block(block: SparseBlock, delta: float) -> PriorBlock:
    """The prior of a block's weights as QUIP has it, whose factor is made when it is first needed."""
    jitter = (REGULARISATION / delta) ** 2
    if isinstance(block.engine, TripletDistancesEngine):
        return PriorBlock(block.columns, partial(prior_factor, block, jitter), given=True)
    nugget = jitter * sparse_factors(block.engine, block.points) ** -2.0
    return PriorBlock(block.columns, partial(block.prior_factor, nugget), nugget)


def prior_factor(block: SparseBlock, jitter: float) -> FloatArray:
    """Lower Cholesky factor of K_MM + jitter / f_s^2 of a block at unit scale; of triangles, the symmetrised kernel."""
    nugget = jitter * sparse_factors(block.engine, block.points) ** -2.0
    if not isinstance(block.engine, TripletDistancesEngine):
        return block.prior_factor(nugget)
    norms = self_norms(block.engine, block.species, block.points)
    of_orders = [block.kernel(block.points[:, order], block.points) for order in orders_of(block.species)]
    k = np.sum(of_orders, axis=0) / np.outer(norms, norms)
    k[np.diag_indices_from(k)] += nugget
    return cholesky(k, name=f"K_MM of TripletDistances {block.species}").L


def self_norms(engine: Engine, block: Block, points: FloatArray) -> FloatArray:
    """sqrt(s(x)) of sparse points (m, 3) of triangles, (m,)."""
    assert isinstance(engine, TripletDistancesEngine)
    return np.sqrt(engine.self_kernel(points, orders_of(block))[0])


def sparse_factors(engine: Engine, points: FloatArray) -> FloatArray:
    """Cutoff factors f_s of sparse points (m,), QUIP's `sparseCutoff`; 1 for those beyond the cutoff."""
    if isinstance(engine, PairEngine):
        distances = points
    elif isinstance(engine, TripletEngine):  # x = (r + r', (r - r')^2, ...)
        difference = np.sqrt(np.maximum(points[:, 1], 0.0))
        distances = 0.5 * np.stack([points[:, 0] + difference, points[:, 0] - difference], axis=1)
    elif isinstance(engine, TripletDistancesEngine):
        distances = points[:, :2]
    else:
        return np.ones(len(points))
    values, _ = engine.switch(np.ascontiguousarray(distances).ravel(), engine.reach)
    factors = values.reshape(distances.shape).prod(axis=1)
    return np.where(factors < SMALLEST, 1.0, factors)


def _add(
    chunk: Chunk, factor: FloatArray, jitter: float, delta: float, neighbours: NeighbourList, variance: FloatArray
) -> None:
    """Add what the instances of a block give to the variances of their atoms."""
    block, features = chunk.block, chunk.features
    k, factors, atoms = block.kernel(features.x, block.points), features.factors, features.centres[:, None]
    squares = factors**2
    if isinstance(block.engine, PairEngine):
        atoms = np.stack([features.centres, neighbours.indices[features.state]], axis=1)
    elif isinstance(block.engine, TripletEngine):
        squares = squares / MULTIPLICITY  # QUIP has an instance for either order of the neighbours
    elif isinstance(block.engine, TripletDistancesEngine):
        these, norms = features.state, self_norms(block.engine, block.species, block.points)
        n = len(these.orders)
        k = k.reshape(-1, n, k.shape[1]).sum(axis=1) / np.outer(np.sqrt(these.s), norms)
        squares = squares[::n] * these.s
        atoms = np.concatenate([atoms[::n], neighbours.indices[these.edges]], axis=1)
    white = solve_triangular(factor, k.T, lower=True)
    v = delta**2 * (1.0 + jitter - np.einsum("mn,mn->n", white, white))
    np.add.at(variance, atoms, (v * squares / atoms.shape[1])[:, None])

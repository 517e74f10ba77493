"""Energies, forces, virials and variances of a batch, in reverse mode: no derivative of a descriptor is ever formed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit._core.rows import edge_forces
from gapkit.descriptors.base import View
from gapkit.gp.basis import SparseBasis
from gapkit.gp.design import views_of
from gapkit.gp.posterior import Posterior
from gapkit.neighbours import NeighbourList
from gapkit.parallel import map_blocks
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray

# Atoms of a block: their kernel values against 1,000 sparse points then stay in the second-level cache.
ATOMS_PER_BLOCK = 64


@dataclass(frozen=True, eq=False)
class LocalVariance:
    """Variances of local energies, eV^2.

    Attributes
    ----------
    data : ndarray (n_atoms,)
        Posterior variance |R^-T phi|^2: what more data would reduce.
    prior_residual : ndarray (n_atoms,)
        What the sparse points cannot see; an upper bound where an atom has several instances of a term.
    novelty : ndarray (n_atoms,)
        Prior residual over prior variance of the most local, one-instance terms, in [0, 1]; NaN without such a term.
    """

    data: FloatArray
    prior_residual: FloatArray
    novelty: FloatArray


@dataclass(frozen=True, eq=False)
class LinearPrediction:
    """What the linear model says of a batch, without reference energies and baseline.

    Attributes
    ----------
    local_energies : ndarray (n_atoms,)
        eV.
    forces : ndarray (n_atoms, 3) or None
        eV/Å.
    virials : ndarray (n_frames, 3, 3) or None
        eV.
    variance : LocalVariance or None
    """

    local_energies: FloatArray
    forces: FloatArray | None
    virials: FloatArray | None
    variance: LocalVariance | None


def predict(
    basis: SparseBasis,
    weights: FloatArray,
    batch: AtomsBatch,
    neighbours: NeighbourList,
    *,
    forces: bool = True,
    posterior: Posterior | None = None,
    n_jobs: int | None = None,
) -> LinearPrediction:
    """Evaluate the linear model on a batch.

    Parameters
    ----------
    weights : ndarray (M,)
        For unit-scale kernels.
    neighbours : NeighbourList
        Of the batch, with a cutoff of at least `basis.reach`; longer edges are skipped.
    forces : bool
        Also forces and virials.
    posterior : Posterior or None
        When given (with its scales), local variances are computed in the same pass.
    n_jobs : int or None
        Threads over blocks of atoms.
    """
    views = views_of(basis, batch, neighbours)
    # Found once: a search through all atoms in every block of atoms would make the cost quadratic.
    members = [
        [view.centres(block.block) for block in term.blocks] for term, view in zip(basis.terms, views, strict=True)
    ]
    local = np.zeros(batch.n_atoms)
    gradients = np.zeros((neighbours.n_edges, 3)) if forces else None
    variances = np.full((3, batch.n_atoms), np.nan) if posterior is not None else None

    def block_of_atoms(first: int) -> None:
        last = min(first + ATOMS_PER_BLOCK, batch.n_atoms)
        rows = np.zeros((last - first, basis.n_columns)) if posterior is not None else None
        residuals = np.zeros((3, last - first)) if posterior is not None else None
        _block(basis, weights, views, members, first, last, local, gradients, rows, residuals, posterior)
        if posterior is not None and variances is not None and rows is not None and residuals is not None:
            variances[0, first:last] = posterior.data_variance(rows)
            variances[1, first:last] = residuals[0] ** 2
            with np.errstate(invalid="ignore"):
                variances[2, first:last] = np.clip(residuals[1] / residuals[2], 0.0, 1.0)

    map_blocks(block_of_atoms, range(0, batch.n_atoms, ATOMS_PER_BLOCK), n_jobs)
    variance = None if variances is None else LocalVariance(*variances)
    if gradients is None:
        return LinearPrediction(local, None, None, variance)
    atom_forces = np.zeros((batch.n_atoms, 3))
    virials = np.zeros((batch.n_frames, 3, 3))
    edge_forces(
        neighbours.offsets, neighbours.indices, neighbours.vectors, batch.frame_of_atom, gradients, atom_forces, virials
    )
    return LinearPrediction(local, atom_forces, virials, variance)


def _block(
    basis: SparseBasis, weights: FloatArray, views: list[View], members: list[list[IntArray]],
    first: int, last: int, local: FloatArray,
    gradients: FloatArray | None, rows: FloatArray | None, residuals: FloatArray | None, posterior: Posterior | None,
) -> None:  # fmt: skip
    """Add one block of atoms to the arrays given; `residuals` holds residual std, one-instance residual and prior."""
    index = -1
    for term, view, of_term in zip(basis.terms, views, members, strict=True):
        for block, centres in zip(term.blocks, of_term, strict=True):
            index += 1
            centres = centres[np.searchsorted(centres, first) : np.searchsorted(centres, last)]
            for start in range(0, len(centres), view.centres_per_chunk):
                features = view.features(block.block, centres[start : start + view.centres_per_chunk])
                if len(features.x) == 0:
                    continue
                w = weights[block.columns]
                scaled = term.kernel.scale_features(features.x)
                norms = np.einsum("nd,nd->n", scaled, scaled)
                q = scaled @ block.scaled.T
                if gradients is None:
                    k = term.kernel.value(q, norms, block.norms, overwrite_q=True)
                else:
                    k, k_q, k_n = term.kernel.value_and_slopes(q, norms, block.norms, overwrite_q=True)
                    k_q *= w
                    gx = k_q @ block.scaled
                    if k_n is not None:
                        gx += 2.0 * (k_n @ w)[:, None] * scaled
                    gx = term.kernel.scale_features(gx) * features.factors[:, None]
                    view.pullback(features, gx, k @ w, gradients)
                where = features.centres - first
                np.add.at(local, features.centres, features.factors * (k @ w))
                if rows is None or residuals is None or posterior is None:
                    continue
                phi = features.factors[:, None] * k
                starts = np.flatnonzero(np.diff(where, prepend=-1))
                rows[where[starts], block.columns] += np.add.reduceat(phi, starts, axis=0)
                prior = term.kernel.diag_value(norms)
                residual = posterior.prior_residual(prior, k, index)
                np.add.at(residuals[0], where, np.abs(features.factors) * np.sqrt(residual))
                if term.engine.is_atomic:
                    residuals[1, where] += residual
                    residuals[2, where] += prior * posterior.variance_scale(index)

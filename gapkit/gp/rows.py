"""Design rows: energies, forces and virials as linear functionals of the weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit._core.rows import accumulate_rows
from gapkit.descriptors.base import Features, View
from gapkit.gp.basis import BasisTerm, SparseBasis, SparseBlock
from gapkit.gp.inner_products import InnerProducts
from gapkit.neighbours import NeighbourList
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Edges whose derivative rows are formed together: fewer cost more calls, more leave the cache.
EDGES_PER_CHUNK = 256
POINTS_PER_TILE = 1024

_NONE = np.empty((0, 0))
_NO_SINGLE = np.empty((0, 0, 0), np.float32)


@dataclass(frozen=True, eq=False)
class DesignRows:
    """Rows of K_NM for the frames of a batch, at unit kernel scale.

    Attributes
    ----------
    energy : ndarray (n_frames, M)
    forces : ndarray (n_atoms, 3, M) or None
        1/Å.
    virial : ndarray (n_frames, 6, M) or None
        Order xx, yy, zz, yz, xz, xy.
    """

    energy: FloatArray
    forces: FloatArray | None
    virial: FloatArray | None


def views_of(basis: SparseBasis, batch: AtomsBatch, neighbours: NeighbourList) -> list[View]:
    """Apply the engine of every term to a batch."""
    return [term.engine.view(batch.numbers, neighbours) for term in basis.terms]


def design_rows(
    basis: SparseBasis,
    views: list[View],
    batch: AtomsBatch,
    neighbours: NeighbourList,
    frames: range,
    *,
    forces: bool,
    virial: bool,
    atoms: IntArray | None = None,
    single: bool = True,
    workspace: Workspace | None = None,
) -> DesignRows:
    """Rows of the frames `frames` (a contiguous range) of the batch.

    Parameters
    ----------
    views : list of View
        From `views_of` for the same batch and neighbours.
    forces, virial : bool
        Which derivative rows are wanted.
    atoms : ndarray of int or None
        Only the force rows of these atoms of the frames, ascending, and their share of the energy and virial rows, as
        centres: the shares of parts that together hold all atoms add up.
    single : bool
        Take features that are small in all sparse points in single precision; for weights that is exact enough, for
        variances, which are differences of large numbers, it is not.
    workspace : Workspace or None
        Memory that the rows are made with (not of the rows themselves).
    """
    workspace = Workspace() if workspace is None else workspace
    first, last = int(batch.offsets[frames.start]), int(batch.offsets[frames.stop])
    m = basis.n_columns
    wanted = np.arange(first, last) if atoms is None else atoms
    row_of_atom = np.full(batch.n_atoms, -1)
    row_of_atom[wanted] = np.arange(len(wanted))
    energy = np.zeros((len(frames), m))
    force_rows = np.zeros((len(wanted), 3, m)) if forces or virial else None
    virial_rows = np.zeros((len(frames), 6, m)) if virial else np.empty((0, 6, m))
    involved = wanted if atoms is None or force_rows is None else centres_seeing(wanted, neighbours)
    per_chunk = _centres_per_chunk(neighbours, first, last)
    for term, view in zip(basis.terms, views, strict=True):
        for block in term.blocks:
            centres = view.centres(block.block)
            if atoms is None:
                centres = centres[np.searchsorted(centres, first) : np.searchsorted(centres, last)]
            else:
                centres = np.intersect1d(centres, involved, assume_unique=True)
            step = min(per_chunk, view.centres_per_chunk) if force_rows is not None else view.centres_per_chunk
            for start in range(0, len(centres), step):
                features = view.features(block.block, centres[start : start + step], workspace)
                if len(features.x) == 0:
                    continue
                frame = batch.frame_of_atom[features.centres] - frames.start
                q = _instances(term, block, features, energy, frame, row_of_atom)
                if force_rows is not None:
                    _derivatives(
                        term, view, block, features, q, frame, neighbours, row_of_atom, force_rows, virial_rows,
                        single, workspace,
                    )  # fmt: skip
    return DesignRows(energy, force_rows if forces else None, virial_rows if virial else None)


def centres_seeing(atoms: IntArray, neighbours: NeighbourList) -> IntArray:
    """The atoms and those that see them."""
    edges = [neighbours.indices[neighbours.offsets[atom] : neighbours.offsets[atom + 1]] for atom in atoms]
    return np.unique(np.concatenate([atoms, *edges]))


def _centres_per_chunk(neighbours: NeighbourList, first: int, last: int) -> int:
    legs = int(neighbours.offsets[last] - neighbours.offsets[first]) / max(last - first, 1)
    return max(1, int(EDGES_PER_CHUNK / max(legs, 1.0)))


_Kernel = tuple[FloatArray, FloatArray, FloatArray | None, FloatArray]


def _instances(
    term: BasisTerm, block: SparseBlock, features: Features, energy: FloatArray, frame: IntArray, row_of_atom: IntArray
) -> _Kernel:
    """Kernel values and slopes, and the energy rows of the centres that have rows."""
    scaled = term.kernel.scale_features(features.x)
    norms = np.einsum("nd,nd->n", scaled, scaled)
    k, k_q, k_n = term.kernel.value_and_slopes(
        block.reduce(scaled) @ block.scaled.T, norms, block.norms, overwrite_q=True
    )
    counted = row_of_atom[features.centres] >= 0
    if counted.any():
        f, values, of_frame = features.factors, k, frame
        if not counted.all():
            f, values, of_frame = f[counted], k[counted], frame[counted]
        starts = np.flatnonzero(np.diff(of_frame, prepend=-1))
        if not term.engine.is_atomic:
            values = f[:, None] * values
        energy[of_frame[starts], block.columns] += np.add.reduceat(values, starts, axis=0)
    return k, k_q, k_n, scaled


def _derivatives(
    term: BasisTerm, view: View, block: SparseBlock, features: Features, kernel: _Kernel, frame: IntArray,
    neighbours: NeighbourList, row_of_atom: IntArray, force_rows: FloatArray, virial_rows: FloatArray, single: bool,
    workspace: Workspace,
) -> None:  # fmt: skip
    """Force and virial rows of a chunk of instances: dk/dD = (dk/dq x_s + 2 dk/dn x) . dx/dD."""
    k, k_q, k_n, scaled = kernel
    jacobian = view.jacobian(features, workspace)
    n_legs, _, d = jacobian.dx.shape
    dx = term.kernel.scale_features(jacobian.dx.reshape(-1, d))
    f = features.factors[:, None]
    norm_change = _NONE
    if k_n is not None:
        of_leg = np.repeat(np.arange(len(scaled)), np.diff(jacobian.legs.offsets))
        norm_change = np.einsum("ncd,nd->nc", dx.reshape(n_legs, 3, d), scaled[of_leg])
        k_n = 2.0 * f * k_n
    if not term.engine.is_atomic:
        k_q = f * k_q
    if block.projection is not None:
        dx = block.reduce(dx, workspace.array("reduced changes", len(dx), block.projection.shape[1]))
    products = InnerProducts(block, dx, single=single, workspace=workspace)
    for start in range(0, len(block.scaled), POINTS_PER_TILE):
        tile = slice(start, min(start + POINTS_PER_TILE, len(block.scaled)))
        projected, small = products.parts(tile)
        shape = (n_legs, 3, tile.stop - tile.start)
        accumulate_rows(
            jacobian.legs.offsets, jacobian.legs.edges, features.centres, frame, neighbours.indices,
            neighbours.vectors, row_of_atom, k_q, projected.reshape(shape),
            _NO_SINGLE if small is None else small.reshape(shape), _NONE if k_n is None else k_n, norm_change,
            _NONE if jacobian.dfactors is None else k, _NONE if jacobian.dfactors is None else jacobian.dfactors,
            start, block.columns.start + start, force_rows, virial_rows,
        )  # fmt: skip

"""More sparse points for a basis: the union as a basis, the new columns alone, and the choice of points.

Old points stay what they are, so that their columns do: only the Cholesky factors of K_MM are made anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gapkit.descriptors.base import Block, Engine
from gapkit.gp.basis import WORTHWHILE, PointsOfBlock, SparseBasis, SparseBlock, Unseen
from gapkit.gp.cholesky import pivoted_cholesky
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Extension:
    """A basis with further sparse points."""

    basis: SparseBasis  # all points; in each block the old ones first
    added: SparseBasis  # the new points alone, as columns 0 to p - 1
    old_columns: IntArray  # columns of `basis` of every column of the old basis
    new_columns: IntArray  # and of `added`


def extend_basis(
    basis: SparseBasis, grown: Sequence[tuple[Engine, IntArray]], points: Sequence[Mapping[Block, FloatArray]],
    tolerance: float = 0.0,
) -> Extension:  # fmt: skip
    """Add points (m, d) to the blocks of every term, as its engine in `grown` makes vectors.

    The engine may know more species; with it comes where the features of the old one are among its own.  A projection
    may leave out the part `tolerance` of the norm of the points of its block (root mean square).
    """
    blocks = []
    for term, (engine, indices), new in zip(basis.terms, grown, points, strict=True):
        old = {block.species: block for block in term.blocks}
        nothing = np.zeros((0, engine.n_features))
        of_term = [_union(block, indices, new.get(species, nothing), tolerance) for species, block in old.items()]
        blocks.append(of_term + [(species, x, None) for species, x in new.items() if species not in old and len(x)])
    union = SparseBasis.restore([engine for engine, _ in grown], [term.kernel for term in basis.terms], blocks)
    terms, old_columns, new_columns = [], [np.zeros(0, int)], [np.zeros(0, int)]
    for term, wider in zip(basis.terms, union.terms, strict=True):
        counts = {block.species: len(block.points) for block in term.blocks}
        alone = []
        for block in wider.blocks:
            n_old = counts.get(block.species, 0)
            columns = np.arange(block.columns.start, block.columns.stop)
            old_columns.append(columns[:n_old])
            if n_old < len(columns):
                new_columns.append(columns[n_old:])
                points_of, scaled, norms = (part[n_old:] for part in (block.points, block.scaled, block.norms))
                alone.append(replace(block, points=points_of, scaled=scaled, norms=norms))
        terms.append(replace(wider, blocks=tuple(alone)))
    return Extension(union, SparseBasis.numbered(terms), np.concatenate(old_columns), np.concatenate(new_columns))


def _union(block: SparseBlock, indices: IntArray, x: FloatArray, tolerance: float) -> PointsOfBlock:
    """Old and new points of a block."""
    d = x.shape[1]
    if block.projection is None:
        return block.species, np.concatenate([_embed(block.points, indices, d), x]), None
    projection = _embed(block.projection.T, indices, d).T
    if len(x) == 0:
        return block.species, block.scaled, projection
    inside = x @ projection
    left = x - inside @ projection.T
    left -= (left @ projection) @ projection.T  # once more: directions must be orthogonal to rounding
    _, values, directions = np.linalg.svd(left, full_matrices=False)
    # all points that the projection shortens share the tolerance
    lost = np.cumsum(values[::-1] ** 2)[::-1]
    more = directions[lost > tolerance**2 * max(np.einsum("md,md->", x, x), 1e-300)]
    n_points, rank = len(block.scaled) + len(x), projection.shape[1] + len(more)
    if rank * (d + n_points) >= WORTHWHILE * d * n_points:
        return block.species, np.concatenate([_embed(block.points, indices, d), x]), None
    old = np.pad(block.scaled, ((0, 0), (0, len(more))))
    reduced = np.concatenate([old, np.hstack([inside, x @ more.T])])
    return block.species, reduced, np.ascontiguousarray(np.hstack([projection, more.T]))


def change_of_features(old: SparseBlock, new: SparseBlock, indices: IntArray, n_features: int) -> FloatArray:
    """B (r_new, r_old) such that reduced features of the old block are B^T times those of the extended block."""
    axes = np.eye(len(indices)) if old.projection is None else old.projection
    whole = _embed(axes.T, indices, n_features).T
    return whole if new.projection is None else new.projection.T @ whole


def _embed(vectors: FloatArray, indices: IntArray, d: int) -> FloatArray:
    """Vectors (n, d_old) among d features; the others are zero."""
    out = np.zeros((len(vectors), d))
    out[:, indices] = vectors
    return out


def most_novel(
    block: SparseBlock, L: FloatArray, x: FloatArray, *, limit: float, n_most: int
) -> tuple[IntArray, FloatArray]:
    """Candidates x (n, d) that the sparse points of a block know least of, most novel first, and their novelty (p,).

    Novelty is the prior residual over the prior variance, given the sparse points and those chosen before; none up to
    `limit` is chosen.  L (m, m) is the Cholesky factor of the block's K_MM at unit scale.
    """
    scaled = block.kernel.scale_features(x)
    open_ = Unseen.of(block, L, scaled)
    weights = 1.0 / np.sqrt(np.maximum(open_.prior, 1e-300))
    return pivoted_cholesky(open_.variances * weights**2, lambda i: open_.row(i) * weights * weights[i], limit, n_most)

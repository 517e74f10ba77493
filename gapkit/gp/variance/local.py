"""Variances of local energies as matrix products, cheap enough for every step of molecular dynamics.

An atom of species z has entries in some columns of its row phi only: those of its blocks.  With L the Cholesky factor
of the prior of these columns and R that of the posterior precision,

    prior residual   k(x, x) - |v|^2,   v = L^-1 phi            (what the sparse points cannot see)
    data part        |G v|^2,           G^T G = L^T C L, C the posterior covariance of these columns
    total            k(x, x) - |H v|^2, H^T H = 1 - G^T G,

the first and the last for the atomic columns alone: other terms, whose atoms have many instances, have a residual of
their own.

Sparse points are taken in the order of a pivoted Cholesky factorisation: the first few take nearly all of phi away, in
double precision, and what is left of phi is so small that single precision serves for the rest (measured on a thousand
silicon sparse points: standard deviations within 0.2 %).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag, lapack, solve_triangular

from gapkit.gp.basis import SparseBasis
from gapkit.gp.lapack import multiply_triangular
from gapkit.gp.posterior import Posterior
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Leading sparse points that are taken in double precision.
N_LEADING = 64
# Relative shift that keeps H real where the data say nothing.
_SHIFT = 1e-12


@dataclass(frozen=True, eq=False)
class SpeciesVariance:
    """The products for atoms of one species."""

    columns: IntArray  # (m,), columns of the linear model, pivots first; the leading p in double precision
    n_plain: int  # the first of them belong to terms that are not atomic
    leading: FloatArray  # (p, p), v_1 = leading phi_1
    removed: FloatArray  # (m - p, p), what is left of phi_2 is phi_2 - removed v_1
    rest: np.ndarray  # (m - p, m - p), single, v_2 = rest times what is left
    data: np.ndarray  # (m, m), single, G, lower triangular
    # total_1, total_21, total_2 (p, p), and (m - p, p) and (m - p, m - p) in single, H v = (total_1 v_1, total_21 v_1 +
    # total_2 times what is left)
    total_1: FloatArray
    total_21: np.ndarray
    total_2: np.ndarray

    def total_reduction(self, phi: FloatArray, workspace: Workspace) -> FloatArray:
        """What points and data take from the prior of the atomic terms, (n,) for rows phi (n, M); eV^2."""
        one, both = self._leading(phi, workspace)
        p = len(self.leading)
        multiply_triangular(both[:, p:], self.total_2)
        both[:, p:] += both[:, :p] @ self.total_21.T
        return _squares(one @ self.total_1.T) + _squares(both[:, p:]) - _squares(one[:, : self.n_plain])

    def parts(self, phi: FloatArray, workspace: Workspace) -> tuple[FloatArray, FloatArray]:
        """What the points take from the prior of the atomic terms, and the data part, (n,) each; eV^2."""
        seen, both = self._whitened(phi, workspace)
        multiply_triangular(both, self.data)
        return seen, _squares(both)

    def seen(self, phi: FloatArray, workspace: Workspace) -> FloatArray:
        """The first of `parts` alone, for half their price."""
        return self._whitened(phi, workspace)[0]

    def _whitened(self, phi: FloatArray, workspace: Workspace) -> tuple[FloatArray, np.ndarray]:
        """What the points take from the prior of the atomic terms (n,), and v (n, m) in single precision."""
        one, both = self._leading(phi, workspace)
        p = len(self.leading)
        multiply_triangular(both[:, p:], self.rest)
        return _squares(one[:, self.n_plain :]) + _squares(both[:, p:]), both

    def _leading(self, phi: FloatArray, workspace: Workspace) -> tuple[FloatArray, np.ndarray]:
        """v_1 (n, p) and, in single precision, v_1 beside what it leaves of phi, (n, m)."""
        n, m, p = len(phi), len(self.columns), len(self.leading)
        rows = np.take(phi, self.columns, axis=1, out=workspace.array("rows", n, m), mode="clip")
        one = rows[:, :p] @ self.leading.T
        both = workspace.single("single", n, m)
        both[:, :p] = one
        taken = np.dot(one, self.removed.T, out=workspace.array("taken", n, m - p))
        np.subtract(rows[:, p:], taken, out=both[:, p:], casting="same_kind")
        return one, both


def _squares(x: np.ndarray) -> FloatArray:
    """Squared norms of rows; sums of single precision are exact enough pairwise."""
    return np.asarray(np.einsum("ij,ij->i", x, x), np.float64)


class LocalVarianceForms:
    """The products of every species, made when they are first asked for."""

    def __init__(self, basis: SparseBasis, posterior: Posterior) -> None:
        self.basis, self.posterior = basis, posterior
        self._forms: dict[int, SpeciesVariance] = {}

    def of(self, species: int) -> SpeciesVariance:
        """Products for atoms of the atomic number `species`."""
        if species not in self._forms:
            self._forms[species] = self._make(species)
        return self._forms[species]

    def _make(self, species: int) -> SpeciesVariance:
        prior = self.posterior.prior
        of_species = [block for block in self.basis.blocks if species in block.engine.centre_species(block.species)]
        columns_of, factors, leading, m = [np.empty(0, np.int64)], [], [np.empty(0, np.int64)], 0
        for block in sorted(of_species, key=lambda block: block.is_atomic):
            own, lower, n_leading = np.arange(block.columns.start, block.columns.stop), prior[block.index].L, None
            if block.is_atomic:
                order, lower = _pivoted(lower)
                own, n_leading = own[order], N_LEADING
            factors.append(lower / np.sqrt(self.posterior.variance_scale(block.index)))
            columns_of.append(own)
            leading.append(np.arange(m, m + len(own))[:n_leading])
            m += len(own)
        # The leading points of every block first: within L they stay before the others of their block, so that L stays
        # triangular.
        first = np.concatenate(leading)
        order = np.concatenate([first, np.setdiff1d(np.arange(m), first)])
        L = (block_diag(*factors) if factors else np.zeros((0, 0)))[np.ix_(order, order)]
        columns, p = np.concatenate(columns_of)[order], len(first)
        n_plain = sum(len(block.points) for block in of_species if not block.is_atomic)
        unit = np.zeros((len(self.posterior.R), m))
        unit[columns] = L
        G = self.posterior.solve_transposed(unit)
        S = G.T @ G
        # reverse Cholesky: A = U U^T with U upper triangular is a Cholesky factorisation from the last row to the first
        data = _single(_lower_square_root(S))
        total = _lower_square_root(np.eye(m) - S)
        inverse = solve_triangular(L, np.eye(m), lower=True)
        rest = _single(inverse[p:, p:])
        totals = total[:p, :p].copy(), _single(total[p:, :p]), _single(total[p:, p:] @ inverse[p:, p:])
        return SpeciesVariance(columns, n_plain, inverse[:p, :p].copy(), L[p:, :p].copy(), rest, data, *totals)


def _pivoted(lower: FloatArray) -> tuple[IntArray, FloatArray]:
    """Order of the pivots of L L^T and its factor in that order."""
    k = lower @ lower.T
    pivoted, order, rank, _ = lapack.dpstrf(k, lower=1, tol=0.0)
    order = order - 1
    if rank < len(k):  # rounding in the last pivots: keep their order, factorise as it stood
        k = k[np.ix_(order, order)]
        pivoted = np.linalg.cholesky(k + 1e-15 * np.trace(k) / len(k) * np.eye(len(k)))
    return order, np.tril(pivoted)


def _single(matrix: FloatArray) -> np.ndarray:
    return np.asarray(matrix, np.float32, order="F")


def _lower_square_root(A: FloatArray) -> FloatArray:
    """Lower triangular B with B^T B = A, for a symmetric positive semi-definite A with eigenvalues up to about one."""
    flipped, info = lapack.dpotrf((A + _SHIFT * np.eye(len(A)))[::-1, ::-1], lower=1, clean=1)
    if info == 0:
        return np.ascontiguousarray(flipped[::-1, ::-1].T)
    # Negative eigenvalues from rounding: a larger shift would be felt in all directions, so only they are set to zero.
    values, vectors = np.linalg.eigh(A)
    root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return np.ascontiguousarray(np.linalg.qr(root[:, ::-1])[1][::-1, ::-1])

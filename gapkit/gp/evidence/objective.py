"""The marginal likelihood and its gradient from whitened factors, cheap enough to be evaluated hundreds of times.

With L the block-diagonal unit-scale Cholesky factor of K_MM, the prior of w = D^-1 L^T a is N(0, I), D = diag(delta).
R~_k = R_k L^-T and G_k = R~_k^T R~_k are made once; then with A = I + sum_k D G_k D / sigma_k^2

    -2 log p(y) = sum_rows log(2 pi sigma_row^2) + log det A + sum_k |R~_k D w - z_k|^2 / sigma_k^2 + |w|^2,
    w = A^-1 sum_k D R~_k^T z_k / sigma_k^2,

    d log p / d log sigma_k = -n_k + tr(A^-1 D G_k D) / sigma_k^2 + |R~_k D w - z_k|^2 / sigma_k^2,
    d log p / d log delta_g = -sum_{i in g} (1 - (A^-1)_ii) + sum_{i in g} w_i^2.

The quadratic form is evaluated as a sum of squares, not as the difference y^T y - v^T A^-1 v of large numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.linalg import lapack, solve_triangular
from scipy.linalg.blas import daxpy, dsyrk

from gapkit.exceptions import InputError
from gapkit.gp.factors import TriangularFactor, fold_rows
from gapkit.gp.solver import PriorBlock, check_problem, row_constants
from gapkit.typing import FloatArray, IntArray

_NORMAL_EQUATIONS_LIMIT = 1e-3  # largest trace(A) * eps for which A is formed; above, its factor is found by QR


class EvidenceObjective:
    """Factors in the basis in which the prior is white; evaluates log p and its gradient for any noise and scales.

    Parameters
    ----------
    factors : mapping of kind to TriangularFactor
    prior : sequence of PriorBlock
    groups : sequence of int
        For each block the index of the scale it uses, 0 .. n_groups - 1.

    Attributes
    ----------
    kinds : tuple of str
        Order of the noise parameters.
    n_groups : int
        Number of scale parameters.
    """

    def __init__(
        self, factors: Mapping[str, TriangularFactor], prior: Sequence[PriorBlock], groups: Sequence[int]
    ) -> None:
        check_problem(factors, dict.fromkeys(factors, 1.0), prior, [1.0] * len(prior))
        if len(groups) != len(prior) or sorted(set(groups)) != list(range(len(set(groups)))):
            raise InputError(
                f"`groups` must give each of the {len(prior)} blocks an index 0, 1, ..., got {list(groups)}"
            )
        self.kinds = tuple(factors)
        self.n_groups = len(set(groups))
        self._counts = {kind: (factor.n_rows, factor.log_weights) for kind, factor in factors.items()}
        self._factors = dict(factors)
        sizes = [len(block.L) for block in prior]
        self.group_of_column: IntArray = np.repeat(np.asarray(groups, dtype=np.int64), sizes)
        self._rows: list[FloatArray] = []
        self._targets: list[FloatArray] = []
        self._grams: list[FloatArray] = []
        for factor in factors.values():
            white = np.empty((factor.R.shape[0], factor.n_columns), order="F")
            for block in prior:
                white[:, block.columns] = solve_triangular(block.L, factor.R[:, :-1][:, block.columns].T, lower=True).T
            self._rows.append(white)
            self._targets.append(factor.R[:, -1])
            self._grams.append(_gram(white))
        # What `reduce` has left out: trace of each Gram matrix over discarded directions, per kind and group.
        self._discarded = np.zeros((len(self.kinds), self.n_groups))

    @property
    def n_columns(self) -> int:
        """Number of directions kept."""
        return len(self.group_of_column)

    def evaluate(
        self, noise: FloatArray, scales: FloatArray, *, eval_gradient: bool = True
    ) -> tuple[float, FloatArray, FloatArray]:
        """The log marginal likelihood log p(y) and its gradient.

        Parameters
        ----------
        noise : array of shape (n_kinds,)
            sigma of each kind, in the order of `kinds`.
        scales : array of shape (n_groups,)
            delta of each group.

        Returns
        -------
        log_p : float
        d_log_noise : array of shape (n_kinds,)
        d_log_scales : array of shape (n_groups,)
            Zeros unless `eval_gradient`.
        """
        D = scales[self.group_of_column]
        precisions = noise**-2.0
        C = self._factor(D, precisions)
        v = np.zeros(self.n_columns)
        for white, z, p in zip(self._rows, self._targets, precisions, strict=True):
            v += p * (white.T @ z)
        w, _ = lapack.dpotrs(C, D * v, lower=1)
        residuals = np.array(
            [np.sum((white @ (D * w) - z) ** 2) for white, z in zip(self._rows, self._targets, strict=True)]
        )
        log_det = 2.0 * float(np.sum(np.log(np.diagonal(C))))
        constants = row_constants(self._factors, dict(zip(self.kinds, noise, strict=True)))
        log_p = -0.5 * (constants + log_det + float(precisions @ residuals) + float(w @ w))
        if not eval_gradient:
            return log_p, np.zeros(len(self.kinds)), np.zeros(self.n_groups)

        inverse, _ = lapack.dpotri(C, lower=1, overwrite_c=1)  # lower triangle of A^-1, zero above
        diagonal = np.diagonal(inverse).copy()
        inverse *= 2.0 * D  # twice the strict lower triangle stands for both; columns times D
        inverse[np.diag_indices_from(inverse)] *= 0.5
        inverse *= D[:, None]
        traces = np.array([np.vdot(inverse.ravel("K"), gram.ravel("K")) for gram in self._grams])
        n_rows = np.array([self._counts[kind][0] for kind in self.kinds], dtype=np.float64)
        d_noise = -n_rows + precisions * (traces + residuals)
        d_scales = np.bincount(self.group_of_column, w**2 - (1.0 - diagonal), self.n_groups)
        return log_p, d_noise, d_scales.astype(np.float64)

    def reduce(self, noise: FloatArray, scales: FloatArray, *, tolerance: float) -> EvidenceObjective:
        """The same problem on the leading directions of each group only.

        Directions are eigenvectors of the diagonal block D_g (sum_k G_k / sigma_k^2)_gg D_g of each group (so that the
        scales still commute with them), discarded from the smallest eigenvalue on while those discarded sum to less
        than `tolerance` in all. At (noise, scales) log det A loses at most that sum, the quadratic form at most that
        sum times chi^2 of the residual (only if all of it lies along them); `discarded` gives the sum elsewhere.

        Parameters
        ----------
        noise, scales : arrays of shape (n_kinds,), (n_groups,)
            Where the directions are judged.
        tolerance : float
            Largest sum of discarded eigenvalues (no unit), compared with 1 for the prior's own.
        """
        precisions = noise**-2.0
        total = sum(p * gram for p, gram in zip(precisions, self._grams, strict=True))
        kept: list[tuple[IntArray, FloatArray]] = []
        discarded = self._discarded.copy()
        for g in range(self.n_groups):
            columns = np.flatnonzero(self.group_of_column == g)
            block = np.tril(total[np.ix_(columns, columns)])
            values, vectors = np.linalg.eigh(block, UPLO="L")
            values = np.maximum(values, 0.0) * scales[g] ** 2
            n_out = int(np.searchsorted(np.cumsum(values), tolerance / self.n_groups))
            n_out = min(n_out, len(values) - 1)
            kept.append((columns, np.ascontiguousarray(vectors[:, n_out:])))
            for k, white in enumerate(self._rows):
                discarded[k, g] += np.sum((white[:, columns] @ vectors[:, :n_out]) ** 2)
        reduced = object.__new__(EvidenceObjective)
        reduced.kinds, reduced.n_groups = self.kinds, self.n_groups
        reduced._counts, reduced._factors, reduced._targets = self._counts, self._factors, self._targets
        reduced.group_of_column = np.repeat(np.arange(self.n_groups), [basis.shape[1] for _, basis in kept])
        reduced._rows = [
            np.asfortranarray(np.hstack([white[:, columns] @ basis for columns, basis in kept])) for white in self._rows
        ]
        reduced._grams = [_gram(white) for white in reduced._rows]
        reduced._discarded = discarded
        return reduced

    def discarded(self, noise: FloatArray, scales: FloatArray) -> float:
        """Upper bound of what log det A misses by `reduce`, at any noise and scales: sum of discarded eigenvalues."""
        return float(noise**-2.0 @ self._discarded @ scales**2)

    def _factor(self, D: FloatArray, precisions: FloatArray) -> FloatArray:
        """Lower Cholesky factor of A; by QR where forming A would lose the prior's unit eigenvalues to rounding."""
        trace = sum(p * float(D**2 @ np.diagonal(G)) for p, G in zip(precisions, self._grams, strict=True))
        if trace * np.finfo(np.float64).eps < _NORMAL_EQUATIONS_LIMIT:
            A = np.zeros((self.n_columns, self.n_columns), order="F")
            for p, gram in zip(precisions, self._grams, strict=True):
                daxpy(gram.ravel("K"), A.ravel("K"), a=p)  # in place: both are views of Fortran-ordered arrays
            A *= D
            A *= D[:, None]
            A[np.diag_indices_from(A)] += 1.0
            C, info = lapack.dpotrf(A, lower=1, clean=1, overwrite_a=1)
            if info == 0:
                return C
        R = np.asfortranarray(np.eye(self.n_columns))
        for p, white in zip(precisions, self._rows, strict=True):
            fold_rows(R, np.asfortranarray(white * (np.sqrt(p) * D)))
        return np.asfortranarray((R * np.where(np.diagonal(R) < 0, -1.0, 1.0)[:, None]).T)


def _gram(white: FloatArray) -> FloatArray:
    """Lower triangle of white^T white, Fortran order, zero above the diagonal."""
    return dsyrk(1.0, white, trans=1, lower=1)

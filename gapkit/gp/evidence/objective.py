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
from scipy.linalg import lapack
from scipy.linalg.blas import daxpy

from gapkit.exceptions import InputError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.lapack import fold_rows
from gapkit.gp.solver import PriorBlock, check_problem, row_constants
from gapkit.gp.tiles import divide_by_transposed, factor_in_place, gram, invert_in_place
from gapkit.typing import FloatArray, IntArray

_NORMAL_EQUATIONS_LIMIT = 1e-3  # largest trace(A) * eps for which A is formed; above, its factor is found by QR


class EvidenceObjective:
    """Factors in the basis in which the prior is white; evaluates log p and its gradient for any noise and scales.

    Noise parameters stand in the order of `kinds`; `groups` has for each block the index of its scale, from 0.
    """

    def __init__(
        self, factors: Mapping[str, TriangularFactor], prior: Sequence[PriorBlock], groups: Sequence[int]
    ) -> None:
        check_problem(factors, dict.fromkeys(factors, 1.0), prior, [1.0] * len(prior))
        if len(groups) != len(prior) or sorted(set(groups)) != list(range(len(set(groups)))):
            raise InputError(
                f"`groups` must give each of the {len(prior)} blocks an index 0, 1, ..., got {list(groups)}"
            )
        self.kinds, self.n_groups = tuple(factors), len(set(groups))
        self._factors = dict(factors)
        self.n_rows = sum(factor.n_rows for factor in factors.values())
        self.group_of_column: IntArray = np.repeat(np.asarray(groups, dtype=np.int64), [len(own.L) for own in prior])
        self.n_columns = len(self.group_of_column)
        self._rows: list[FloatArray] = []
        self._targets = [factor.R[:, -1] for factor in factors.values()]
        for factor in factors.values():
            white = factor.R[:, :-1].copy(order="F")
            for block in prior:
                divide_by_transposed(white[: block.columns.stop, block.columns], block.L)
            self._rows.append(white)
        # lower triangles of white^T white, Fortran order, zero above the diagonal
        self._grams: list[FloatArray] = [gram(white) for white in self._rows]

    def evaluate(
        self, noise: FloatArray, scales: FloatArray, *, eval_gradient: bool = True
    ) -> tuple[float, FloatArray, FloatArray]:
        """Log p(y) and its gradients by log noise (n_kinds,) and log scales (n_groups,), zeros if not wanted."""
        D = scales[self.group_of_column]
        precisions = noise**-2.0
        C = self._factor(D, precisions)
        v = np.zeros(self.n_columns)
        for white, z, p in zip(self._rows, self._targets, precisions, strict=True):
            v += p * (white.T @ z)
        w, _ = lapack.dpotrs(C, D * v, lower=1)
        pairs = zip(self._rows, self._targets, strict=True)
        residuals = np.array([np.sum((white @ (D * w) - z) ** 2) for white, z in pairs])
        log_det = 2.0 * float(np.sum(np.log(np.diagonal(C))))
        constants = row_constants(self._factors, dict(zip(self.kinds, noise, strict=True)))
        log_p = -0.5 * (constants + log_det + float(precisions @ residuals) + float(w @ w))
        if not eval_gradient:
            return log_p, np.zeros(len(self.kinds)), np.zeros(self.n_groups)

        inverse = C  # lower triangle of A^-1, zero above
        invert_in_place(inverse)
        diagonal = np.diagonal(inverse).copy()
        inverse *= 2.0 * D  # twice the strict lower triangle stands for both; columns times D
        inverse[np.diag_indices_from(inverse)] *= 0.5
        inverse *= D[:, None]
        traces = np.array([np.vdot(inverse.ravel("K"), gram.ravel("K")) for gram in self._grams])
        n_rows = np.array([factor.n_rows for factor in self._factors.values()], dtype=np.float64)
        d_noise = -n_rows + precisions * (traces + residuals)
        d_scales = np.bincount(self.group_of_column, w**2 - (1.0 - diagonal), self.n_groups)
        return log_p, d_noise, d_scales.astype(np.float64)

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
            if factor_in_place(A):
                return A
        R = np.asfortranarray(np.eye(self.n_columns))
        for p, white in zip(precisions, self._rows, strict=True):
            fold_rows(R, np.asfortranarray(white * (np.sqrt(p) * D)))
        return np.asfortranarray((R * np.where(np.diagonal(R) < 0, -1.0, 1.0)[:, None]).T)

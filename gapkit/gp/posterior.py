"""What the model knows of its own error: the data part and the prior part of every predictive variance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.exceptions import InputError, VarianceWarning
from gapkit.gp.lapack import solve_lower
from gapkit.gp.solver import PriorBlock
from gapkit.typing import FloatArray

_ROUNDING = 1e-8  # a clipped value that is larger than this part of k(x, x) is reported


def not_negative(variances: FloatArray, limit: FloatArray, name: str, unit: str = "at unit scale") -> FloatArray:
    """Variances without those below zero, and a warning where one is by more than its limit."""
    n_clipped = int(np.count_nonzero(variances < -limit))
    if n_clipped:
        warnings.warn(
            f"{n_clipped} of {len(variances)} {name} were negative and set to zero (lowest "
            f"{np.nanmin(variances):.3g} {unit}); K_MM is ill-conditioned",
            VarianceWarning,
            stacklevel=3,
        )
    return np.maximum(variances, 0.0)


@dataclass(frozen=True)
class Posterior:
    """Posterior of the weights and the variances that follow from it.

    Rows phi are unit-scale kernel rows, as the solver's; the weights they multiply are a = delta^2 alpha.
    """

    # (M, M), upper triangular, R^T R the posterior precision of the weights (`Solution.R`); or (M,), its diagonal,
    # where it has no more, as for weights that count as exact
    R: FloatArray
    prior: Sequence[PriorBlock]
    scales: Sequence[float] | None = None  # delta of each block, eV; None: prior residuals are at unit scale

    def __post_init__(self) -> None:
        n_columns = self.prior[-1].columns.stop if len(self.prior) else 0
        if self.R.shape not in ((n_columns, n_columns), (n_columns,)):
            raise InputError(f"`R` must have shape ({n_columns}, {n_columns}) as the prior, got {self.R.shape}")
        diagonal = self.R if self.R.ndim == 1 else self.R.diagonal()
        if not (np.isfinite(diagonal).all() and diagonal.all()):
            raise InputError("`R` must have a diagonal of finite numbers that are not zero")
        if self.scales is not None and len(self.scales) != len(self.prior):
            raise InputError(f"`scales` must hold a delta for each of {len(self.prior)} blocks, got {len(self.scales)}")

    def whiten(self, Phi: FloatArray) -> FloatArray:
        """R^-T Phi^T, shape (M, n): columns whose inner products are posterior covariances."""
        Phi = np.asarray(Phi, dtype=np.float64)
        if Phi.ndim != 2 or Phi.shape[1] != self.R.shape[0]:
            raise InputError(f"rows must have shape (n, {self.R.shape[0]}), got {Phi.shape}")
        return self.solve_transposed(Phi.T)

    def solve_transposed(self, columns: FloatArray) -> FloatArray:
        """R^-T times columns (M, n)."""
        if self.R.ndim == 1:
            return np.asarray(columns / self.R[:, None])
        white = np.array(columns, order="F")
        solve_lower(self.R.T, white)
        return white

    def solve(self, columns: FloatArray) -> FloatArray:
        """R^-1 times columns (M, n)."""
        return np.asarray(columns / self.R[:, None]) if self.R.ndim == 1 else solve_triangular(self.R, columns)

    def data_variance(self, Phi: FloatArray) -> FloatArray:
        """Variance (n,) of targets phi^T a that the weights still have after the data: |R^-T phi|^2.

        Source: Rasmussen and Williams (2006), eq. 8.14, last term (subset of regressors).
        """
        white = self.whiten(Phi)
        return np.einsum("ij,ij->j", white, white)

    def covariance(self, Phi_1: FloatArray, Phi_2: FloatArray | None = None) -> FloatArray:
        """Posterior covariance of two sets of targets, shape (n_1, n_2); of `Phi_1` with itself by default."""
        left = self.whiten(Phi_1)
        return left.T @ (left if Phi_2 is None else self.whiten(Phi_2))

    def prior_residual(self, k_diag: FloatArray, Phi_block: FloatArray, block: int) -> FloatArray:
        """Prior variance (n,) that the sparse points of a block cannot see: delta^2 (k(x, x) - |L^-1 k_s|^2) >= 0.

        It is a local energy's: near zero at a sparse point, the whole prior far from all of them. This is novelty.
        `k_diag` (n,) is k(x, x) at unit scale, `Phi_block` (n, m) the unit-scale kernel with the m points.
        A VarianceWarning counts the values that were clipped at zero by more than rounding.
        Source: Rasmussen and Williams (2006), eq. 8.27, first two terms.
        """
        white = self._seen(Phi_block, block)
        residual = np.asarray(k_diag, dtype=np.float64) - np.einsum("ij,ij->j", white, white)
        name = f"prior variances of block {block}"
        return not_negative(residual, _ROUNDING * np.abs(k_diag), name) * self.variance_scale(block)

    def variance_scale(self, block: int) -> float:
        """Square of delta of a block, eV^2, by which unit-scale prior variances are multiplied; 1 without `scales`."""
        return 1.0 if self.scales is None else float(self.scales[block]) ** 2

    def prior_covariance(self, K: FloatArray, Phi_block: FloatArray, block: int) -> FloatArray:
        """The same for pairs of points: delta^2 (K - k_s^T K_MM^-1 k_s), (n, n), K at unit scale; not clipped."""
        white = self._seen(Phi_block, block)
        return (np.asarray(K, dtype=np.float64) - white.T @ white) * self.variance_scale(block)

    def sample_weights(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Deviations of `n` posterior draws of the weights from their mean, R^-1 N(0, I), shape (n, M)."""
        return np.ascontiguousarray(self.solve(self._draws(n, rng)).T)

    def _draws(self, n: int, rng: np.random.Generator) -> FloatArray:
        return rng.standard_normal((len(self.R), n))

    def with_scores(self, scores: FloatArray) -> SandwichPosterior:
        """The jackknife's covariance in place of the Bayesian one; see `SandwichPosterior`."""
        return SandwichPosterior(self.R, self.prior, self.scales, scores)

    def _seen(self, Phi_block: FloatArray, block: int) -> FloatArray:
        """L^-1 k_s, (m, n)."""
        L, rows = self.prior[block].L, np.asarray(Phi_block, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != L.shape[0]:
            raise InputError(f"rows of block {block} must have shape (n, {L.shape[0]}), got {rows.shape}")
        return solve_triangular(L, rows.T, lower=True)


@dataclass(frozen=True)
class SandwichPosterior(Posterior):
    """Covariance of the weights by the jackknife over configurations, valid also where the model is misspecified.

    The Bayesian covariance holds if residuals are independent noise of the size assumed.  Those of a local model are
    neither: they are alike within a configuration and larger in some than in others.  The jackknife takes them as they
    are: with a_c the weights without configuration c,

        C = (n - 1) / n sum_c (a_c - a)(a_c - a)^T = R^-1 S^T S R^-T,  S the scaled scores.

    It is the robust ("sandwich") covariance with leave-one-out residuals.  It sees data alone: what the prior leaves
    open between few configurations is not in it.
    Source: MacKinnon and White, J. Econometrics 29, 305 (1985), HC3; by clusters: Cameron and Miller, J. Hum. Resour.
    50, 317 (2015), eq. 11.
    """

    scores: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))  # (n_configurations, M), R (a - a_c)

    def whiten(self, Phi: FloatArray) -> FloatArray:
        """S R^-T Phi^T, shape (n_configurations, n): columns whose inner products are the covariances."""
        return self._root @ super().whiten(Phi)

    def _draws(self, n: int, rng: np.random.Generator) -> FloatArray:
        return self._root.T @ rng.standard_normal((len(self.scores), n))

    @property
    def _root(self) -> FloatArray:
        """S (n_configurations, M)."""
        n = len(self.scores)
        return np.sqrt((n - 1.0) / n) * self.scores

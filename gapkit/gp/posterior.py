"""What the model knows of its own error: the data part and the prior part of every predictive variance."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import solve_triangular

from gapkit.exceptions import InputError, VarianceWarning
from gapkit.gp.solver import PriorBlock
from gapkit.typing import FloatArray

_ROUNDING = 1e-8  # a clipped value that is larger than this part of k(x, x) is reported


@dataclass(frozen=True)
class Posterior:
    """Posterior of the weights and the variances that follow from it.

    Rows phi are unit-scale kernel rows, as the solver's; the weights they multiply are a = delta^2 alpha.

    Parameters
    ----------
    R : array of shape (M, M)
        Upper triangular, R^T R the posterior precision of the weights (`Solution.R`).
    prior : sequence of PriorBlock
    scales : sequence of float, optional
        delta of each block, eV. Needed only for `prior_residual`, whose result is at unit scale without it.
    """

    R: FloatArray
    prior: Sequence[PriorBlock]
    scales: Sequence[float] | None = None

    def __post_init__(self) -> None:
        n_columns = self.prior[-1].columns.stop if len(self.prior) else 0
        if self.R.shape != (n_columns, n_columns):
            raise InputError(f"`R` must have shape ({n_columns}, {n_columns}) as the prior, got {self.R.shape}")
        if self.scales is not None and len(self.scales) != len(self.prior):
            raise InputError(
                f"`scales` must hold one delta per block, expected {len(self.prior)}, got {len(self.scales)}"
            )

    def whiten(self, Phi: FloatArray) -> FloatArray:
        """R^-T Phi^T, shape (M, n): columns whose inner products are posterior covariances."""
        Phi = np.asarray(Phi, dtype=np.float64)
        if Phi.ndim != 2 or Phi.shape[1] != self.R.shape[0]:
            raise InputError(f"rows must have shape (n, {self.R.shape[0]}), got {Phi.shape}")
        return solve_triangular(self.R, Phi.T, trans="T", check_finite=False)

    def data_variance(self, Phi: FloatArray) -> FloatArray:
        """Variance of the targets phi^T a that the weights still have after the data: |R^-T phi|^2.

        Parameters
        ----------
        Phi : array of shape (n, M)
            Unit-scale rows of any linear target (energy, force component, virial).

        Returns
        -------
        array of shape (n,), the square of the target's unit

        References
        ----------
        Rasmussen and Williams (2006), eq. 8.14, last term (subset of regressors).
        """
        white = self.whiten(Phi)
        return np.einsum("ij,ij->j", white, white)

    def covariance(self, Phi_1: FloatArray, Phi_2: FloatArray | None = None) -> FloatArray:
        """Posterior covariance of two sets of targets, shape (n_1, n_2); of `Phi_1` with itself by default."""
        left = self.whiten(Phi_1)
        return left.T @ (left if Phi_2 is None else self.whiten(Phi_2))

    def prior_residual(self, k_diag: FloatArray, Phi_block: FloatArray, block: int | PriorBlock) -> FloatArray:
        """Prior variance that the sparse points of one block cannot see: delta^2 (k(x, x) - |L^-1 k_s|^2).

        It is a local energy's: near zero at a sparse point, the whole prior far from all of them. This is novelty.

        Parameters
        ----------
        k_diag : array of shape (n,)
            Unit-scale prior variance k(x, x).
        Phi_block : array of shape (n, m)
            Unit-scale kernel with the m sparse points of the block.
        block : int or PriorBlock
            Which block.

        Returns
        -------
        array of shape (n,)
            >= 0; eV^2 if `scales` was given, else at unit scale.

        Warns
        -----
        VarianceWarning
            If values had to be clipped at zero by more than rounding (1e-8 of k(x, x)); the message counts them.

        References
        ----------
        Rasmussen and Williams (2006), eq. 8.27, first two terms.
        """
        index = self._index(block)
        L = self.prior[index].L
        Phi_block = np.asarray(Phi_block, dtype=np.float64)
        if Phi_block.ndim != 2 or Phi_block.shape[1] != L.shape[0]:
            raise InputError(f"rows of block {index} must have shape (n, {L.shape[0]}), got {Phi_block.shape}")
        white = solve_triangular(L, Phi_block.T, lower=True)
        residual = np.asarray(k_diag, dtype=np.float64) - np.einsum("ij,ij->j", white, white)
        n_clipped = int(np.count_nonzero(residual < -_ROUNDING * np.abs(k_diag)))
        if n_clipped:
            warnings.warn(
                f"{n_clipped} of {len(residual)} prior variances of block {index} were negative and set to zero "
                f"(lowest {residual.min():.3g}); K_MM is ill-conditioned",
                VarianceWarning,
                stacklevel=2,
            )
        np.maximum(residual, 0.0, out=residual)
        return residual * self.variance_scale(index)

    def variance_scale(self, block: int | PriorBlock) -> float:
        """Square of delta of a block, eV^2, by which unit-scale prior variances are multiplied; 1 without `scales`."""
        return 1.0 if self.scales is None else float(self.scales[self._index(block)]) ** 2

    def prior_covariance(self, K: FloatArray, Phi_block: FloatArray, block: int | PriorBlock) -> FloatArray:
        """The same for pairs of points: delta^2 (K - k_s^T K_MM^-1 k_s), (n, n), K at unit scale; not clipped."""
        index = self._index(block)
        white = solve_triangular(self.prior[index].L, np.asarray(Phi_block, dtype=np.float64).T, lower=True)
        residual = np.asarray(K, dtype=np.float64) - white.T @ white
        return residual * self.variance_scale(index)

    def sample_weights(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Deviations of `n` posterior draws of the weights from their mean, R^-1 N(0, I), shape (n, M)."""
        if n < 0:
            raise InputError(f"`n` must be >= 0, got {n}")
        draws = rng.standard_normal((self.R.shape[0], n))
        return np.ascontiguousarray(solve_triangular(self.R, draws).T)

    def with_scores(self, scores: FloatArray) -> SandwichPosterior:
        """The jackknife's covariance in place of the Bayesian one; see `SandwichPosterior`."""
        return SandwichPosterior(self.R, self.prior, self.scales, scores)

    def _index(self, block: int | PriorBlock) -> int:
        if not isinstance(block, PriorBlock):
            return int(block)
        for i, candidate in enumerate(self.prior):
            if candidate is block:
                return i
        raise InputError("`block` is not one of the blocks of this posterior")


@dataclass(frozen=True)
class SandwichPosterior(Posterior):
    """Covariance of the weights by the jackknife over configurations, valid also where the model is misspecified.

    The Bayesian covariance holds if residuals are independent noise of the size assumed.  Those of a local model are
    neither: they are alike within a configuration and larger in some than in others.  The jackknife takes them as they
    are: with a_c the weights without configuration c,

        C = (n - 1) / n sum_c (a_c - a)(a_c - a)^T = R^-1 S^T S R^-T,  S the scaled scores.

    It is the robust ("sandwich") covariance with leave-one-out residuals.  It sees data alone: what the prior leaves
    open between few configurations is not in it.

    Parameters
    ----------
    scores : array of shape (n_configurations, M)
        R (a - a_c) for every configuration.

    References
    ----------
    MacKinnon and White, J. Econometrics 29, 305 (1985), HC3; by clusters: Cameron and Miller, J. Hum. Resour. 50, 317
    (2015), eq. 11.
    """

    scores: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))

    def whiten(self, Phi: FloatArray) -> FloatArray:
        """S R^-T Phi^T, shape (n_configurations, n): columns whose inner products are the covariances."""
        n = len(self.scores)
        return np.sqrt((n - 1.0) / n) * (self.scores @ super().whiten(Phi))

    def sample_weights(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Deviations of `n` draws of the weights from their mean, R^-1 S^T N(0, I), shape (n, M)."""
        if n < 0:
            raise InputError(f"`n` must be >= 0, got {n}")
        n_scores = len(self.scores)
        draws = np.sqrt((n_scores - 1.0) / n_scores) * (self.scores.T @ rng.standard_normal((n_scores, n)))
        return np.ascontiguousarray(solve_triangular(self.R, draws).T)

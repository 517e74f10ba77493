"""A sparse Gaussian-process regressor over arrays, with scikit-learn's contract."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from gapkit.exceptions import InputError
from gapkit.gp.cholesky import cholesky
from gapkit.gp.evidence.maximise import SearchSettings, maximise_evidence
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.posterior import Posterior
from gapkit.gp.solver import PriorBlock, solve_weights
from gapkit.kernels import GapKernel, SquaredExponential
from gapkit.sparse import FarthestPoint, SparseSelector, distinct_rows
from gapkit.typing import FloatArray

_KIND = "y"


class SparseGPRegressor(RegressorMixin, BaseEstimator):
    """Sparse Gaussian process (projected process) for scalar targets.

    The mean is f(x) = delta^2 sum_s alpha_s k(x, x_s) over M sparse points; with all training points sparse it is the
    exact Gaussian process. Training keeps a triangular factor of order M + 1, so `partial_fit` adds data at the cost of
    that data alone and gives the same model as one `fit`.

    Parameters
    ----------
    kernel : GapKernel, optional
        Default: ``SquaredExponential()``. Its `delta` is kept, but for `noise` "evidence", where it is the start value.
    noise : float or "evidence", default=1e-2
        Standard deviation of the targets' noise, in the unit of y (after scaling, if `normalize_y`); "evidence" chooses
        it and `delta` by maximum marginal likelihood.
    n_sparse : int, optional
        Number of sparse points; all distinct rows if there are fewer. Default: at most 1,000.
    selector : SparseSelector, optional
        Default: ``FarthestPoint()``. Not consulted where all distinct rows are taken.
    normalize_y : bool, default=False
        Subtract the mean of y and divide by its standard deviation, both of the first batch.
    jitter : float, default=1e-10
        Regularisation of K_MM relative to its diagonal.
    random_state : int, RandomState or None, default=None
        Governs the selection and the starts of the evidence search.

    Attributes
    ----------
    kernel_ : GapKernel
        With the `delta` that is used.
    noise_ : float
    X_sparse_ : array of shape (M, n_features)
    weights_ : array of shape (M,)
        delta^2 alpha.
    log_marginal_likelihood_value_ : float
        Of the training data, in the scaled unit of y.
    n_features_in_ : int

    References
    ----------
    Rasmussen and Williams (2006), section 8.3.4 (projected process approximation).
    """

    def __init__(
        self, kernel: GapKernel | None = None, *, noise: float | str = 1e-2, n_sparse: int | None = None,
        selector: SparseSelector | None = None, normalize_y: bool = False, jitter: float = 1e-10,
        random_state: Any = None,
    ) -> None:  # fmt: skip
        self.kernel = kernel
        self.noise = noise
        self.n_sparse = n_sparse
        self.selector = selector
        self.normalize_y = normalize_y
        self.jitter = jitter
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SparseGPRegressor:
        """Choose sparse points among the rows of X (n, n_features) and fit to y (n,).

        Raises
        ------
        InputError
            If a parameter is out of range.
        ValueError
            If X or y is not finite, empty or of the wrong shape (scikit-learn's validation).
        """
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        y = y.astype(np.float64)
        self._check_parameters()
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        kernel = SquaredExponential() if self.kernel is None else clone(self.kernel)
        self._y_mean = float(y.mean()) if self.normalize_y else 0.0
        spread = float(y.std()) if self.normalize_y else 1.0
        self._y_scale = spread if spread > 0 else 1.0
        self.X_sparse_ = self._choose_sparse(X, rng)
        self._unit_kernel = kernel.unit_scale()
        L = cholesky(self._unit_kernel(self.X_sparse_), jitter=self.jitter).L
        self._prior = (PriorBlock(slice(0, len(L)), L),)
        self._factor = TriangularFactor(len(self.X_sparse_))
        self._start = (kernel, int(rng.integers(2**31)))
        return self._update(X, y)

    def partial_fit(self, X: Any, y: Any) -> SparseGPRegressor:
        """Add data to a fitted model, whose sparse points stay; on an unfitted one, the same as `fit`."""
        if not hasattr(self, "weights_"):
            return self.fit(X, y)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=False)
        self._check_parameters()
        return self._update(X, y.astype(np.float64))

    def predict(
        self, X: Any, return_std: bool = False, return_cov: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Mean, and standard deviation or covariance, of the latent function (without noise).

        Parameters
        ----------
        X : array-like of shape (n, n_features)
        return_std, return_cov : bool, default=False
            At most one may be True.

        Returns
        -------
        mean : array of shape (n,)
        std : array of shape (n,), only if `return_std`
            Square root of the sum of the data part and the part of the prior that the sparse points cannot see.
        cov : array of shape (n, n), only if `return_cov`

        Raises
        ------
        InputError
            If both `return_std` and `return_cov` are True.
        """
        if return_std and return_cov:
            raise InputError("at most one of `return_std` and `return_cov` may be True")
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        rows = self._unit_kernel(X, self.X_sparse_)
        mean = self._y_mean + self._y_scale * (rows @ self.weights_)
        if return_std:
            unseen = self._posterior.prior_residual(self._unit_kernel.diag(X), rows, 0)
            return mean, self._y_scale * np.sqrt(self._posterior.data_variance(rows) + unseen)
        if return_cov:
            unseen = self._posterior.prior_covariance(self._unit_kernel(X), rows, 0)
            return mean, self._y_scale**2 * (self._posterior.covariance(rows) + unseen)
        return mean

    def log_marginal_likelihood(self, noise: float | None = None, delta: float | None = None) -> float:
        """The log of p(y), of all data so far, in the scaled unit of y, at the fitted or other hyperparameters."""
        check_is_fitted(self)
        noise = self.noise_ if noise is None else noise
        delta = self.kernel_.delta if delta is None else delta
        return solve_weights({_KIND: self._factor}, {_KIND: noise}, self._prior, [delta]).log_marginal_likelihood

    def _check_parameters(self) -> None:
        sound = self.noise == "evidence" if isinstance(self.noise, str) else 0 < self.noise < np.inf
        if not sound:
            raise InputError(f"`noise` must be finite and > 0 (or 'evidence'), got {self.noise!r}")
        if self.n_sparse is not None and (int(self.n_sparse) != self.n_sparse or self.n_sparse < 1):
            raise InputError(f"`n_sparse` must be an integer >= 1, got {self.n_sparse!r}")
        if self.kernel is not None and not isinstance(self.kernel, GapKernel):
            raise InputError(f"`kernel` must be a GapKernel, got {type(self.kernel).__name__}")

    def _choose_sparse(self, X: FloatArray, rng: np.random.Generator) -> FloatArray:
        n_select = min(len(X), 1000) if self.n_sparse is None else int(self.n_sparse)
        selector = FarthestPoint() if self.selector is None else self.selector
        if n_select >= len(X):
            n_select = max(1, len(distinct_rows(X, selector.duplicate_tolerance)))
        return selector.select(X, n_select, rng=rng).points

    def _update(self, X: FloatArray, y: FloatArray) -> SparseGPRegressor:
        """Fold in the data and solve."""
        self._factor.update(self._unit_kernel(X, self.X_sparse_), (y - self._y_mean) / self._y_scale)
        factors = {_KIND: self._factor}
        kernel, seed = self._start
        delta = float(kernel.delta)
        if isinstance(self.noise, str):
            spread = float(np.linalg.norm(self._factor.R[:, -1])) / np.sqrt(self._factor.n_rows)
            start = {_KIND: 0.1 * spread if spread > 0 else 1e-2}
            found = maximise_evidence(factors, start, self._prior, [delta], settings=SearchSettings(random_state=seed))
            self.noise_, delta = found.noise[_KIND], found.scales[0]
        else:
            self.noise_ = float(self.noise)
        solution = solve_weights(factors, {_KIND: self.noise_}, self._prior, [delta])
        self.kernel_ = clone(kernel).set_params(delta=delta)
        self.weights_ = solution.weights
        self.log_marginal_likelihood_value_ = solution.log_marginal_likelihood
        self._posterior = Posterior(solution.R, self._prior, [delta])
        return self

"""The array-level regressor against scikit-learn's exact Gaussian process, and scikit-learn's own checks."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.utils.estimator_checks import parametrize_with_checks

from gapkit.exceptions import InputError
from gapkit.gp.regressor import SparseGPRegressor
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.sparse import FromList, Random

EXACT = 1e-7
BATCH = 1e-8


@parametrize_with_checks(
    [
        SparseGPRegressor(),
        SparseGPRegressor(SquaredExponential(1.0, 4.0), noise="evidence", n_sparse=30, random_state=0),
    ]
)
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    X = rng.uniform(-3, 3, size=(60, 2))
    y = np.sin(X[:, 0]) + 0.3 * X[:, 1] + 0.05 * rng.standard_normal(60)
    return X, y, rng.uniform(-4, 4, size=(25, 2))


KERNELS = [SquaredExponential(1.7, 0.6), DotProduct(0.4, 3, 1.0)]


@pytest.mark.parametrize("kernel", KERNELS, ids=["se", "dot"])
@pytest.mark.parametrize("normalize_y", [False, True])
def test_equals_exact_gp_when_every_point_is_sparse(data, kernel, normalize_y):
    X, y, X_test = data
    jitter = 1e-13 if isinstance(kernel, SquaredExponential) else 1e-10
    ours = SparseGPRegressor(kernel, noise=0.1, normalize_y=normalize_y, jitter=jitter).fit(X, y)
    exact = GaussianProcessRegressor(kernel, alpha=0.01, optimizer=None, normalize_y=normalize_y).fit(X, y)
    mean, std = ours.predict(X_test, return_std=True)
    mean_exact, std_exact = exact.predict(X_test, return_std=True)
    assert len(ours.X_sparse_) == len(X)
    np.testing.assert_allclose(mean, mean_exact, atol=EXACT * np.abs(mean_exact).max())
    np.testing.assert_allclose(std**2, std_exact**2, atol=EXACT * kernel.diag(X_test).max())
    _, cov = ours.predict(X_test, return_cov=True)
    np.testing.assert_allclose(np.diag(cov), std**2, atol=EXACT * kernel.diag(X_test).max())
    _, cov_exact = exact.predict(X_test, return_cov=True)
    np.testing.assert_allclose(cov, cov_exact, atol=EXACT * kernel.diag(X_test).max())
    np.testing.assert_allclose(ours.log_marginal_likelihood_value_, exact.log_marginal_likelihood_value_, rtol=1e-6)
    assert ours.log_marginal_likelihood() == ours.log_marginal_likelihood_value_


def test_partial_fit_equals_batch_fit(data):
    X, y, X_test = data
    points = FromList(X[:15])
    batch = SparseGPRegressor(KERNELS[0], noise=0.1, n_sparse=15, selector=points).fit(X, y)
    parts = SparseGPRegressor(KERNELS[0], noise=0.1, n_sparse=15, selector=points)
    for start in (0, 20, 21, 50):
        stop = {0: 20, 20: 21, 21: 50, 50: 60}[start]
        parts.partial_fit(X[start:stop], y[start:stop])
    for a, b in zip(batch.predict(X_test, return_std=True), parts.predict(X_test, return_std=True), strict=True):
        np.testing.assert_allclose(a, b, rtol=BATCH, atol=BATCH)
    np.testing.assert_allclose(batch.log_marginal_likelihood(), parts.log_marginal_likelihood(), rtol=BATCH)
    few = SparseGPRegressor(KERNELS[0], noise=0.1, n_sparse=15, selector=points).fit(X[:50], y[:50])
    assert np.abs(few.predict(X_test) - batch.predict(X_test)).max() > 1e-3  # the last ten points do matter


def test_evidence_finds_the_noise_of_the_data():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3, 3, size=(400, 1))
    y = 2.0 * np.sin(2 * X[:, 0]) + 0.2 * rng.standard_normal(400)
    model = SparseGPRegressor(SquaredExponential(1.0, 1.0), noise="evidence", n_sparse=30, random_state=0).fit(X, y)
    assert abs(model.noise_ - 0.2) < 0.02
    assert 0.8 < model.kernel_.delta < 6.0
    for factor in (0.8, 1.25):
        assert model.log_marginal_likelihood(noise=factor * model.noise_) < model.log_marginal_likelihood()
        assert model.log_marginal_likelihood(delta=factor * model.kernel_.delta) < model.log_marginal_likelihood()
    inside = np.linspace(-2.8, 2.8, 50)[:, None]
    assert np.abs(model.predict(inside) - 2 * np.sin(2 * inside[:, 0])).max() < 0.15


def test_std_grows_away_from_data(data):
    X, y, _ = data
    model = SparseGPRegressor(KERNELS[0], noise=0.1, n_sparse=30, random_state=1).fit(X, y)
    _, near = model.predict(model.X_sparse_, return_std=True)
    _, far = model.predict([[50.0, 50.0]], return_std=True)
    assert near.max() < 0.5 * far[0]
    np.testing.assert_allclose(far, 1.7, rtol=1e-10)


def test_random_state_governs_the_sparse_points(data):
    X, y, _ = data
    model = SparseGPRegressor(n_sparse=10, selector=Random(), random_state=0)
    first, again = clone(model).fit(X, y), clone(model).fit(X, y)
    other = clone(model).set_params(random_state=1).fit(X, y)
    assert np.array_equal(first.X_sparse_, again.X_sparse_)
    assert not np.array_equal(first.X_sparse_, other.X_sparse_)


@pytest.mark.parametrize(
    ("options", "name"),
    [({"noise": 0.0}, "noise"), ({"noise": "best"}, "noise"), ({"n_sparse": 0}, "n_sparse"), ({"kernel": 3}, "kernel")],
)
def test_bad_parameters_are_named(data, options, name):
    with pytest.raises(InputError, match=f"`{name}`"):
        SparseGPRegressor(**options).fit(data[0], data[1])
    with pytest.raises(InputError, match="return_std"):
        SparseGPRegressor().fit(data[0], data[1]).predict(data[2], return_std=True, return_cov=True)

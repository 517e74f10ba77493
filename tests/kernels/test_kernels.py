"""One list of kernels drives every test: slopes, diagonals, hyperparameter gradients, scikit-learn's own use."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.gaussian_process.kernels import DotProduct as SklearnDotProduct

from gapkit._core.power import integer_power, real_power_and_slope
from gapkit.exceptions import InputError
from gapkit.io.registry import classes
from gapkit.kernels import DotProduct, SquaredExponential

SLOPE = 1e-7  # relative error of a central difference with step 1e-5
ROUNDING = 1e-12

CASES = {
    "dot-1": DotProduct(1.3, 1),
    "dot-2": DotProduct(0.7, 2, 0.5),
    "dot-4": DotProduct(1.3, 4),
    "dot-20": DotProduct(1.3, 20),
    "dot-2.5": DotProduct(1.3, 2.5, 0.4),
    "dot-free": DotProduct(1.3, 3.5, 0.9, zeta_bounds=(0.5, 8), sigma0_bounds=(0.1, 2)),
    "se": SquaredExponential(1.3, 0.8),
    "se-ard": SquaredExponential(0.6, [0.8, 2.0, 0.5]),
    "se-fixed": SquaredExponential(0.6, 2.0, delta_bounds="fixed", length_scale_bounds="fixed"),
}


@pytest.fixture(params=list(CASES))
def kernel(request):
    return clone(CASES[request.param])


@pytest.fixture
def X():
    X = np.abs(np.random.default_rng(0).normal(size=(9, 3)))
    return X / np.linalg.norm(X, axis=1, keepdims=True) * np.linspace(0.7, 1.2, 9)[:, None]


def parts(kernel, X, Y):
    A, B = kernel.scale_features(X), kernel.scale_features(Y)
    return A @ B.T, (A**2).sum(1), (B**2).sum(1)


def test_every_kernel_is_covered():
    assert {type(kernel) for kernel in CASES.values()} == set(classes("GapKernel").values())


def test_formulas(X):
    q = X[:4] @ X[4:].T
    np.testing.assert_allclose(DotProduct(1.3, 4, 0.5)(X[:4], X[4:]), 1.69 * (q + 0.25) ** 4, rtol=ROUNDING)
    np.testing.assert_allclose(DotProduct(1.3, 2.5)(X[:4], X[4:]), 1.69 * q**2.5, rtol=ROUNDING)
    theta = np.array([0.8, 2.0, 0.5])
    d2 = (((X[:4, None] - X[None, 4:]) / theta) ** 2).sum(2)
    np.testing.assert_allclose(SquaredExponential(0.6, theta)(X[:4], X[4:]), 0.36 * np.exp(-d2 / 2), rtol=ROUNDING)


def test_equal_to_scikit_learn(X):
    ours, theirs = SquaredExponential(1.3, 0.8), ConstantKernel(1.69) * RBF(0.8)
    np.testing.assert_allclose(ours(X), theirs(X), rtol=1e-12)
    np.testing.assert_allclose(DotProduct(1.0, 1, 0.5)(X), SklearnDotProduct(0.5)(X), rtol=1e-12)


def test_slopes_are_finite_differences(kernel, X):
    q, n, n_s = parts(kernel, X[:4], X[4:])
    k, k_q, k_n = kernel.value_and_slopes(q, n, n_s)
    np.testing.assert_allclose(k, kernel.value(q, n, n_s), rtol=ROUNDING)
    h = 1e-5
    numeric = (kernel.value(q + h, n, n_s) - kernel.value(q - h, n, n_s)) / (2 * h)
    np.testing.assert_allclose(k_q, numeric, rtol=SLOPE)
    numeric = (kernel.value(q, n + h, n_s) - kernel.value(q, n - h, n_s)) / (2 * h)
    np.testing.assert_allclose(np.zeros_like(q) if k_n is None else k_n, numeric, rtol=SLOPE)


def test_chain_rule_gives_the_gradient_in_features(kernel, X):
    A, B = kernel.scale_features(X[:4]), kernel.scale_features(X[4:])
    scales = kernel.scale_features(np.ones((1, 3)))[0]
    _, k_q, k_n = kernel.value_and_slopes(*parts(kernel, X[:4], X[4:]))
    gradient = k_q[:, :, None] * B[None]
    if k_n is not None:
        gradient = gradient + 2 * k_n[:, :, None] * A[:, None]
    h = 1e-5
    for d in range(3):
        step = h * np.eye(3)[d]
        numeric = (kernel(X[:4] + step, X[4:]) - kernel(X[:4] - step, X[4:])) / (2 * h)
        np.testing.assert_allclose(gradient[:, :, d] * scales[d], numeric, rtol=1e-6, atol=1e-8)


def test_overwriting_gives_the_same_and_else_nothing_changes(kernel, X):
    q, n, n_s = parts(kernel, X[:4], X[4:])
    kept = q.copy()
    k, (k2, k_q, k_n) = kernel.value(q, n, n_s), kernel.value_and_slopes(q, n, n_s)
    assert np.array_equal(q, kept)
    assert np.array_equal(kernel.value(q.copy(), n, n_s, overwrite_q=True), k)
    over = kernel.value_and_slopes(q.copy(), n, n_s, overwrite_q=True)
    assert np.array_equal(over[0], k2)
    assert np.array_equal(over[1], k_q)
    assert (over[2] is None) == (k_n is None)
    assert not np.shares_memory(over[0], over[1])


def test_diagonal_and_symmetry(kernel, X):
    K = kernel(X)
    np.testing.assert_allclose(kernel.diag(X), np.diag(K), rtol=ROUNDING)
    np.testing.assert_allclose(K, K.T, rtol=ROUNDING)
    np.testing.assert_allclose(K, kernel(X, X), rtol=1e-10)
    assert np.linalg.eigvalsh(K).min() > -1e-10 * K.max() or isinstance(kernel, DotProduct)  # real zeta need not be PSD


def test_hyperparameter_gradient_is_finite_differences(kernel, X):
    K, gradient = kernel(X, eval_gradient=True)
    assert gradient.shape == (9, 9, kernel.n_dims)
    np.testing.assert_array_equal(K, kernel(X))
    for i in range(kernel.n_dims):
        step = 1e-5 * np.eye(kernel.n_dims)[i]
        up, down = kernel.clone_with_theta(kernel.theta + step), kernel.clone_with_theta(kernel.theta - step)
        np.testing.assert_allclose(gradient[:, :, i], (up(X) - down(X)) / 2e-5, rtol=1e-6, atol=1e-8)


def test_scikit_learn_optimises_it(X):
    y = np.sin(5 * X[:, 0])
    ours = GaussianProcessRegressor(SquaredExponential(), alpha=1e-3).fit(X, y)
    theirs = GaussianProcessRegressor(ConstantKernel(1.0, (1e-6, 1e6)) * RBF(1.0, (1e-3, 1e3)), alpha=1e-3)
    theirs.fit(X, y)
    np.testing.assert_allclose(ours.log_marginal_likelihood_value_, theirs.log_marginal_likelihood_value_, rtol=1e-4)


def test_clone_pickle_and_unit_scale(kernel, X):
    for copy in (clone(kernel), pickle.loads(pickle.dumps(kernel))):
        assert copy == kernel
        assert np.array_equal(copy(X), kernel(X))
    unit = kernel.unit_scale()
    assert unit.delta == 1.0
    assert unit != kernel
    np.testing.assert_allclose(kernel.delta**2 * unit(X), kernel(X), rtol=ROUNDING)


def test_large_offset_keeps_its_digits():
    X = np.linspace(0, 1, 5)[:, None]
    kernel = SquaredExponential(1.0, 0.3)
    np.testing.assert_allclose(kernel(X + 1e4), kernel(X), rtol=1e-9)
    np.testing.assert_allclose(kernel(X + 1e4, X[:2] + 1e4), kernel(X, X[:2]), rtol=1e-9)


def test_negative_inner_products():
    q, one = np.array([[-0.5, 0.0, 0.5]]), np.ones(1)
    k, k_q, _ = DotProduct(1.0, 3).value_and_slopes(q, one, one)
    np.testing.assert_allclose(k, q**3, atol=1e-15)
    np.testing.assert_allclose(k_q, 3 * q**2, atol=1e-15)
    k, k_q, _ = DotProduct(1.0, 2.5).value_and_slopes(q, one, one)
    np.testing.assert_allclose(k, [[0, 0, 0.5**2.5]], rtol=1e-14)
    np.testing.assert_allclose(k_q, [[0, 0, 2.5 * 0.5**1.5]], rtol=1e-14)


@pytest.mark.parametrize("width", [1, 7, 512, 513, 1100])
@pytest.mark.parametrize("zeta", [1, 2, 5])
def test_compiled_powers_equal_numpy(width, zeta):
    q = np.random.default_rng(0).normal(size=(3, width))
    k, slope = np.empty_like(q), np.empty_like(q)
    integer_power(q, 0.3, 2.0, zeta, k, slope)
    np.testing.assert_allclose(k, 2 * (q + 0.3) ** zeta, rtol=1e-13)
    np.testing.assert_allclose(slope, 2 * zeta * (q + 0.3) ** (zeta - 1), rtol=1e-13)
    out = np.empty_like(q)
    integer_power(q, 0.3, 2.0, zeta, out, np.empty((0, width)))
    np.testing.assert_allclose(out, k, rtol=1e-14)
    real_power_and_slope(np.abs(q), 0.3, 2.0, zeta + 0.5, k, slope)
    np.testing.assert_allclose(k, 2 * (np.abs(q) + 0.3) ** (zeta + 0.5), rtol=1e-13)


def test_nan_stays_visible(kernel):
    q, one = np.array([[np.nan, 0.5]]), np.ones(1)
    for k in (kernel.value(q, one, np.ones(2)), kernel.value_and_slopes(q, one, np.ones(2))[0]):
        assert np.isnan(k[0, 0])
        assert np.isfinite(k[0, 1])


@pytest.mark.parametrize(
    ("bad", "name"),
    [
        (DotProduct(-1.0), "delta"),
        (DotProduct(1.0, 0), "zeta"),
        (DotProduct(1.0, 2, -1.0), "sigma0"),
        (DotProduct(1.0, 2, 0.0, sigma0_bounds=(0.1, 1)), "sigma0"),
        (SquaredExponential(np.nan), "delta"),
        (SquaredExponential(1.0, 0.0), "length_scale"),
        (SquaredExponential(1.0, [1.0, 1.0]), "length_scale"),
    ],
)
def test_bad_parameters_are_named(bad, name, X):
    with pytest.raises(InputError, match=f"`{name}`"):
        bad(X)


def test_unknown_names_and_shapes_are_errors(X):
    with pytest.raises(TypeError):
        SquaredExponential(theta=1.0)
    with pytest.raises(InputError, match="columns"):
        DotProduct()(X, X[:, :2])
    with pytest.raises(InputError, match="eval_gradient"):
        DotProduct()(X, X, eval_gradient=True)
    with pytest.raises(InputError, match="matrix"):
        DotProduct()(X[0])

"""Cholesky with jitter, triangular factors, solver and posterior against dense textbook formulas."""

import numpy as np
import pytest
from scipy.linalg import solve_triangular

from gapkit.exceptions import ConditioningWarning, DataError, InputError, VarianceWarning
from gapkit.gp.cholesky import cholesky
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.lapack import fold_rows
from gapkit.gp.posterior import Posterior
from gapkit.gp.solver import PriorBlock, solve_weights
from gapkit.io.arrays import Arrays, Given
from gapkit.kernels import SquaredExponential

from .problems import NOISE, SCALES, make_problem

DENSE = 1e-9  # a dense solve by normal equations loses this much
ROUNDING = 1e-12


@pytest.fixture
def problem():
    return make_problem()


# ---------------------------------------------------------------------- cholesky


def test_cholesky_adds_the_relative_jitter_and_nothing_else():
    K = SquaredExponential(30.0, 1.0)(np.arange(6.0)[:, None])
    factor = cholesky(K, jitter=1e-6)
    assert factor.jitter == 1e-6
    assert np.array_equal(factor.L, np.tril(factor.L))
    np.testing.assert_allclose(factor.L @ factor.L.T - K, 1e-6 * 900 * np.eye(6), atol=1e-11)
    assert cholesky(K, jitter=0.0).jitter == 0.0
    assert cholesky(np.empty((0, 0))).L.shape == (0, 0)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_cholesky_raises_the_jitter_and_says_so(scale):
    X = np.vstack([np.arange(4.0)[:, None]] * 2)  # every point twice: exactly singular
    K = scale * SquaredExponential(1.0, 1.0)(X)
    with pytest.warns(ConditioningWarning, match=r"K_A .*jitter of 1e-1[0-5]"):
        factor = cholesky(K, jitter=1e-18, name="K_A")
    assert 1e-15 <= factor.jitter <= 1e-10
    assert np.linalg.cond(factor.L) ** 2 < 1e16
    assert cholesky(K).jitter == 1e-10  # the default is enough and does not warn


def test_cholesky_errors_name_the_matrix():
    with pytest.raises(InputError, match=r"`K_MM`.*positive definite"):
        cholesky(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(InputError, match="`K_MM` must be finite, but 1 of its 2 rows"):
        cholesky(np.array([[1.0, 0.0], [np.nan, 1.0]]))
    with pytest.raises(InputError, match="square"):
        cholesky(np.ones((2, 3)))
    with pytest.raises(InputError, match="diagonal"):
        cholesky(np.zeros((2, 2)))
    with pytest.raises(InputError, match="`jitter`"):
        cholesky(np.eye(2), jitter=1.0)


# ---------------------------------------------------------------------- factors


@pytest.mark.parametrize("n_columns", [0, 1, 5, 40])
@pytest.mark.parametrize("n_rows", [1, 3, 300])
def test_factor_holds_the_least_squares_problem(n_columns, n_rows):
    rng = np.random.default_rng(1)
    K, y, s, a = (rng.uniform(0.5, 2, size=shape) for shape in ((n_rows, n_columns), n_rows, n_rows, n_columns))
    factor = TriangularFactor(n_columns)
    for start in range(0, n_rows, 7):
        factor.update(K[start : start + 7], y[start : start + 7], s[start : start + 7])
    whole = TriangularFactor(n_columns).update(K, y, s)  # more than 4 (M + 1) rows: folded in pieces
    stacked = np.column_stack([K, y]) / s[:, None]
    for f in (factor, whole):
        assert f.n_rows == n_rows
        assert np.array_equal(f.R, np.triu(f.R))
        np.testing.assert_allclose(f.R.T @ f.R, stacked.T @ stacked, rtol=1e-11)
        np.testing.assert_allclose(f.log_weights, np.log(s).sum(), rtol=1e-11)
        residual = np.sum((f.R[:, :-1] @ a - f.R[:, -1]) ** 2)
        np.testing.assert_allclose(residual, np.sum(((y - K @ a) / s) ** 2), rtol=1e-11)


def test_rescaled_rows_have_other_relative_sigmas():
    rng = np.random.default_rng(4)
    K, y, s = rng.normal(size=(50, 6)), rng.normal(size=50), rng.uniform(0.5, 2, size=50)
    factor = TriangularFactor(6).update(K, y, s).rescale(3.0)
    other = TriangularFactor(6).update(K, y, 3.0 * s)
    np.testing.assert_allclose(factor.R, other.R, rtol=1e-10, atol=1e-12)
    assert factor.log_weights == pytest.approx(other.log_weights)
    with pytest.raises(InputError, match="`ratio`"):
        factor.rescale(0.0)


def test_merge_copy_and_arrays():
    rng = np.random.default_rng(2)
    K, y, s = rng.normal(size=(50, 6)), rng.normal(size=50), rng.uniform(0.5, 2, size=50)
    whole = TriangularFactor(6).update(K, y, s)
    first, second = (
        TriangularFactor(6).update(K[:20], y[:20], s[:20]),
        TriangularFactor(6).update(K[20:], y[20:], s[20:]),
    )
    kept, second_R = first.copy(), second.R.copy()
    merged = first.copy().merge(second)
    np.testing.assert_allclose(np.abs(merged.R), np.abs(whole.R), rtol=1e-10, atol=1e-12)
    assert (merged.n_rows, merged.n_columns) == (50, 6)
    np.testing.assert_allclose(merged.log_weights, whole.log_weights)
    assert np.array_equal(second.R, second_R)
    assert np.array_equal(kept.R, first.R)
    again = TriangularFactor.from_arrays(Arrays(Given(first.to_arrays()), {}), 6).copy()
    assert np.array_equal(again.merge(second).R, merged.R)
    with pytest.raises(InputError, match="same columns"):
        first.merge(TriangularFactor(5))
    with pytest.raises(InputError, match="upper triangular"):
        TriangularFactor.from_arrays(Arrays(Given(first.to_arrays() | {"R": np.ones((7, 7))}), {}), 6)


def test_ill_conditioned_rows_keep_more_digits_than_normal_equations():
    rng = np.random.default_rng(3)
    U, V = np.linalg.qr(rng.normal(size=(60, 8)))[0], np.linalg.qr(rng.normal(size=(8, 8)))[0]
    K = U @ np.diag(np.logspace(0, -10, 8)) @ V.T
    a = rng.normal(size=8)
    R = TriangularFactor(8).update(K, K @ a).R
    error = np.abs(solve_triangular(R[:-1, :-1], R[:-1, -1]) - a).max()
    assert error < 1e-4  # eps * cond = 1e-6; normal equations: eps * cond^2 = 1e4


def test_bad_rows_leave_the_factor_untouched():
    factor = TriangularFactor(2).update(np.eye(2), np.ones(2))
    before = factor.copy()
    rows, targets = np.ones((3, 2)), np.ones(3)
    for bad, error, match in [
        ((np.where(np.eye(3, 2) > 0, np.nan, 1.0), targets), DataError, "2 of 3"),
        ((rows, np.array([1.0, np.inf, 1.0])), DataError, "first: row 1"),
        ((rows, targets, np.array([1.0, 0.0, 1.0])), InputError, "`sigmas`"),
        ((rows, targets, np.ones(2)), InputError, "`sigmas`"),
        ((np.ones((3, 3)), targets), InputError, "`rows`"),
        ((rows, np.ones(2)), InputError, "`targets`"),
    ]:
        with pytest.raises(error, match=match):
            factor.update(*bad)
        assert np.array_equal(before.R, factor.R)
        assert (before.n_rows, before.log_weights) == (factor.n_rows, factor.log_weights)
    with pytest.raises(InputError, match="n_columns"):
        TriangularFactor(-1)
    with pytest.raises(InputError, match="Fortran"):
        fold_rows(np.eye(3), np.ones((4, 3)))


# ---------------------------------------------------------------------- solver


def test_solution_is_the_dense_one(problem):
    factors = problem.factors
    before = {kind: factor.R.copy() for kind, factor in factors.items()}
    solution = solve_weights(factors, NOISE, problem.prior, SCALES)
    K, y, sigma = problem.stacked(NOISE)
    precision = problem.prior_precision(SCALES) + (K / sigma[:, None] ** 2).T @ K
    np.testing.assert_allclose(solution.weights, np.linalg.solve(precision, K.T @ (y / sigma**2)), rtol=1e-6)
    np.testing.assert_allclose(solution.R.T @ solution.R, precision, rtol=DENSE, atol=DENSE * precision.max())
    assert np.array_equal(solution.R, np.triu(solution.R))
    assert np.diag(solution.R).min() > 0
    np.testing.assert_allclose(solution.log_marginal_likelihood, problem.log_p(NOISE, SCALES), rtol=DENSE)
    for kind in NOISE:
        residual = (problem.targets[kind] - problem.rows[kind] @ solution.weights) / problem.sigmas[kind]
        np.testing.assert_allclose(solution.residual_norms[kind], np.linalg.norm(residual), rtol=1e-8)
        assert np.array_equal(before[kind], factors[kind].R)


def test_no_data_gives_the_prior(problem):
    empty = {"energy": TriangularFactor(20)}
    solution = solve_weights(empty, NOISE, problem.prior, SCALES)
    np.testing.assert_allclose(solution.R.T @ solution.R, problem.prior_precision(SCALES), rtol=1e-10, atol=1e-10)
    assert np.array_equal(solution.weights, np.zeros(20))
    assert abs(solution.log_marginal_likelihood) < 1e-10


def test_relative_sigmas_and_noise_are_one_thing(problem):
    """Twice the relative sigmas with half the noise is the same model, the constants included."""
    doubled = make_problem()
    doubled.sigmas = {kind: 2 * s for kind, s in doubled.sigmas.items()}
    a = solve_weights(problem.factors, NOISE, problem.prior, SCALES)
    b = solve_weights(doubled.factors, {k: v / 2 for k, v in NOISE.items()}, problem.prior, SCALES)
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-8)
    np.testing.assert_allclose(a.log_marginal_likelihood, b.log_marginal_likelihood, rtol=ROUNDING)


def test_inconsistent_problems_are_errors(problem):
    factors, prior = problem.factors, problem.prior
    gap = [prior[0], PriorBlock(slice(7, 16), prior[1].L), prior[2]]
    for args, match in [
        ((factors, NOISE, gap, SCALES), "tile"),
        ((factors, NOISE, prior[:2], SCALES[:2]), "20 columns, the prior 15"),
        ((factors, NOISE, prior, SCALES[:2]), "`scales`"),
        ((factors, NOISE, prior, [1.0, 0.0, 1.0]), "`scales`"),
        ((factors, {"energy": 1.0}, prior, SCALES), "'forces'"),
        ((factors, {"energy": 1.0, "forces": np.nan}, prior, SCALES), "'forces'"),
    ]:
        with pytest.raises(InputError, match=match):
            solve_weights(*args)


# ---------------------------------------------------------------------- posterior


@pytest.fixture
def posterior(problem):
    return Posterior(solve_weights(problem.factors, NOISE, problem.prior, SCALES).R, problem.prior, SCALES)


def test_variance_and_covariance_are_the_dense_ones(problem, posterior):
    K, _, sigma = problem.stacked(NOISE)
    covariance = np.linalg.inv(problem.prior_precision(SCALES) + (K / sigma[:, None] ** 2).T @ K)
    Phi = np.random.default_rng(0).normal(size=(7, 20))
    expected = Phi @ covariance @ Phi.T
    np.testing.assert_allclose(posterior.data_variance(Phi), np.diag(expected), rtol=1e-6)
    np.testing.assert_allclose(posterior.covariance(Phi), expected, atol=1e-6 * expected.max())
    np.testing.assert_allclose(posterior.covariance(Phi[:3], Phi[3:]), expected[:3, 3:], atol=1e-6 * expected.max())


def test_samples_have_the_posterior_covariance(posterior):
    Phi = np.random.default_rng(0).normal(size=(4, 20))
    draws = posterior.sample_weights(20_000, np.random.default_rng(1))
    assert draws.shape == (20_000, 20)
    values = draws @ Phi.T
    spread = np.sqrt(posterior.data_variance(Phi))
    np.testing.assert_allclose(values.std(axis=0), spread, rtol=0.03)  # standard error 0.5 %
    assert np.abs(values.mean(axis=0) / spread).max() < 0.04
    assert np.array_equal(draws, posterior.sample_weights(20_000, np.random.default_rng(1)))


def test_prior_residual(problem, posterior):
    block = problem.prior[1]
    K = block.L @ block.L.T
    rng = np.random.default_rng(0)
    k = rng.normal(size=(5, 9)) * 0.1
    expected = 2.0 - np.einsum("ij,ij->i", k, np.linalg.solve(K, k.T).T)
    keep = expected > 0
    assert keep.any()
    residual = posterior.prior_residual(np.full(keep.sum(), 2.0), k[keep], 1)
    np.testing.assert_allclose(residual, SCALES[1] ** 2 * expected[keep], rtol=1e-6)
    unit = Posterior(posterior.R, problem.prior)
    np.testing.assert_allclose(unit.prior_residual(np.full(keep.sum(), 2.0), k[keep], 1), expected[keep], rtol=1e-6)
    assert (unit.variance_scale(1), posterior.variance_scale(1)) == (1.0, SCALES[1] ** 2)
    at_sparse = posterior.prior_residual(np.diag(K), K, 1)  # rounding only: zero, silently
    assert np.abs(at_sparse).max() < 1e-8


def test_negative_variances_are_clipped_counted_and_reported(problem, posterior):
    K = problem.prior[0].L @ problem.prior[0].L.T
    k_diag = np.diag(K).copy()
    k_diag[:2] *= 0.9
    with pytest.warns(VarianceWarning, match="2 of 6 prior variances of block 0"):
        residual = posterior.prior_residual(k_diag, K, 0)
    assert residual.min() == 0.0


def test_posterior_errors(problem, posterior):
    with pytest.raises(InputError, match="`R`"):
        Posterior(np.eye(3), problem.prior)
    with pytest.raises(InputError, match="`scales`"):
        Posterior(posterior.R, problem.prior, [1.0])
    with pytest.raises(InputError, match=r"\(n, 20\)"):
        posterior.data_variance(np.ones((2, 3)))
    with pytest.raises(InputError, match="block 0"):
        posterior.prior_residual(np.ones(2), np.ones((2, 9)), 0)

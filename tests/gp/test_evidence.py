"""The marginal likelihood from factors: value, gradient, optimum, and the reduction to leading directions."""

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor

from gapkit.exceptions import ConvergenceWarning, InputError
from gapkit.gp.cholesky import cholesky
from gapkit.gp.evidence import objective as whitened
from gapkit.gp.evidence.maximise import Freedom, SearchSettings, maximise_evidence
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.solver import PriorBlock, solve_weights
from gapkit.kernels import DotProduct, SquaredExponential

from .problems import NOISE, SCALES, make_problem

SMOOTH = {"sizes": (30, 80, 30), "n_rows": (60, 200), "jitter": 1e-9, "smooth": 5.0}


@pytest.fixture(scope="module")
def problem():
    return make_problem(n_rows=(60, 300))


@pytest.fixture(scope="module")
def factors(problem):
    return problem.factors


def log_marginal_likelihood(factors, noise, prior, scales):
    """Value, gradient by log noise of each kind, and by log scale of each block."""
    objective = EvidenceObjective(factors, prior, range(len(prior)))
    log_p, d_noise, d_scales = objective.evaluate(np.array([noise[kind] for kind in objective.kinds]), np.array(scales))
    return log_p, dict(zip(objective.kinds, d_noise, strict=True)), d_scales


def gradient_error(value, x, analytic, step=1e-4):
    """Largest difference between `analytic` and a fourth-order difference of `value`, over the largest component."""
    numeric = []
    for e in step * np.eye(len(x)):
        numeric.append((8 * (value(x + e) - value(x - e)) - (value(x + 2 * e) - value(x - 2 * e))) / (12 * step))
    return np.abs(np.array(numeric) - analytic).max() / np.abs(analytic).max()


def test_value_is_the_definition_and_the_solvers(problem, factors):
    value = log_marginal_likelihood(factors, NOISE, problem.prior, SCALES)[0]
    np.testing.assert_allclose(value, problem.log_p(NOISE, SCALES), rtol=1e-8)
    solution = solve_weights(factors, NOISE, problem.prior, SCALES)
    np.testing.assert_allclose(value, solution.log_marginal_likelihood, rtol=1e-10)


@pytest.mark.parametrize("by_qr", [False, True])
def test_gradient(problem, factors, by_qr, monkeypatch):
    if by_qr:
        monkeypatch.setattr(whitened, "_NORMAL_EQUATIONS_LIMIT", 0.0)

    def value(x):
        noise = dict(zip(NOISE, np.exp(x[:2]), strict=True))
        return log_marginal_likelihood(factors, noise, problem.prior, np.exp(x[2:]))[0]

    log_p, d_noise, d_scales = log_marginal_likelihood(factors, NOISE, problem.prior, SCALES)
    x = np.log([*NOISE.values(), *SCALES])
    assert log_p == value(x)
    assert list(d_noise) == list(NOISE)
    assert gradient_error(value, x, np.array([*d_noise.values(), *d_scales])) < 1e-7


def test_gradient_of_shared_scales(problem, factors):
    shared = EvidenceObjective(factors, problem.prior, [0, 1, 0])
    noise, scales = np.array([0.05, 0.3]), np.array([0.7, 1.1])
    log_p, d_noise, d_scales = shared.evaluate(noise, scales)
    own = EvidenceObjective(factors, problem.prior, [0, 1, 2]).evaluate(noise, np.array([0.7, 1.1, 0.7]))
    np.testing.assert_allclose(log_p, own[0], rtol=1e-12)
    np.testing.assert_allclose(d_noise, own[1], rtol=1e-10)
    np.testing.assert_allclose(d_scales, [own[2][0] + own[2][2], own[2][1]], rtol=1e-9)


@pytest.mark.parametrize("kernel", [SquaredExponential(1.3, 0.7), DotProduct(0.6, 2, 1.0)])
def test_equal_to_scikit_learn_when_every_point_is_sparse(kernel):
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, size=(40, 3))
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=40)
    K = kernel.unit_scale()(X)
    L = cholesky(K, jitter=1e-12 if isinstance(kernel, SquaredExponential) else 1e-9).L
    factors = {"y": TriangularFactor(40).update(K, y)}
    value, d_noise, d_scales = log_marginal_likelihood(
        factors, {"y": 0.2}, [PriorBlock(slice(0, 40), L)], [kernel.delta]
    )
    exact = GaussianProcessRegressor(kernel, alpha=0.04, optimizer=None).fit(X, y)
    expected, gradient = exact.log_marginal_likelihood(kernel.theta, eval_gradient=True)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(d_scales[0], gradient[0], rtol=1e-5)

    def of_noise(x):
        other = GaussianProcessRegressor(kernel, alpha=np.exp(2 * x[0]), optimizer=None).fit(X, y)
        return other.log_marginal_likelihood_value_

    assert gradient_error(of_noise, np.log([0.2]), np.array([d_noise["y"]])) < 1e-5


def test_optimum_is_a_maximum_and_near_the_truth(problem, factors):
    start = {"energy": 1.0, "forces": 1.0}
    result = maximise_evidence(factors, start, problem.prior, [1.0] * 3, settings=SearchSettings(n_starts=3))
    assert result.converged
    solution = solve_weights(factors, result.noise, problem.prior, result.scales)
    np.testing.assert_allclose(result.log_marginal_likelihood, solution.log_marginal_likelihood, rtol=1e-8)
    assert result.log_marginal_likelihood >= problem.log_p(NOISE, SCALES)
    for kind, n in (("energy", 60), ("forces", 300)):  # standard error of a log sigma: 1 / sqrt(2 n)
        assert abs(np.log(result.noise[kind] / NOISE[kind])) < 4 / np.sqrt(2 * n)
    _, d_noise, d_scales = log_marginal_likelihood(factors, result.noise, problem.prior, result.scales)
    assert np.abs([*d_noise.values(), *d_scales]).max() < 0.05
    assert result.n_evaluations >= 3 * 5
    again = maximise_evidence(factors, start, problem.prior, [1.0] * 3, settings=SearchSettings(n_starts=3))
    assert again.noise == result.noise


def test_fixed_parameters_groups_bounds(problem, factors):
    result = maximise_evidence(
        factors, NOISE, problem.prior, [1.0, 2.0, 1.0], groups=[0, 1, 0],
        freedom=Freedom(fixed_noise=["energy"], fixed_scales=[1], noise_bounds=(0.5, 1.0)),
    )  # fmt: skip
    assert result.noise["energy"] == pytest.approx(0.07, rel=1e-12)
    assert result.scales[1] == pytest.approx(2.0, rel=1e-12)
    assert result.scales[0] == result.scales[2] != 1.0
    assert result.noise["forces"] == pytest.approx(0.5)
    assert "at a bound: noise of forces" in result.message
    everything = maximise_evidence(
        factors, NOISE, problem.prior, SCALES, freedom=Freedom(fixed_noise=list(NOISE), fixed_scales=[0, 1, 2])
    )
    assert everything.scales == pytest.approx(SCALES)
    np.testing.assert_allclose(everything.log_marginal_likelihood, problem.log_p(NOISE, SCALES), rtol=1e-8)


def test_shrinkage_is_further_rows_of_that_noise(problem, factors):
    n, sigma = 40, 0.5
    freedom = Freedom(fixed_scales=[0, 1, 2], shrinkage={"forces": (sigma, n)})
    settings = SearchSettings(n_starts=1, tolerance=1e-7)
    found = maximise_evidence(factors, NOISE, problem.prior, SCALES, freedom=freedom, settings=settings)
    more = {kind: factor.copy() for kind, factor in factors.items()}
    more["forces"].update(np.zeros((n, more["forces"].n_columns)), np.full(n, sigma))
    freedom = Freedom(fixed_scales=[0, 1, 2])
    other = maximise_evidence(more, NOISE, problem.prior, SCALES, freedom=freedom, settings=settings)
    assert found.noise == pytest.approx(other.noise, rel=1e-3)
    free = maximise_evidence(factors, NOISE, problem.prior, SCALES, freedom=freedom, settings=settings)
    assert free.noise["forces"] < 0.9 * found.noise["forces"] < sigma
    np.testing.assert_allclose(
        found.log_marginal_likelihood, problem.log_p(found.noise, SCALES), rtol=1e-7
    )  # the further rows are no data


def test_no_convergence_is_said(problem, factors):
    settings = SearchSettings(max_iterations=1)
    with pytest.warns(ConvergenceWarning, match="max_iterations"):
        result = maximise_evidence(factors, {"energy": 9.0, "forces": 9.0}, problem.prior, [1.0] * 3, settings=settings)
    assert not result.converged


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"freedom": Freedom(fixed_noise=["virial"])}, "fixed_noise"),
        ({"freedom": Freedom(fixed_scales=[3])}, "fixed_scales"),
        ({"freedom": Freedom(ties={"virial": ("energy", 1.0)})}, "ties"),
        ({"freedom": Freedom(shrinkage={"virial": (0.1, 10)})}, "shrinkage"),
        ({"groups": [0, 0, 1]}, "group 0"),
        ({"groups": [0, 2, 3]}, "`groups`"),
        ({"freedom": Freedom(scale_bounds=(1.0, 0.5))}, "bounds of the scale 0"),
    ],
)
def test_bad_options_are_named(problem, factors, options, match):
    with pytest.raises(InputError, match=match):
        maximise_evidence(factors, NOISE, problem.prior, SCALES, **options)
    with pytest.raises(InputError, match="n_starts"):
        SearchSettings(n_starts=0)

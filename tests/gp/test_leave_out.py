"""Leaving configurations out by the block formula, against the normal equations without them."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit import SOAP, TwoBody
from gapkit.gp.basis import SparseBasis
from gapkit.gp.instances import AppliedBasis, local_rows
from gapkit.gp.posterior import Posterior
from gapkit.gp.solver import solve_weights
from gapkit.gp.variance.leave_out import LeaveOut
from gapkit.gp.variance.targets import seen_by_points
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch
from tests.gp.problems import NOISE, SCALES, make_problem
from tests.potential.models import make_frames

EXACT = 1e-8  # relative; prior matrices have condition 1e7


class Problem:
    """The synthetic problem of `problems`, its solution, and configurations of five rows each."""

    def __init__(self):
        problem = make_problem()
        self.rows, self.targets, self.sigmas = problem.stacked(NOISE)
        self.precision = problem.prior_precision(SCALES)
        solution = solve_weights(problem.factors, NOISE, problem.prior, SCALES)
        self.weights = solution.weights
        self.posterior = Posterior(solution.R, problem.prior, SCALES)
        self.leaver = LeaveOut(SparseBasis(()), self.posterior, self.weights)

    def left_out(self, own, removed):
        return self.leaver.residuals(self.rows[own], self.targets[own], self.sigmas[own], np.asarray(removed, int))

    def refit(self, without, removed):
        """Weights (zero where there is no sparse point) and their covariance."""
        kept = np.setdiff1d(np.arange(len(self.weights)), removed)
        use = np.setdiff1d(np.arange(len(self.rows)), without)
        scaled = self.rows[np.ix_(use, kept)] / self.sigmas[use, None]
        A = scaled.T @ scaled + self.precision[np.ix_(kept, kept)]
        weights, covariance = np.zeros(len(self.weights)), np.zeros((len(self.weights),) * 2)
        weights[kept] = np.linalg.solve(A, scaled.T @ (self.targets[use] / self.sigmas[use]))
        covariance[np.ix_(kept, kept)] = np.linalg.inv(A)
        return weights, covariance


@pytest.fixture(scope="module")
def problem():
    return Problem()


CONFIGURATIONS = {
    "one-kind": np.arange(25, 30),
    "two-kinds": np.array([3, 4, 40, 41, 42, 43]),
    "one-row": np.array([7]),
}
REMOVED = {"none": [], "one": [4], "of-all-blocks": [1, 2, 7, 14, 16, 19], "a-whole-block": list(range(6, 15))}


@pytest.mark.parametrize("removed", list(REMOVED))
@pytest.mark.parametrize("own", list(CONFIGURATIONS))
def test_as_a_refit_without_it(problem, own, removed):
    own, removed = CONFIGURATIONS[own], REMOVED[removed]
    found = problem.left_out(own, removed)
    weights, covariance = problem.refit(own, removed)
    rows = problem.rows[own]
    expected, spread = problem.targets[own] - rows @ weights, rows @ covariance @ rows.T
    np.testing.assert_allclose(found.residual, expected, rtol=0, atol=EXACT * np.abs(expected).max())
    np.testing.assert_allclose(found.covariance, spread, rtol=0, atol=EXACT * spread.max())
    with_all = problem.targets[own] - rows @ problem.weights
    assert np.abs(expected - with_all).max() > 1e-2 * np.abs(expected).max()
    with_points, _ = problem.refit(own, [])
    assert bool(removed) == (np.abs(rows @ (weights - with_points)).max() > 1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("removed", list(REMOVED))
@pytest.mark.parametrize("own", list(CONFIGURATIONS))
def test_scores_are_the_change_of_the_weights(problem, own, removed):
    """R (a - a_c), the sparse points kept, whichever are removed for the residual."""
    own = CONFIGURATIONS[own]
    change = problem.weights - problem.refit(own, [])[0]
    score = problem.left_out(own, REMOVED[removed]).score
    R = problem.posterior.R
    np.testing.assert_allclose(score, R @ change, rtol=0, atol=EXACT * np.abs(R @ change).max())
    kernel = problem.rows @ np.linalg.solve(R, score)  # what predictions change by
    np.testing.assert_allclose(kernel, problem.rows @ change, rtol=0, atol=EXACT * np.abs(kernel).max())


@pytest.mark.parametrize("removed", [[], [1, 7]])
def test_a_configuration_without_labels(problem, removed):
    found = problem.left_out(np.array([], int), removed)
    assert found.residual.shape == (0,)
    assert found.covariance.shape == (0, 0)
    assert not found.score.any()
    assert found.score.shape == problem.weights.shape


def test_a_configuration_that_decides_its_own_prediction():
    """Certain labels, one weight, a prior of hardly any weight: finite, and as large as the prior lets it be."""
    R = np.array([[1e3]])
    prior = make_problem(sizes=(1, 0, 0)).prior[:1]
    leaver = LeaveOut(SparseBasis(()), Posterior(R, prior, None), np.array([2.0]))
    found = leaver.residuals(np.array([[1.0]]), np.array([2.0]), np.array([1e-3]), np.array([], int))
    assert np.isfinite(found.residual).all()
    assert np.isfinite(found.covariance).all()
    assert found.covariance[0, 0] > 1e3 * 1e-6


# ---------------------------------------------------------------------- what is left of the prior


@pytest.fixture(scope="module")
def atomic():
    """A basis with pairs between two atomic terms, its posterior, and rows of atoms."""
    frames = make_frames(10, n_gold=3, seed=1)
    batch = to_batch(frames, labels=False)
    kernels = [DotProduct(0.5, 3), SquaredExponential(1.0, 0.8), SquaredExponential(0.3, 0.5)]
    engines = [d.engine((29, 79)) for d in (SOAP(4.0, 4, 3, 0.5), TwoBody(4.0), SOAP(3.5, 3, 3, 0.5))]
    points = []
    for engine in engines:
        view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
        every = 1 if engine.is_atomic else 40
        vectors = [(block, view.features(block, view.centres(block)).x[::every][:7]) for block in engine.blocks]
        points.append(vectors)
    return engines, kernels, points


def novelty(engines, kernels, points, removed=None):
    """Part of the prior variance of new atoms that is not seen, with points `removed` afterwards by LeaveOut."""
    basis = SparseBasis.build(engines, kernels, points)
    scales = [kernels[i].delta for i in basis.term_of_block]
    posterior = Posterior(np.eye(basis.n_columns), basis.prior(), scales)
    batch = to_batch(make_frames(2, n_gold=3, seed=8, size=0.3), labels=False)
    applied = AppliedBasis.of(basis, batch, build_neighbour_list(batch, basis.reach))
    rows, prior = local_rows(applied, posterior)
    seen = seen_by_points(basis, posterior, rows)
    if removed is None:
        return 1.0 - (seen**2).sum(axis=0) / prior
    before = seen.copy()
    left = LeaveOut(basis, posterior, np.zeros(basis.n_columns)).unseen(seen, prior, np.asarray(removed, int))
    np.testing.assert_array_equal(seen, before)
    return left


def test_removed_points_see_nothing(atomic):
    engines, kernels, points = atomic
    counts = [len(x) for of_term in points for _, x in of_term]
    offsets = np.cumsum([0, *counts])
    n_first, n_pairs = len(points[0]), len(points[1])
    assert min(counts[0], counts[1], counts[-1]) > 4
    # two of copper, one of gold, pairs (which have no say), and one of the last block
    removed = [1, 3, offsets[1] + 2, offsets[n_first] + 1, offsets[n_first + n_pairs + 1] + 4]
    kept = np.setdiff1d(np.arange(offsets[-1]), removed)
    fewer, block = [], 0
    for of_term in points:
        left = []
        for name, x in of_term:
            own = kept[(kept >= offsets[block]) & (kept < offsets[block + 1])] - offsets[block]
            left.append((name, x[own]))
            block += 1
        fewer.append(left)
    found, expected = novelty(engines, kernels, points, removed), novelty(engines, kernels, fewer)
    prior = 0.5**2 + 0.3**2
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * prior)
    assert (expected - novelty(engines, kernels, points)).max() > 1e-3 * prior
    np.testing.assert_allclose(
        novelty(engines, kernels, points, []), novelty(engines, kernels, points), rtol=0, atol=1e-12
    )


def test_all_points_removed(atomic):
    """The whole prior is left."""
    engines, kernels, points = atomic
    found = novelty(engines, kernels, points, np.arange(sum(len(x) for of_term in points for _, x in of_term)))
    np.testing.assert_allclose(found, 1.0, rtol=1e-9)

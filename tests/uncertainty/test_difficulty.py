"""How hard a neighbourhood is, from errors at similar ones: clusters whose hardness is known."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.difficulty import LIMITS, N_NEIGHBOURS, PRIOR_NEIGHBOURS, Difficulty
from gapkit.uncertainty.neighbourhoods import NO_FRAME, Whitening, nearest_others

N = 400  # points of each of two clusters, far from each other
HARD, EASY = 2.0, 0.5


def clusters(hard: float = HARD, easy: float = EASY, n: int = N) -> tuple[FloatArray, IntArray, FloatArray, FloatArray]:
    """Points, frames of two points each, errors and variances; errors are `hard` or `easy` times their stds."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(2 * n, 3))
    points[n:, 0] += 50.0
    variances = np.exp(rng.uniform(-2, 2, (2 * n, 1))) * np.ones(3)
    ratio = np.repeat([hard, easy], n)[:, None]
    return points, np.arange(2 * n) // 2, ratio * np.sqrt(variances) * rng.standard_normal((2 * n, 3)), variances


def exact(points: FloatArray, frames: IntArray, logs: FloatArray) -> Difficulty:
    return Difficulty(np.asarray(points, float), np.asarray(frames), np.asarray(logs, float))


def test_a_hard_and_an_easy_cluster() -> None:
    """Errors at two clusters, one four times as hard: factors around 2 and 1/2, drawn towards 1 a little."""
    known = Difficulty.of(*clusters())
    assert known.logs.mean() == pytest.approx(0.0, abs=1e-12)
    m = known.factors(np.array([[0.0, 0, 0], [50.0, 0, 0]]))
    # weights of the neighbours sum to some thirty; five more believe in 1
    assert m[0] == pytest.approx(HARD, rel=0.25)
    assert m[1] == pytest.approx(EASY, rel=0.25)
    all_of_them = known.factors(known.points)
    assert np.exp(np.log(all_of_them[:N]).mean()) == pytest.approx(HARD, rel=0.2)
    assert np.exp(np.log(all_of_them[N:]).mean()) == pytest.approx(EASY, rel=0.2)
    assert (all_of_them[:N].min() > 1.0) & (all_of_them[N:].max() < 1.0)


def test_equal_hardness_is_a_factor_of_one() -> None:
    m = Difficulty.of(*clusters(3.0, 3.0)).factors(clusters()[0])
    assert np.exp(np.log(m).mean()) == pytest.approx(1.0, abs=0.03)
    assert (np.abs(np.log(m)) < 0.5).all()  # sixty neighbours of three errors each


def test_weights_and_belief_by_hand() -> None:
    """Two neighbours within reach, one at its end: weights (1 - u^3)^3, and five neighbours of log factor 0."""
    known = exact([[0.0], [1.0], [3.0]], [0, 1, 2], [1.0, -2.0, 9.0])
    weights = [1.0, (1.0 - 3.0**-3) ** 3]
    expected = (weights[0] * 1.0 - 2.0 * weights[1]) / (sum(weights) + PRIOR_NEIGHBOURS)
    assert known.factors(np.zeros((1, 1))) == pytest.approx(np.exp(expected), rel=1e-12)


def test_residuals_of_the_own_configuration_are_not_used() -> None:
    """Frame 0 is hard, everything else is not: its own atoms must not learn that from each other."""
    points = np.random.default_rng(1).normal(size=(200, 2))
    frames, logs = np.arange(200) // 20, np.where(np.arange(200) < 20, 1.5, 0.0)
    known = exact(points, frames, logs)
    own = known.factors(points, frames)
    np.testing.assert_allclose(own[:20], 1.0, rtol=1e-12)
    assert (known.factors(points)[:20] > 1.05).all()
    assert (own[20:] > 1.0).any()  # the others do learn from it


def test_only_the_leading_axes_count() -> None:
    rng = np.random.default_rng(0)
    points, frames, errors, variances = clusters()
    wide = np.hstack([points, np.zeros((2 * N, 5)), rng.normal(scale=1e3, size=(2 * N, 4))])  # the last four do not
    query = np.hstack([points[:5] + 0.1, np.zeros((5, 5)), np.zeros((5, 4))])
    narrow = Difficulty.of(wide[:, :8], frames, errors, variances).factors(query[:, :8])
    np.testing.assert_array_equal(Difficulty.of(wide, frames, errors, variances).factors(query), narrow)


def test_factors_are_continuous_along_a_path() -> None:
    """Neighbours that enter and leave do so without a jump: halving the step halves the largest change."""
    known = exact(
        np.random.default_rng(2).normal(size=(300, 2)), np.arange(300), np.random.default_rng(3).normal(size=300)
    )

    def largest_step(n: int) -> float:
        t = np.linspace(-3.0, 3.0, n)[:, None]
        path = known.factors(np.hstack([t, np.sin(t)]))
        assert path.max() - path.min() > 0.1
        return float(np.abs(np.diff(path)).max())

    coarse, fine = largest_step(4001), largest_step(16001)
    assert fine < 0.35 * coarse
    assert coarse < 0.01


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_points(n: int) -> None:
    known = exact(np.arange(n, dtype=float)[:, None], np.arange(n), np.full(n, 3.0))
    m = known.factors(np.array([[0.0], [0.4], [100.0]]))
    assert m.shape == (3,)
    assert np.isfinite(m).all()
    if n < 2:
        np.testing.assert_array_equal(m, 1.0)
    else:
        # n neighbours against five that believe in 1
        assert (m < np.exp(3.0 * n / (n + PRIOR_NEIGHBOURS))).all()
        assert m[0] > 1.0


def test_a_single_frame_knows_nothing_of_itself() -> None:
    known = exact(np.arange(9.0)[:, None], np.zeros(9, int), np.full(9, 2.0))
    np.testing.assert_array_equal(known.factors(known.points, known.frames), 1.0)


@pytest.mark.parametrize(("log", "limit"), [(40.0, LIMITS[1]), (-40.0, LIMITS[0])])
def test_factors_have_limits(log: float, limit: float) -> None:
    points = np.random.default_rng(0).normal(size=(3 * N_NEIGHBOURS, 2))
    known = exact(points, np.arange(len(points)), np.full(len(points), log))
    np.testing.assert_array_equal(known.factors(points[:7]), limit)


def test_twins_have_no_distance() -> None:
    known = exact(np.zeros((80, 2)), np.arange(80), np.full(80, 1.0))
    m = known.factors(np.zeros((1, 2)))
    assert m == pytest.approx(np.exp((N_NEIGHBOURS + 1) / (N_NEIGHBOURS + 1 + PRIOR_NEIGHBOURS)), rel=1e-12)


def test_zero_errors_and_variances_are_no_infinities() -> None:
    points, frames, errors, variances = clusters()
    errors[::3], variances[::4] = 0.0, 0.0
    known = Difficulty.of(points, frames, errors, variances)
    assert np.isfinite(known.logs).all()
    assert np.isfinite(known.factors(points, frames)).all()
    nothing = Difficulty.of(points, frames, np.zeros_like(errors), np.zeros_like(errors))
    np.testing.assert_allclose(nothing.factors(points), 1.0)


# ---------------------------------------------------------------------- the search


def test_nearest_others_are_those_of_a_search_by_hand() -> None:
    rng = np.random.default_rng(4)
    points, frames = rng.normal(size=(60, 3)), rng.integers(0, 12, 60)
    distances, indices = nearest_others(points, frames, points, frames, 5)
    every = np.linalg.norm(points[:, None] - points[None], axis=2)
    every[frames[:, None] == frames[None]] = np.inf
    expected = np.argsort(every, axis=1)[:, :5]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, np.take_along_axis(every, expected, axis=1))


def test_nearest_others_where_there_are_too_few() -> None:
    points, frames = np.arange(3.0)[:, None], np.array([0, 0, 1])
    distances, indices = nearest_others(points, frames, points, frames, 4)
    np.testing.assert_array_equal(np.isfinite(distances).sum(axis=1), [1, 1, 2])
    np.testing.assert_array_equal(indices[:, 0], [2, 2, 1])
    assert (indices[~np.isfinite(distances)] == 3).all()
    stranger = nearest_others(points, frames, points, np.full(3, NO_FRAME), 1)
    np.testing.assert_array_equal(stranger[0], 0.0)


def test_whitened_coordinates_have_unit_variance() -> None:
    rng = np.random.default_rng(5)
    spread = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    x = (rng.normal(size=(500, 4)) * [100.0, 1.0, 0.1, 1e-3]) @ spread + 7.0
    z = Whitening.of(x)(x)
    assert z.shape == (500, 3)  # the last is noise
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-9)
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=1e-9)

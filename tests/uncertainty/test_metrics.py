"""Measures of predicted stds against known answers: the normal distribution, integrals, numbers worked out by hand."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray
from gapkit.uncertainty import UncertaintyMetrics, coverage, reliability_curve, uncertainty_metrics

N = 20_000
LEVELS = {"coverage68": 0.68, "coverage90": 0.90, "coverage95": 0.95}


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """Whatever comes in, nothing may be divided by zero unseen."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", UserWarning)
        yield


def oracle(*shape: int, seed: int = 1) -> tuple[FloatArray, FloatArray]:
    """Errors that are drawn from the stds given with them, which spread over a factor of about fifty."""
    rng = np.random.default_rng(seed)
    stds = np.exp(rng.uniform(-3, 1, shape))
    return stds * rng.standard_normal(shape), stds


def binomial_error(p: float) -> float:
    return 4 * np.sqrt(p * (1 - p) / N)


def test_perfect_stds_are_calibrated() -> None:
    errors, stds = oracle(N)
    metrics = uncertainty_metrics(errors, stds)
    assert metrics.n == N
    for name, level in LEVELS.items():
        assert getattr(metrics, name) == pytest.approx(level, abs=binomial_error(level))
    assert metrics.miscalibration_area < 0.01
    # |chi / sqrt(m) - 1| of a bin of m has mean sqrt(1 / (pi m))
    assert metrics.ence == pytest.approx(np.sqrt(1 / (np.pi * N / 10)), rel=0.6)
    assert metrics.nll == pytest.approx(np.mean(np.log(stds)) + 0.5 * np.log(2 * np.pi * np.e), abs=4 / np.sqrt(2 * N))
    assert metrics.sharpness == pytest.approx(np.sqrt(np.mean(stds**2)))
    # E of the CRPS of a perfect normal is std / sqrt(pi)
    assert metrics.crps == pytest.approx(np.mean(stds) / np.sqrt(np.pi), rel=0.03)
    assert metrics.spearman_ratio == pytest.approx(1.0, abs=0.03)
    assert metrics.interval_coverage90 is None


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_scaled_stds_have_the_coverage_of_the_scaled_quantile(factor: float) -> None:
    errors, stds = oracle(N)
    metrics = uncertainty_metrics(errors, factor * stds)
    for name, level in LEVELS.items():
        expected = 2 * norm.cdf(factor * norm.ppf(0.5 + level / 2)) - 1
        assert getattr(metrics, name) == pytest.approx(expected, abs=binomial_error(expected))
    area = quad(lambda p: abs(2 * norm.cdf(factor * norm.ppf(0.5 + p / 2)) - 1 - p), 0, 1)[0]
    assert metrics.miscalibration_area == pytest.approx(area, abs=0.01)
    assert metrics.ence == pytest.approx(abs(1 - 1 / factor), abs=0.02)
    penalty = np.log(factor) + 0.5 * (factor**-2 - 1)
    assert metrics.nll - uncertainty_metrics(errors, stds).nll == pytest.approx(penalty, abs=0.1)
    assert metrics.nll > uncertainty_metrics(errors, stds).nll
    assert metrics.crps > uncertainty_metrics(errors, stds).crps


@pytest.mark.parametrize(("error", "std"), [(0.0, 1.0), (0.3, 0.2), (-2.0, 0.5), (5.0, 0.01), (-0.1, 3.0)])
def test_scores_of_one_error(error: float, std: float) -> None:
    metrics = uncertainty_metrics(np.array([error]), np.array([std]))

    def integrand(x: float) -> float:
        return (norm.cdf(x / std) - (x >= error)) ** 2

    ends = [-9 * std - abs(error), *sorted([0.0, error]), 9 * std + abs(error)]
    numerical = sum(quad(integrand, a, b, points=[0.0])[0] for a, b in pairwise(ends) if a < b)
    assert metrics.crps == pytest.approx(numerical, rel=1e-6)
    assert metrics.nll == pytest.approx(-norm.logpdf(error, scale=std))
    assert metrics.sharpness == std
    assert (metrics.spearman, metrics.spearman_ratio, metrics.ence, metrics.auroc, metrics.enrichment) == (None,) * 5


def test_calibration_error_is_a_mean_over_bins_of_equal_count() -> None:
    """Two bins by hand; sorting by std matters, as does dividing by RMV rather than by RMSE."""
    stds = np.tile([1.0, 4.0], 10)
    errors = np.tile([-2.0, 4.0], 10)
    assert uncertainty_metrics(errors, stds).ence == pytest.approx((1.0 + 0.0) / 2)
    stds[0] = 0.5  # 0.25 + 9 x 1, root mean variance and not mean std
    assert uncertainty_metrics(errors, stds).ence == pytest.approx(abs(np.sqrt(0.925) - 2) / np.sqrt(0.925) / 2)
    assert uncertainty_metrics(errors[:9], stds[:9]).ence is None


def test_ranks_ignore_monotone_transformations() -> None:
    errors, stds = oracle(500)
    plain = uncertainty_metrics(errors, stds)
    bent = uncertainty_metrics(-np.sign(errors) * np.abs(errors) ** 3, np.log1p(stds))
    for name in ("spearman", "auroc", "enrichment"):
        assert getattr(bent, name) == pytest.approx(getattr(plain, name), rel=1e-12)
        assert getattr(plain, name) > {"spearman": 0.3, "auroc": 0.7, "enrichment": 2.0}[name]
    assert bent.nll != pytest.approx(plain.nll)


def test_ranks_by_hand() -> None:
    errors = np.array([1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0])
    perfect = uncertainty_metrics(errors, np.arange(1.0, 11.0))
    assert (perfect.spearman, perfect.auroc, perfect.enrichment) == pytest.approx((1.0, 1.0, 10.0))
    reverse = uncertainty_metrics(errors, np.arange(10.0, 0.0, -1.0))
    assert (reverse.spearman, reverse.auroc, reverse.enrichment) == pytest.approx((-1.0, 0.0, 0.0))
    assert reverse.spearman_ratio < -1  # an oracle does not reach 1
    swapped = uncertainty_metrics(errors, np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 10.0, 9.0, 8.0]))
    assert (swapped.spearman, swapped.auroc) == pytest.approx((1 - 6 * 8 / 990, 7 / 9))
    tied = uncertainty_metrics(errors, np.array([1.0] * 8 + [2.0] * 2))  # the largest is one of two
    assert (tied.auroc, tied.enrichment) == pytest.approx((8.5 / 9, 5.0))
    assert uncertainty_metrics(np.arange(19.0), np.arange(19.0)).enrichment == pytest.approx(19.0)  # one of 19


def test_enrichment_is_one_by_chance() -> None:
    rng = np.random.default_rng(0)
    values = [uncertainty_metrics(rng.standard_normal(104), rng.uniform(1, 2, 104)).enrichment for _ in range(200)]
    assert np.mean(values) == pytest.approx(1.0, abs=4 * np.std(values) / np.sqrt(200))


def test_equal_stds_rank_nothing() -> None:
    errors, _ = oracle(200)
    metrics = uncertainty_metrics(errors, np.full(200, 0.3))
    assert (metrics.spearman, metrics.spearman_ratio) == (None, None)
    assert (metrics.auroc, metrics.enrichment) == pytest.approx((0.5, 1.0))
    assert uncertainty_metrics(np.ones(200), oracle(200)[1]).auroc is None  # no error above the 90th percentile


def test_ratio_needs_an_oracle_that_can_rank() -> None:
    errors, _ = oracle(50)
    assert uncertainty_metrics(errors, 1 + 1e-9 * np.arange(50)).spearman_ratio is None


def test_ratio_corrects_for_the_noise_of_errors() -> None:
    """Perfect stds correlate far less than 1 with errors; the ratio is 1 nevertheless, and 0 for stds of no use."""
    metrics = uncertainty_metrics(*oracle(N, 3))
    assert metrics.spearman < 0.9
    assert metrics.spearman_ratio == pytest.approx(1.0, abs=0.03)
    errors, stds = oracle(N, 3)
    assert uncertainty_metrics(errors[::-1], stds).spearman_ratio == pytest.approx(0.0, abs=0.05)


def test_draws_follow_the_seed() -> None:
    errors, stds = oracle(50)
    ratios = [uncertainty_metrics(errors, stds, n_draws=2, random_state=seed).spearman_ratio for seed in (0, 0, 1)]
    assert ratios[0] == ratios[1] != ratios[2]
    assert uncertainty_metrics(errors, stds, n_draws=3).spearman_ratio != ratios[0]


def test_vectors_pool_components_and_rank_norms() -> None:
    errors, stds = oracle(400, 3)
    vectors = uncertainty_metrics(errors, stds, half_widths=1.5 * stds)
    pooled = uncertainty_metrics(errors.ravel(), stds.ravel(), half_widths=1.5 * stds.ravel())
    norms = uncertainty_metrics(np.sqrt((errors**2).sum(axis=1)), np.sqrt((stds**2).sum(axis=1)))
    by_component = {*LEVELS, "interval_coverage90", "miscalibration_area", "ence", "nll", "crps", "sharpness"}
    for name in by_component:
        assert getattr(vectors, name) == pytest.approx(getattr(pooled, name), rel=1e-12)
        assert name == "interval_coverage90" or getattr(vectors, name) != pytest.approx(getattr(norms, name), rel=1e-3)
    for name in ("spearman", "auroc", "enrichment"):
        assert getattr(vectors, name) == pytest.approx(getattr(norms, name), rel=1e-12)
        assert getattr(vectors, name) != pytest.approx(getattr(pooled, name), rel=1e-3)
    assert (vectors.n, pooled.n) == (400, 1200)


def test_one_component_is_a_scalar() -> None:
    errors, stds = oracle(100)
    column = uncertainty_metrics(errors[:, None], stds[:, None], half_widths=stds[:, None])
    scalar = uncertainty_metrics(errors, stds, half_widths=stds)
    assert column.to_dict() == pytest.approx(scalar.to_dict(), rel=1e-12)


@pytest.mark.parametrize("rounding", [0.0, 1e-13])
def test_exact_zeros_are_covered_and_left_out_of_the_likelihood(rounding: float) -> None:
    """Force components that vanish by symmetry: std exactly or nearly zero, the error as well."""
    errors, stds = oracle(50, 2)
    known = uncertainty_metrics(errors, stds)
    metrics = uncertainty_metrics(
        np.concatenate([errors, 3 * rounding * np.ones((50, 2))]), np.concatenate([stds, np.full((50, 2), rounding)])
    )
    assert (metrics.nll, metrics.ence) == pytest.approx((known.nll, known.ence), rel=1e-12)
    assert metrics.coverage68 == pytest.approx((1 + known.coverage68) / 2)
    assert metrics.crps == pytest.approx(known.crps / 2, abs=1e-12)
    expected, observed = reliability_curve(errors, stds)
    assert metrics.miscalibration_area == pytest.approx(np.mean(np.abs((1 + observed) / 2 - expected)))
    assert metrics.sharpness == pytest.approx(known.sharpness / np.sqrt(2))


def test_nothing_but_zeros() -> None:
    metrics = uncertainty_metrics(np.zeros((20, 3)), np.zeros((20, 3)))
    assert (metrics.coverage68, metrics.crps, metrics.sharpness) == (1.0, 0.0, 0.0)
    assert (metrics.nll, metrics.ence, metrics.spearman, metrics.spearman_ratio, metrics.auroc) == (None,) * 5
    assert metrics.miscalibration_area == pytest.approx(0.5)


def test_zero_std_with_an_error_is_infinitely_unlikely() -> None:
    errors, stds = oracle(100)
    stds[7], errors[7] = 0.0, 1e-3
    metrics = uncertainty_metrics(errors, stds)
    assert metrics.nll == np.inf
    assert np.isfinite([metrics.crps, metrics.ence, metrics.spearman, metrics.spearman_ratio, metrics.auroc]).all()
    blind = uncertainty_metrics(errors, np.zeros(100))
    assert (blind.nll, blind.ence, blind.coverage95) == (np.inf, np.inf, 0.0)
    assert blind.crps == pytest.approx(np.mean(np.abs(errors)))
    assert blind.miscalibration_area == pytest.approx(0.5)


@pytest.mark.parametrize("std", [1e-200, 5e-324])
def test_hardly_any_std_neither_overflows_nor_is_nan(std: float) -> None:
    metrics = uncertainty_metrics(np.ones(20), np.full(20, std))
    assert (metrics.nll, metrics.crps, metrics.coverage95) == (np.inf, 1.0, 0.0)


def test_reliability_curve_by_hand() -> None:
    z = norm.ppf(0.5 + np.array([0.2, 0.4, 0.6, 0.8]) / 2)  # errors that just these central intervals hold
    stds = np.array([0.1, 1.0, 2.0, 3.0])
    expected, observed = reliability_curve(z * stds * [1, -1, 1, -1], stds, n_levels=5)
    np.testing.assert_allclose(expected, [0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(observed, [0.0, 0.25, 0.5, 0.75, 1.0])
    errors, stds = oracle(N, 2)
    expected, observed = reliability_curve(errors, stds)
    assert expected.shape == observed.shape == (100,)
    np.testing.assert_allclose(observed, expected, atol=0.02)


def test_coverage_counts_the_edge_and_infinite_widths() -> None:
    errors = np.array([1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 1e-14, 1e-6])
    widths = np.array([1.0, 1.0, 1.9, 2.1, 1.0, np.inf, 0.0, 0.0])
    assert coverage(errors, widths) == 5 / 8
    assert uncertainty_metrics(errors, np.ones(8), half_widths=widths).interval_coverage90 == 5 / 8


ONE, TWO = np.ones(1), np.ones(2)
NAN = np.array([1.0, np.nan])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uncertainty_metrics(TWO, ONE), r"`stds` must have the shape of `errors`, \(2,\), got \(1,\)"),
        (lambda: uncertainty_metrics(TWO[:, None], TWO), "must have the shape of `errors`"),
        (lambda: uncertainty_metrics(ONE[:0], ONE[:0]), "hold a value"),
        (lambda: uncertainty_metrics(np.ones((2, 2, 2)), np.ones((2, 2, 2))), r"shape \(n,\) or \(n, c\)"),
        (lambda: uncertainty_metrics(NAN, TWO), "`errors` must be finite, got nan at index 1"),
        (lambda: uncertainty_metrics(np.array([[0.0, np.inf]]), np.ones((1, 2))), r"got inf at index \(0, 1\)"),
        (lambda: uncertainty_metrics(TWO, NAN), "`stds` must be finite and >= 0, got nan at index 1"),
        (lambda: uncertainty_metrics(TWO, -TWO), "`stds` must be finite and >= 0, got -1.0 at index 0"),
        (lambda: uncertainty_metrics(TWO, np.inf * TWO), "`stds` must be finite and >= 0, got inf"),
        (lambda: uncertainty_metrics(TWO, TWO, half_widths=-TWO), "`half_widths` must be >= 0, got -1.0"),
        (lambda: uncertainty_metrics(TWO, TWO, half_widths=ONE), "`half_widths` must have the shape"),
        (lambda: uncertainty_metrics(TWO, TWO, n_draws=0), "`n_draws` must be a whole number >= 1, got 0"),
        (lambda: reliability_curve(TWO, -TWO), "`stds` must be"),
        (lambda: reliability_curve(TWO, TWO, n_levels=0), "`n_levels` must be a whole number >= 1, got 0"),
        (lambda: coverage(TWO, NAN), "`half_widths` must be >= 0, got nan"),
    ],
)
def test_unusable_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_to_dict_holds_plain_numbers_only() -> None:
    numbers = uncertainty_metrics(*oracle(100, 3), half_widths=np.ones((100, 3))).to_dict()
    assert list(numbers) == [field.name for field in fields(UncertaintyMetrics)]
    assert {type(value) for value in numbers.values()} == {int, float}
    assert json.loads(json.dumps(numbers)) == numbers

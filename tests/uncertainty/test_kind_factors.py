"""Factors of error bars by kind: planted errors, few configurations, and coverage by kind on fresh draws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import t

from gapkit.io.arrays import Arrays, Given
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.calibration import Calibration, Labels, Structures, fit_calibration
from gapkit.uncertainty.kind_factors import (
    COMMON_OF_MANY,
    COMMON_OF_ONE,
    LARGEST_SCORE,
    LIMITS,
    MANY,
    KindFactors,
    kind_factors,
    widening,
)
from gapkit.uncertainty.scale import LEVEL, Z

NAMES = ("bulk", "surface", "melt")
SIZES = (1.0, 2.0, 0.5)  # of their errors for their variances
ATOMS = 8


def scores_of_kinds(counts: list[int], sizes: list[float], *, values: int = 3 * ATOMS) -> tuple[FloatArray, IntArray]:
    """Quantiles of |normal| times the size of each kind, the same for every configuration, and their frames."""
    of_one = np.abs(t(np.inf).ppf(0.5 + 0.5 * (np.arange(values) + 0.5) / values))
    scores = np.concatenate([np.tile(size * of_one, n) for n, size in zip(counts, sizes, strict=True)])
    return scores.reshape(-1, 1), np.repeat(np.arange(sum(counts)), values)


# ---------------------------------------------------------------------- the factors


def test_planted_errors_are_found() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 600)
    frames = np.repeat(np.arange(600), ATOMS)
    scores = np.array(SIZES)[kinds[frames], None] * np.abs(rng.standard_normal((len(frames), 3)))
    found, counts = kind_factors(scores, frames, kinds, 3)
    np.testing.assert_array_equal(counts, np.bincount(kinds))
    # the noise of 90 % quantiles of 4800 numbers
    np.testing.assert_allclose(found / found[0], SIZES, rtol=0.06)
    # only the errors of kinds next to each other matter
    np.testing.assert_allclose(kind_factors(1e3 * scores, frames, kinds, 3)[0], found)


@pytest.mark.parametrize("n", [1, 2, 6, 50])
def test_few_configurations_are_shrunk_to_the_common_level(n: int) -> None:
    scores, frames = scores_of_kinds([10_000, n], [1.0, 2.0])
    found, counts = kind_factors(scores, frames, np.repeat([0, 1], [10_000, n]), 2)
    np.testing.assert_array_equal(counts, [10_000, n])
    assert found[0] == pytest.approx(1.0, abs=0.02)
    assert found[1] == pytest.approx(2.0 ** (n / (n + COMMON_OF_MANY)), rel=0.03)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_configurations_of_one_value_are_shrunk_more(n: int) -> None:
    """All values of the kind are 1.5 of the common level."""
    scores = np.abs(np.random.default_rng(1).standard_normal((20_000 + n, 1)))
    scores[20_000:] = 1.5 * np.quantile(scores[:20_000], LEVEL) / Z
    found, _ = kind_factors(scores, np.arange(20_000 + n), np.repeat([0, 1], [20_000, n]), 2)
    assert found[1] == pytest.approx(1.5 ** (n / (n + COMMON_OF_ONE)), rel=2e-3)


def test_ten_values_of_a_configuration_are_many() -> None:
    for values, common in ((MANY - 1, COMMON_OF_ONE), (MANY, COMMON_OF_MANY)):
        scores = np.ones((20_000 * values + 5 * values, 1)) * Z
        scores[-5 * values :] *= 2.0
        frames = np.arange(len(scores)) // values
        found, _ = kind_factors(scores, frames, np.repeat([0, 1], [20_000, 5]), 2)
        # of few the root mean square of 2 Z, or of the largest score that counts
        level = LARGEST_SCORE if common == COMMON_OF_ONE else 2.0
        assert found[1] == pytest.approx(level ** (5 / (5 + common)), rel=1e-6)


def test_one_gross_value_counts_as_three() -> None:
    scores = np.full((5001, 1), Z)
    scores[-1] = 1e6
    found, _ = kind_factors(scores, np.arange(5001), np.repeat([0, 1], [5000, 1]), 2)
    assert found[1] == pytest.approx(LARGEST_SCORE ** (1 / (1 + COMMON_OF_ONE)))


def test_factors_have_limits() -> None:
    scores, frames = scores_of_kinds([5000, 300, 300], [1.0, 1e3, 1e-3])
    found, _ = kind_factors(scores, frames, np.repeat([0, 1, 2], [5000, 300, 300]), 3)
    np.testing.assert_array_equal(found[1:], LIMITS[::-1])


@pytest.mark.parametrize("zero", [0.0, 1e-9])
def test_zeros_by_symmetry_do_not_count(zero: float) -> None:
    """Nine of ten components of the second kind vanish, but for rounding."""
    scores, frames = scores_of_kinds([200, 60], [1.0, 2.0])
    kinds = np.repeat([0, 1], [200, 60])
    expected, _ = kind_factors(scores, frames, kinds, 2)
    own = np.flatnonzero(kinds[frames] == 1)
    with_zeros = np.concatenate([scores, np.full((9 * len(own), 1), zero)])
    found, counts = kind_factors(with_zeros, np.concatenate([frames, np.repeat(frames[own], 9)]), kinds, 2)
    np.testing.assert_allclose(found, expected)
    np.testing.assert_array_equal(counts, [200, 60])


def test_nothing_is_learned_from_nothing() -> None:
    kinds = np.array([0, 0, 2, -1])
    for scores in (np.zeros((4, 1)), np.zeros((0, 1))):
        frames = np.arange(len(scores))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found, counts = kind_factors(scores, frames, kinds, 3)
        np.testing.assert_array_equal(found, 1.0)
        np.testing.assert_array_equal(counts, [2, 0, 1] if len(scores) else 0)
    found, counts = kind_factors(np.ones((4, 1)), np.arange(4), kinds, 3)
    assert found[1] == 1.0
    assert kind_factors(np.ones((4, 1)), np.arange(4), kinds, 0)[0].shape == (0,)


# ---------------------------------------------------------------------- widening


def test_widening_decreases_to_one() -> None:
    """Student's quantile over that for all configurations; the last kind has all but a few."""
    counts = np.array([1, 2, 3, 5, 10, 20, 50, 10**6])
    found = widening(counts)
    assert (np.diff(found) < 0.0).all()
    np.testing.assert_allclose(found[-1], 1.0, atol=1e-6)
    degrees = counts + COMMON_OF_MANY
    np.testing.assert_allclose(found, t(degrees).ppf(0.95) / t(degrees.sum()).ppf(0.95), rtol=1e-6)
    np.testing.assert_allclose(found[:2], [2.0150 / Z, 1.9432 / Z], rtol=1e-4)  # tables


def test_a_kind_without_configurations_or_alone_is_not_wider() -> None:
    np.testing.assert_allclose(widening(np.array([0, 7])), 1.0)
    np.testing.assert_array_equal(widening(np.array([0])), 1.0)
    assert widening(np.zeros(0, np.int64)).shape == (0,)


# ---------------------------------------------------------------------- their use


@pytest.fixture
def factors() -> KindFactors:
    return KindFactors(NAMES, np.array([40, 12, 0]), {"forces": np.array([0.9, 1.5, 1.0])})


def test_factors_of_structures(factors: KindFactors) -> None:
    kinds = np.array([1, 0, 2, -1, 3, 1])
    np.testing.assert_array_equal(factors.of("forces", kinds), [1.5, 0.9, 1.0, 1.0, 1.0, 1.5])
    np.testing.assert_array_equal(factors.of("stress", kinds), 1.0)


def test_in_words(factors: KindFactors) -> None:
    assert factors.in_words("forces") == "bulk 0.90 (40), surface 1.50 (12)"
    assert factors.in_words("stress") == ""


def test_arrays_and_back(factors: KindFactors) -> None:
    arrays = Arrays(Given(factors.to_arrays()), {})
    after = KindFactors.from_arrays(arrays, NAMES, dict.fromkeys(("energy", "forces", "stress")))
    arrays.check_all_taken()
    assert after.names == NAMES
    np.testing.assert_array_equal(after.counts, factors.counts)
    assert list(after.factors) == ["forces"]
    np.testing.assert_array_equal(after.factors["forces"], factors.factors["forces"])


# ---------------------------------------------------------------------- coverage by kind


class Frames:
    """Frames of three kinds; errors of each are so many times what their variances tell."""

    def __init__(self, of_each: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n = 3 * of_each
        self.kinds: IntArray = np.repeat(np.arange(3), of_each)
        self.frame_of_atom: IntArray = np.repeat(np.arange(n), ATOMS)
        self.residuals = {}
        for name, frames, c in (("energy", np.arange(n), 1), ("forces", self.frame_of_atom, 3)):
            data = np.exp(rng.uniform(-2, 2, (len(frames), c)))
            errors = np.array(SIZES)[self.kinds[frames], None] * np.sqrt(data) * rng.standard_normal(data.shape)
            self.residuals[name] = (frames, errors, data)

    def calibration(self, names: tuple[str, ...]) -> Calibration:
        kinds = self.kinds if names else np.full(len(self.kinds), -1)
        n = len(self.frame_of_atom)
        labels = {name: Labels(*part, np.ones(len(part[0]), bool)) for name, part in self.residuals.items()}
        structures = Structures(np.full(n, 14), np.zeros(n), {}, np.arange(n), kinds, names)
        return fit_calibration(labels, structures, "frames")

    def scores(self, calibration: Calibration, name: str) -> tuple[FloatArray, IntArray]:
        """|error| / sigma_cal (n, c) and kinds (n,)."""
        frames, errors, data = self.residuals[name]
        m = calibration.factors(name, {}, self.frame_of_atom, self.kinds)
        return np.abs(errors) / np.sqrt(calibration.known_variances(name, data, m)), self.kinds[frames]


@pytest.mark.parametrize(("name", "of_each"), [("energy", 200), ("forces", 40)])
def test_coverage_by_kind_on_fresh_draws(name: str, of_each: int) -> None:
    learned, new = Frames(of_each, 1), Frames(500, 2)
    n_learned = of_each * (1 if name == "energy" else 3 * ATOMS)
    n_new = 500 * (1 if name == "energy" else 3 * ATOMS)
    # binomial errors of both samples, and what the shrinkage of the factor 2 takes from the coverage
    common = COMMON_OF_ONE if name == "energy" else COMMON_OF_MANY
    shrinkage = 0.34 * np.log(2.0) * common / of_each
    bound = 3.0 * np.sqrt(LEVEL * (1.0 - LEVEL) * (1.0 / n_learned + 1.0 / n_new)) + shrinkage
    by_kind, pooled = learned.calibration(NAMES), learned.calibration(())
    far = 0
    for kind in range(3):
        covered = []
        for calibration in (by_kind, pooled):
            scores, kinds = new.scores(calibration, name)
            covered.append(float(np.mean(scores[kinds == kind] <= Z)))
        assert covered[0] == pytest.approx(LEVEL, abs=bound)
        far += abs(covered[1] - LEVEL) > bound
    assert far == 3
    # intervals as well, at any level
    scores, kinds = new.scores(by_kind, name)
    groups = (np.full(len(scores), 14), np.zeros(len(scores))) if name == "forces" else (None, None)
    for level in (0.68, 0.95):
        width = by_kind.intervals[name].factors(level, *groups)[:, None]
        for kind in range(3):
            assert np.mean((scores <= width)[kinds == kind]) == pytest.approx(level, abs=0.07)


@pytest.mark.parametrize("name", ["energy", "forces"])
def test_bars_of_a_kind_with_twice_the_errors_are_twice_as_wide(name: str) -> None:
    calibration = Frames(200, 3).calibration(NAMES)
    m = calibration.kinds.of(name, np.arange(3))
    common = COMMON_OF_ONE if name == "energy" else COMMON_OF_MANY
    expected = np.array(SIZES) ** (200 / (200 + common))
    np.testing.assert_allclose(m / m[0], expected, rtol=0.16 if name == "energy" else 0.05)
    np.testing.assert_array_equal(calibration.kinds.counts, 200)

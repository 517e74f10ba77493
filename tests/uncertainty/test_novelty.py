"""Thresholds of novelty: tails of known distributions, planted outliers, and the rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from gapkit.exceptions import InputError
from gapkit.io.arrays import Arrays, Given
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.averages import FrameAverages, KnownAverages
from gapkit.uncertainty.extrapolation import Extrapolation
from gapkit.uncertainty.neighbourhoods import Vectors
from gapkit.uncertainty.novelty import FALSE_ALARM, FRAMES_PER_ATOM, NO_ATOM, KnownSpecies, NoveltyDetector
from gapkit.uncertainty.tail import TAIL, Tail

SPECIES = (6, 14)
PAIRS = {(6, 6): 1.3, (6, 14): 1.7, (14, 14): 2.1}


# ---------------------------------------------------------------------- tails


@pytest.mark.parametrize("exponent", [0.2, 1.0, 2.0])
def test_power_laws_are_continued_exactly(exponent: float) -> None:
    """P(value > v) = v^(-1 / exponent); the sample is its quantiles, so only Hill's estimate of a grid is inexact."""
    n = 20_000
    tail = Tail.of(((np.arange(n) + 0.5) / n) ** -exponent)
    assert tail.part == pytest.approx(TAIL)
    assert tail.exponent == pytest.approx(exponent, rel=2e-3)
    for rate in (0.03, 1e-3, 1e-6):
        assert tail.threshold(rate) == pytest.approx(rate**-exponent, rel=0.03)


def test_random_power_law() -> None:
    values = np.random.default_rng(0).pareto(2.0, 50_000) + 1.0
    assert Tail.of(values).threshold(1e-4) == pytest.approx(100.0, rel=0.15)


DISTRIBUTIONS = {
    "normal": lambda rng, n: np.abs(rng.standard_normal(n)),
    "lognormal": lambda rng, n: np.exp(2.0 * rng.standard_normal(n)),
    "tiny": lambda rng, n: 1e-8 * rng.exponential(size=n) ** 2,
    "exponential": lambda rng, n: rng.exponential(size=n),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_exceedance_within_the_sample(name: str) -> None:
    draw, rng = DISTRIBUTIONS[name], np.random.default_rng(1)
    tail, new = Tail.of(draw(rng, 4000)), draw(rng, 200_000)
    for rate in (TAIL, 0.02, 0.01):
        assert np.mean(new > tail.threshold(rate)) == pytest.approx(rate, rel=0.35)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_thresholds_rise_as_the_rate_falls(name: str) -> None:
    tail = Tail.of(DISTRIBUTIONS[name](np.random.default_rng(1), 1000))
    thresholds = np.array([tail.threshold(rate) for rate in np.geomspace(1e-8, tail.part, 50)])
    assert (np.diff(thresholds) < 0).all()
    assert tail.threshold(tail.part) == tail.threshold(0.5) == tail.start


def test_few_and_degenerate_samples() -> None:
    assert Tail.of(np.zeros(0)).threshold(1e-3) > 0.0
    assert Tail.of(np.array([2.0])).threshold(1e-3) > 2.0
    three = Tail.of(np.array([1.0, 2.0, 4.0]))
    # both upper values are the tail: mean log 2, log 4
    assert (three.part, three.start, three.exponent) == pytest.approx((2 / 3, 1.0, 1.5 * np.log(2)))
    for values in (np.zeros(500), np.full(500, 3.0)):
        threshold = Tail.of(values).threshold(FALSE_ALARM)
        assert values.max() < threshold < 1.05 * values.max() + 1e-9


# ---------------------------------------------------------------------- the detector


def sample(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray]:
    """Vectors (n, 4) on very different scales, and novelties of a skew distribution."""
    return rng.normal(size=(n, 4)) * [10.0, 1.0, 0.3, 0.1] + 5.0, 1e-4 * np.exp(rng.standard_normal(n))


@pytest.fixture(scope="module")
def detector() -> NoveltyDetector:
    rng = np.random.default_rng(0)
    frames = np.arange(3000) // 10
    species = {}
    for z in SPECIES:
        x, novelty = sample(rng, len(frames))
        species[z] = KnownSpecies.of(x, frames, novelty)
    return NoveltyDetector(species, PAIRS)


def look(
    detector: NoveltyDetector, numbers: IntArray, x: FloatArray, novelty: FloatArray, *,
    pair: FloatArray | None = None, false_alarm: float = FALSE_ALARM,
) -> Extrapolation:  # fmt: skip
    """Two atoms a frame, far from each other unless `pair` says otherwise."""
    vectors = {z: (np.flatnonzero(numbers == z), x[numbers == z]) for z in SPECIES}
    frame_of_atom = np.arange(len(numbers)) // 2
    pair = np.full(len(numbers), np.inf) if pair is None else pair
    return detector.detect(numbers, novelty, vectors, pair, frame_of_atom, int(frame_of_atom[-1]) + 1, false_alarm)


@pytest.mark.parametrize("rate", [0.05, 0.02, 0.005])
def test_false_alarms_on_fresh_draws(detector: NoveltyDetector, rate: float) -> None:
    rng = np.random.default_rng(9)
    x, novelty = sample(rng, 40_000)
    found = look(detector, np.tile(SPECIES, 20_000), x, novelty, false_alarm=rate)
    assert 0.4 * rate < found.atoms.mean() < 2.0 * rate
    assert found.false_alarm == rate
    # both signs contribute their half
    for part in (found.novelty, found.distance):
        assert 0.15 * rate < np.mean(part > 1.0) < 1.2 * rate
    np.testing.assert_array_equal(found.frames, found.atoms.reshape(-1, 2).any(axis=1))


def test_the_default_rate_is_low(detector: NoveltyDetector) -> None:
    found = look(detector, np.tile(SPECIES, 5000), *sample(np.random.default_rng(9), 10_000))
    assert found.atoms.mean() < 2e-3
    assert found.false_alarm == 1e-3


def test_outliers_are_flagged_and_others_not(detector: NoveltyDetector) -> None:
    rng = np.random.default_rng(3)
    numbers = np.tile(SPECIES, 20)
    x, novelty = sample(rng, 40)
    x, novelty = x * 0.5 + 2.5, novelty * 0.5  # well inside
    assert not look(detector, numbers, x, novelty).atoms.any()
    x[3] += [0.0, 0.0, 0.0, 1.5]  # fifteen stds, along the narrowest axis
    novelty[10] = 0.1
    found = look(detector, numbers, x, novelty)
    np.testing.assert_array_equal(np.flatnonzero(found.atoms), [3, 10])
    np.testing.assert_array_equal(np.flatnonzero(found.frames), [1, 5])
    assert (found.distance[3] > 1.0) & (found.novelty[3] < 1.0)
    assert (found.distance[10] < 1.0) & (found.novelty[10] > 1.0)


def test_distances_are_mahalanobis_distances_to_the_nearest() -> None:
    rng = np.random.default_rng(4)
    x, novelty = sample(rng, 300)
    known = KnownSpecies.of(x, np.arange(300), novelty)
    query = sample(rng, 7)[0]
    inverse = np.linalg.inv(np.cov(x.T))
    differences = query[:, None] - x[None]
    expected = np.sqrt(np.einsum("qni,ij,qnj->qn", differences, inverse, differences).min(axis=1))
    found, which = known.nearest(query)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(known.whitening(query) - known.points[which], axis=1), expected)
    found, which = known.nearest(x[:5])
    np.testing.assert_allclose(found, 0.0, atol=1e-9)
    np.testing.assert_array_equal(which, np.arange(5))


def test_atoms_of_the_same_frame_are_not_near_each_other() -> None:
    """Frames of ten twins: distances that set the threshold are those to other frames."""
    x, novelty = sample(np.random.default_rng(5), 50)
    alone = KnownSpecies.of(x, np.arange(50), novelty)
    twins = KnownSpecies.of(np.repeat(x, 10, axis=0), np.arange(500) // 10, novelty)
    assert twins.distance.start > 0.1 * alone.distance.start
    assert twins.distance.threshold(FALSE_ALARM) > 0.1


def test_numbers_are_in_units_of_the_thresholds(detector: NoveltyDetector) -> None:
    numbers = np.array([6, 14])
    for rate in (1e-3, 0.05):
        thresholds = detector.thresholds(rate)
        novelty = np.array([thresholds[z][0] for z in SPECIES])
        x = sample(np.random.default_rng(6), 2)[0]
        found = look(detector, numbers, x, 3.0 * novelty, false_alarm=rate)
        np.testing.assert_allclose(found.novelty, 3.0)
        expected = [detector.species[z].nearest(x[[i]])[0][0] / thresholds[z][1] for i, z in enumerate(SPECIES)]
        np.testing.assert_allclose(found.distance, expected)
    assert detector.thresholds(1e-3)[6][0] > detector.thresholds(0.05)[6][0]
    # each sign has half of the rate
    known = detector.species[6]
    assert detector.thresholds(0.01)[6] == (known.novelty.threshold(0.005), known.distance.threshold(0.005))


def test_pairs(detector: NoveltyDetector) -> None:
    """Unknown pairs have ratio 0; those a little closer than any known are let pass."""
    numbers = np.tile(SPECIES, 3)
    x, novelty = np.full((6, 4), 5.0), np.zeros(6)
    found = look(detector, numbers, x, novelty, pair=np.array([0.0, 0.9, 0.979, 0.981, 1.0, np.inf]))
    np.testing.assert_array_equal(found.atoms, [True, True, True, False, False, False])
    np.testing.assert_array_equal(found.frames, [True, True, False])


def test_unknown_species_are_flagged_unless_nothing_is_known(detector: NoveltyDetector) -> None:
    numbers = np.array([6, 8])
    found = look(detector, numbers, np.full((2, 4), 5.0), np.zeros(2))
    np.testing.assert_array_equal(found.atoms, [False, True])
    assert found.novelty[1] == np.inf
    assert np.isnan(found.distance[1])
    blind = NoveltyDetector({}, PAIRS).detect(
        numbers, np.full(2, np.nan), {}, np.array([1.2, 0.5]), np.zeros(2, int), 1, FALSE_ALARM
    )
    np.testing.assert_array_equal(blind.atoms, [False, True])
    assert np.isnan(blind.novelty).all()


def test_frames_without_a_flag_are_counted(detector: NoveltyDetector) -> None:
    numbers = np.tile(SPECIES, 4)
    novelty = np.array([1.0, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(
        look(detector, numbers, np.full((8, 4), 5.0), novelty).frames, [True, False, False, False]
    )


@pytest.mark.parametrize("rate", [0.0, -1e-3, 0.051, 1.0, np.nan])
def test_rates_are_checked(detector: NoveltyDetector, rate: float) -> None:
    with pytest.raises(InputError, match=r"`false_alarm` must be > 0 and at most 0\.05"):
        detector.thresholds(rate)


@pytest.mark.parametrize("empty", [False, True])
def test_arrays_and_back(detector: NoveltyDetector, empty: bool) -> None:
    before = NoveltyDetector({}, {}) if empty else detector
    dimensions = {z: len(known.whitening.mean) for z, known in before.species.items()}
    after = NoveltyDetector.from_arrays(Arrays(Given(before.to_arrays()), {}), dimensions)
    assert after.pairs == before.pairs
    assert list(after.species) == list(before.species)
    for z, known in before.species.items():
        other = after.species[z]
        assert (other.novelty, other.distance) == (known.novelty, known.distance)
        for name in ("points", "frames"):
            np.testing.assert_array_equal(getattr(other, name), getattr(known, name))
    if not empty:
        numbers, (x, novelty) = np.tile(SPECIES, 50), sample(np.random.default_rng(7), 100)
        one, two = look(before, numbers, x, novelty), look(after, numbers, x, novelty)
        for name in ("novelty", "distance", "pair", "atoms", "frames"):
            np.testing.assert_array_equal(getattr(two, name), getattr(one, name))


def test_normal_distances_need_no_infinite_threshold() -> None:
    """A power law is a cautious continuation of a normal tail, yet within a factor of three at the default rate."""
    tail = Tail.of(np.abs(np.random.default_rng(8).standard_normal(4000)))
    exact = norm.ppf(1 - 0.25e-3)
    assert 0.95 * exact < tail.threshold(0.5e-3) < 3.0 * exact


def test_vectors_that_are_all_the_same() -> None:
    x = np.ones((20, 4))
    known = KnownSpecies.of(x, np.arange(20), np.zeros(20))
    assert not np.isnan(known.nearest(x)[0]).any()


# ---------------------------------------------------------------------- a detector that knows averages


def environments(n_frames: int, seed: int) -> tuple[Vectors, IntArray, IntArray]:
    """Vectors of frames of six atoms of both species, their atomic numbers and frames."""
    numbers = np.tile([6, 14, 14], 2 * n_frames)
    x, _ = sample(np.random.default_rng(seed), len(numbers))
    vectors = {z: (np.flatnonzero(numbers == z), x[numbers == z]) for z in SPECIES}
    return vectors, numbers, np.arange(len(numbers)) // 6


@pytest.fixture(scope="module")
def whole() -> NoveltyDetector:
    vectors, _, frames = environments(60, 10)
    within = np.arange(len(frames)) % 6
    species = {z: KnownSpecies.of(x, frames[own], np.full(60, 1e-3), within[own]) for z, (own, x) in vectors.items()}
    averages = FrameAverages.of(vectors, frames, 60)
    known = KnownAverages.of(averages, np.arange(60)).learned(averages, np.ones(60, bool), np.arange(60) % 4)
    return NoveltyDetector(species, PAIRS, known)


def compare(detector: NoveltyDetector, vectors: Vectors, numbers: IntArray, frames: IntArray) -> Extrapolation:
    n = len(numbers)
    return detector.detect(numbers, np.full(n, 1e-5), vectors, np.full(n, np.inf), frames, int(frames[-1]) + 1)


SIGNS = ("novelty", "distance", "pair", "average", "atoms", "frames", "nearest_frame", "nearest_atom", "kinds")


@pytest.mark.parametrize("rate", [1e-3, 0.01])
def test_averages_are_in_units_of_their_threshold(whole: NoveltyDetector, rate: float) -> None:
    vectors, numbers, frames = environments(20, 15)
    n = len(numbers)
    found = whole.detect(numbers, np.zeros(n), vectors, np.full(n, np.inf), frames, 40, rate)
    assert whole.averages is not None
    signs, kinds = whole.averages.signs(FrameAverages.of(vectors, frames, 40))
    np.testing.assert_allclose(found.average, signs / whole.averages.tail.threshold(FRAMES_PER_ATOM * rate))
    np.testing.assert_array_equal(found.kinds, kinds)


def test_a_detector_with_averages_is_kept_in_files(whole: NoveltyDetector) -> None:
    arrays = Arrays(Given(whole.to_arrays()), {})
    after = NoveltyDetector.from_arrays(arrays, dict.fromkeys(SPECIES, 4))
    arrays.check_all_taken()
    new = environments(20, 11)
    one, two = compare(whole, *new), compare(after, *new)
    for name in SIGNS:
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))
    assert (one.kinds >= 0).all()
    assert (one.nearest_atom >= 0).all()


def test_files_of_before_know_neither_averages_nor_atoms(whole: NoveltyDetector) -> None:
    arrays = {k: part for k, part in whole.to_arrays().items() if not k.startswith(("average_", "atoms_"))}
    before = NoveltyDetector.from_arrays(Arrays(Given(arrays), {}), dict.fromkeys(SPECIES, 4))
    new = environments(20, 11)
    one, two = compare(whole, *new), compare(before, *new)
    for name in ("novelty", "distance", "atoms", "nearest_frame"):
        np.testing.assert_array_equal(getattr(two, name), getattr(one, name))
    assert np.isnan(two.average).all()
    np.testing.assert_array_equal(two.kinds, -1)
    np.testing.assert_array_equal(two.nearest_atom, NO_ATOM)
    assert before.average_threshold() == np.inf


def test_new_training_frames_are_known(whole: NoveltyDetector) -> None:
    """They are nearest to themselves, under their numbers; thresholds stay, and pairs come closer."""
    vectors, numbers, frames = environments(5, 12)
    far = {z: (own, x + 30.0) for z, (own, x) in vectors.items()}
    assert compare(whole, far, numbers, frames).atoms.all()
    grown = whole.with_known(far, frames, 5, 60, {(6, 6): 1.0, (6, 14): 9.0, (8, 8): 2.0})
    found = compare(grown, far, numbers, frames)
    assert not found.frames.any()
    np.testing.assert_allclose(found.distance, 0.0, atol=1e-6)
    np.testing.assert_allclose(found.average, 0.0, atol=1e-6)
    np.testing.assert_array_equal(found.nearest_frame, 60 + frames)
    np.testing.assert_array_equal(found.nearest_atom, np.arange(30) % 6)
    assert grown.thresholds() == whole.thresholds()
    assert grown.average_threshold() == whole.average_threshold()
    assert grown.pairs == PAIRS | {(6, 6): 1.0, (8, 8): 2.0}


def test_the_same_signs_in_other_coordinates(whole: NoveltyDetector) -> None:
    """x = x' B, of species 14 alone."""
    B = np.linalg.qr(np.random.default_rng(13).normal(size=(6, 4)))[0]
    vectors, numbers, frames = environments(20, 14)
    others = vectors | {14: (vectors[14][0], vectors[14][1] @ B.T)}
    one, two = compare(whole, vectors, numbers, frames), compare(whole.turned({14: B}), others, numbers, frames)
    for name in SIGNS:
        np.testing.assert_allclose(getattr(two, name), getattr(one, name), rtol=1e-6)

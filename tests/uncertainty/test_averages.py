"""Averages of frames: strained crystals among thermal ones, near-twins, standard errors, and a search through all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.io.arrays import Arrays, Given
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.averages import N_NEAREST, NO_KIND, RESOLUTION, SMALL_FRAMES, FrameAverages, KnownAverages
from gapkit.uncertainty.neighbourhoods import Vectors
from gapkit.uncertainty.novelty import KnownSpecies, NoveltyDetector
from gapkit.uncertainty.tail import Tail

D = 6
N_TRAINING = 80


def thermal(rng: np.random.Generator, n_frames: int, n_atoms: int) -> tuple[FloatArray, IntArray]:
    """Vectors (n, D) of thermal frames on axes of different widths, and their frames."""
    widths = np.array([1.0, 0.8, 0.6, 0.5, 0.4, 0.3])
    return 2.0 + widths * rng.standard_normal((n_frames * n_atoms, D)), np.repeat(np.arange(n_frames), n_atoms)


def averages_of(x: FloatArray, frames: IntArray) -> FrameAverages:
    return FrameAverages.of({14: (np.arange(len(x)), x)}, frames, int(frames[-1]) + 1)


@pytest.fixture(scope="module")
def training() -> tuple[FloatArray, IntArray]:
    return thermal(np.random.default_rng(0), N_TRAINING, 64)


@pytest.fixture(scope="module")
def known(training: tuple[FloatArray, IntArray]) -> KnownAverages:
    return KnownAverages.of(averages_of(*training), np.arange(N_TRAINING))


def alloy(rng: np.random.Generator, n_frames: int) -> tuple[Vectors, IntArray]:
    """Frames of five to nine atoms of two species, vectors of lengths three and four; some lack the second."""
    sizes = rng.integers(5, 10, n_frames)
    frames = np.repeat(np.arange(n_frames), sizes)
    second = (rng.random(len(frames)) < 0.4) & (frames % 4 > 0)
    return {
        z: (np.flatnonzero(own), rng.normal(size=(np.count_nonzero(own), d)) + z)
        for z, own, d in ((6, ~second, 3), (14, second, 4))
    }, frames


# ---------------------------------------------------------------------- averages of frames


def test_averages_by_hand() -> None:
    """Sums per atom of the frame, whatever the species; the scatter is within each species."""
    vectors = {
        6: (np.array([0, 1, 3]), np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 5.0]])),
        14: (np.array([2]), np.array([[8.0]])),
    }
    found = FrameAverages.of(vectors, np.array([0, 0, 0, 1]), 3)
    np.testing.assert_allclose(found.means[6], [[4 / 3, 4 / 3], [5.0, 5.0], [0.0, 0.0]])
    np.testing.assert_allclose(found.means[14], [[8 / 3], [0.0], [0.0]])
    np.testing.assert_allclose(found.squared_errors, [2.0 / 9, 0.0, 0.0])
    np.testing.assert_allclose(found.joined, np.hstack([found.means[6], found.means[14]]))


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    """Of 4000 frames of 30 atoms: the scatter of their averages against the mean of what each tells of itself."""
    rng = np.random.default_rng(1)
    found = averages_of(*thermal(rng, 4000, 30))
    spread = found.means[14].var(axis=0).sum()
    assert found.squared_errors.mean() == pytest.approx(spread, rel=0.06)


def test_take_and_join() -> None:
    whole = FrameAverages.of(*alloy(np.random.default_rng(2), 12), 12)
    again = FrameAverages.join([whole.take(np.arange(5)), whole.take(np.arange(5, 12))])
    np.testing.assert_array_equal(again.joined, whole.joined)
    np.testing.assert_array_equal(again.squared_errors, whole.squared_errors)


# ---------------------------------------------------------------------- what they are for


def test_a_strained_crystal_is_found_though_each_of_its_atoms_is_usual(
    training: tuple[FloatArray, IntArray], known: KnownAverages
) -> None:
    """All 64 vectors are one, as far from the centre as a usual thermal one."""
    x, frames = training
    species = KnownSpecies.of(x, frames, np.full(100, 1e-3))
    detector = NoveltyDetector({14: species}, {}, known)
    strained = x.mean(axis=0) + np.array([0.9, 0.5, 0.0, 0.0, 0.0, 0.0])
    fresh, of_fresh = thermal(np.random.default_rng(3), 200, 64)
    everything = np.concatenate([np.tile(strained, (64, 1)), fresh])
    n = len(everything)
    found = detector.detect(
        np.full(n, 14), np.zeros(n), {14: (np.arange(n), everything)}, np.ones(n),
        np.concatenate([np.zeros(64, int), 1 + of_fresh]), 201,
    )  # fmt: skip
    assert not found.atoms[:64].any()
    assert found.distance[:64].max() < 0.5
    assert found.frames[0]
    assert found.average[0] > 1.5
    assert np.mean(found.average[1:] > 1.0) < 0.02  # thermal frames are not
    assert found.forces[:64].all()
    assert found.forces.mean() < 0.03


@pytest.mark.parametrize(
    ("n_atoms", "flagged", "otherwise"), [(64, 0.02, 0.05), (32, 0.02, 0.3), (16, 0.02, 0.5), (8, 0.02, 0.8)]
)
def test_smaller_frames_are_allowed_their_standard_error(
    known: KnownAverages, n_atoms: int, flagged: float, otherwise: float
) -> None:
    """Frames of the same distribution; `otherwise` is the part that is flagged at least without standard errors."""
    averages = averages_of(*thermal(np.random.default_rng(4), 300, n_atoms))
    threshold = known.tail.threshold(5e-3)
    assert np.mean(known.signs(averages)[0] > threshold) < flagged
    without, _ = known.signs(replace(averages, squared_errors=np.zeros(300)))
    assert np.mean(without > threshold) > otherwise


def test_of_four_atoms_few_frames_are_flagged(known: KnownAverages) -> None:
    """Averages are four times as far from the centre as those of 64 atoms; a common displacement is still seen."""
    small = averages_of(*thermal(np.random.default_rng(4), 300, 4))
    threshold = known.tail.threshold(5e-3)
    assert np.mean(known.signs(small)[0] > threshold) < 0.06  # the scatter of four atoms is badly known
    assert np.median(known.signs(replace(small, squared_errors=np.zeros(300)))[0]) > 3.0 * threshold
    shifted = replace(small, means={14: small.means[14] + 12.0})
    assert (known.signs(shifted)[0] > threshold).mean() > 0.9


def test_near_twins_do_not_make_the_spacing_zero(training: tuple[FloatArray, IntArray]) -> None:
    """Twelve twins of one frame: thermal frames next to them are as usual as without them."""
    x, frames = training
    twins = np.tile(x[:64], (12, 1)) + 1e-9
    joined, of_joined = np.concatenate([x, twins]), np.concatenate([frames, N_TRAINING + np.repeat(np.arange(12), 64)])
    plain = KnownAverages.of(averages_of(x, frames), np.arange(N_TRAINING))
    with_twins = KnownAverages.of(averages_of(joined, of_joined), np.arange(N_TRAINING + 12))
    assert with_twins.spacings[0] < 1e-8
    centre = averages_of(x, frames).means[14][0]
    smallest = RESOLUTION * np.median(with_twins.spacings)
    for away in (0.01, 0.05, 0.1):
        query = FrameAverages({14: centre[None] + away * np.eye(D)[:1]}, np.zeros(1))
        sign = with_twins.signs(query)[0][0]
        assert sign <= away / smallest * (1.0 + 1e-6)
    # and those of thermal frames are what they were
    fresh = averages_of(*thermal(np.random.default_rng(5), 200, 64))
    one, other = plain.signs(fresh)[0], with_twins.signs(fresh)[0]
    assert np.median(other) == pytest.approx(np.median(one), rel=0.1)
    assert other.max() < 3.0 * one.max()


def test_identical_training_frames_give_finite_signs() -> None:
    averages = FrameAverages({14: np.ones((9, 3))}, np.zeros(9))
    known = KnownAverages.of(averages, np.arange(9))
    np.testing.assert_array_equal(known.signs(averages)[0], 0.0)
    other = known.signs(FrameAverages({14: np.full((1, 3), 1.1)}, np.zeros(1)))[0]
    assert np.isfinite(other).all()
    assert other[0] > 1e6


# ---------------------------------------------------------------------- against a search through all


def by_search(learned: FrameAverages, new: FrameAverages, left: FloatArray | None = None) -> FloatArray:
    """The sign of averages among those of the training set, of which the mask `left` is left.

    The spacings are those of the whole training set.
    """
    training, queries = learned.joined, new.joined
    left = np.ones(len(training), bool) if left is None else left
    among = np.linalg.norm(training[:, None] - training, axis=2)
    spacings = np.sort(among, axis=1)[:, N_NEAREST][left]
    distances = np.linalg.norm(queries[:, None] - training[left], axis=2)
    nearest = np.argsort(distances, axis=1)[:, :N_NEAREST]
    usual, smallest = np.median(spacings[nearest], axis=1), RESOLUTION * np.median(spacings)
    larger = np.maximum(new.squared_errors - np.median(learned.squared_errors[left][nearest], axis=1), 0.0)
    squares = new.squared_errors + SMALL_FRAMES * larger
    return distances.min(axis=1) / np.sqrt(usual**2 + squares + smallest**2)


def test_signs_equal_a_search_through_all() -> None:
    rng = np.random.default_rng(6)
    learned, new = (FrameAverages.of(*alloy(rng, n), n) for n in (60, 40))
    known = KnownAverages.of(learned, np.arange(60))
    expected = by_search(learned, new)
    np.testing.assert_allclose(known.signs(new)[0], expected, rtol=1e-6)
    # the threshold is of training frames compared with all others
    own = np.array([by_search(learned, learned.take(np.array([k])), np.arange(60) != k)[0] for k in range(60)])
    assert known.tail.start == pytest.approx(Tail.of(own).start, rel=0.1)  # all spacings or all but one
    assert known.tail.part == Tail.of(own).part


def test_a_species_that_no_frame_has_is_one_without_atoms() -> None:
    rng = np.random.default_rng(15)
    known = KnownAverages.of(FrameAverages.of(*alloy(rng, 60), 60), np.arange(60))
    vectors, frames = {6: (np.arange(40), rng.normal(size=(40, 3)) + 6)}, np.arange(40) // 8
    nobody = {14: (np.zeros(0, np.int64), np.zeros((0, 4)))}
    one, other = (known.signs(FrameAverages.of(own, frames, 5))[0] for own in (vectors, vectors | nobody))
    np.testing.assert_allclose(one, other)


def test_a_new_direction_counts() -> None:
    """Training averages lie in a plane; what leaves it is as far as it is."""
    rng = np.random.default_rng(7)
    learned = FrameAverages({14: np.hstack([rng.normal(size=(50, 2)), np.zeros((50, 3))])}, np.zeros(50))
    known = KnownAverages.of(learned, np.arange(50))
    assert known.points.shape == (50, 2)
    queries = FrameAverages({14: learned.joined[:10] + 5.0 * np.eye(5)[[3]]}, np.zeros(10))
    expected = by_search(learned, queries)
    np.testing.assert_allclose(known.signs(queries)[0], expected, rtol=1e-6)
    assert (expected > 3.0).all()


def test_without_some_training_frames() -> None:
    rng = np.random.default_rng(8)
    learned = FrameAverages.of(*alloy(rng, 60), 60)
    numbers = 3 * np.arange(60)
    known = KnownAverages.of(learned, numbers).learned(learned, np.ones(60, bool), 100 + np.arange(60))
    own = learned.take(np.array([4, 9]))
    np.testing.assert_allclose(known.signs(own)[0], 0.0, atol=1e-6)
    rest = known.without(numbers[[4, 9]])
    left = ~np.isin(np.arange(60), [4, 9])
    expected = by_search(learned, own, left)
    signs, kinds = rest.signs(own)
    np.testing.assert_allclose(signs, expected, rtol=1e-6)
    assert (signs > 0.1).all()
    distances = np.linalg.norm(own.joined[:, None] - learned.joined[left], axis=2)
    np.testing.assert_array_equal(kinds, (100 + np.arange(60))[left][distances.argmin(axis=1)])
    np.testing.assert_array_equal(rest.frames, numbers[left])
    assert rest.tail == known.tail
    assert len(known.points) == 60


def test_with_further_training_frames() -> None:
    rng = np.random.default_rng(9)
    parts = [FrameAverages.of(*alloy(rng, n), n) for n in (60, 7, 20)]
    known = KnownAverages.of(parts[0], np.arange(60))
    grown = known.with_known(parts[1], 60 + np.arange(7))
    np.testing.assert_allclose(grown.signs(parts[1])[0], 0.0, atol=1e-6)
    expected = by_search(FrameAverages.join(parts[:2]), parts[2])
    np.testing.assert_allclose(grown.signs(parts[2])[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(grown.frames, np.arange(67))
    np.testing.assert_array_equal(grown.kinds, NO_KIND)
    assert grown.tail == known.tail


@pytest.mark.parametrize("turned", [(6,), (14,), (6, 14)])
def test_the_same_signs_in_other_coordinates(turned: tuple[int, ...]) -> None:
    rng = np.random.default_rng(10)
    sizes = {6: (5, 3), 14: (4, 4)}
    maps = {z: np.linalg.qr(rng.normal(size=sizes[z]))[0] for z in turned}
    known = KnownAverages.of(FrameAverages.of(*alloy(rng, 60), 60), np.arange(60))
    vectors, frames = alloy(rng, 30)
    others = {z: (atoms, x @ maps[z].T if z in maps else x) for z, (atoms, x) in vectors.items()}
    signs, kinds = known.signs(FrameAverages.of(vectors, frames, 30))
    again, same = known.turned(maps).signs(FrameAverages.of(others, frames, 30))
    np.testing.assert_allclose(again, signs, rtol=1e-6)
    np.testing.assert_array_equal(same, kinds)


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_training_frames(n: int) -> None:
    learned = FrameAverages.of(*alloy(np.random.default_rng(11), n), n)
    known = KnownAverages.of(learned, np.arange(n))
    signs, kinds = known.signs(FrameAverages.of(*alloy(np.random.default_rng(12), 5), 5))
    assert np.isfinite(signs).all()
    assert (signs > 0).all()
    assert known.tail.threshold(1e-3) > 0.0
    np.testing.assert_array_equal(kinds, NO_KIND)


# ---------------------------------------------------------------------- thresholds and files


def test_the_threshold_is_that_of_common_frames() -> None:
    """Ten odd frames far from all others raise it, unless they are not among the common ones."""
    rng = np.random.default_rng(13)
    points = rng.normal(size=(110, 3))
    points[100:] += 40.0 * np.arange(1, 11)[:, None]
    averages, common = FrameAverages({14: points}, np.full(110, 0.01)), np.arange(110) < 100
    everyone = KnownAverages.of(averages, np.arange(110))
    some = everyone.learned(averages, common)
    assert some.tail.threshold(5e-3) < 0.7 * everyone.tail.threshold(5e-3)
    nobody = everyone.learned(averages, np.zeros(110, bool))
    assert nobody.tail == everyone.tail
    np.testing.assert_array_equal(some.points, everyone.points)


def test_arrays_and_back() -> None:
    rng = np.random.default_rng(14)
    learned = FrameAverages.of(*alloy(rng, 60), 60)
    before = KnownAverages.of(learned, 2 * np.arange(60)).learned(learned, np.ones(60, bool), np.arange(60) % 3)
    arrays = Arrays(Given(before.to_arrays()), {})
    after = KnownAverages.from_arrays(arrays, {6: 3, 14: 4, 79: 9})
    assert after is not None
    arrays.check_all_taken()
    assert after.tail == before.tail
    for name in ("points", "spacings", "frames", "kinds"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    new = FrameAverages.of(*alloy(rng, 10), 10)
    for one, other in zip(after.signs(new), before.signs(new), strict=True):
        np.testing.assert_array_equal(one, other)
    assert KnownAverages.from_arrays(Arrays(Given({}), {}), {6: 3}) is None  # files of before

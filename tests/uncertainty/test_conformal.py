"""Conformal intervals: their coverage of new configurations, whose atoms know of each other."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.exceptions import CalibrationError, InputError
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.conformal import (
    LEAST,
    LEVELS,
    MIN_CONFIGURATIONS,
    N_BINS,
    Intervals,
    conformal_quantiles,
)

ATOMS = 6


def draw(rng: np.random.Generator, n_frames: int, spread: float = 0.0) -> tuple[FloatArray, IntArray]:
    """Scores (n, 3) of frames with a hardness each, exp(spread x normal), that all their atoms share."""
    frames = np.repeat(np.arange(n_frames), ATOMS)
    hardness = np.exp(spread * rng.standard_normal(n_frames))
    return np.abs(rng.standard_normal((len(frames), 3))) * hardness[frames, None], frames


@pytest.mark.parametrize("spread", [0.0, 0.7], ids=["independent", "correlated"])
@pytest.mark.parametrize("n_frames", [20, 60])
def test_coverage_of_new_configurations(n_frames: int, spread: float) -> None:
    """Over many calibrations; atoms taken for independent would miss 5 % of the components at 0.95 and 20 frames."""
    rng = np.random.default_rng(0)
    levels, n_draws = np.array([0.68, 0.9, 0.95]), 400
    hits = np.empty((n_draws, 3))
    for i in range(n_draws):
        intervals = Intervals.of(*draw(rng, n_frames, spread))
        new = draw(rng, 100, spread)[0]
        hits[i] = [np.mean(new <= intervals.factors(level)) for level in levels]
    error = 4 * hits.std(axis=0) / np.sqrt(n_draws)
    assert (error < 0.015).all()
    assert (hits.mean(axis=0) > levels - error).all()
    assert (hits.mean(axis=0) < levels + error + 1.0 / n_frames).all()


def groups(rng: np.random.Generator, n_frames: int) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
    """As `draw`, half hydrogen and half oxygen; scores grow with novelty, and are five times as large for oxygen."""
    scores, frames = draw(rng, n_frames, 0.3)
    species = np.tile([1, 8], len(frames) // 2)
    novelty = rng.uniform(0, 1, len(frames))
    return scores * (np.where(species == 8, 5.0, 1.0) * (1.0 + 4.0 * novelty))[:, None], frames, species, novelty


def test_coverage_by_species_and_novelty() -> None:
    rng = np.random.default_rng(1)
    hits = []
    for _ in range(40):
        intervals = Intervals.of(*groups(rng, 150))
        scores, _, species, novelty = groups(rng, 150)
        inside = scores <= intervals.factors(0.9, species, novelty)[:, None]
        bins = np.minimum((N_BINS * novelty).astype(int), N_BINS - 1)
        hits.append([np.mean(inside[(species == z) & (bins == j)]) for z in (1, 8) for j in range(N_BINS)])
    np.testing.assert_allclose(np.mean(hits, axis=0), 0.9, atol=0.02)


def test_groups_have_widths_of_their_own() -> None:
    intervals = Intervals.of(*groups(np.random.default_rng(1), 300))
    np.testing.assert_array_equal(intervals.species, [1, 8])
    widths = intervals.factors(0.9, np.repeat([1, 8], 3), np.tile([0.1, 0.5, 0.9], 2)).reshape(2, 3)
    assert (np.diff(widths, axis=1) > 0).all()
    np.testing.assert_allclose(widths[1] / widths[0], 5.0, rtol=0.2)
    np.testing.assert_allclose(intervals.edges, [[1 / 3, 2 / 3]] * 2, atol=0.05)
    # beyond all that was seen: the last bin
    np.testing.assert_array_equal(intervals.factors(0.9, np.array([8]), np.array([np.inf])), widths[1, 2:])


def test_without_groups_there_is_one_width() -> None:
    intervals = Intervals.of(*draw(np.random.default_rng(0), 30))
    assert intervals.factors(0.9).shape == (1,)
    assert intervals.n_configurations == 30


def test_quantiles_by_hand() -> None:
    """Ten frames of one score each: the k-th smallest reaches k / 11."""
    scores, frames = np.arange(10.0, 0.0, -1.0), np.arange(10)
    quantiles = dict(zip(LEVELS.tolist(), conformal_quantiles(scores, frames).tolist(), strict=True))
    assert [quantiles[level] for level in (0.05, 0.09, 0.095, 0.5, 0.545, 0.55, 0.905)] == [1, 1, 2, 6, 6, 7, 10]
    assert quantiles[0.91] == np.inf
    # the same scores twice in each frame: no more is known
    np.testing.assert_array_equal(
        conformal_quantiles(np.repeat(scores, 2), np.repeat(frames, 2)), list(quantiles.values())
    )


def test_small_groups_take_the_quantiles_of_larger_ones() -> None:
    rng = np.random.default_rng(2)
    scores, frames, species, novelty = groups(rng, 100)
    gold = np.flatnonzero((frames < MIN_CONFIGURATIONS - 1) & (species == 8))
    species[gold] = 79
    whole = conformal_quantiles(scores.ravel(), np.repeat(frames, 3))
    intervals = Intervals.of(scores, frames, species, novelty)
    np.testing.assert_array_equal(intervals.species, [1, 8, 79])
    np.testing.assert_array_equal(intervals.table[2], np.tile(whole, (N_BINS, 1)))
    assert (intervals.table[1, 0] != whole).any()
    # of one species in enough frames, the bins of which have too few
    few = np.flatnonzero(np.isin(frames, np.arange(MIN_CONFIGURATIONS + 1)) & (species == 1))
    one_each = few[np.unique(frames[few], return_index=True)[1]]
    alone = Intervals.of(scores[one_each], frames[one_each], species[one_each], novelty[one_each])
    own = conformal_quantiles(scores[one_each].ravel(), np.repeat(frames[one_each], 3))
    np.testing.assert_array_equal(alone.table[0], np.tile(own, (N_BINS, 1)))


def test_a_group_of_too_few_for_a_level_has_no_smaller_width_than_its_largest_score() -> None:
    """Oxygen in 25 of 400 frames does not reach 0.99; the whole set does, and takes its place."""
    rng = np.random.default_rng(3)
    scores, frames, species, novelty = groups(rng, 400)
    keep = (species == 1) | (frames < 25)
    scores, frames, species, novelty = scores[keep], frames[keep], species[keep], novelty[keep]
    width = Intervals.of(scores, frames, species, novelty).factors(0.99, np.array([8]), np.array([0.5]))
    assert np.isfinite(width).all()
    assert width >= np.quantile(scores[species == 8], 0.9)


def test_widths_grow_with_the_level() -> None:
    intervals = Intervals.of(*groups(np.random.default_rng(4), 200))
    assert (np.diff(intervals.table[..., np.isfinite(intervals.table).all(axis=(0, 1))]) >= 0).all()
    species, novelty = np.array([1, 8, 8]), np.array([0.1, 0.5, 2.0])
    widths = np.array([intervals.factors(level, species, novelty) for level in np.linspace(0.01, 0.99, 99)])
    assert (np.diff(widths, axis=0) >= 0).all()
    assert (widths[-1] > 3 * widths[49]).all()
    # a level between two that are kept takes the next higher one
    np.testing.assert_array_equal(intervals.factors(0.9012), intervals.factors(0.905))
    assert intervals.factors(0.9012) > intervals.factors(0.9)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 90.0, np.nan])
def test_levels_are_checked(level: float) -> None:
    with pytest.raises(InputError, match="`interval` must be a level between 0 and 1"):
        Intervals.of(*draw(np.random.default_rng(0), 30)).factors(level)


def test_too_few_configurations() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CalibrationError, match=f"at least {LEAST} configurations, got {LEAST - 1}"):
        Intervals.of(*draw(rng, LEAST - 1))
    assert np.isfinite(Intervals.of(*draw(rng, LEAST)).factors(0.9)).all()


@pytest.mark.parametrize(("level", "needed"), [(0.95, 19), (0.99, 99), (0.995, 199)])
def test_levels_beyond_the_calibration(level: float, needed: int) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CalibrationError, match=rf"of level {level} need more configurations than the {needed - 1} "):
        Intervals.of(*draw(rng, needed - 1)).factors(level)
    assert np.isfinite(Intervals.of(*draw(rng, needed)).factors(level)).all()


def test_a_level_beyond_those_that_are_kept() -> None:
    with pytest.raises(CalibrationError, match=r"level 0\.999 need"):
        Intervals.of(*draw(np.random.default_rng(0), 2000)).factors(0.999)

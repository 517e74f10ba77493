"""Coverage of groups: confidence intervals against exact ones, and against frames whose atoms err together."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta, binomtest, t

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty import GroupCoverage, coverage, coverage_by_group


def exact(part: float, number: float) -> tuple[float, float]:
    """Clopper and Pearson's interval of a proportion strictly between 0 and 1."""
    return (
        beta.ppf(0.025, part * number, (1 - part) * number + 1),
        beta.ppf(0.975, part * number + 1, (1 - part) * number),
    )


def of_hits(hits: FloatArray | list[float], sizes: IntArray | list[int]) -> GroupCoverage:
    """Of frames with some components, of which some are covered."""
    inside = np.concatenate([np.arange(m) < k for k, m in zip(hits, sizes, strict=True)])
    frames = np.repeat(np.arange(len(sizes)), sizes)
    found = coverage_by_group(np.where(inside, 1.0, 3.0), np.full(len(inside), 2.0), ["a"] * len(inside), frames)
    return found["a"]


def width(row: GroupCoverage) -> float:
    return row.upper - row.lower


N_TRIALS = 400


def simulated(n_frames: int, n_atoms: list[int], part: float, correlation: float) -> list[GroupCoverage]:
    """Beta-binomial frames with three components an atom: 1 means that all components of a frame are alike."""
    rng = np.random.default_rng(2)
    shape = (N_TRIALS, n_frames)
    scale = np.inf if correlation == 0.0 else 1.0 / correlation - 1.0
    if correlation == 1.0:
        of_frame = (rng.random(shape) < part).astype(float)
    else:
        of_frame = np.full(shape, part) if np.isinf(scale) else rng.beta(scale * part, scale * (1 - part), shape)
    sizes = rng.choice(n_atoms, shape).ravel()
    frames = np.repeat(np.arange(N_TRIALS * n_frames), sizes)
    inside = rng.random((len(frames), 3)) < of_frame.ravel()[frames][:, None]
    groups = [f"{i:04}" for i in frames // n_frames]
    return list(coverage_by_group(np.where(inside, 1.0, 3.0), np.full(inside.shape, 2.0), groups, frames).values())


def contained(found: list[GroupCoverage], part: float) -> float:
    return float(np.mean([not row.excludes(part) for row in found]))


@pytest.mark.parametrize(
    ("n_frames", "n_atoms", "correlation"),
    [(40, [20], 0.1), (40, [64], 0.02), (40, [8, 64], 0.1), (40, [2, 64], 0.1), (100, [20], 0.5), (10, [20], 0.1)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(n_frames: int, n_atoms: list[int], correlation: float) -> None:
    found = simulated(n_frames, n_atoms, 0.9, correlation)
    assert 0.92 <= contained(found, 0.9) <= 0.985
    naive = [exact(row.coverage, row.n_components) for row in found]
    assert np.mean([low <= 0.9 <= high for low, high in naive]) < 0.75


def test_independent_components_count_each() -> None:
    found = simulated(100, [20], 0.9, 0.0)
    assert 0.93 <= contained(found, 0.9) <= 0.99
    naive = np.mean([np.diff(exact(row.coverage, row.n_components)) for row in found])
    assert np.mean([width(row) for row in found]) < 1.1 * naive


@pytest.mark.parametrize("n_frames", [10, 40])
def test_large_frames_that_happen_to_be_covered_are_no_proof(n_frames: int) -> None:
    """The scatter among frames is small if only small ones err, and tells nothing of large ones."""
    found = simulated(n_frames, [2, 64], 0.9, 1.0)
    assert contained(found, 0.9) > 0.95
    few = simulated(n_frames, [2, 64], 0.9, 0.1)
    assert contained(few, 0.9) > 0.90


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 3), (9, 10), (36, 40), (40, 40), (0, 25)])
def test_one_component_a_frame_is_the_exact_binomial_interval(hits: int, n: int) -> None:
    row = of_hits([1] * hits + [0] * (n - hits), [1] * n)
    expected = binomtest(hits, n).proportion_ci(0.95, method="exact")
    assert (row.lower, row.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert (row.coverage, row.n_frames, row.n_components) == (hits / n, n, n)


def test_the_interval_by_hand() -> None:
    hits, size = np.array([6.0, 9.0, 10.0, 10.0, 9.0, 10.0]), 10
    part = hits.sum() / 60
    number = part * (1 - part) / (np.var(hits / size, ddof=1) / 6)
    number *= (t.ppf(0.975, 59) / t.ppf(0.975, 5)) ** 2
    assert 6 < number < 60
    row = of_hits(hits, [size] * 6)
    assert (row.lower, row.upper) == pytest.approx(exact(part, number), rel=1e-9)


@pytest.mark.parametrize("n_components", [1, 3, 300])
def test_one_frame_tells_hardly_anything(n_components: int) -> None:
    for hits in {0, n_components // 2, n_components}:
        assert width(of_hits([hits], [n_components])) > 0.9


def test_two_frames_that_agree_tell_little() -> None:
    row = of_hits([27, 27], [30, 30])
    assert width(row) > 0.6
    assert row.lower < 0.9 < row.upper < 1.0


def test_coverage_of_all_counts_frames_and_the_large_ones_most() -> None:
    """No scatter tells of the correlation; 3 frames of 300 components are not 900."""
    equal, uneven = of_hits([300] * 3, [300] * 3), of_hits([600, 3, 3], [600, 3, 3])
    assert (equal.lower, equal.upper) == pytest.approx((0.025 ** (1 / 3), 1.0))
    assert uneven.upper == 1.0
    assert uneven.lower == pytest.approx(0.025 ** (360_018 / 606**2))
    assert of_hits([0] * 3, [300] * 3).upper == pytest.approx(1 - 0.025 ** (1 / 3))


def test_copies_of_a_component_tell_nothing_new() -> None:
    hits = np.array([1] * 34 + [0] * 6)
    once, often = of_hits(hits, [1] * 40), of_hits(50 * hits, [50] * 40)
    assert often.coverage == once.coverage
    assert width(once) <= width(often) < 1.05 * width(once)


def test_groups_are_sorted_and_count_their_own_frames() -> None:
    errors = np.array([[1.0, 1.0], [0.0, 3.0], [5.0, 5.0], [1.0, 1.0]])
    groups, frames = ["surface", "bulk", "surface", "surface"], np.array([7, 7, 7, 3])
    found = coverage_by_group(errors, np.full((4, 2), 2.0), groups, frames)
    assert list(found) == ["bulk", "surface"]
    assert (found["bulk"].coverage, found["bulk"].n_frames, found["bulk"].n_components) == (0.5, 1, 2)
    surface = found["surface"]
    assert (surface.coverage, surface.n_frames, surface.n_components) == (4 / 6, 2, 6)
    assert coverage_by_group(errors, np.full((4, 2), 2.0), groups)["surface"].n_frames == 3
    assert coverage_by_group(errors, np.full((4, 2), np.inf), ["a"] * 4)["a"].coverage == 1.0
    widths = np.full((4, 2), 2.0)
    assert coverage_by_group(errors, widths, ["a"] * 4, frames)["a"].coverage == coverage(errors, widths)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    errors, groups, frames = rng.normal(size=(90, 3)), rng.choice(["a", "b"], 90), rng.integers(0, 7, 90)
    order = rng.permutation(90)
    found = coverage_by_group(errors, np.ones((90, 3)), list(groups), frames)
    again = coverage_by_group(errors[order], np.ones((90, 3)), list(groups[order]), frames[order])
    for name, row in found.items():
        assert again[name].to_dict() == pytest.approx(row.to_dict(), rel=1e-9)


def test_it_is_printed_with_what_is_resolved() -> None:
    assert str(GroupCoverage(0.87, 0.79, 0.932, 30, 900)) == "87 % (79-93)"
    assert str(GroupCoverage(0.9012, 0.8951, 0.9066, 3000, 900_000)) == "90.1 % (89.5-90.7)"
    assert str(GroupCoverage(1.0, 0.95, 1.0, 30, 900)) == "100.0 % (95.0-100.0)"
    row = GroupCoverage(0.87, 0.79, 0.932, 30, 900)
    assert [row.excludes(level) for level in (0.78, 0.8, 0.9, 0.94)] == [True, False, False, True]
    assert json.loads(json.dumps(of_hits([1, 2], [2, 2]).to_dict()))["n_components"] == 4


ONE, TWO = np.ones(1), np.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coverage_by_group(TWO, TWO, ["a"]), "one name per row of `errors`, expected 2, got 1"),
        (lambda: coverage_by_group(TWO, TWO, "ab"), "`groups` must be a list of text"),
        (lambda: coverage_by_group(TWO, ONE, ["a", "b"]), "must have the shape of `errors`"),
        (lambda: coverage_by_group(TWO, -TWO, ["a", "b"]), "`half_widths` must be >= 0"),
        (lambda: coverage_by_group(TWO, TWO, ["a", "b"], np.arange(3)), r"one whole number per row .* got \(3,\)"),
        (lambda: coverage_by_group(TWO, TWO, ["a", "b"], TWO), "got .* float64; leave it out"),
    ],
)
def test_unusable_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()

"""Allocations: sums, order, proportions."""

from __future__ import annotations

import pytest

from gapkit.exceptions import InputError
from gapkit.sampling import Allocation, plan
from gapkit.sampling.allocation import largest_remainder

WEIGHTS = {"thermal": 3.0, "strains": 2.0, "vacancies": 1.0}
LADDER = {"thermal": [900.0, 300.0, 600.0]}


@pytest.mark.parametrize("budget", [5, 6, 7, 23, 100, 1001])
def test_sums_to_the_budget_and_heat_gets_more(budget: int) -> None:
    made = plan(budget, WEIGHTS, temperatures=LADDER)
    assert sum(a.n for a in made) == budget
    assert [(a.sampler, a.temperature) for a in made] == [
        ("thermal", 300.0), ("thermal", 600.0), ("thermal", 900.0), ("strains", None), ("vacancies", None),
    ]  # fmt: skip
    counts = [a.n for a in made]
    assert 1 <= counts[0] <= counts[1] <= counts[2]
    assert made == plan(budget, WEIGHTS, temperatures=LADDER)


def test_proportions() -> None:
    assert [a.n for a in plan(600, WEIGHTS, temperatures=LADDER, at_least=0)] == [50, 100, 150, 200, 100]
    flat = plan(600, WEIGHTS, temperatures=LADDER, exponent=0.0, at_least=0)
    assert [a.n for a in flat[:3]] == [100, 100, 100]
    squared = plan(840, {"thermal": 1.0}, temperatures=LADDER, exponent=2.0, at_least=0)
    assert squared == [
        Allocation("thermal", 300.0, 60), Allocation("thermal", 600.0, 240), Allocation("thermal", 900.0, 540),
    ]  # fmt: skip


def test_ties_go_to_the_hotter() -> None:
    assert [a.n for a in plan(4, {"a": 1.0}, temperatures={"a": [1.0, 2.0, 3.0]}, exponent=0.0)] == [1, 1, 2]


def test_largest_remainder() -> None:
    assert largest_remainder(3, [1 / 3] * 3).tolist() == [1, 1, 1]
    assert largest_remainder(10, [0.45, 0.35, 0.2]).tolist() == [5, 3, 2]
    assert largest_remainder(0, [1.0, 2.0]).tolist() == [0, 0]
    for total in range(40):
        counts = largest_remainder(total, [0.1, 0.7, 0.2, 0.7])
        assert counts.sum() == total
        assert counts[0] <= counts[2] <= counts[3] <= counts[1]


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"`budget` must pay for 1 structure\(s\) .* 5, got 4"):
        plan(4, WEIGHTS, temperatures=LADDER)
    with pytest.raises(InputError, match=r"`temperatures` must name samplers .* got \['rattle'\]"):
        plan(40, WEIGHTS, temperatures={"rattle": [1.0]})
    with pytest.raises(InputError, match=r"weights\['a'\]` must be a number > 0, got 0"):
        plan(4, {"a": 0})
    with pytest.raises(InputError, match="at least one sampler"):
        plan(4, {})
    with pytest.raises(InputError, match="each once"):
        plan(40, WEIGHTS, temperatures={"thermal": [300.0, 300.0]})
    with pytest.raises(InputError, match="`budget` must be a whole number"):
        plan(4.5, WEIGHTS)

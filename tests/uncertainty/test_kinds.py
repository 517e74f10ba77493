"""Kinds by name and by clusters, and the groups of them that are left out."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty import kinds as kinds_module
from gapkit.uncertainty.kinds import (
    COMMON,
    FRAMES_OF_A_CLUSTER,
    MOST_CLUSTERS,
    MOST_GROUPS,
    NONE,
    Kinds,
    groups_to_leave_out,
)


def clouds(sizes: list[int], seed: int = 0) -> tuple[FloatArray, IntArray]:
    """Points around centres that are far apart, and the cloud of each, in random order."""
    rng = np.random.default_rng(seed)
    of_point = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = 20.0 * np.eye(len(sizes), 5)
    return centres[of_point] + 0.1 * rng.standard_normal((len(of_point), 5)), of_point


def named(sizes: dict[str, int]) -> Kinds:
    """Kinds of so many frames each, one after another."""
    names = [name for name, n in sizes.items() for _ in range(n)]
    return Kinds.of(names, np.zeros((0, 1)), np.zeros(0, np.int64))


# ---------------------------------------------------------------------- which kinds there are


def test_kinds_are_names_where_there_are_several() -> None:
    points, _ = clouds([100, 100])
    names = ["surface" if k % 3 else "bulk" for k in range(200)]
    found = Kinds.of(names, points, np.arange(200))
    assert found.names == ("bulk", "surface")
    assert [found.names[k] for k in found.of_frame] == names
    for (name, frames), expected in zip(found.groups(), ("bulk", "surface"), strict=True):
        assert name == expected
        np.testing.assert_array_equal(frames, [k for k in range(200) if names[k] == expected])


def test_kinds_are_clusters_where_all_frames_bear_one_name() -> None:
    points, cloud = clouds([30, 50, 20])
    n_clusters = len(points) // FRAMES_OF_A_CLUSTER  # four: one cloud in two
    found = Kinds.of(["default"] * 100, points, np.arange(100))
    assert found.names == tuple(f"cluster {k + 1}" for k in range(n_clusters))
    assert set(found.of_frame) == set(range(n_clusters))
    # no cluster has frames of two clouds
    assert all(len(set(cloud[found.of_frame == k])) == 1 for k in range(n_clusters))


def test_frames_without_an_average_are_of_no_kind() -> None:
    points, cloud = clouds([40, 40])
    frames = 2 * np.arange(80) + 1
    found = Kinds.of(["default"] * 160, points, frames)
    np.testing.assert_array_equal(found.of_frame[::2], NONE)
    assert (found.of_frame[frames] >= 0).all()
    assert all(len(set(cloud[found.of_frame[frames] == k])) == 1 for k in range(len(found.names)))
    np.testing.assert_array_equal(np.sort(np.concatenate([own for _, own in found.groups()])), frames)


@pytest.mark.parametrize(
    ("n", "n_clusters"), [(0, 1), (49, 1), (50, 2), (25 * MOST_CLUSTERS, MOST_CLUSTERS), (600, MOST_CLUSTERS)]
)
def test_how_many_clusters(n: int, n_clusters: int) -> None:
    points = np.random.default_rng(1).normal(size=(n, 3))
    found = Kinds.of(["bulk"] * max(n, 5), points, np.arange(n))
    assert len(found.names) == n_clusters
    assert (found.names == ("bulk",)) == (n_clusters == 1)


def test_twins_make_no_more_clusters_than_there_are_points() -> None:
    points = np.repeat([[0.0, 0.0], [1.0, 0.0]], 60, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Kinds.of(["bulk"] * 120, points, np.arange(120))
    assert found.names == ("cluster 1", "cluster 2")
    np.testing.assert_array_equal(found.of_frame[:60], found.of_frame[0])
    assert found.of_frame[0] != found.of_frame[-1]


def test_the_same_input_gives_the_same_clusters() -> None:
    points = np.random.default_rng(2).normal(size=(300, 4))
    one, other = (Kinds.of(["bulk"] * 300, points, np.arange(300)) for _ in range(2))
    assert one.names == other.names
    np.testing.assert_array_equal(one.of_frame, other.of_frame)


# ---------------------------------------------------------------------- common kinds


def test_common_kinds_have_twenty_frames() -> None:
    kinds = named({"a": COMMON - 1, "b": COMMON, "c": 60})
    np.testing.assert_array_equal(kinds.common, kinds.of_frame > 0)


def test_all_are_common_where_no_kind_is() -> None:
    assert named({"a": 3, "b": 19}).common.all()
    unknown = Kinds(np.full(40, NONE), ("a",))
    assert unknown.common.all()


def test_frames_of_no_kind_are_not_common() -> None:
    kinds = Kinds(np.array([NONE] * 30 + [0] * 25), ("a",))
    np.testing.assert_array_equal(kinds.common, kinds.of_frame == 0)


# ---------------------------------------------------------------------- some of each first


@pytest.mark.parametrize("n", [0, 1, 3, 10, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_some_of_each_kind_come_first(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = Kinds(rng.choice([NONE, 0, 1, 2, 3], 90, p=[0.1, 0.5, 0.3, 0.07, 0.03]), tuple("abcd"))
    order = rng.permutation(90)[:80]  # some frames are too large to be left out
    found = kinds.some_of_each_first(order, n)
    np.testing.assert_array_equal(np.sort(found), np.sort(order))
    of_order = kinds.of_frame[order]
    first = np.zeros(80, bool)
    for kind in range(NONE, 4):
        first[np.flatnonzero(of_order == kind)[:n]] = True
    np.testing.assert_array_equal(found, np.concatenate([order[first], order[~first]]))


# ---------------------------------------------------------------------- groups to leave out


def leave_out(
    kinds: Kinds, *, most: int = 600, budget: int = 10**9, n_atoms: IntArray | None = None,
    points: FloatArray | None = None, seed: int = 0,
) -> list[tuple[str, IntArray]]:  # fmt: skip
    """Groups; frames of ten atoms, and averages by kind, unless they are given."""
    n = len(kinds.of_frame)
    if points is None:
        points = np.eye(len(kinds.names))[kinds.of_frame] + 0.01 * np.random.default_rng(9).normal(
            size=(n, len(kinds.names))
        )
    n_atoms = np.full(n, 10) if n_atoms is None else n_atoms
    return groups_to_leave_out(kinds, points, np.arange(n), n_atoms, most, budget, np.random.default_rng(seed))


def test_small_kinds_are_left_out_whole() -> None:
    kinds = named({"a": 5, "b": 30, "c": 60})
    found = dict(leave_out(kinds))
    assert set(found) == {"a", "b", "c"}
    for name, own in kinds.groups():
        np.testing.assert_array_equal(found[name], own)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [0, 1, 49, 50, 320, 700, 10_000])
def test_groups_keep_to_their_sizes_and_the_budget(budget: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kinds = named({"a": 5, "b": 30, "c": 60, "d": 100, "e": 200})
    n_atoms = rng.integers(5, 20, len(kinds.of_frame))
    found = leave_out(kinds, budget=budget, n_atoms=n_atoms, seed=seed)
    sizes = [int(n_atoms[own].sum()) for _, own in found]
    assert sum(sizes) <= budget
    assert all(0 < size <= 600 for size in sizes)
    of_kinds = [set(kinds.of_frame[own]) for _, own in found]
    assert all(len(own) == 1 for own in of_kinds)
    assert len(set.union(set(), *of_kinds)) == len(found)  # each kind once
    for name, own in found:
        size_of_kind = n_atoms[kinds.of_frame == kinds.of_frame[own[0]]].sum()
        is_part = size_of_kind > min(600, budget)
        assert name == kinds.names[kinds.of_frame[own[0]]] + (", a part" if is_part else "")
        assert not is_part or n_atoms[own].sum() <= max(budget // 2, 1)
    if budget == 10_000:
        assert len(found) == 5
    if budget == 0:
        assert not found


def test_the_part_of_a_large_kind_is_the_cluster_farthest_from_the_others() -> None:
    rng = np.random.default_rng(3)
    points = 0.1 * rng.standard_normal((120, 3))
    odd = rng.choice(100, 12, replace=False)
    points[odd, 0] += 30.0
    points[:100][~np.isin(np.arange(100), odd) & (np.arange(100) % 2 == 0), 1] += 3.0
    kinds = named({"large": 100, "other": 20})
    found = dict(leave_out(kinds, most=300, points=points))
    np.testing.assert_array_equal(found["large, a part"], np.sort(odd))
    np.testing.assert_array_equal(found["other"], np.arange(100, 120))


def test_a_part_that_is_too_large_is_passed_over() -> None:
    """Forty twins far away are more than 300 atoms: the part is the next one, of fifteen frames."""
    places = np.array([[50.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, -1.0], [-4.0, 0.0]])
    points = np.repeat(places, [40, 15, 15, 15, 15], axis=0)
    ((_, own),) = leave_out(named({"large": 100}), most=300, points=points)
    np.testing.assert_array_equal(own, np.arange(85, 100))


def test_a_single_kind_is_never_left_out_whole() -> None:
    kinds = named({"bulk": 20})
    assert leave_out(kinds) == []
    # of a large one a part, and no more
    points, _ = clouds([60, 40])
    ((name, own),) = leave_out(named({"bulk": 100}), most=500, points=points)
    assert name == "bulk, a part"
    assert 0 < len(own) <= 50


def test_a_large_kind_without_averages_or_of_one_large_frame_stays() -> None:
    kinds, few = named({"large": 100, "small": 10}), np.arange(0)
    found = groups_to_leave_out(kinds, np.zeros((0, 1)), few, np.full(110, 10), 600, 10_000, np.random.default_rng(0))
    assert [name for name, _ in found] == ["small"]
    n_atoms = np.full(11, 10)
    n_atoms[0] = 601
    assert [name for name, _ in leave_out(named({"large": 1, "small": 10}), n_atoms=n_atoms)] == ["small"]


def test_the_same_draws_give_the_same_groups_and_others_other_ones() -> None:
    kinds = named(dict.fromkeys("abcdefgh", 20))
    one, same, *others = ([name for name, _ in leave_out(kinds, budget=450, seed=seed)] for seed in (1, 1, 2, 3))
    assert len(one) == 2
    assert one == same
    assert any(other != one for other in others)


def test_names_that_tell_no_kinds() -> None:
    """Nearly every frame has its own name: clusters, or one kind of all where there are too few frames."""
    points = np.repeat(np.array([[0.0, 0.0], [5.0, 0.0]]), 30, axis=0)
    points += 0.01 * np.random.default_rng(0).standard_normal(points.shape)
    found = Kinds.of([f"frame {k}" for k in range(60)], points, np.arange(60))
    assert found.names == ("cluster 1", "cluster 2")
    assert len(set(found.of_frame[:30])) == len(set(found.of_frame[30:])) == 1
    assert Kinds.of([f"frame {k}" for k in range(12)], points[:12], np.arange(12)).names == ("all",)


@pytest.mark.parametrize(("n_names", "n_each", "kept"), [(50, 3, True), (51, 3, False), (20, 3, True), (20, 2, False)])
def test_how_many_names_are_kinds(n_names: int, n_each: int, kept: bool) -> None:
    found = Kinds.of(np.repeat(np.arange(n_names), n_each).astype(str), np.zeros((0, 1)), np.zeros(0, np.int64))
    assert len(found.names) == (n_names if kept else 1)
    assert (found.names == ("all",)) == (not kept)


def test_no_more_than_eight_groups_are_left_out() -> None:
    kinds = named({f"{k}": 3 for k in range(20)})
    found = leave_out(kinds)
    assert len({name for name, _ in found}) == len(found) == MOST_GROUPS == 8


def test_a_part_has_at_most_half_the_budget() -> None:
    """Two kinds of 200 atoms each, of which 190 may be left out: parts of both, of up to 95 atoms."""
    found = leave_out(named({"a": 20, "b": 20}), budget=190)
    assert {name for name, _ in found} == {"a, a part", "b, a part"}
    assert all(0 < len(own) <= 9 for _, own in found)


def test_the_search_ends_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters of large kinds take time: none are sought of kinds that cannot be left out any more."""
    sought, search = [], kinds_module._farthest_part
    monkeypatch.setattr(kinds_module, "_farthest_part", lambda *given: sought.append(1) or search(*given))
    assert leave_out(named({"a": 100, "b": 100}), budget=0) == []
    assert not sought
    assert len(leave_out(named({f"{k}": 30 for k in range(20)}), most=100)) == MOST_GROUPS
    assert MOST_GROUPS <= len(sought) < 12

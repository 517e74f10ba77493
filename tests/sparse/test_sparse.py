"""One list of selectors drives the contract; then what each of them is for."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.base import clone

from gapkit.exceptions import DataWarning, InputError
from gapkit.io.registry import classes
from gapkit.sparse import (
    CUR,
    FarthestPoint,
    FromList,
    Grid,
    KMeans,
    Random,
    Uniform1D,
    allocate,
    distinct_rows,
)
from gapkit.sparse.rows import draw_without_replacement, leverage_scores

DRAWN = {"random": Random(), "cur": CUR(), "kmeans": KMeans(), "farthest_point": FarthestPoint(), "grid": Grid()}
GIVEN = {"uniform": Uniform1D(), "from_list": FromList(indices=list(range(40)))}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def X():
    return rng(5).normal(size=(200, 3)) + 2.0


def test_every_selector_is_covered():
    assert set(DRAWN) | set(GIVEN) == set(classes("SparseSelector"))
    assert all(type(s) is classes("SparseSelector")[name] for name, s in {**DRAWN, **GIVEN}.items())


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("n_select", [1, 2, 37, 199, 200])
def test_contract(name, n_select, X):
    selector = clone(DRAWN[name])
    before = X.copy()
    selection = selector.select(X, n_select, rng=rng())
    assert len(selection) == len(set(selection.indices.tolist())) == n_select
    assert selection.indices.dtype == np.int64
    assert np.array_equal(selection.points, X[selection.indices])
    assert np.array_equal(selector.select(X, n_select, rng=rng()).indices, selection.indices)
    assert np.array_equal(X, before)
    if n_select in (2, 37):
        assert any(set(selector.select(X, n_select, rng=rng(s)).indices) != set(selection.indices) for s in (1, 2, 3))


@pytest.mark.parametrize("name", DRAWN)
def test_duplicates_never_enter_twice(name):
    base = rng(1).normal(size=(12, 3))
    X = np.vstack([base] * 5) * (1 + 1e-12 * rng(2).normal(size=(60, 1)))
    X = X[rng(3).permutation(60)]
    selection = DRAWN[name].select(X, 12, rng=rng())
    assert cdist(selection.points, base).argmin(axis=1).tolist() != [0] * 12
    assert sorted(cdist(selection.points, base).argmin(axis=1)) == list(range(12))
    with pytest.warns(DataWarning, match="`n_sparse` = 20.*only 12 distinct"):
        selection = DRAWN[name].select(X, 20, rng=rng())
    assert len(selection) == 12


@pytest.mark.parametrize("name", DRAWN)
def test_too_many(name, X):
    with pytest.warns(DataWarning, match="only 200"):
        assert len(DRAWN[name].select(X, 201, rng=rng())) == 200


@pytest.mark.parametrize("name", [*DRAWN, *GIVEN])
def test_bad_input(name, X):
    selector = {**DRAWN, **GIVEN}[name]
    with pytest.raises(InputError, match="n >= 1"):
        selector.select(np.empty((0, 3)), 1, rng=rng())
    with pytest.raises(InputError, match="finite"):
        selector.select(np.full((3, 1), np.nan), 1, rng=rng())
    with pytest.raises(InputError, match="`n_select` must be a whole number"):
        selector.select(X, 0, rng=rng())


def test_random_is_uniform():
    X = np.arange(10.0)[:, None]
    counts = np.zeros(10)
    generator = rng()
    for _ in range(2000):
        counts[Random().select(X, 3, rng=generator).indices] += 1
    np.testing.assert_allclose(counts / 2000, 0.3, atol=0.05)  # standard error 0.01


def test_draws_follow_their_probabilities():
    counts, generator = np.zeros(10), rng()
    for _ in range(2000):
        counts[draw_without_replacement(np.arange(10.0), 1, generator)] += 1
    np.testing.assert_allclose(counts / 2000, np.arange(10) / 45, atol=0.04)


def test_farthest_point_is_greedy():
    X = rng(2).normal(size=(60, 2)) + 1e3
    chosen = FarthestPoint().select(X, 20, rng=rng()).indices
    for i in range(1, 20):
        nearest = cdist(X, X[chosen[:i]]).min(axis=1)
        assert nearest[chosen[i]] == pytest.approx(nearest.max(), rel=1e-6)


def test_leverage_scores_are_exact_and_their_projection_is_close():
    X = rng(0).normal(size=(300, 40)) * np.logspace(0, -3, 40)
    U = np.linalg.svd(X, full_matrices=False)[0]
    np.testing.assert_allclose(leverage_scores(X, 10, rng()), (U[:, :10] ** 2).sum(1), rtol=1e-8)
    wide = X @ np.linalg.qr(rng(1).normal(size=(900, 40)))[0].T  # same left singular vectors, many columns
    approximate = leverage_scores(wide, 10, rng())
    assert approximate.sum() == pytest.approx(10)
    assert np.abs(approximate - (U[:, :10] ** 2).sum(1)).max() < 0.02
    assert leverage_scores(np.outer(np.arange(1.0, 5), np.ones(3)), 3, rng()).sum() == pytest.approx(1.0)  # rank one


def test_cur_finds_the_rare_direction():
    X = np.vstack([[1.0, 0.0, 0.0] + 0.01 * rng(0).normal(size=(500, 3)) * [1, 1, 0], [[0.0, 0.0, 1.0]]])
    assert sum(500 in CUR(rank=2).select(X, 5, rng=rng(s)).indices for s in range(20)) >= 17
    assert sum(500 in Random().select(X, 5, rng=rng(s)).indices for s in range(20)) <= 3
    with pytest.raises(InputError, match="`rank`"):
        CUR(rank=0).select(X, 5, rng=rng())


def test_kmeans_covers_clusters():
    centres = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10]])
    X = np.vstack(
        [c + 0.1 * rng(i).normal(size=(n, 2)) for i, (c, n) in enumerate(zip(centres, [200, 5, 5, 50], strict=True))]
    )
    chosen = KMeans().select(X, 4, rng=rng())
    assert sorted(cdist(chosen.points, centres).argmin(axis=1)) == [0, 1, 2, 3]
    assert cdist(chosen.points, centres).min(axis=1).max() < 0.15


def test_uniform_is_a_grid_of_the_range():
    X = rng().uniform(1.5, 4.0, size=(500, 1))
    selection = Uniform1D().select(X, 6, rng=rng())
    np.testing.assert_allclose(selection.points[:, 0], np.linspace(X.min(), X.max(), 6))
    assert selection.indices.tolist() == [-1] * 6
    with pytest.warns(DataWarning, match="only 1 distinct"):
        assert Uniform1D().select(np.full((5, 1), 2.0), 3, rng=rng()).points.tolist() == [[2.0]]
    with pytest.raises(InputError, match="one feature"):
        Uniform1D().select(np.ones((3, 2)), 2, rng=rng())


def test_grid_is_more_even_than_random():
    X = rng(0).normal(size=(5000, 2))

    def gap(selector):
        return cdist(X, selector.select(X, 60, rng=rng()).points).min(axis=1).max()

    assert gap(Grid()) < 0.75 * gap(Random())
    with pytest.raises(InputError, match="at most 4"):
        Grid().select(rng().normal(size=(20, 5)), 3, rng=rng())
    clumped = np.concatenate([[0.0], 1.0 + 1e-7 * np.arange(20)])[:, None]
    assert len(set(Grid().select(clumped, 15, rng=rng()).indices)) == 15


def test_from_list(X):
    by_index = FromList(indices=[7, 3, 7, 150]).select(X, 3, rng=rng())
    assert by_index.indices.tolist() == [7, 3, 150]
    points = np.array([[0.0, 0, 1], [0, 1, 0], [0, 0, 1]])
    by_points = FromList(points).select(X, 2, rng=rng())
    assert np.array_equal(by_points.points, points[:2])
    assert by_points.indices.tolist() == [-1, -1]
    with pytest.warns(DataWarning, match="only 2 distinct"):
        FromList(points).select(X, 3, rng=rng())
    for bad in (FromList(), FromList(points, indices=[0]), FromList(indices=[200]), FromList(points[:, :2])):
        with pytest.raises(InputError):
            bad.select(X, 2, rng=rng())


def test_distinct_rows_against_all_pairs():
    X = rng(0).integers(0, 3, size=(300, 3)).astype(float)
    X += 1e-10 * rng(1).normal(size=X.shape)
    expected = np.unique(np.round(X), axis=0, return_index=True)[1]
    np.testing.assert_array_equal(distinct_rows(X, 1e-6), np.sort(expected))
    assert len(distinct_rows(X, 1e-14)) == 300
    assert distinct_rows(np.ones((1000, 4)), 1e-8).tolist() == [0]
    assert distinct_rows(np.zeros((5, 2)), 1e-8).tolist() == [0]
    assert distinct_rows(np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0 + 1e-9]]), 1e-8).tolist() == [0, 1]


@pytest.mark.parametrize("rule", ["sqrt", "proportional"])
def test_allocate_shares(rule):
    counts = {"Si": 10_000, "O": 2_500, "H": 3, "He": 0}
    shares = allocate(counts, 100, rule=rule)
    assert list(shares) == list(counts)
    assert sum(shares.values()) == 100
    assert 1 <= shares["H"] <= 3
    assert shares["He"] == 0
    ratio = {"sqrt": 2.0, "proportional": 4.0}[rule]
    assert shares["Si"] / shares["O"] == pytest.approx(ratio, rel=0.08)


def test_allocate_limits_and_quotas():
    assert allocate({"a": 5, "b": 7}, 100) == {"a": 5, "b": 7}
    assert allocate({"a": 500, "b": 700, "c": 100}, 60, {"b": 10, "c": 1000}) == {"a": 0, "b": 10, "c": 100}
    assert allocate({"a": 500, "b": 700}, 60, {"b": 10}) == {"a": 50, "b": 10}
    assert allocate({"a": 1, "b": 9, "c": 4}, 2) == {"a": 0, "b": 1, "c": 1}
    assert allocate({}, 5) == {}
    for args, options in [
        (({"a": 1}, -1), {}),
        (({"a": 1}, 1, {"b": 1}), {}),
        (({"a": 1}, 1), {"rule": "log"}),
        (({"a": 1}, 1, {"a": -1}), {}),
    ]:
        with pytest.raises(InputError):
            allocate(*args, **options)


def test_distinct_rows_looks_past_other_rows_with_the_same_projection():
    direction = rng(0).standard_normal(3)
    direction /= np.linalg.norm(direction)
    across = np.cross(direction, [1.0, 0.0, 0.0])
    first = 10.0 * direction
    X = np.array(
        [first, first + across + 3e-8 * direction, first - across + 4e-8 * direction, first + 6e-8 * direction]
    )
    assert distinct_rows(X, 1e-8).tolist() == [0, 1, 2]

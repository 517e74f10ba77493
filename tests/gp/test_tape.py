"""Columns appended to recorded factors against factors of all columns from the start."""

import tracemalloc

import numpy as np
import pytest

from gapkit.exceptions import InputError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.tape import ArrayStore, RecordedFactor

ROUNDING = 1e-11


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    return ArrayStore(None if request.param == "memory" else tmp_path / "rows")


def problem(n_rows, n_columns, seed=0):
    """Rows whose columns are nearly dependent, targets and sigmas."""
    rng = np.random.default_rng(seed)
    K = np.exp(-((rng.uniform(0, 4, (n_rows, 1)) - np.linspace(0, 4, n_columns)) ** 2))
    return K, rng.normal(size=n_rows), rng.uniform(0.5, 2, size=n_rows)


def assert_same_problem(factor, K, y, s):
    """R^T R, and more sharply |K a - y| for weights that the small singular values matter to."""
    stacked = np.column_stack([K, y]) / s[:, None]
    assert np.array_equal(factor.R, np.triu(factor.R))
    np.testing.assert_allclose(factor.R.T @ factor.R, stacked.T @ stacked, atol=ROUNDING * len(K))
    expected = np.linalg.svd(stacked, compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(factor.R, compute_uv=False)[: len(expected)], expected, atol=1e-13 * 50)
    assert factor.n_rows == len(K)
    np.testing.assert_allclose(factor.log_weights, np.log(s).sum(), rtol=1e-12)


@pytest.mark.parametrize("n_rows", [5, 12, 300])
def test_appended_columns_are_columns_from_the_start(store, n_rows):
    K, y, s = problem(n_rows, 30)
    factor = RecordedFactor(20, store)
    for start in range(0, n_rows, 70):
        part = slice(start, start + 70)
        factor.update(K[part, :20], y[part], s[part])
    assert_same_problem(factor, K[:, :20], y, s)
    factor.append_columns(K[:, 20:] / s[:, None], np.arange(30))
    assert_same_problem(factor, K, y, s)


def test_rows_and_columns_by_turns_and_in_any_order(store):
    """Shares that are merged, columns, rows, a share, columns again: in the model's order all the time."""
    K, y, s = problem(240, 25, seed=3)
    order, n = np.random.default_rng(1).permutation(25), 0
    columns = order[:10]
    factor, shares = RecordedFactor(10, store, np.argsort(np.argsort(columns))), []

    def rows_of(span, chosen):
        return K[span][:, np.sort(chosen)], y[span], s[span]

    for first in (0, 60):
        share = RecordedFactor(10, store, factor.order)
        for start in (first, first + 25):
            share.update(*rows_of(slice(start, min(start + 25, first + 60)), columns))
        share.update(*rows_of(slice(first + 50, first + 60), columns))
        shares.append(share)
    for share in shares:
        factor.merge(share)
    n = 120
    for more in (15, 16, 25):
        new, columns = order[len(columns) : more], order[:more]
        factor.append_columns(K[:n, new] / s[:n, None], np.argsort(np.argsort(columns)))
        factor.update(*rows_of(slice(n, n + 20), columns))
        share = RecordedFactor(len(columns), store, factor.order).update(*rows_of(slice(n + 20, n + 40), columns))
        factor.merge(share, overwrite_other=True)
        n += 40
        assert_same_problem(factor.in_model_order(), *rows_of(slice(0, n), columns))
    assert n == 240


def test_a_copy_goes_its_own_way(store):
    K, y, s = problem(50, 8)
    factor = RecordedFactor(5, store).update(K[:40, :5], y[:40], s[:40])
    other = factor.copy()
    other.update(K[40:, :5], y[40:], s[40:])
    other.append_columns(K[:, 5:] / s[:, None], np.arange(8))
    factor.append_columns(K[:40, 5:7] / s[:40, None], np.arange(7))
    assert_same_problem(other, K, y, s)
    assert_same_problem(factor, K[:40, :7], y[:40], s[:40])


def test_the_tape_changes_no_bit_of_the_triangle(store):
    K, y, s = problem(300, 12)
    plain, recorded = TriangularFactor(12), RecordedFactor(12, store)
    for start in range(0, 300, 60):
        part = slice(start, start + 60)
        plain.update(K[part], y[part], s[part])
        recorded.update(K[part], y[part], s[part])
    assert np.array_equal(plain.R, recorded.R)
    assert recorded.in_model_order().R is recorded.R
    assert type(recorded.in_model_order()) is TriangularFactor


def test_nearly_dependent_columns_keep_their_digits(store):
    """A column that differs from an old one by 1e-9 shows up as just that; R^-T K^T K' would lose it."""
    rng = np.random.default_rng(0)
    K, y = rng.normal(size=(200, 6)), rng.normal(size=200)
    change = 1e-9 * rng.normal(size=200)
    factor = RecordedFactor(6, store).update(K, y)
    factor.append_columns((K[:, 2] + change)[:, None], np.arange(7))
    beyond = change - K @ np.linalg.lstsq(K, change, rcond=None)[0]
    assert abs(factor.R[6, 6]) == pytest.approx(np.linalg.norm(beyond), rel=1e-5)


def test_rows_in_a_file_take_no_memory(tmp_path):
    K, y, s = problem(4000, 100)

    def growth(store):
        factor = RecordedFactor(100, store)
        tracemalloc.start()
        for start in range(0, 4000, 200):
            part = slice(start, start + 200)
            factor.update(K[part], y[part], s[part])
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return grown

    assert growth(ArrayStore()) > 8 * 4000 * 100
    assert growth(ArrayStore(tmp_path / "rows")) < 0.02 * 8 * 4000 * 100


def test_what_does_not_fit_is_refused_and_changes_nothing(store):
    K, y, s = problem(30, 6)
    factor = RecordedFactor(4, store).update(K[:, :4], y, s)
    before = factor.R.copy()
    for columns, order in ((K[:29, 4:], np.arange(6)), (K[:, 4:], np.arange(5)), (K[:, 4], np.arange(5))):
        with pytest.raises(InputError, match="columns for 30 rows"):
            factor.append_columns(columns, order)
    with pytest.raises(InputError, match="recorded factor of 4 columns"):
        factor.merge(TriangularFactor(4))
    with pytest.raises(InputError, match="recorded factor of 4 columns"):
        factor.merge(RecordedFactor(5, store))
    assert np.array_equal(factor.R, before)


def test_a_lost_file_is_named(tmp_path):
    K, y, s = problem(30, 6)
    path = tmp_path / "rows"
    factor = RecordedFactor(4, ArrayStore(path)).update(K[:, :4], y, s)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"rows.*can't be read"):
        factor.append_columns(K[:, 4:], np.arange(6))
    path.unlink()
    with pytest.raises(InputError, match=r"rows.*can't be read"):
        factor.append_columns(K[:, 4:], np.arange(6))

"""Factorisations in tiles, against NumPy's, whatever the number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.exceptions import InputError
from gapkit.gp import lapack, tiles
from gapkit.gp.lapack import apply_reflectors, fold_rows, solve_lower, triangular
from gapkit.parallel import limit_blas

SIZES = [1, 2, 7, 16, 41]


@pytest.fixture(autouse=True, params=[1, 3], ids=["alone", "threads"])
def small_tiles(request, monkeypatch):
    """Several tiles for matrices of a few rows, which two numbers of threads share."""
    for module in (lapack, tiles):
        monkeypatch.setattr(module, "PANEL", 8)
    monkeypatch.setattr(lapack, "STRIP", 6)
    monkeypatch.setattr(lapack, "_BLOCK", 4)
    with limit_blas(request.param, 10_000):
        yield


def upper(rng, n):
    return np.asfortranarray(np.triu(rng.standard_normal((n, n))) + 3.0 * np.eye(n))


@pytest.fixture(params=SIZES)
def S(request):
    A = np.random.default_rng(1).standard_normal((request.param, request.param + 5))
    return np.asfortranarray(A @ A.T + np.eye(request.param))


def test_cholesky_factor(S):
    L = S.copy(order="F")
    assert tiles.factor_in_place(L)
    np.testing.assert_allclose(L, np.linalg.cholesky(S), atol=1e-12)
    assert not np.triu(L, 1).any()


def test_a_matrix_that_is_not_positive_definite(S):
    S[-1, -1] = -1.0
    assert not tiles.factor_in_place(S)


def test_inverse(S):
    L = np.asfortranarray(np.linalg.cholesky(S))
    tiles.invert_in_place(L)
    np.testing.assert_allclose(L, np.tril(np.linalg.inv(S)), atol=1e-12)


def test_gram_of_an_upper_triangle(S):
    white = np.asfortranarray(np.vstack([np.triu(S), np.zeros((1, len(S)))]))
    np.testing.assert_allclose(tiles.gram(white), np.tril(white.T @ white), rtol=1e-12)


def test_inner_products(S):
    found = tiles.inner_products(S[:, : 1 + len(S) // 3])
    np.testing.assert_allclose(found, S[:, : 1 + len(S) // 3] @ S[:, : 1 + len(S) // 3].T, rtol=1e-12)
    np.testing.assert_array_equal(found, found.T)


@pytest.mark.parametrize("order", ["C", "F"])
def test_triangular_solves(S, order):
    L, x = np.array(np.linalg.cholesky(S), order=order), np.asfortranarray(S[:, : 1 + len(S) // 2] + 1.0)
    for transposed, matrix in ((False, L), (True, L.T)):
        found = x.copy(order="F")
        solve_lower(L, found, transposed=transposed)
        np.testing.assert_allclose(matrix @ found, x, atol=1e-10)
    rows = np.array(x.T, order="F")
    tiles.divide_by_transposed(rows, L)
    np.testing.assert_allclose(rows @ L.T, x.T, atol=1e-10)
    part = np.asfortranarray(np.vstack([x, x]))[: len(x)]  # of a larger matrix
    triangular("dtrmm", L, part)
    np.testing.assert_allclose(part, L @ x, atol=1e-10)
    with pytest.raises(InputError, match="Fortran order"):
        solve_lower(L, np.zeros((len(L) + 1, 2), order="F"))


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", SIZES)
def test_folded_rows_and_their_reflectors(n, part):
    rng, n_trapezoidal = np.random.default_rng(n), int(part * n)
    R, rows = upper(rng, n), np.asfortranarray(rng.standard_normal((n + 3, n)))
    for i in range(n_trapezoidal):
        rows[n + 3 - n_trapezoidal + i, :i] = 0.0
    folded, reflectors = R.copy(order="F"), rows.copy(order="F")
    factors = fold_rows(folded, reflectors, n_trapezoidal)
    np.testing.assert_allclose(np.triu(folded).T @ np.triu(folded), R.T @ R + rows.T @ rows, atol=1e-10)
    top, bottom = R.copy(order="F"), rows.copy(order="F")
    apply_reflectors(reflectors, factors, n_trapezoidal, top, bottom)
    np.testing.assert_allclose(np.triu(top), np.triu(folded), atol=1e-10)
    np.testing.assert_allclose(bottom, 0.0, atol=1e-10)

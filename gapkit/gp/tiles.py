"""Cholesky factors, inverses and Gram matrices in tiles, which threads share.

All matrices are float64 in Fortran order.  An interrupt is obeyed between tiles, whose order of operations does not
depend on the number of threads.
Source: Golub and Van Loan (2013), section 4.2.9, and LAPACK's dpotrf, dtrtri and dlauum, whose steps are the same.
"""

from __future__ import annotations

import numpy as np

from gapkit.gp.lapack import PANEL, add_squares, multiply, of_triangle, triangular
from gapkit.parallel import share
from gapkit.typing import FloatArray


def _strips(start: int, stop: int) -> list[slice]:
    return [slice(first, min(first + PANEL, stop)) for first in range(start, stop, PANEL)]


def factor_in_place(A: FloatArray) -> bool:
    """Replace the lower triangle of A (n, n) by its Cholesky factor, zero above; False: not positive definite."""
    n = len(A)
    for own in _strips(0, n):
        if of_triangle("dpotrf", A[own, own]) != 0:
            return False
        below = _strips(own.stop, n)

        def solve(strip: slice, own: slice = own) -> None:
            triangular("dtrsm", A[own, own], A[strip, own], right=True, transposed=True)

        def update(strip: slice, own: slice = own) -> None:
            add_squares(A[strip, own], A[strip, strip], -1.0)
            multiply(A[strip.stop :, own], A[strip, own].T, A[strip.stop :, strip], -1.0)

        share(solve, below)
        share(update, below)
    for j in range(1, n):
        A[:j, j] = 0.0
    return True


def invert_in_place(C: FloatArray) -> None:
    """Replace a lower Cholesky factor C (n, n) by the lower triangle of (C C^T)^-1; zeros above stay."""
    n = len(C)
    for own in reversed(_strips(0, n)):
        below, panel = _strips(own.stop, n), np.array(C[own.stop :, own], order="F")

        def invert(strip: slice, own: slice = own, panel: FloatArray = panel) -> None:
            out, first = C[strip, own], strip.start - own.stop
            triangular("dtrmm", C[strip, strip], out)
            multiply(C[strip, own.stop : strip.start], panel[:first], out, 1.0)
            triangular("dtrsm", C[own, own], out, right=True, factor=-1.0)

        share(invert, below)
        of_triangle("dtrtri", C[own, own])
    for own in _strips(0, n):

        def square(strip: slice, own: slice = own) -> None:
            triangular("dtrmm", C[own, own], C[own, strip], transposed=True)
            multiply(C[own.stop :, own].T, C[own.stop :, strip], C[own, strip], 1.0)

        share(square, _strips(0, own.start))
        of_triangle("dlauum", C[own, own])
        add_squares(C[own.stop :, own].T, C[own, own], 1.0)


def gram(white: FloatArray) -> FloatArray:
    """Lower triangle of white^T white, zero above, for an upper triangle `white` (m >= n, n)."""
    n = white.shape[1]
    out: FloatArray = np.zeros((n, n), order="F")

    def column(strip: slice) -> None:
        rows = white[: strip.stop]
        add_squares(rows[:, strip].T, out[strip, strip], 1.0)
        multiply(rows[:, strip.stop :].T, rows[:, strip], out[strip.stop :, strip], 1.0)

    share(column, _strips(0, n))
    return out


def divide_by_transposed(white: FloatArray, L: FloatArray) -> None:
    """Replace `white` (m, n) by white L^-T, L (n, n) lower triangular."""
    share(lambda rows: triangular("dtrsm", L, white[rows], right=True, transposed=True), _strips(0, len(white)))


def inner_products(x: FloatArray) -> FloatArray:
    """Products x x^T (m, m) for rows x (m, d)."""
    out = np.empty((len(x), len(x)))

    def rows(strip: slice) -> None:
        np.matmul(x[strip], x[: strip.stop].T, out=out[strip, : strip.stop])
        out[: strip.start, strip] = out[strip, : strip.start].T

    share(rows, _strips(0, len(x)))
    return out

"""BLAS and LAPACK routines that SciPy ships, called without the interpreter's lock: threads then run side by side."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

from gapkit.exceptions import InputError
from gapkit.parallel import share
from gapkit.typing import FloatArray

_BLOCK = 32  # columns per block reflector; measured fastest of 16..128 for widths of 300 to 3,000
PANEL = 256  # columns of the pieces into which long calls are cut, a multiple of _BLOCK
PIECE = 5_000_000_000  # operations of a call between which threads look whether to stop
STRIP = 512  # columns to which a thread applies the reflectors of a panel


@cache
def _routine(module: Any, name: str, n_arguments: int) -> Any:
    """A Fortran routine, all of whose arguments are addresses."""
    capsule = module.__pyx_capi__[name]
    name_of = ctypes.pythonapi.PyCapsule_GetName
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address_of = ctypes.pythonapi.PyCapsule_GetPointer
    address_of.restype, address_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)
    return prototype(address_of(capsule, name_of(capsule)))


def _call(module: Any, name: str, *arguments: int | bytes | np.ndarray, failing: bool = False) -> int:
    """Call a routine with numbers, characters and arrays; of LAPACK, whose last argument tells of errors.

    Where a matrix may be `failing`, the word of LAPACK is returned if it is above 0.
    """

    def address(argument: int | bytes | np.ndarray) -> Any:
        if isinstance(argument, np.ndarray):
            return argument.ctypes.data
        return ctypes.byref(ctypes.c_char(argument) if isinstance(argument, bytes) else ctypes.c_int(argument))

    info = ctypes.c_int(0)
    last = [ctypes.byref(info)] if module is cython_lapack else []
    _routine(module, name, len(arguments) + len(last))(*(address(argument) for argument in arguments), *last)
    if info.value < 0 or (info.value > 0 and not failing):
        raise InputError(f"LAPACK {name} rejected its argument {-info.value}")
    return int(info.value)


def multiply(a: FloatArray, b: FloatArray, out: FloatArray, factor: float, *, into: float = 1.0) -> None:
    """Replace `out` (m, n) by into * out + factor * a b, in Fortran order; `a` or `b` may be transposed."""
    (m, n), k = out.shape, a.shape[1]
    if m == 0 or n == 0 or k == 0:
        return
    (ta, a), (tb, b) = _turned(a), _turned(b)
    _call(
        cython_blas, "dgemm", ta, tb, m, n, k, np.full(1, factor), a, _leading(a), b, _leading(b), np.full(1, into),
        out, _leading(out),
    )  # fmt: skip


def add_squares(a: FloatArray, out: FloatArray, factor: float) -> None:
    """Add factor * a a^T to the lower triangle of `out` (n, n), in Fortran order; `a` (n, k) may be transposed."""
    (n, k), (turn, a) = a.shape, _turned(a)
    if n and k:
        of_array = (a, _leading(a), np.ones(1), out, _leading(out))
        _call(cython_blas, "dsyrk", b"L", turn, n, k, np.full(1, factor), *of_array)


def triangular(
    name: str, lower: FloatArray, x: FloatArray, *, right: bool = False, transposed: bool = False, factor: float = 1.0
) -> None:
    """Replace x by factor * L^-1 x ("dtrsm") or L x ("dtrmm"), L `lower` or its transpose, or act from the right.

    `lower` is read on and below its diagonal; x is in Fortran order.  Either may be part of a larger matrix.
    """
    upper, (turn, array) = False, _turned(lower)
    if turn == b"T":  # in C order: to Fortran an upper triangle
        upper = True
    if x.size:
        trans = b"T" if transposed != upper else b"N"
        sides = (b"R" if right else b"L", b"U" if upper else b"L", trans, b"N")
        _call(cython_blas, name, *sides, *x.shape, np.full(1, factor), array, _leading(array), x, _leading(x))


def of_triangle(name: str, A: FloatArray) -> int:
    """Replace the lower triangle of A by its Cholesky factor (dpotrf), inverse (dtrtri) or L^T L (dlauum).

    Returns LAPACK's word, 0 where all went well.
    """
    if A.size == 0:
        return 0
    kind = (b"L", b"N") if name == "dtrtri" else (b"L",)
    return _call(cython_lapack, name, *kind, len(A), A, _leading(A), failing=True)


def solve_lower(lower: FloatArray, x: FloatArray, *, transposed: bool = False) -> None:
    """Replace x (n, k), in Fortran order, by lower^-1 x or lower^-T x, in strips that threads share."""
    if lower.shape != (len(x), len(x)) or x.dtype != np.float64 or not x.flags.f_contiguous:
        raise InputError(f"a triangle of {len(x)} rows and float64 in Fortran order were expected, got {lower.shape}")
    step = max(1, min(STRIP, PIECE // max(len(x), 1) ** 2))
    strips = [x[:, start : start + step] for start in range(0, x.shape[1], step)]
    share(lambda strip: triangular("dtrsm", lower, strip, transposed=transposed), strips)


def _turned(a: FloatArray) -> tuple[bytes, FloatArray]:
    """A matrix or its transpose, whichever is in Fortran order, and what BLAS has to do with it."""
    if a.strides[0] == 8:
        return b"N", a
    if a.strides[1] == 8:
        return b"T", a.T
    raise InputError("matrices must have rows or columns without gaps")


def _leading(a: FloatArray) -> int:
    return max(a.strides[1] // 8, len(a), 1)


def multiply_triangular(x: np.ndarray, lower: np.ndarray) -> None:
    """Replace x (n, k) by x lower^T, in single precision; rows of x may be part of longer ones.

    `lower` (k, k) is lower triangular, in Fortran order.
    """
    n, k = x.shape
    if x.dtype != np.float32 or lower.dtype != np.float32 or not lower.flags.f_contiguous or x.strides[1] != 4:
        raise InputError("`x` must hold float32 in contiguous rows and `lower` float32 in Fortran order")
    if n == 0 or k == 0:
        return
    one = np.ones(1, np.float32)
    _call(cython_blas, "strmm", b"L", b"L", b"N", b"N", k, n, one, lower, k, x, x.strides[0] // 4)


def fold_rows(R: FloatArray, rows: FloatArray, n_trapezoidal: int = 0) -> FloatArray:
    """Replace the upper triangle R (n, n) by that of [R; rows], both in Fortran order (dtpqrt).

    The last `n_trapezoidal` of the rows (m, n) are upper trapezoidal, which for a triangle is a third of the cost.
    They become Householder reflectors, whose block factors (n_block, n) are returned.  Panels of columns follow one
    another, and threads share the columns to which the reflectors of a panel are applied.
    """
    m, n = rows.shape
    if any(array.dtype != np.float64 or not array.flags.f_contiguous for array in (R, rows)):
        raise InputError("`R` and the rows must be float64 in Fortran order to be folded in place")
    if R.shape != (n, n):
        raise InputError(f"`R` must have shape ({n}, {n}) as the rows, got {R.shape}")
    n_block = max(min(_BLOCK, n), 1)
    factors = np.zeros((n_block, n), order="F")
    if m == 0 or n == 0:
        return factors
    for start in range(0, n, PANEL):
        own = slice(start, min(start + PANEL, n))
        width = own.stop - start
        # rows of the trapezium that end within these columns, and rows that reach them
        ending = min(n_trapezoidal, own.stop) - min(n_trapezoidal, start)
        seen = m - n_trapezoidal + min(n_trapezoidal, own.stop)
        V, T, block = rows[:seen, own], factors[:, own], min(n_block, width)
        _call(
            cython_lapack, "dtpqrt", seen, width, ending, block, R[own, own], n, V, m, T, n_block, np.empty(block * n)
        )
        strips = [slice(first, min(first + STRIP, n)) for first in range(own.stop, n, STRIP)]

        def apply(strip: slice, V: FloatArray = V, T: FloatArray = T, own: slice = own, ending: int = ending) -> None:
            (seen, width), k = V.shape, strip.stop - strip.start
            block = min(n_block, width)
            _call(
                cython_lapack, "dtpmqrt", b"L", b"T", seen, k, width, ending, block, V, m, T, n_block, R[own, strip],
                n, rows[:seen, strip], m, np.empty(k * block),
            )  # fmt: skip

        share(apply, strips)
    return factors


def apply_reflectors(
    reflectors: FloatArray, factors: FloatArray, n_trapezoidal: int, top: FloatArray, bottom: FloatArray
) -> None:
    """Replace [top (n, k); bottom (m, k)] by Q^T of it, all in Fortran order (dtpmqrt).

    Q is that of a `fold_rows` which left `reflectors` (m, n) and returned `factors`.
    """
    (m, n), k = reflectors.shape, bottom.shape[1]
    arrays = (reflectors, factors, top, bottom)
    if any(array.dtype != np.float64 or not array.flags.f_contiguous for array in arrays):
        raise InputError("reflectors and what they act on must be float64 in Fortran order")
    if top.shape != (n, k) or bottom.shape != (m, k) or factors.shape[1] != n:
        raise InputError(f"expected a top ({n}, {k}) and a bottom ({m}, {k}), got {top.shape} and {bottom.shape}")
    if m == 0 or n == 0 or k == 0:
        return
    n_block, work = len(factors), np.empty(k * len(factors))
    _call(
        cython_lapack, "dtpmqrt", b"L", b"T", m, k, n, n_trapezoidal, n_block, reflectors, m, factors, n_block, top, n,
        bottom, m, work,
    )  # fmt: skip

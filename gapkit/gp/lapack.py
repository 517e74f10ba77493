"""BLAS and LAPACK routines that SciPy ships, called without the interpreter's lock: threads then run side by side."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray

_BLOCK = 32  # columns per block reflector; measured fastest of 16..128 for widths of 300 to 3,000


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


def _call(module: Any, name: str, *arguments: int | bytes | np.ndarray) -> None:
    """Call a routine with numbers, characters and arrays; of LAPACK, whose last argument tells of errors."""

    def address(argument: int | bytes | np.ndarray) -> Any:
        if isinstance(argument, np.ndarray):
            return argument.ctypes.data
        return ctypes.byref(ctypes.c_char(argument) if isinstance(argument, bytes) else ctypes.c_int(argument))

    info = ctypes.c_int(0)
    last = [ctypes.byref(info)] if module is cython_lapack else []
    _routine(module, name, len(arguments) + len(last))(*(address(argument) for argument in arguments), *last)
    if info.value != 0:
        raise InputError(f"LAPACK {name} rejected its argument {-info.value}")


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
    They become Householder reflectors, whose block factors (n_block, n) are returned.
    """
    m, n = rows.shape
    if any(array.dtype != np.float64 or not array.flags.f_contiguous for array in (R, rows)):
        raise InputError("`R` and the rows must be float64 in Fortran order to be folded in place")
    if R.shape != (n, n):
        raise InputError(f"`R` must have shape ({n}, {n}) as the rows, got {R.shape}")
    n_block = max(min(_BLOCK, n), 1)
    factors, work = np.zeros((n_block, n), order="F"), np.empty(n_block * n)
    if m == 0 or n == 0:
        return factors
    _call(cython_lapack, "dtpqrt", m, n, n_trapezoidal, n_block, R, n, rows, m, factors, n_block, work)
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

"""BLAS and LAPACK routines that SciPy ships, called without the interpreter's lock: threads then run side by side."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray


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


def _int(value: int) -> Any:
    return ctypes.byref(ctypes.c_int(value))


def _char(value: bytes) -> Any:
    return ctypes.byref(ctypes.c_char(value))


def _address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def multiply_triangular(x: np.ndarray, lower: np.ndarray) -> None:
    """Replace x (n, k) by x lower^T, in single precision; rows of x may be part of longer ones.

    `lower` (k, k) is lower triangular, in Fortran order.
    """
    n, k = x.shape
    if x.dtype != np.float32 or lower.dtype != np.float32 or not lower.flags.f_contiguous or x.strides[1] != 4:
        raise InputError("`x` must hold float32 in contiguous rows and `lower` float32 in Fortran order")
    if n == 0 or k == 0:
        return
    one = ctypes.byref(ctypes.c_float(1.0))
    _routine(cython_blas, "strmm", 11)(
        _char(b"L"), _char(b"L"), _char(b"N"), _char(b"N"), _int(k), _int(n), one, _address(lower), _int(k),
        _address(x), _int(x.strides[0] // 4),
    )  # fmt: skip


def fold_trapezoid(R: FloatArray, B: FloatArray, n_trapezoidal: int, n_block: int) -> FloatArray:
    """Replace the upper triangle R (n, n) by that of [R; B], both in Fortran order (dtpqrt).

    The last `n_trapezoidal` rows of B (m, n) are upper trapezoidal.  B becomes the reflectors; their block factors
    (n_block, n) are returned.
    """
    m, n = B.shape
    if R.dtype != np.float64 or B.dtype != np.float64 or not (R.flags.f_contiguous and B.flags.f_contiguous):
        raise InputError("`R` and the rows must be float64 in Fortran order to be folded in place")
    if R.shape != (n, n):
        raise InputError(f"`R` must have shape ({n}, {n}) as the rows, got {R.shape}")
    n_block = max(min(n_block, n), 1)
    factors, work = np.zeros((n_block, n), order="F"), np.empty(n_block * n)
    if m == 0 or n == 0:
        return factors
    info = ctypes.c_int(0)
    _routine(cython_lapack, "dtpqrt", 12)(
        _int(m), _int(n), _int(n_trapezoidal), _int(n_block), _address(R), _int(n), _address(B), _int(m),
        _address(factors), _int(n_block), _address(work), ctypes.byref(info),
    )  # fmt: skip
    _check("dtpqrt", info)
    return factors


def apply_reflectors(
    reflectors: FloatArray, factors: FloatArray, n_trapezoidal: int, top: FloatArray, bottom: FloatArray
) -> None:
    """Replace [top (n, k); bottom (m, k)] by Q^T of it, all in Fortran order (dtpmqrt).

    Q is that of a `fold_trapezoid` which left `reflectors` (m, n) and returned `factors`.
    """
    m, n = reflectors.shape
    k = bottom.shape[1]
    arrays = (reflectors, factors, top, bottom)
    if any(array.dtype != np.float64 or not array.flags.f_contiguous for array in arrays):
        raise InputError("reflectors and what they act on must be float64 in Fortran order")
    if top.shape != (n, k) or bottom.shape != (m, k) or factors.shape[1] != n:
        raise InputError(f"expected a top ({n}, {k}) and a bottom ({m}, {k}), got {top.shape} and {bottom.shape}")
    if m == 0 or n == 0 or k == 0:
        return
    work = np.empty(k * len(factors))
    info = ctypes.c_int(0)
    _routine(cython_lapack, "dtpmqrt", 17)(
        _char(b"L"), _char(b"T"), _int(m), _int(k), _int(n), _int(n_trapezoidal), _int(len(factors)),
        _address(reflectors), _int(m), _address(factors), _int(len(factors)), _address(top), _int(n),
        _address(bottom), _int(m), _address(work), ctypes.byref(info),
    )  # fmt: skip
    _check("dtpmqrt", info)


def _check(routine: str, info: ctypes.c_int) -> None:
    if info.value != 0:
        raise InputError(f"LAPACK {routine} rejected its argument {-info.value}")

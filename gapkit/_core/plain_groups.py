"""Groups of doubles as NumPy arrays: those of `simd` where kernels run as Python (NUMBA_DISABLE_JIT=1)."""

from __future__ import annotations

import numpy as np


def _part(array, index, width):
    """Elements index .. index + width - 1 of a contiguous array, as a view."""
    if not array.flags.c_contiguous or array.dtype != np.float64:
        raise TypeError(f"groups are loaded from and stored in C-contiguous arrays of float64, got {array.dtype}")
    if not 0 <= index <= array.size - width:
        raise IndexError(f"elements {index} .. {index + width - 1} are not in an array of {array.size}")
    return array.reshape(-1)[index : index + width]


def load4(array, index):
    return _part(array, index, 4).copy()


def load8(array, index):
    return _part(array, index, 8).copy()


def fill4(value):
    return np.full(4, float(value))


def fill8(value):
    return np.full(8, float(value))


def store(array, index, group):
    _part(array, index, len(group))[:] = group


def add(a, b):
    return a + b


def sub(a, b):
    return a - b


def mul(a, b):
    return a * b


def fma(a, b, c):
    return a * b + c


def total(group):
    while len(group) > 1:
        group = group[::2] + group[1::2]
    return group[0]


def transpose8(source, start, stride, target, at, target_stride):
    rows = np.stack([load8(source, start + k * stride) for k in range(8)])
    for k in range(8):
        store(target, at + k * target_stride, rows[:, k])

"""The one way to compile a kernel: fixed flags, one cache policy.

`nnan` and `ninf` are left out of the fast-math flags on purpose: a NaN must stay visible.  Kernels release the GIL, so
threads over blocks of atoms run in parallel without Numba's own threading layers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])

FAST_MATH = {"contract", "reassoc", "nsz"}


def jit(function: Function) -> Function:
    """Compile `function` in nopython mode, cached on disk, without the GIL."""
    return numba.njit(cache=True, nogil=True, fastmath=FAST_MATH, error_model="numpy")(function)

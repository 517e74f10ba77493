"""The one way to compile a kernel: fixed flags, one cache policy.

`nnan` and `ninf` are left out of the fast-math flags on purpose: a NaN must stay visible.  Kernels release the GIL, so
threads over blocks of atoms run in parallel without Numba's own threading layers.

Machine code is kept where Numba keeps it, in a folder named by a digest of all that it depends on.  Numba's own index
knows the kernel and its file, but neither the flags nor what a kernel calls in other files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numba

from gapkit._core.compiling import tell

try:
    from numba.core.caching import FunctionCache, IndexDataCacheFile
except ImportError:  # private: should a later Numba move them, kernels are compiled anew in every process
    FunctionCache, IndexDataCacheFile = object, None

Function = TypeVar("Function", bound=Callable[..., Any])

FAST_MATH = {"contract", "reassoc", "nsz"}
FORMER = 4  # folders of other sources, settings and versions that stay, for branches and environments in turn
SETTINGS = ("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "ENABLE_AVX", "LOOP_VECTORIZE", "OPT", "SLP_VECTORIZE", "USING_SVML")


def jit(function: Function) -> Function:
    """Compile `function` in nopython mode, cached on disk, without the GIL."""
    compiled = numba.njit(nogil=True, fastmath=FAST_MATH, error_model="numpy")(function)
    if numba.config.DISABLE_JIT:
        return compiled
    try:
        compiled._cache = _Cache(function)
    except (AttributeError, OSError, RuntimeError, TypeError) as error:  # no folder to write to, or another Numba
        warnings.warn(f"machine code is not kept on disk: {error}", numba.NumbaWarning, stacklevel=2)
    return compiled


@cache
def _digest(file: str) -> str:
    """Digest of the sources in the folder of `file`, of the compiler and of its settings; the flags are in the sources.

    Taken once per file, when its first kernel is defined: a file imported later may have changed since.
    """
    sources = sorted(Path(file).parent.glob("*.py"))
    if not sources:
        raise RuntimeError(f"there are no sources next to {file}")
    versions = [version(package) for package in ("numba", "llvmlite", "numpy")]
    settings = [str(getattr(numba.config, name, None)) for name in SETTINGS]
    digest = hashlib.sha256(repr((versions, settings)).encode())
    for path in sources:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


class _Cache(FunctionCache):
    """Numba's cache of one function, in the folder of its digest."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = _digest(function.__code__.co_filename)
        self._cache_path = os.path.join(self.cache_path, f"gapkit-{stamp}")
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, stamp)
        # Numba counts data files: two processes at work on different signatures would both write, and index, number 1.
        self._cache_file._data_name_pattern = f"{self._impl.filename_base}.{{number:d}}.{uuid4().hex[:16]}.nbc"

    def load_overload(self, signature: Any, target: Any) -> Any:
        found = super().load_overload(signature, target)
        if found is None:
            tell()
        return found

    def save_overload(self, signature: Any, data: Any) -> None:
        with suppress(OSError):  # a full disk, or the folder removed just now: this process has its machine code
            if not os.path.isdir(self._cache_path):
                os.makedirs(self._cache_path, exist_ok=True)
                _remove_former(Path(self._cache_path).parent)
            super().save_overload(signature, data)


def _remove_former(parent: Path) -> None:
    """Remove all but the folders written last, so that edits and upgrades do not pile up."""
    with suppress(FileNotFoundError):  # another process removes them as well
        folders = sorted(parent.glob("gapkit-*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in folders[FORMER + 1 :]:
            shutil.rmtree(folder, ignore_errors=True)

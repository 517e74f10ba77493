"""Read-only arrays, cells that have a volume, and symmetric tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray, IntArray

# A cell counts as three-dimensional when its volume exceeds this fraction of |a||b||c|.
SINGULAR_CELL = 1e-10
# A stress or virial counts as symmetric within this part of its largest component.
ASYMMETRY = 1e-2


def frozen(values: ArrayLike, dtype: type, shape: tuple[int, ...], name: str) -> NDArray:
    """Return a read-only, C-contiguous view of `values`, whose own flags stay; InputError if its shape is another."""
    array = np.ascontiguousarray(values, dtype=dtype).view()
    if array.shape != shape:
        raise InputError(f"`{name}` must have shape {shape}, got {array.shape}; build batches with `to_batch`")
    return read_only(array)


def read_only(array: NDArray) -> NDArray:
    """The array itself, which can no longer be written to."""
    array.flags.writeable = False
    return array


def offsets_of(counts: ArrayLike) -> IntArray:
    """Index (n + 1,) at which each of n groups of given sizes begins, and the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def volumes_of(cells: FloatArray) -> FloatArray:
    """Volumes (...,) of cells (..., 3, 3) in Å^3, NaN where they are not three-dimensional."""
    volume = np.abs(np.linalg.det(cells))
    scale = np.prod(np.linalg.norm(cells, axis=-1), axis=-1)
    return np.where(volume > SINGULAR_CELL * scale, volume, np.nan)


def is_symmetric(tensor: FloatArray) -> bool:
    """Whether a tensor (3, 3) is, within `ASYMMETRY` of its largest component."""
    return bool(np.abs(tensor - tensor.T).max() <= ASYMMETRY * np.abs(tensor).max() + 1e-12)

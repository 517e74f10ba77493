"""Arrays in streams, in NumPy's own format: written without a copy, read without trust in what they say of themselves.

Triangles are written by columns without their zeros, as an array of one dimension.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import IO, Protocol

import numpy as np

from gapkit.typing import FloatArray

TYPES = {"<f8": np.dtype("<f8"), "<i8": np.dtype("<i8")}
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(<f8|<i8)', 'fortran_order': (False|True), 'shape': \(((?:\d{1,15}, ?)*(?:\d{1,15})?)\), \} *\n"
)
_CHUNK = 1 << 22  # bytes


@dataclass(frozen=True, eq=False)
class PackedTriangle:
    """A triangle that is written without its zeros."""

    matrix: FloatArray  # (n, n), upper triangular, best in Fortran order

    @property
    def shape(self) -> tuple[int]:
        """Of the array in the file: n (n + 1) / 2 numbers."""
        n = len(self.matrix)
        return (n * (n + 1) // 2,)

    dtype = TYPES["<f8"]


@dataclass(frozen=True)
class Layout:
    """What the first bytes of an array say of it."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool

    @property
    def size(self) -> int:
        """Bytes of the numbers."""
        return self.dtype.itemsize * prod(self.shape)


class Reader(Protocol):
    """A stream that reads all bytes that were asked for, or raises EOFError."""

    def read_exactly(self, n: int) -> bytes: ...

    def fill(self, buffer: np.ndarray) -> None: ...


def write(stream: IO[bytes], array: np.ndarray | PackedTriangle) -> None:
    """Write an array in the order of its memory, by which BLAS rounds."""
    if not isinstance(array, PackedTriangle):
        np.lib.format.write_array(stream, array, version=(1, 0), allow_pickle=False)
        return
    header = {"descr": "<f8", "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    for j in range(len(array.matrix)):
        stream.write(array.matrix[: j + 1, j].tobytes())


def read_layout(stream: Reader, size: int) -> Layout:
    """The layout of an array that takes `size` bytes of a file in all; ValueError if it does not."""
    if stream.read_exactly(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no array of NumPy's format 1.0")
    n = int.from_bytes(stream.read_exactly(2), "little")
    found = _HEADER.fullmatch(stream.read_exactly(min(n, size)))
    if found is None:
        raise ValueError("it is no array of 64-bit numbers")
    dtype, fortran, shape = (part.decode() for part in found.groups())
    layout = Layout(TYPES[dtype], tuple(int(n) for n in shape.replace(",", " ").split()), fortran == "True")
    if len(_MAGIC) + 2 + n + layout.size != size:
        raise ValueError(f"shape {layout.shape} needs {layout.size} bytes, and it has {size - len(_MAGIC) - 2 - n}")
    return layout


def read(stream: Reader, layout: Layout) -> np.ndarray:
    """The numbers of an array."""
    array = np.empty(layout.shape, layout.dtype, order="F" if layout.fortran else "C")
    if array.size:
        view = array.reshape(-1, order="A").view(np.uint8)
        for start in range(0, len(view), _CHUNK):
            stream.fill(view[start : start + _CHUNK])
    return array


def read_triangle(stream: Reader, layout: Layout) -> FloatArray:
    """The upper triangle (n, n), in Fortran order, of a `PackedTriangle`."""
    n = int((2 * layout.shape[0]) ** 0.5)
    if layout.shape != (n * (n + 1) // 2,) or layout.dtype != TYPES["<f8"]:
        raise ValueError(f"shape {layout.shape} is that of no triangle")
    matrix = np.zeros((n, n), order="F")
    for j in range(n):
        stream.fill(matrix[: j + 1, j].view(np.uint8))
    return matrix

"""What arrays of a file must be, declared beside the class that reads them and checked as they are taken.

A declaration checks what was read and what is about to be written alike.  Errors name the array, and say what was
expected and what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.npy import Layout, PackedTriangle
from gapkit.io.values import LARGEST, Number
from gapkit.typing import FloatArray

Size: TypeAlias = int | str


@dataclass(frozen=True)
class Array:
    """An array of numbers from `low` to `high`; a name in its shape stands for a size that it shares with others."""

    shape: tuple[Size, ...]
    low: float = -LARGEST
    high: float = LARGEST
    whole: bool = False
    above: bool = False  # whether all must be more than `low`
    infinite: bool = False  # whether infinity is among them
    rule: tuple[str, Callable[[np.ndarray], bool]] | None = None  # what else it must be

    def check(self, array: np.ndarray, name: str, sizes: dict[str, int]) -> None:
        """InputError unless it is; `sizes` are known by name, and take those that are new."""
        self.check_layout(array.dtype, array.shape, name, sizes)
        if array.size:
            low, high = array.min(), array.max()  # NaN if one is
            top = np.inf if self.infinite else self.high
            if not (low >= self.low and high <= top) or (self.above and low == self.low):
                inside = (array >= self.low) & (array <= top) & ~(self.above & (array == self.low))
                worst = array[~inside].ravel()[0]
                raise InputError(f"`{name}` must hold {self._range()}, got {worst} among its {array.size}")
        if self.rule is not None and not self.rule[1](array):
            raise InputError(f"`{name}` must be {self.rule[0]}")

    def check_layout(self, dtype: np.dtype, shape: tuple[int, ...], name: str, sizes: dict[str, int]) -> None:
        """The same of type and shape alone."""
        if dtype.kind != ("i" if self.whole else "f"):
            raise InputError(f"`{name}` must hold {'whole' if self.whole else 'real'} numbers, got type {dtype}")
        expected = tuple(sizes.get(size, size) if isinstance(size, str) else size for size in self.shape)
        right = len(expected) == len(shape) and all(
            isinstance(want, str) or want == got for want, got in zip(expected, shape, strict=True)
        )
        if not right:
            text = ", ".join(map(str, expected)) + ("," if len(expected) == 1 else "")
            raise InputError(f"`{name}` must have shape ({text}), got {shape}")
        sizes.update({size: got for size, got in zip(self.shape, shape, strict=True) if isinstance(size, str)})

    def _range(self) -> str:
        return str(Number(self.low, self.high, self.above, self.whole)).removeprefix("a ") + "s only"


def ascending(values: np.ndarray) -> bool:
    """Whether values rise along the last axis, or stay."""
    return bool((values[..., 1:] >= values[..., :-1]).all())


def strictly_ascending(values: np.ndarray) -> bool:
    """Whether values rise along the last axis."""
    return bool((values[..., 1:] > values[..., :-1]).all())


def orthonormal(columns: np.ndarray) -> bool:
    """Whether the columns of matrices (..., n, r) are."""
    products = np.swapaxes(columns, -1, -2) @ columns
    return bool(np.allclose(products, np.eye(columns.shape[-1]), rtol=0.0, atol=1e-6))


@dataclass(frozen=True)
class Triangle:
    """An upper triangle (size, size), packed or, in old files, whole; `size` is the name of a size that is known."""

    size: str
    definite: bool = False  # whether its diagonal must not vanish
    diagonal: bool = False  # whether it may be its diagonal alone, (size,)
    lower: bool = False  # whether old files have it transposed

    def check(self, matrix: FloatArray, name: str, sizes: dict[str, int]) -> None:
        """InputError unless it is; a matrix or a diagonal."""
        shape = (self.size, self.size) if matrix.ndim == 2 else (self.size,)
        Array(shape).check(matrix, name, sizes)
        diagonal = matrix.diagonal() if matrix.ndim == 2 else matrix
        if self.definite and not diagonal.all():
            raise InputError(f"`{name}` must have a diagonal without zeros, got one at {int(np.argmin(diagonal != 0))}")


Schema: TypeAlias = Mapping[str, Array | Triangle]


class Source(Protocol):
    """Where arrays come from; `io.archive.Archive` is one."""

    def __contains__(self, name: str) -> bool: ...

    def __iter__(self) -> Iterator[str]: ...

    def layout(self, name: str) -> Layout: ...

    def array(self, name: str) -> np.ndarray: ...

    def triangle(self, name: str) -> FloatArray: ...


@dataclass(frozen=True)
class Given:
    """Arrays at hand as a source."""

    arrays: Mapping[str, np.ndarray | PackedTriangle]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def layout(self, name: str) -> Layout:
        """Type and shape of an array."""
        array = self.arrays[name]
        return Layout(array.dtype, array.shape, fortran=False)

    def array(self, name: str) -> np.ndarray:
        """An array."""
        return np.asarray(self.arrays[name])

    def triangle(self, name: str) -> FloatArray:
        """The matrix of a packed triangle."""
        packed = self.arrays[name]
        if not isinstance(packed, PackedTriangle):
            raise InputError(f"`{name}` must be a packed triangle")
        return packed.matrix


class Arrays:
    """Arrays of a source by a prefix and suffix of their names, each checked against its declaration as it is taken."""

    def __init__(
        self, source: Source, schema: Schema, *, prefix: str = "", suffix: str = "", sizes: Mapping[str, int] = {},
        taken: set[str] | None = None,
    ) -> None:  # fmt: skip
        self.sizes = dict(sizes)
        self._source, self._schema, self._prefix, self._suffix = source, schema, prefix, suffix
        self._taken: set[str] = set() if taken is None else taken

    def of(self, schema: Schema, prefix: str = "", suffix: str = "", **sizes: int) -> Arrays:
        """Those of a part, with a longer prefix, or of another suffix; it has sizes of its own."""
        return Arrays(self._source, schema, prefix=self._prefix + prefix, suffix=suffix, sizes=sizes, taken=self._taken)

    def __contains__(self, name: str) -> bool:
        return f"{self._prefix}{name}{self._suffix}" in self._source

    def __getitem__(self, name: str) -> Any:
        """The array of a name of the schema; InputError if it is missing or not as declared."""
        full, declared = f"{self._prefix}{name}{self._suffix}", self._schema[name]
        if full not in self._source:
            raise InputError(f"array `{full}` is missing")
        self._taken.add(full)
        layout = self._source.layout(full)
        if isinstance(declared, Array):
            # before numbers are read: a wrong shape may be a large one
            declared.check_layout(layout.dtype, layout.shape, full, dict(self.sizes))
            found = self._source.array(full)
        else:
            found = self._triangle(full, layout, declared)
        declared.check(found, full, self.sizes)
        return found

    def optional(self, name: str) -> Any:
        """The same; None if it is missing."""
        if name in self:
            return self[name]
        return None

    def check_all_taken(self) -> None:
        """InputError where the source holds more than was taken."""
        if left := sorted(set(self._source) - self._taken):
            raise InputError(f"array `{left[0]}` is not known here; it may be of a newer version of gapkit")

    def _triangle(self, full: str, layout: Layout, declared: Triangle) -> FloatArray:
        n = self.sizes[declared.size]
        if layout.shape == (n * (n + 1) // 2,):
            Array(layout.shape).check_layout(layout.dtype, layout.shape, full, {})
            return self._source.triangle(full)
        Array((n,) if declared.diagonal and layout.shape == (n,) else (n, n)).check_layout(
            layout.dtype, layout.shape, full, {}
        )
        matrix = self._source.array(full).T if declared.lower else self._source.array(full)
        if matrix.ndim == 2 and any(matrix[j + 1 :, j].any() for j in range(len(matrix))):  # by columns: no copy
            raise InputError(f"`{full}` must be an upper triangular matrix")
        return matrix

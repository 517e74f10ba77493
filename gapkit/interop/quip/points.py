"""Sparse points of a descriptor: from the file that it names beside the gap.xml, or from its elements."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from gapkit.exceptions import ModelFileError
from gapkit.inputs import read_input
from gapkit.interop.quip.declared import read, whole
from gapkit.printing import quoted
from gapkit.typing import FloatArray

_PER_NUMBER = 64  # bytes at most, blanks included; QUIP writes 25
_SLACK = 1 << 16
LARGEST = 1e30  # elements of a vector: products of two and their powers stay finite


@dataclass(frozen=True)
class _Slice:
    start: int = whole(low=1)
    end: int = whole(low=1)


def from_file(folder: Path, name: str, md5: str, shape: tuple[int, int], label: str) -> FloatArray:
    """Sparse points (n, d) of a file in the folder of the gap.xml; its content is never quoted.

    Raises
    ------
    ModelFileError
        If the name leads elsewhere, or the file does not hold n d finite numbers.
    """
    what = f"the file of sparse points of {label}"
    if Path(name).name != name or "\\" in name or name in (".", ".."):
        raise ModelFileError(
            f"`sparseX_filename` of {label} must be a plain name, got {quoted(name)}; "
            "copy that file beside the gap.xml and write its name alone"
        )
    path = folder / name
    if not os.path.lexists(path):
        raise ModelFileError(f"{what}, {quoted(name)}, is missing; copy it beside the gap.xml")
    if os.path.dirname(os.path.realpath(path)) != os.path.realpath(folder):
        raise ModelFileError(f"{what}, {quoted(name)}, is a link out of its folder; copy the file itself there")
    content = read_input(path, what, at_most=_SLACK + _PER_NUMBER * shape[0] * shape[1], error=ModelFileError)
    if md5 and md5 != hashlib.md5(content, usedforsecurity=False).hexdigest():
        raise ModelFileError(f"{what}, {quoted(name)}, must have the md5 sum of the gap.xml; copy both again")
    return checked(content, shape, what)


def inline(points: Sequence[Element], shape: tuple[int, int], label: str) -> FloatArray:
    """Sparse points (n, d) of the elements, whole or in slices."""
    n, d = shape
    rows = np.empty((n, d)) if n * d <= sum(len(text) for item in points for text in item.itertext()) else None
    if rows is None:  # fewer characters than numbers
        raise ModelFileError(f"the sparse points of {label} must be {n} x {d} numbers in its elements; copy it again")
    for i, item in enumerate(points):
        parts = [
            (read(_Slice, part.attrib, f"<sparseX_slice> of {label}"), part) for part in item.iter("sparseX_slice")
        ]
        start = 0
        for own, part in sorted(parts, key=lambda pair: pair[0].start):
            if own.start != start + 1 or not own.start <= own.end <= d:
                raise ModelFileError(f"slices of a sparse point of {label} must follow each other; copy the file again")
            rows[i, start : own.end] = checked(part.text or "", (1, own.end - start), f"a slice of {label}")[0]
            start = own.end
        if not parts:
            rows[i] = checked(item.text or "", (1, d), f"a sparse point of {label}")[0]
        elif start != d:
            raise ModelFileError(f"slices of a sparse point of {label} must have {d} numbers; copy the file again")
    return rows


def checked(text: str | bytes, shape: tuple[int, int], what: str) -> FloatArray:
    """Numbers of a text as an array of a shape; ModelFileError without a word of the text."""
    n, d = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # numpy's word for text that is no number
            numbers = np.fromstring(text, sep=" ") if text and not text.isspace() else np.empty(0)
    except (DeprecationWarning, ValueError):
        numbers = None
    if numbers is None or numbers.size != n * d or not (np.abs(numbers) <= LARGEST).all():
        got = "other text" if numbers is None else f"{numbers.size} numbers"
        raise ModelFileError(f"{what} must hold {n} x {d} finite numbers, got {got}; copy the file again")
    return numbers.reshape(n, d)

"""Extended XYZ files, read to their end: as ASE reads them, but nothing in them is passed over.

Every line belongs to a frame or is blank between frames, every column has a name, and every value is of its type.
Memory is bounded by what the file holds, whatever its headers claim.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from itertools import chain, islice
from typing import Any, TextIO

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.data import atomic_numbers
from ase.io.extxyz import REV_PROPERTY_NAME_MAP, key_val_str_to_dict, read_xyz, set_calc_and_arrays
from numpy.typing import NDArray

from gapkit.structures.arrays import is_symmetric

_PLAIN = "species:S:1:pos:R:3"  # columns of a file without extensions
_LONGEST_HEADER = 1 << 22  # characters; ASE's parser goes through them one by one
_SPECIAL = {name.lower(): name for name in ("Lattice", "Properties", "pbc")}
# What is in quotes or brackets, up to the end of the line where they are not closed.
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"?|' + r"'(?:\\.|[^'\\])*'?|\{[^}]*\}?|\[[^\]]*\]?")
_KEY = re.compile(r"(?:^|\s)([^\s=]+)\s*=")
_LOGICAL = {"T": True, "F": False, "True": True, "False": False}


@dataclass(frozen=True)
class RawFrame:
    """The text of a frame, whose count of atoms is in line `line` of the file, counted from 1."""

    line: int
    header: str
    rows: list[str]
    vectors: list[str]  # cell vectors in lines of their own, as ADF writes them


def raw_frames(stream: TextIO) -> Iterator[RawFrame]:
    """Split a file into frames; ValueError, with the line, where something is no frame."""
    number = 0
    line = stream.readline().removeprefix("\ufeff")  # which some editors write before UTF-8
    while line:
        number += 1
        if not line.strip():
            line = stream.readline()
            continue
        n_atoms = _count(line, number)
        header, rows = stream.readline(), list(islice(stream, n_atoms))
        if len(rows) < n_atoms:
            raise ValueError(f"line {number} promises {n_atoms} atoms, but the file ends after {len(rows)} of them")
        vectors = []
        while (line := stream.readline()).lstrip().startswith("VEC"):
            vectors.append(line)
        yield RawFrame(number, header, rows, vectors)
        number += 1 + n_atoms + len(vectors)


def _count(line: str, number: int) -> int:
    try:
        count = int(line)
    except ValueError:
        count = -1
    if count < 0:
        text = line.strip()
        raise ValueError(
            f"line {number} must be the number of atoms of the next frame, got {text[:60]!r}; check that the frame "
            "before it has as many lines as it says"
        )
    return count


def to_atoms(raw: RawFrame) -> Atoms:
    """Atoms as ASE makes them of a frame; ValueError, with the line, where a value is not what it should be."""
    if raw.vectors:
        text = "".join([f"{len(raw.rows)}\n", raw.header, *raw.rows, *raw.vectors])
        return next(read_xyz(StringIO(text), 0))
    info = _header(raw)
    stress = np.asarray(info.get("stress", 0.0))
    if stress.shape == (3, 3) and stress.dtype.kind in "if" and not is_symmetric(stress):
        got = stress.ravel().tolist()  # of which ASE takes one half
        raise ValueError(f"line {raw.line + 1}: `stress` must be symmetric, got {got}; correct or remove this label")
    arrays, move_mask = _columns(raw, info.pop("Properties", _PLAIN)), None
    if "move_mask" in arrays:
        move_mask = arrays.pop("move_mask").astype(bool)
    pbc = info.pop("pbc", "Lattice" in info)
    if np.shape(pbc) not in ((), (3,)) or not set(np.ravel(pbc).tolist()) <= {0, 1}:
        raise ValueError(f'line {raw.line + 1}: `pbc` must be three of T and F, such as pbc="T T F", got {pbc!r:.60}')
    lattice = info.pop("Lattice", None)
    symbols = arrays.pop("symbols", None)
    numbers = arrays.pop("numbers") if "numbers" in arrays else _numbers(raw, symbols)
    atoms = Atoms(
        numbers=_numbers(raw, symbols) if numbers is None else numbers, positions=arrays.pop("positions"),
        charges=arrays.pop("initial_charges", None), cell=None if lattice is None else lattice.T, pbc=pbc, info=info,
    )  # fmt: skip
    if move_mask is not None:
        atoms.set_constraint(_constraints(move_mask))
    set_calc_and_arrays(atoms, arrays)
    return atoms


def _header(raw: RawFrame) -> dict[str, Any]:
    where, text = f"line {raw.line + 1}", raw.header.strip()
    if len(text) > _LONGEST_HEADER:
        raise ValueError(f"{where}: a header must have at most {_LONGEST_HEADER:,} characters, got {len(text):,}")
    _check_text(text, where)
    names = _KEY.findall(_QUOTED.sub('""', text))
    for name in names:
        if name not in _SPECIAL.values() and (meant := _SPECIAL.get(name.lower())):
            raise ValueError(f"{where}: `{name}` must be written {meant}")
        if name != '""' and names.count(name) > 1:
            raise ValueError(
                f"{where}: `{name}` must be given once, got it {names.count(name)} times; remove the others"
            )
    try:
        return key_val_str_to_dict(text) if text else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: {error}") from None


def _check_text(text: str, where: str) -> None:
    if "\0" in text:
        raise ValueError(f"{where} must be text, got a NUL byte, as writers leave that were ended by a full disk")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} must be text in UTF-8, got other bytes; convert the file, with iconv") from None


def _columns(raw: RawFrame, properties: Any) -> dict[str, NDArray]:
    """Arrays of the atoms by ASE's names."""
    try:
        named = _named_columns(str(properties))
    except ValueError as error:
        raise ValueError(f"line {raw.line + 1}: {error}") from None
    n_columns = sum(width for _, _, width in named)
    fields = [row.split() for row in raw.rows]
    for k, row in enumerate(fields):
        if len(row) != n_columns:
            raise ValueError(
                f"line {raw.line + 2 + k} must have {n_columns} columns, {properties}, got {len(row)}; "
                "correct it, or name all columns in the header"
            )
    columns, start, arrays = list(zip(*fields, strict=True)) or [()] * n_columns, 0, {}
    for name, kind, width in named:
        own = columns[start : start + width]
        values = _values(raw, kind, own, name)
        arrays[REV_PROPERTY_NAME_MAP.get(name, name)] = values[0] if width == 1 else values.T
        start += width
    if arrays.get("positions", np.empty(0)).shape[1:] != (3,) or not {"symbols", "numbers"} & set(arrays):
        raise ValueError(
            f"line {raw.line + 1}: Properties must name the species and three columns of positions, such as {_PLAIN}, "
            f"got {properties}"
        )
    return arrays


@lru_cache
def _named_columns(properties: str) -> list[tuple[str, str, int]]:
    """Name, type and width of each group of columns."""
    parts = properties.split(":")
    named = list(zip(parts[::3], parts[1::3], parts[2::3], strict=False))
    right = len(parts) % 3 == 0 and all(
        name and kind in _TYPES and re.fullmatch("0*[1-9][0-9]{0,9}", width) for name, kind, width in named
    )
    if not right or len({REV_PROPERTY_NAME_MAP.get(name, name) for name, _, _ in named}) < len(named):
        raise ValueError(
            f"Properties must be different names with types (R, I, S or L) and widths, such as "
            f"{_PLAIN}:forces:R:3, got {properties!r:.200}"
        )
    return [(name, kind, int(width)) for name, kind, width in named]


_TYPES: dict[str, tuple[str, Callable[[str], Any], Any]] = {
    "R": ("a number", float, float), "I": ("a whole number", int, np.int32), "S": ("text", str, object),
    "L": ("T or F", _LOGICAL.__getitem__, bool),
}  # fmt: skip


def _values(raw: RawFrame, kind: str, columns: list[tuple[str, ...]], name: str) -> NDArray:
    """Values (width, n_atoms) of some columns."""
    what, convert, dtype = _TYPES[kind]
    if kind == "S":
        _check_text("".join(chain(*columns)), f"`{name}` of the frame in line {raw.line}")
    try:
        return np.array([list(map(convert, column)) for column in columns], dtype=dtype)
    except (ValueError, KeyError, OverflowError):
        for column in columns:
            for k, text in enumerate(column):
                try:
                    np.array(convert(text), dtype=dtype)
                except (ValueError, KeyError, OverflowError):
                    got = f"line {raw.line + 2 + k}: `{name}` must be {what}, got {text!r:.60}"
                    raise ValueError(got) from None
        raise


def _numbers(raw: RawFrame, symbols: NDArray | None) -> list[int]:
    given = [] if symbols is None else symbols.tolist()
    names = [symbol.capitalize() for symbol in given]
    for k, name in enumerate(names):
        if name not in atomic_numbers:
            raise ValueError(f"line {raw.line + 2 + k}: `species` must be chemical symbols, got {given[k]!r:.60}")
    return [atomic_numbers[name] for name in names]


def _constraints(move_mask: NDArray[np.bool_]) -> list[Any]:
    if move_mask.ndim == 1:
        return [FixAtoms(mask=~move_mask)]
    return [FixCartesian(k, mask=~moves) for k, moves in enumerate(move_mask)]

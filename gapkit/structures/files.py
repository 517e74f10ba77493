"""Files of structures in any format that ASE knows, read to their end or with the place where reading stopped."""

from __future__ import annotations

import lzma
import os
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import ase.io
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, filetype, get_compression, ioformats, open_with_compression

from gapkit.exceptions import InputError
from gapkit.inputs import check_input
from gapkit.options.checked import checked
from gapkit.options.kinds import PathLike
from gapkit.structures.bounds import bounded
from gapkit.structures.extxyz import raw_frames, to_atoms

# Bytes and seconds that ASE's readers may take: at first, and for each byte of a file.
_MEMORY = (500 << 20, 100)
_SECONDS = (5.0, 2e-5)
# Structures in text shrink three- to tenfold: a file that unfolds to more is not one of them.
_UNFOLDS = 50
_SMALL = 1 << 20  # bytes that any file may unfold to


@dataclass
class _Progress:
    """Frames of a file that are complete so far."""

    read: int = 0


@checked
def read_frames(path: PathLike, index: slice = slice(None)) -> list[Atoms]:
    """Read frames of a file in any format that ASE knows, packed (.gz, .bz2, .xz) or not.

    Parameters
    ----------
    path : path
    index : slice
        Which frames to keep; the file behind the last one is not looked at.

    Raises
    ------
    InputError
        If the file is missing, empty, truncated or unreadable, holds what would be passed over, or unfolds to more than
        its size explains; the message names the file and, where known, the frame and the line.
    """
    file = check_input(path, "the file of structures")
    name = os.fspath(file)
    _check_size(file)
    progress = _Progress()
    try:
        kind = _format(name)
        read = _extended(name, index, progress) if kind == "extxyz" else _others(name, kind, index, progress)
        frames = list(read)
    except UnknownFileTypeError as error:
        raise InputError(
            f"`path` must be a format that ASE can read, got {name!r} ({error}); write it as extended XYZ (.extxyz)"
        ) from error
    # ASE's readers raise whatever their parsing hits (IOError, ValueError, RuntimeError, KeyError, ...).
    except Exception as error:
        raise InputError(
            f"{name!r} must be a whole file, but reading stopped after {progress.read} complete frames, in frame "
            f"{progress.read} (counted from 0): {error}; it may be truncated or damaged, correct it or write it again"
        ) from error
    if not frames:
        raise InputError(f"`path` must hold at least one frame, but {name!r} holds none; write the file again")
    return frames


def _format(name: str) -> str:
    """ASE's name of a format; by the content where the suffix is that of none, as in `frames.extxyz@home`."""
    kind = filetype(name)
    return kind if kind in ioformats else filetype(name, guess=False)


def _text(name: str) -> TextIO:
    """The text of a file, packed or not; bytes that are no UTF-8 are kept as surrogates."""
    return TextIOWrapper(open_with_compression(name, "rb"), encoding="utf-8", errors="surrogateescape")


def _extended(name: str, index: slice, progress: _Progress) -> Iterator[Atoms]:
    from_end = any(number is not None and number < 0 for number in (index.start, index.stop, index.step))
    chosen = range(0 if from_end else sys.maxsize)[index]
    last = chosen[-1] if chosen else -1
    kept = []
    with _text(name) as stream:
        for raw in raw_frames(stream):
            if from_end:
                kept.append(raw)
            elif progress.read in chosen:
                yield to_atoms(raw)
            if progress.read >= last and not from_end:
                return
            progress.read += 1
    for progress.read in range(len(kept))[index]:
        yield to_atoms(kept[progress.read])


def _others(name: str, kind: str, index: slice, progress: _Progress) -> list[Atoms]:
    frames, size = [], os.stat(name).st_size
    memory, seconds = (first + each * size for first, each in (_MEMORY, _SECONDS))
    try:
        with bounded(int(memory), seconds):
            for atoms in ase.io.iread(name, ":", kind, do_not_split_by_at_sign=True):
                frames.append(atoms)
                progress.read += 1
    except MemoryError:
        claims = "it claims more than it holds, or take a part of it"
        raise ValueError(f"it takes more than {memory / 1e9:.1f} GB, and has {size:,} bytes; {claims}") from None
    return frames[index]


def _check_size(file: Path) -> None:
    """Raise InputError for an empty file, and for a packed one of which too much would come."""
    name, size = os.fspath(file), file.stat().st_size
    if size == 0:
        raise InputError(f"`path` must hold at least one frame, but {name!r} is empty; write the file again")
    if get_compression(name)[1] is None:
        return
    limit, unpacked = max(_SMALL, _UNFOLDS * size), 0
    try:
        with open_with_compression(name, "rb") as stream:
            while unpacked <= limit and (block := stream.read(1 << 20)):
                unpacked += len(block)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(
            f"{name!r} must be a whole packed file, but it is damaged ({error}); write it again"
        ) from error
    if unpacked == 0:
        raise InputError(f"`path` must hold at least one frame, but {name!r} is empty; write the file again")
    if unpacked > limit:
        raise InputError(
            f"{name!r} must unfold to at most {_UNFOLDS} times its size of {size:,} bytes, as structures do; if it is "
            "no mistake, unpack it and name the unpacked file"
        )

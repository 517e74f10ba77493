"""Sealed archives: a JSON header and arrays, versioned, each with its checksum; no pickle.  Models and checkpoints.

What a file says is not believed: entries must be stored as they are, one after another, and together be no larger than
the file, before any of them is read.  So nothing can unfold to more than what lies on the disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gapkit.exceptions import InputError, ModelFileError
from gapkit.inputs import check_input
from gapkit.io import npy
from gapkit.io.atomic import replacing
from gapkit.io.npy import Layout, PackedTriangle
from gapkit.typing import FloatArray

UNITS = {"energy": "eV", "length": "Å", "force": "eV/Å", "stress": "eV/Å^3", "stress sign": "ASE"}
# Bytes of the table of contents, and values in the header: more than any model has, and yet read at once.
LARGEST_TABLE = 4_000_000
MOST_VALUES = 1_000_000
DEEPEST = 40  # values within values
_NAME = re.compile(r"\w[\w+-]*(/\w[\w+-]*)*(\.\w+)?", re.ASCII)
_END, _LOCATOR, _END_64 = b"PK\5\6", b"PK\6\7", b"PK\6\6"
_LOCAL_HEADER = 30  # bytes before an entry, at least
# Damage anywhere in an archive surfaces as whatever zipfile, struct or json trip over.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, KeyError, ValueError, EOFError, OSError, RuntimeError, OverflowError,
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    format: str  # what its header is called
    version: int  # the newest that can be read, and the one that is written
    what: str  # in words
    source: str  # what writes it
    remedy: str  # what to do about a damaged one
    no_longer: tuple[str, ...] = ()  # formats of older versions that cannot be read


class ArchiveWriter:
    """An archive that is being written."""

    def __init__(self, archive: zipfile.ZipFile, kind: Kind) -> None:
        self.header: dict[str, Any] = {}  # set it before the end
        self._archive, self._kind = archive, kind
        self._checksums: dict[str, str] = {}
        self._arrays: dict[str, list[Any]] = {}

    def add(self, name: str, array: np.ndarray | PackedTriangle) -> None:
        """Write an array as it is: no copy of it is made."""
        with self._open(f"{name}.npy") as stream:
            hashed = _Hashed(stream)
            npy.write(hashed, array)  # type: ignore[arg-type]
        self._checksums[name] = hashed.digest.hexdigest()
        self._arrays[name] = [array.dtype.str, list(array.shape)]

    def finish(self) -> None:
        """Write the header and its seal."""
        start = {"format": self._kind.format, "format_version": self._kind.version, "units": UNITS}
        full = {**start, **self.header, "arrays": self._arrays, "checksums": self._checksums}
        text = json.dumps(full, indent=1).encode()
        for name, content in (("header.json", text), ("seal.txt", _digest(text).encode())):
            with self._open(name) as stream:
                stream.write(content)

    def _open(self, name: str) -> IO[bytes]:
        entry = zipfile.ZipInfo(name)  # without the time: the same model is the same bytes
        entry.external_attr = 0o644 << 16
        return self._archive.open(entry, "w", force_zip64=True)


@contextmanager
def writing_archive(path: str | os.PathLike[str], kind: Kind, *, own_input: bool = False) -> Iterator[ArchiveWriter]:
    """Yield an archive that takes the place of `path` when the block ends; `own_input` is that of `replacing`."""
    with (
        replacing(path, own_input=own_input) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        writer = ArchiveWriter(archive, kind)
        yield writer
        writer.finish()


class Archive:
    """An archive that is being read: its header, and arrays by name, each read when it is asked for and once."""

    def __init__(self, path: Path, kind: Kind, archive: zipfile.ZipFile) -> None:
        self.path, self.kind = path, kind
        self._archive = archive
        with _told(path, kind):
            self.header: dict[str, Any] = self._read_header()
            self._checksums = _checksums(self.header, path, kind)
            self._layouts = {name: self._layout(name) for name in self._checksums}
        found = {name: [layout.dtype.str, list(layout.shape)] for name, layout in self._layouts.items()}
        declared = self.header.get("arrays", found)  # since format 2
        told = {f"{name}.npy" for name in found} | {"header.json", "seal.txt"}
        if declared != found or set(archive.namelist()) != told:
            raise ModelFileError(f"`{path}` does not hold the arrays that its header tells of; {kind.remedy}")

    def __contains__(self, name: str) -> bool:
        return name in self._checksums

    def __iter__(self) -> Iterator[str]:
        return iter(self._checksums)

    def layout(self, name: str) -> Layout:
        """Type and shape of an array."""
        return self._layouts[name]

    def array(self, name: str) -> np.ndarray:
        """An array, in the order of memory in which it was written."""
        return self._read(name, npy.read)

    def triangle(self, name: str) -> FloatArray:
        """An array that was given as a `PackedTriangle`."""
        return self._read(name, npy.read_triangle)

    def _read(self, name: str, read: Any) -> Any:
        with _told(self.path, self.kind), self._archive.open(f"{name}.npy") as stream:
            hashed = _Hashed(stream)
            found = read(hashed, npy.read_layout(hashed, self._archive.getinfo(f"{name}.npy").file_size))
            if hashed.digest.hexdigest() != self._checksums[name]:
                raise ModelFileError(
                    f"array {name!r} of `{self.path}` was changed after it was written; {self.kind.remedy}"
                )
        return found

    def _layout(self, name: str) -> Layout:
        info = self._archive.getinfo(f"{name}.npy")
        try:
            with self._archive.open(info) as stream:
                return npy.read_layout(_Hashed(stream), info.file_size)
        except ValueError as error:
            raise ValueError(f"array {name!r}: {error}") from error

    def _read_header(self) -> dict[str, Any]:
        path, kind = self.path, self.kind
        text = self._archive.read("header.json")
        if sum(text.count(sign) for sign in b",[{") > MOST_VALUES:
            raise ModelFileError(f"the header of `{path}` holds more than {MOST_VALUES} values; {kind.remedy}")
        try:
            header = json.loads(text, object_pairs_hook=_without_twins)
            _check_depth(header, DEEPEST)
        except RecursionError:
            raise ModelFileError(f"the header of `{path}` is nested too deeply; {kind.remedy}") from None
        found = header.get("format") if isinstance(header, dict) else None
        if found in kind.no_longer:
            raise ModelFileError(f"`{path}` was written by an older version, in format {found}; {kind.remedy}")
        if found != kind.format:
            article = f"not a {kind.format.replace('-', ' ')} file"
            raise ModelFileError(f"`{path}` is {article}; expected one written by {kind.source}")
        version = header.get("format_version")
        if type(version) is not int or version < 1:
            raise ModelFileError(f"`format_version` of `{path}` must be a number, got {version!r}; {kind.remedy}")
        if version > kind.version:
            raise ModelFileError(f"`{path}` was written by a newer version, in format {version}; upgrade gapkit")
        if _digest(text) != self._archive.read("seal.txt").decode("ascii"):
            raise ModelFileError(f"the header of `{path}` was edited after it was written; {kind.remedy}")
        return header


@contextmanager
def reading_archive(path: str | os.PathLike[str], kind: Kind) -> Iterator[Archive]:
    """Yield an archive; ModelFileError where it is damaged, edited, of another kind or of a newer version.

    An InputError within the block is a ModelFileError that names the file: what was read was not what was expected.
    """
    with _regular(path, kind) as stream:
        with _told(Path(path), kind):
            archive = zipfile.ZipFile(stream)
            _check_entries(archive, os.fstat(stream.fileno()).st_size)
        try:
            yield Archive(Path(path), kind, archive)
        except InputError as error:
            raise ModelFileError(f"`{path}` is not a sound {kind.what}: {error}; {kind.remedy}") from error


def _regular(path: str | os.PathLike[str], kind: Kind) -> IO[bytes]:
    """Open a file that is one, and whose table of contents is not too long to be read."""
    name = check_input(path, f"the {kind.what}", error=ModelFileError)
    with _told(name, kind):
        stream = name.open("rb")
        try:
            if _table_size(stream) > LARGEST_TABLE:
                raise ModelFileError(f"the table of contents of `{path}` is too long; {kind.remedy}")
        except BaseException:
            stream.close()
            raise
    return stream


@contextmanager
def _told(path: Path, kind: Kind) -> Iterator[None]:
    """Errors of reading as a ModelFileError."""
    try:
        yield
    except (ModelFileError, InputError):
        raise
    except _DAMAGE as error:
        raise ModelFileError(
            f"`{path}` is not a complete {kind.what}, perhaps truncated ({error}); {kind.remedy}"
        ) from error


def _table_size(stream: IO[bytes]) -> int:
    """Bytes of the table of contents, as the end of the file has it; ValueError if it ends otherwise."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(size - 98, 0))
    tail = stream.read()
    if tail[-22:-18] != _END or tail[-2:] != b"\0\0":
        raise ValueError("its end is missing")
    found = int(struct.unpack("<L", tail[-10:-6])[0])
    if tail[-42:-38] == _LOCATOR:
        if tail[-98:-94] != _END_64:
            raise ValueError("its end is malformed")
        found = max(int(struct.unpack("<Q", tail[-58:-50])[0]), found if found < 0xFFFFFFFF else 0)
    return found


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    """ValueError unless all entries are stored as they are, under plain names, one after another in `size` bytes."""
    end, names = 0, set()
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        name = entry.filename
        if name in names or not _NAME.fullmatch(name):
            raise ValueError(f"entry {name!r} is there twice" if name in names else f"entry {name!r} has an odd name")
        names.add(name)
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
            raise ValueError(f"entry {name!r} is compressed or encrypted")
        if entry.header_offset < end:
            raise ValueError(f"entry {name!r} lies over another")
        end = entry.header_offset + _LOCAL_HEADER + entry.file_size
    if end > size:
        raise ValueError(f"its entries take {end} bytes, and it has {size}")


def _checksums(header: Mapping[str, Any], path: Path, kind: Kind) -> dict[str, str]:
    found = header.get("checksums")
    if not isinstance(found, dict) or not all(isinstance(item, str) for item in found.values()):
        raise ModelFileError(f"`checksums` of `{path}` must be a mapping of names to checksums; {kind.remedy}")
    return found


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("the header names an entry twice")
    return found


def _check_depth(value: Any, left: int) -> None:
    """RecursionError where values lie deeper within each other."""
    if left == 0:
        raise RecursionError
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_depth(item, left - 1)


class _Hashed:
    """A stream, and the digest of what went through it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.digest = hashlib.sha256()
        self._stream = stream

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self._stream.write(content)

    def read_exactly(self, n: int) -> bytes:
        content = self._stream.read(n)
        if len(content) < n:
            raise EOFError("its end is missing")
        self.digest.update(content)
        return content

    def fill(self, buffer: np.ndarray) -> None:
        done = 0
        while done < len(buffer):
            n = self._stream.readinto(buffer[done:].data)  # type: ignore[attr-defined]
            if not n:
                raise EOFError("its end is missing")
            done += n
        self.digest.update(buffer.data)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

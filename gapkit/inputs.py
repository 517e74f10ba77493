"""Files that a user names as input: what may be opened, and how much of it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from gapkit.exceptions import GapkitError, InputError
from gapkit.printing import quoted

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
_TEXT = 1 << 24  # bytes; whoever writes more by hand is not known
_WATCHED: ContextVar[list[Path] | None] = ContextVar("inputs", default=None)


@contextmanager
def watching() -> Iterator[None]:
    """Note the inputs that are opened meanwhile, so that nothing is written over them: see `io.atomic.check_output`."""
    token = _WATCHED.set([])
    try:
        yield
    finally:
        _WATCHED.reset(token)


def watched() -> tuple[Path, ...]:
    """The inputs noted so far."""
    return tuple(_WATCHED.get() or ())


def check_input(path: str | os.PathLike[str], what: str = "the file", *, error: type[GapkitError] = InputError) -> Path:
    """The path of an input, an existing regular file that can be read; links are followed.

    Standard input and other pipes are refused, since readers go over a file more than once, and so is what has no end.

    Parameters
    ----------
    path : path
        What the user named.
    what : str
        What it is called in messages, such as "the model file".
    error : type
        Class of the error.

    Raises
    ------
    GapkitError
        Of the class `error`: what was expected, what is there, and what to do.
    """
    try:
        name = os.fspath(path)
        if not isinstance(name, str):
            raise TypeError
    except TypeError:
        raise error(f"{what} must be given by its path, got {quoted(path)}; pass text or a pathlib.Path") from None
    try:
        mode = os.stat(name).st_mode
    except FileNotFoundError:
        hint = "standard input is not read, save it in a file" if name == "-" else "check the path"
        raise error(f"{what} {name!r} does not exist; {hint}") from None
    except (OSError, ValueError) as reason:  # no file can have this name, or no one may look
        words = reason.strerror if isinstance(reason, OSError) else reason
        raise error(f"{what} {quoted(name)} cannot be opened ({words}); check the path") from None
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        hint = "name a file in it" if stat.S_ISDIR(mode) else "save what it gives in a file"
        raise error(f"{what} must be a regular file, but {name!r} is {kind}; {hint}")
    if not os.access(name, os.R_OK):
        raise error(f"{what} {name!r} cannot be read: you have no permission; change it, or copy the file")
    if (noted := _WATCHED.get()) is not None:
        noted.append(Path(name))
    return Path(name)


def files_named(values: Any) -> list[Path]:
    """The files that are there under one of the texts in options, lists and mappings looked through."""
    if isinstance(values, str):
        return [Path(values)] if os.path.isfile(values) else []
    if not isinstance(values, Iterable):
        return []
    items = values.values() if isinstance(values, Mapping) else values
    return [path for item in items for path in files_named(item)]


def read_input(
    path: str | os.PathLike[str], what: str = "the file", *, at_most: int = _TEXT, error: type[GapkitError] = InputError
) -> bytes:
    """The content of an input, see `check_input`; more than `at_most` bytes are an error too."""
    with check_input(path, what, error=error).open("rb") as stream:
        content = stream.read(at_most + 1)  # a file may grow, and those of /proc have no size
    if len(content) > at_most:
        raise error(f"{what} must be of at most {at_most:,} bytes, but {os.fspath(path)!r} is larger; check the path")
    return content

"""What may be written where, and files and folders written in one step: the old one stays until the new is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.machinery import all_suffixes
from pathlib import Path

from gapkit.exceptions import GapkitError, OutputError
from gapkit.inputs import watched
from gapkit.io.temporary import OLD, claimed, locked, put_back, remove, sweep

# Errors of a disk or quota that is full, or of a file larger than may be.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_output(path: str | os.PathLike[str], *others: Path | None) -> None:
    """Try before any work whether a file can be written.

    Links are followed and stay links.

    Parameters
    ----------
    path : path
        The file, there already or not.
    others : path or None
        Inputs and other outputs.  What `inputs.watching` noted and the files of imported modules count as well.

    Raises
    ------
    OutputError
        If it is one of them, no regular file, or cannot be written, or the hidden file that takes its place cannot.
    """
    target = _target(path)
    _check_apart(path, target, (*others, *watched()))
    with naming(path), claimed(target):
        pass


def check_output_folder(folder: Path, *inputs: Path | None) -> Path:
    """Try before any work whether a folder can be replaced as a whole, and undo what a kill left; its real path.

    Raises
    ------
    OutputError
        If it is no folder, holds an input, or cannot be made.
    """
    with _refusing(folder):
        target = folder.resolve()  # a link stays, and what it points to is replaced
        mode = _mode(folder)
        if not target.name:
            raise _refused(folder, "it is the root of all folders; choose another")
        if Path.cwd().is_relative_to(target):
            raise _refused(folder, "the folder would be replaced, and you are in it; go to another one")
        if mode is not None and not stat.S_ISDIR(mode):
            raise _refused(folder, "it is a file; name a folder")
        _check_parent(folder, target)
        put_back(target)
        _check_holds_none(folder, target, [path for path in (*inputs, *watched()) if path is not None])
    with naming(folder), claimed(target, folder=True):
        return target


@contextmanager
def replacing(path: str | os.PathLike[str], *others: Path | None, own_input: bool = False) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path`, and its mode, when the block ends.

    When the block fails the temporary file is deleted and `path` stays as it was; what a kill left goes with the next
    call.  A symbolic link stays one.  With `own_input` it may have been read before.  All else is as in `check_output`.
    """
    target = _target(path)
    _check_apart(path, target, others if own_input else (*others, *watched()))
    sweep(target)
    with naming(path), claimed(target) as temporary:
        yield temporary
        _to_disk(temporary)
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
        _to_disk(target.parent)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `folder` by two renames; after a kill in between, `put_back` it."""
    put_back(folder)
    sweep(folder)
    with naming(folder), claimed(folder, folder=True) as new:
        yield new
        for path in new.iterdir():
            _to_disk(path)
        old = new.with_name(new.name + OLD)
        with locked(folder) if folder.exists() else contextlib.nullcontext():  # so that no one else puts it back
            if folder.exists():
                os.chmod(new, stat.S_IMODE(folder.stat().st_mode))
                os.rename(folder, old)
            try:
                os.rename(new, folder)
            except BaseException:
                if old.exists():
                    os.rename(old, folder)
                raise
            if old.exists():  # from here on it is in the way
                gone = new.with_name(new.name + ".gone")
                os.rename(old, gone)
                remove(gone)
        _to_disk(folder.parent)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the system that name no file, or a hidden one, become an OutputError that names `path`."""
    try:
        yield
    except GapkitError:
        raise
    except OSError as error:
        given = Path(os.fspath(path))
        own = error.filename is None or Path(os.fsdecode(error.filename)).name.startswith(".gapkit-")
        if isinstance(error, BrokenPipeError) or not own:
            raise
        remedy = "free some space, or choose another place" if error.errno in _FULL else "choose another place"
        raise _refused(given, f"{error.strerror or error}; {remedy}", error.errno) from error


def _target(path: str | os.PathLike[str]) -> Path:
    """The file that `path` stands for, which is a regular one or not there."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise OutputError(f"a file to write must be given by its path, got {path!r:.80}; pass text or a pathlib.Path")
    given = Path(path)
    with _refusing(given):
        target = Path(os.path.realpath(given))
        mode = _mode(given)
        if (mode is not None and stat.S_ISDIR(mode)) or os.fspath(path).endswith(os.sep):
            raise _refused(given, "it is a folder; name a file")
        if mode is not None and not stat.S_ISREG(mode):
            raise _refused(given, "it is a device, pipe or socket; name a file")
        _check_parent(given, target)
        if mode is not None and not os.access(target, os.W_OK):
            raise _refused(given, "the file may only be read; change its mode or choose another")
    return target


def _mode(path: Path) -> int | None:
    """What is there, links followed; None: nothing."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _check_parent(given: Path, target: Path) -> None:
    parent = target.parent
    if not parent.is_dir():
        raise _refused(given, f"the folder {parent} does not exist; create it or choose another")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _refused(given, f"the folder {parent} is not writable; choose another")


def _check_apart(given: str | os.PathLike[str], target: Path, others: Iterable[Path | None]) -> None:
    """Raise if a target is one of the others or a file of code, under this name or another."""
    named = [other for other in others if other is not None]
    if any(Path(os.path.realpath(other)) == target for other in named):
        raise _refused(Path(given), "it is also an input, or another output; choose another")
    if not target.exists():
        return
    code = []
    if target.suffix in all_suffixes() or target.stat().st_nlink > 1:  # else it is none of the thousands
        files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
        code = [Path(file) for file in files if isinstance(file, str)]
    for other in (*named, *code):
        if _same(target, other):
            raise _refused(Path(given), f"it is also an input, {other}; choose another output")


def _check_holds_none(given: Path, folder: Path, inputs: Iterable[Path]) -> None:
    """Raise if a folder holds one of the inputs, under this name or another."""
    held = list(folder.rglob("*")) if folder.is_dir() else []
    for path in inputs:
        if Path(os.path.realpath(path)).is_relative_to(folder) or any(_same(each, path) for each in held):
            raise _refused(given, f"the folder would be replaced, and it holds the input {path}; choose another")


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What the system says of a name itself, such as that it is too long, or that links go round, is an OutputError."""
    try:
        yield
    except GapkitError:
        raise
    except (OSError, ValueError, RuntimeError) as error:  # ValueError: a null, or half a character
        words = error.strerror if isinstance(error, OSError) else error
        raise _refused(path, f"{words}; choose another name") from error


def _refused(path: Path, reason: str, number: int | None = None) -> OutputError:
    name = os.fspath(path)
    shown = name if name.isprintable() and len(name) < 500 else f"{name!a:.100}"
    error = OutputError(f"cannot write {shown}: {reason}")
    error.errno = number
    return error


def _to_disk(path: Path) -> None:
    """Have the system write a file to the disk, or the names in a folder where it can."""
    if path.is_dir():
        with contextlib.suppress(OSError):
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
        return
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())

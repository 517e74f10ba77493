"""Files and folders written in one step: the old one stays until the new one is complete."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapkit.exceptions import InputError


def check_output(path: Path, *inputs: Path | None) -> None:
    """Raise InputError if a file `path` cannot be written, or is one of the inputs."""
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: the folder {folder} does not exist; create it or choose another")
    if path.exists() and not path.is_file():
        raise InputError(f"cannot write {path}: it is a folder or a device; name a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: the folder {folder} is not writable; choose another")
    if path.exists() and any(other.exists() and path.samefile(other) for other in inputs if other is not None):
        raise InputError(f"cannot write {path}: it is also an input; choose another output")


def temporary_path(path: Path, tag: object) -> Path:
    """The hidden file beside `path`, with its suffix, that takes its place when complete."""
    return path.with_name(f".{path.stem}.{tag}{path.suffix}")


@contextmanager
def replacing(path: str | os.PathLike[str], *, tag: object = None) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path`, and its mode, when the block ends.

    When the block fails the temporary file is deleted and `path` stays as it was.  A symbolic link stays one.  `tag` is
    part of the temporary name; None: the process id.  With a constant one the next process overwrites what a killed one
    left.
    """
    target = Path(os.path.realpath(path))
    check_output(target)
    temporary = temporary_path(target, os.getpid() if tag is None else tag)
    try:
        yield temporary
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder that takes the place of `folder` by two renames; after a kill in between, `put_back` it."""
    new, old = _named(folder, "new"), _named(folder, "old")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()
        yield new
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            os.rename(folder, old)
        try:
            os.rename(new, folder)
        except BaseException:
            put_back(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Restore a folder whose replacement was interrupted between the renames."""
    old = _named(folder, "old")
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)


def _named(folder: Path, tag: str) -> Path:
    return folder.with_name(f".{folder.name}.{tag}")

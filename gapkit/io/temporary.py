"""Hidden files and folders beside an output, which take its place once they are complete.

Their names are no one else's, and no longer than names may be.  Whoever writes one holds a lock on it until its process
ends, by a kill too: so the next one tells what a kill left, which it removes, from what is being written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed: no lock is needed
    fcntl = None  # type: ignore[assignment]

OLD = ".old"  # at the end of the name of a folder that is to be put back if its place is empty
_LONGEST_SUFFIX = 16


@contextmanager
def claimed(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """A new hidden file, or folder, beside `target` and with its suffix; what is left of it in the end is removed."""
    suffix = target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""
    path = target.with_name(f"{prefix_of(target)}{secrets.token_hex(8)}{suffix}")
    try:
        with contextlib.ExitStack() as stack:
            while True:
                if folder:
                    path.mkdir()
                else:
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
                held = stack.enter_context(locked(path))
                if held is None or path.exists():  # else swept away before the lock was there
                    break
            yield path
    finally:
        remove(path)


def sweep(target: Path) -> None:
    """Remove what killed processes left beside `target`; a folder that is to be put back stays while it may be."""
    for path in _beside(target):
        if not path.name.endswith(OLD) or os.path.lexists(target):
            with locked(path, wait=False) as held:
                if held:
                    remove(path)


def put_back(folder: Path) -> None:
    """Restore a folder whose replacement was killed when the old one was away and the new one not yet there."""
    if os.path.lexists(folder):
        return
    for path in _beside(folder):
        if path.name.endswith(OLD):
            with locked(path, wait=False) as held:
                if held is not False:
                    os.rename(path, folder)
                    return


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool | None]:
    """Hold the lock of a file or folder: whether we have it, or None where the file system has no locks."""
    if fcntl is None:
        yield None if wait else True
        return
    try:
        kind = os.lstat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            yield False
            return
        number = os.open(path, (os.O_RDONLY if stat.S_ISDIR(kind) else os.O_RDWR) | os.O_NOFOLLOW)
    except OSError:  # gone, or another user's
        yield False
        return
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held: bool | None = True
        except BlockingIOError:
            held = False
        except OSError:
            held = None
        yield held
    finally:
        os.close(number)


def remove(path: Path) -> None:
    """Remove a file or folder of ours, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def prefix_of(target: Path) -> str:
    """What the names of hidden files and folders beside `target` begin with."""
    return f".gapkit-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}-"


def _beside(target: Path) -> list[Path]:
    """What is there of ours beside `target`, the newest first."""
    prefix, found = prefix_of(target), []
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        mine = [entry for entry in entries if entry.name.startswith(prefix)]
        found = [(entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in mine]
    return [Path(path) for _, path in sorted(found, reverse=True)]

"""Output files: checked before the work, replaced in one step after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gapkit.exceptions import InputError


def check_output(path: Path, *inputs: Path | None) -> None:
    """Check, before any work, that `path` can be written and is none of the inputs.

    Raises
    ------
    InputError
        If the folder does not exist or is not writable, or `path` is a folder or one of `inputs`.
    """
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"cannot write {path}: the folder {folder} does not exist; create it or choose another")
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; name a file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: the folder {folder} is not writable; choose another")
    for other in inputs:
        if other is not None and path.exists() and other.exists() and path.samefile(other):
            raise InputError(f"cannot write {path}: it is also an input; choose another output")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path that takes the place of `path` when the block ends, and vanishes when it fails."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

"""Progress bars, silent by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def track(total: int, description: str, unit: str, show: bool) -> Iterator[Any]:
    """A tqdm bar on standard error; a Ctrl-C inside leaves the terminal clean."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, unit=unit, disable=not show, leave=False) as bar:
        yield bar

"""Who is told that a kernel is compiled, because its machine code is not on disk."""

from __future__ import annotations

from collections.abc import Callable

LISTENERS: list[Callable[[], object]] = []
"""Called with every compilation, the last one alone."""


def tell() -> None:
    """A kernel is compiled now."""
    if LISTENERS:
        LISTENERS[-1]()

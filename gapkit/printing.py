"""Text that comes from data, fit for a screen: nothing in it acts, and nothing is too long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def printable(text: str, keep: str = "") -> str:
    """The text with control characters, lone surrogates and what turns the direction of writing as escapes.

    Characters in `keep`, such as ends of lines, stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def quoted(value: Any) -> str:
    """The value as a message shows it: as in Python, and not longer than a line."""
    try:
        words = repr(value)
    except ValueError:  # Python writes no number of more than some thousand digits
        words = "a number of thousands of digits" if isinstance(value, int) else f"a {type(value).__name__}"
    return words if len(words) <= 100 else f"{words[:90]}... ({len(words):,} characters)"


def columns(head: Sequence[str], rows: Iterable[Sequence[object]], most: int = 20) -> list[str]:
    """Lines of a table, words to the left and numbers to the right; beyond `most` rows the first and the last."""
    cells = [[str(cell) for cell in row] for row in rows]
    if len(cells) > most:
        cells = [*cells[: most // 2], ["..."] * len(head), *cells[-(most // 2) :]]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    padded = []
    for name, width, *column in zip(head, widths, *cells, strict=True):
        pad = str.rjust if any(cell[-1:].isdigit() for cell in column) else str.ljust
        padded.append([pad(cell, width) for cell in (name, *column)])
    return [("  " + "  ".join(line)).rstrip() for line in zip(*padded, strict=True)]

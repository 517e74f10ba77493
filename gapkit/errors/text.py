"""Tables, and tables as plain text."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


def new_table(title: str, first: str, headings: Iterable[str]) -> Table:
    """Empty table whose first column holds names, the others numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def rendered(item: Any) -> str:
    """Text of `item` as rich draws it, 120 columns wide and without colours."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=120).print(item)
    return text.getvalue().rstrip("\n")

"""Tables as plain text."""

from __future__ import annotations

import io
from typing import Any


def rendered(item: Any) -> str:
    """Return what rich draws for `item`, 120 columns wide and without colours."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=120).print(item)
    return text.getvalue().rstrip("\n")

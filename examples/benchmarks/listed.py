"""Options of the benchmarks that are lists of names with commas."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection


def listed(what: str, known: Collection[str], *, in_order: bool = False) -> Callable[[str], list[str]]:
    """Parser of names among the known ones, as they came or, `in_order`, as they are known; `what` is their plural."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := sorted(set(names) - set(known)):
            raise argparse.ArgumentTypeError(f"{what} are {', '.join(known)}; got {', '.join(unknown)}")
        return [name for name in known if name in names] if in_order else names

    return parse

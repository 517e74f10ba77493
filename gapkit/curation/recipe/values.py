"""Checks of the values that only a recipe has: each returns the value in its final type, or says what it must be."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from gapkit.options.values import count, one_of, positive, table


def slice_of(value: Any) -> str:
    """A slice of frames, as in Python."""
    if not re.fullmatch(r"(-?\d+)?:(-?\d+)?(:([1-9]\d*)?)?", str(value)):
        raise ValueError('a slice such as ":100" or "::10", in quotation marks')
    return str(value)


def unit(known: Mapping[str, float]) -> Callable[[Any], str]:
    """One of some units; Å may be written Angstrom or A."""

    def check(value: Any) -> str:
        if isinstance(value, str):
            # Å has three spellings in Unicode
            value = re.sub(r"/(Angstrom|Ang|A)(?![a-z])", "/Å", unicodedata.normalize("NFC", value))
        return one_of(known)(value)

    return check


def window_end(value: Any) -> float:
    """An energy; names in TOML and JSON are text."""
    try:
        value = float(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("a number > 0") from None
    return positive(value)


def quotas(value: Any) -> str | dict[str, int]:
    """Frames of each configuration type, or the name of a rule."""
    if value in ("sqrt", "proportional"):
        return str(value)
    return table(str, count, "sqrt, proportional, or numbers of frames by configuration type")(value)

"""Checks of the values that only a fit has."""

from __future__ import annotations

import re
from typing import Any

from gapkit.options.values import number

E0_CHOICES = ("auto", "least_squares", "isolated")


def terms(value: Any) -> list[dict[str, Any]]:
    """A list of mappings, each with the name of its class under `type`."""
    expected = ValueError("a list of terms, each a mapping with its `type`, such as {type: SOAP, cutoff: 5.0}")
    if not isinstance(value, list | tuple) or not value:
        raise expected
    if not all(isinstance(term, dict) and isinstance(term.get("type"), str) for term in value):
        raise expected
    return [dict(term) for term in value]


def reference_energies(value: Any) -> str | dict[str, float]:
    """One of `E0_CHOICES`, or energies by chemical symbol: a mapping, or text such as "Si=-1.0,O=-2"."""
    if value in E0_CHOICES:
        return str(value)
    expected = ValueError(f"{', '.join(E0_CHOICES)}, or energies in eV such as Si=-1.0,O=-2")
    if isinstance(value, str):
        pairs = [part.split("=") for part in value.split(",")]
        if not all(len(pair) == 2 for pair in pairs) or len({pair[0].strip() for pair in pairs}) < len(pairs):
            raise expected
        try:
            value = {symbol.strip(): float(energy) for symbol, energy in pairs}
        except ValueError:
            raise expected from None
    if not isinstance(value, dict) or not value:
        raise expected
    if not all(isinstance(symbol, str) and re.fullmatch("[A-Z][a-z]?", symbol) for symbol in value):
        raise expected
    try:
        return {symbol: number(energy) for symbol, energy in value.items()}
    except ValueError:
        raise expected from None

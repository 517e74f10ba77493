"""Checks of configuration values: each returns the value in its final type, or says in a ValueError what it must be."""

from __future__ import annotations

import math
import re
from typing import Any

NOISE_NAMES = ("energy_sigma", "forces_sigma", "virial_sigma")
E0_CHOICES = ("auto", "least_squares", "isolated")


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("text")
    return value


def flag(value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return float(value)


def positive(value: Any) -> float:
    """A number above zero."""
    result = number(value)
    if result <= 0:
        raise ValueError("a number > 0")
    return result


def _whole(value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise ValueError(f"a whole number >= {lowest}")
    return value


def count(value: Any) -> int:
    """A whole number, at least 1."""
    return _whole(value, 1)


def seed(value: Any) -> int:
    """A whole number, at least 0."""
    return _whole(value, 0)


def jobs(value: Any) -> int:
    """A number of threads, or -1 for all cores."""
    if value == -1 and not isinstance(value, bool):
        return -1
    try:
        return _whole(value, 1)
    except ValueError:
        raise ValueError("a whole number >= 1, or -1 for all cores") from None


def terms(value: Any) -> list[dict[str, Any]]:
    """A list of mappings, each with the name of its class under `type`."""
    expected = ValueError("a list of terms, each a mapping with its `type`, such as {type: SOAP, cutoff: 5.0}")
    if not isinstance(value, list | tuple) or not value:
        raise expected
    if not all(isinstance(term, dict) and isinstance(term.get("type"), str) for term in value):
        raise expected
    return [dict(term) for term in value]


def noise_table(value: Any) -> dict[str, dict[str, float]]:
    """Positive noise levels per configuration type."""
    expected = ValueError(
        f"a mapping from configuration types to noise levels ({', '.join(NOISE_NAMES)}), each a number > 0, "
        "such as {liquid: {forces_sigma: 0.2}}"
    )
    if not isinstance(value, dict):
        raise expected
    table: dict[str, dict[str, float]] = {}
    for config_type, levels in value.items():
        if not isinstance(levels, dict) or not set(levels) <= set(NOISE_NAMES):
            raise expected
        try:
            table[str(config_type)] = {name: positive(level) for name, level in levels.items()}
        except ValueError:
            raise expected from None
    return table


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

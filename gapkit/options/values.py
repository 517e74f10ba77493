"""Checks of single values: each returns the value in its final type, or says in a ValueError what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")

NOISE_NAMES = ("energy_sigma", "forces_sigma", "virial_sigma")


def text(value: Any) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("text" if value is None or value == "" else "text, in quotation marks if need be")
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
    with suppress(OverflowError):  # of an int without a float
        if math.isfinite(value):
            return float(value)
    raise ValueError("a finite number")


def _number(holds: Callable[[float], bool], expected: str) -> Callable[[Any], float]:
    """The check of a finite number of which `holds` is true."""

    def check(value: Any) -> float:
        if not holds(result := number(value)):
            raise ValueError(expected)
        return result

    return check


def _whole(holds: Callable[[int], bool], expected: str) -> Callable[[Any], int]:
    """The check of a whole number of which `holds` is true."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not holds(value):
            raise ValueError(f"a whole number >= {expected}")
        return value

    return check


def between(low: float, high: float) -> Callable[[Any], float]:
    """A number from `low` to `high`."""
    return _number(lambda x: low <= x <= high, f"a number from {low:g} to {high:g}")


def inside(low: float, high: float) -> Callable[[Any], float]:
    """A number between `low` and `high`, neither of them."""
    return _number(lambda x: low < x < high, f"a number > {low:g} and < {high:g}")


positive = _number(lambda x: x > 0.0, "a number > 0")
fraction = inside(0.0, 1.0)
count = _whole(lambda n: n >= 1, "1")
seed = _whole(lambda n: n >= 0, "0")
jobs = _whole(lambda n: n >= 1 or n == -1, "1, or -1 for all cores")


def one_of(names: Iterable[str]) -> Callable[[Any], str]:
    """One of some names."""
    known = tuple(names)

    def check(value: Any) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return str(value)

    return check


def table(name: Callable[[Any], str], value: Callable[[Any], T], expected: str) -> Callable[[Any], dict[str, T]]:
    """A mapping, not empty, whose names and values pass checks of their own."""

    def check(given: Any) -> dict[str, T]:
        with suppress(ValueError):
            if isinstance(given, Mapping) and given:
                return {name(key): value(each) for key, each in given.items()}
        raise ValueError(expected)

    return check


def symbol(value: Any) -> str:
    """A chemical symbol."""
    if not isinstance(value, str) or not re.fullmatch("[A-Z][a-z]?", value):
        raise ValueError("a chemical symbol")
    return value


sigmas = table(one_of(NOISE_NAMES), positive, f"a mapping of some of {', '.join(NOISE_NAMES)} to numbers > 0")

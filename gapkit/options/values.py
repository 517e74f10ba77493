"""Checks of single values: each returns the value in its final type, or says in a ValueError what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
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
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError("a finite number")
    return result


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
    if isinstance(value, bool) or not isinstance(value, int) or not (value == -1 or value >= 1):
        raise ValueError("a whole number >= 1, or -1 for all cores")
    return value


def between(low: float, high: float) -> Callable[[Any], float]:
    """A number from `low` to `high`."""

    def check(value: Any) -> float:
        result = number(value)
        if not low <= result <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return result

    return check


def inside(low: float, high: float) -> Callable[[Any], float]:
    """A number between `low` and `high`, neither of them."""

    def check(value: Any) -> float:
        result = number(value)
        if not low < result < high:
            raise ValueError(f"a number > {low:g} and < {high:g}")
        return result

    return check


fraction = inside(0.0, 1.0)


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
        if not isinstance(given, Mapping) or not given:
            raise ValueError(expected)
        try:
            return {name(key): value(each) for key, each in given.items()}
        except ValueError:
            raise ValueError(expected) from None

    return check


def symbol(value: Any) -> str:
    """A chemical symbol."""
    if not isinstance(value, str) or not re.fullmatch("[A-Z][a-z]?", value):
        raise ValueError("a chemical symbol")
    return value


sigmas = table(one_of(NOISE_NAMES), positive, f"a mapping of some of {', '.join(NOISE_NAMES)} to numbers > 0")

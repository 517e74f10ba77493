"""Checks of single values: each returns the value in its final type, or says in a ValueError what it must be."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from numbers import Integral, Real
from typing import Any, TypeVar

from gapkit.printing import printable

T = TypeVar("T")

_TINY = 1e-100
MOST = 2**31 - 1  # of counts
NOISE_NAMES = ("energy_sigma", "forces_sigma", "virial_sigma")


def scalar(value: Any) -> Any:
    """The number in an array without dimensions, and else the value."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def string(value: Any) -> str:
    """Text, or none."""
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def path(value: Any) -> Any:
    """A path: text that is not empty, or a path object."""
    if not isinstance(value, str | os.PathLike) or not isinstance(name := os.fspath(value), str) or not name:
        raise ValueError("a path")
    file_name(name)
    return value


def text(value: Any) -> str:
    """Text that is not empty and that a file can hold."""
    if not isinstance(value, str) or not value:
        raise ValueError("text" if value is None or value == "" else "text, in quotation marks if need be")
    if printable(value, keep="\n\t\xa0") != value:
        raise ValueError("text without control characters and halves of characters")
    return value


def file_name(value: Any) -> str:
    """The name of a file, whatever its bytes; text is all that a file of options can hold."""
    if not isinstance(value, str) or not value:
        return text(value)
    try:
        encoded = os.fsencode(value)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise ValueError("the name of a file, which holds no zero and no half of a character")
    return value


def flag(value: Any) -> bool:
    """True or False."""
    found = scalar(value)
    if not isinstance(found, bool):
        raise ValueError("true or false")
    return found


def number(value: Any) -> float:
    """A finite number."""
    found = scalar(value)
    if isinstance(found, bool) or not isinstance(found, Real):
        raise ValueError("a number")
    with suppress(OverflowError):  # of an int without a float
        if math.isfinite(found):
            return float(found)
    raise ValueError("a finite number")


def positive(value: Any) -> float:
    """A number > 0 whose square is one as well."""
    result = number(value)
    if not _TINY <= result <= 1.0 / _TINY:
        raise ValueError("a number > 0" if result <= 0.0 else f"a number > 0, from {_TINY:g} to {1.0 / _TINY:g}")
    return result


def _number(holds: Callable[[float], bool], expected: str) -> Callable[[Any], float]:
    """The check of a finite number of which `holds` is true."""

    def check(value: Any) -> float:
        if not holds(result := number(value)):
            raise ValueError(expected)
        return result

    return check


def not_negative(value: Any) -> float:
    """A number >= 0 whose square is not infinite."""
    result = number(value)
    if not 0.0 <= result <= 1.0 / _TINY:
        raise ValueError("a number >= 0" if result < 0.0 else f"a number from 0 to {1.0 / _TINY:g}")
    return result


def whole_from(low: int, high: int = MOST, *, besides: int | None = None, more: str = "") -> Callable[[Any], int]:
    """The check of a whole number from `low` to `high`, or `besides`, of which messages speak in `more` words."""

    def check(value: Any) -> int:
        found = scalar(value)
        whole = isinstance(found, Integral) and not isinstance(found, bool)
        if not whole or not (low <= found <= high or found == besides):
            most = f" and <= {high:,}" if high < 1000 or (whole and found > high) else ""
            raise ValueError(f"a whole number >= {low}{most}{more}")
        return int(found)

    return check


whole = whole_from(-MOST)


def between(low: float, high: float, more: str = "") -> Callable[[Any], float]:
    """A number from `low` to `high`; `more` words, such as the unit, are for messages."""
    return _number(lambda x: low <= x <= high, f"a number from {low:g} to {high:g} {more}".rstrip())


def inside(low: float, high: float) -> Callable[[Any], float]:
    """A number between `low` and `high`, neither of them."""
    return _number(lambda x: low < x < high, f"a number > {low:g} and < {high:g}")


fraction = inside(0.0, 1.0)
count = whole_from(1)
seed = whole_from(0, 2**32 - 1)
jobs = whole_from(1, 4096, besides=-1, more=", or -1 for all cores")


def slice_of_frames(value: Any) -> slice:
    """Some frames of a file, as in Python: the number of one, or a slice with a step > 0."""
    number = r"(-?\d{1,15})"
    found = re.fullmatch(rf"{number}|{number}?:{number}?(?::([1-9]\d{{0,14}})?)?", str(value))
    if found is None:
        raise ValueError('a slice such as ":100" or "::10", in quotation marks')
    one, *parts = (None if each is None else int(each) for each in found.groups())
    return slice(*parts) if one is None else slice(one, one + 1 or None)


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


def random_state(value: Any) -> Any:
    """A seed, a RandomState or None."""
    if value is None or type(value).__name__ == "RandomState":
        return value
    try:
        return seed(value)
    except ValueError as error:
        raise ValueError(f"{error}, a numpy RandomState, or None") from None


sigmas = table(one_of(NOISE_NAMES), positive, f"a mapping of some of {', '.join(NOISE_NAMES)} to numbers > 0")

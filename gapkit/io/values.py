"""What values of a file's header must be, declared beside the class that reads them.

A declaration checks what was read and what is about to be written alike.  Errors name the entry, and say what was
expected and what came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gapkit.exceptions import InputError

LARGEST = 1e150  # a double can square it
ELEMENTS = 118


class Declared(Protocol):
    """What a value must be."""

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        ...


@dataclass(frozen=True)
class Anything:
    """Any value."""

    def check(self, value: Any, where: str) -> None:
        pass


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`."""

    low: float = -LARGEST
    high: float = LARGEST
    above: bool = False  # whether it must be more than `low`
    whole: bool = False
    nan: bool = False  # whether it may be NaN

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        right = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        if right and self.nan and value != value:
            return
        if not right or not self.low <= value <= self.high or (self.above and value == self.low):
            raise InputError(f"`{where}` must be {self}, got {shown(value)}")

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a finite number"
        low = f" {'>' if self.above else '>='} {self.low:g}" if self.low > -LARGEST else ""
        return kind + low + (f" and <= {self.high:g}" if self.high < LARGEST else "")


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        if not isinstance(value, bool):
            raise InputError(f"`{where}` must be true or false, got {shown(value)}")


@dataclass(frozen=True)
class Text:
    """A text, or one of some."""

    choices: tuple[str, ...] = ()

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        if not isinstance(value, str) or (self.choices and value not in self.choices):
            raise InputError(f"`{where}` must be {' or '.join(self.choices) or 'a text'}, got {shown(value)}")


@dataclass(frozen=True)
class ListOf:
    """A list of like items."""

    item: Declared

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        if not isinstance(value, list | tuple):
            raise InputError(f"`{where}` must be a list, got {shown(value)}")
        for i, item in enumerate(value):
            self.item.check(item, f"{where}[{i}]")


@dataclass(frozen=True)
class MapOf:
    """A mapping of names to like items."""

    item: Declared
    names: Callable[[], tuple[str, ...]] | None = None  # None: any

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        if not isinstance(value, dict):
            raise InputError(f"`{where}` must be a mapping, got {shown(value)}")
        for name, item in value.items():
            if self.names is not None and name not in self.names():
                raise InputError(f"`{where}` must have names among {', '.join(self.names())}, got {name!r}")
            self.item.check(item, f"{where}.{name}")


@dataclass(frozen=True)
class Record:
    """A mapping with these entries, and perhaps some of the others."""

    entries: Mapping[str, Declared]
    others: Mapping[str, Declared] = field(default_factory=dict)
    open: bool = False  # whether it may have further ones

    def check(self, value: Any, where: str = "") -> None:
        """InputError unless it is."""
        if not isinstance(value, dict):
            raise InputError(f"`{where}` must be a mapping, got {shown(value)}")
        dot = f"{where}." if where else ""
        for name in self.entries:
            if name not in value:
                raise InputError(f"`{dot}{name}` is missing")
        for name, item in value.items():
            if declared := self.entries.get(name) or self.others.get(name):
                declared.check(item, dot + name)
            elif not self.open:
                raise InputError(f"`{dot}{name}` is not known here; it may be of a newer version of gapkit")


@dataclass(frozen=True)
class Either:
    """One of two; None in place of the first is null."""

    first: Declared | None
    second: Declared

    def check(self, value: Any, where: str) -> None:
        """InputError unless it is."""
        if self.first is None:
            if value is not None:
                self.second.check(value, where)
            return
        try:
            self.first.check(value, where)
        except InputError:
            self.second.check(value, where)


def shown(value: Any) -> str:
    """A value in an error, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

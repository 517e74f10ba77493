"""What attributes of elements and options of descriptors must be: types, ranges and defaults as QUIP has them.

A frozen dataclass is the table of one element or descriptor; `read` is the only way from text to its values.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, TypeVar

from gapkit.exceptions import DataWarning, InputError, ModelFileError
from gapkit.printing import quoted

T = TypeVar("T")

LAST_ELEMENT = 118
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_LONGEST = 64  # characters of a number
_FLAGS = dict.fromkeys(("t", "true", ".true.", "1", "yes"), True) | dict.fromkeys(
    ("f", "false", ".false.", "0", "no"), False
)


@dataclass(frozen=True)
class Rule:
    """How a text becomes a value, and which values there are."""

    convert: Callable[[str], Any]  # raises ValueError
    words: str  # what it must be
    names: tuple[str, ...] = ()  # further spellings; of several in one text the last counts
    only: tuple[Any, ...] = ()  # the values that gapkit can express, if not all
    why: str = ""  # said where the value is none of these

    def value(self, text: str, where: str, name: str) -> Any:
        """The value; ModelFileError says where it was wrong."""
        try:
            return self.convert(text.strip())
        except ValueError:
            wrong = f"`{name}` of {where} must be {self.words}, got {quoted(text)}"
            raise ModelFileError(f"{wrong}; the file was edited or damaged: copy it again") from None


def to_number(text: str) -> float:
    """A number, in the notation of Fortran too; ValueError for anything else."""
    if len(text) > _LONGEST or not _NUMBER.fullmatch(text):
        raise ValueError
    return float(text.replace("d", "e").replace("D", "e"))


def number(
    default: Any = MISSING, *, low: float = -1e100, high: float = 1e100, above: bool = False, unit: str = "",
    **more: Any,
) -> Any:  # fmt: skip
    """A finite number from `low`, or `above` it, to `high`."""

    def convert(text: str) -> float:
        value = to_number(text)
        if not (low <= value <= high) or (above and value == low):
            raise ValueError
        return value

    lower = "" if low <= -1e100 else f" {'>' if above else '>='} {low:g}"
    upper = "" if high >= 1e100 else f" and at most {high:g}" if lower else f" of at most {high:g}"
    return _field(convert, f"a finite number{lower}{upper}{f' {unit}' if unit else ''}", default, more)


def whole(default: Any = MISSING, *, low: int = 0, high: int = 10**9, **more: Any) -> Any:
    """A whole number from `low` to `high`."""

    def convert(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return _field(convert, f"a whole number from {low} to {high}", default, more)


def flag(default: Any = MISSING, **more: Any) -> Any:
    """T or F, in one of the spellings of Fortran."""

    def convert(text: str) -> bool:
        if text.lower() not in _FLAGS:
            raise ValueError
        return _FLAGS[text.lower()]

    return _field(convert, "T or F", default, more)


def element(default: Any = MISSING, *, low: int = 1, **more: Any) -> Any:
    """An atomic number, from 0 on where that stands for any."""
    return whole(default, low=low, high=LAST_ELEMENT, **more)


def elements(default: Any = MISSING, **more: Any) -> Any:
    """Atomic numbers, separated by blanks or commas, 0 for any."""

    def convert(text: str) -> tuple[int, ...]:
        found = text.replace(",", " ").split()
        if not 1 <= len(found) <= LAST_ELEMENT or not all(
            _WHOLE.fullmatch(word) and 0 <= int(word) <= LAST_ELEMENT for word in found
        ):
            raise ValueError
        return tuple(map(int, found))

    return _field(convert, f"atomic numbers from 0 (any) to {LAST_ELEMENT}", default, more)


def words(default: Any = MISSING, **more: Any) -> Any:
    """A text."""
    return _field(str, "a text", default, more)


def _field(convert: Callable[[str], Any], must: str, default: Any, more: dict[str, Any]) -> Any:
    return field(default=default, metadata={"rule": Rule(convert, must, **more)})


def read(cls: type[T], texts: Mapping[str, str], where: str, *, ignored: Collection[str] = ()) -> T:
    """A table's values from texts by name, in the order of the file; what has no place in it is as little read by QUIP.

    Raises
    ------
    ModelFileError
        If a text is missing, or no value of its type and range.
    InputError
        If gapkit cannot express a value.

    Warns
    -----
    DataWarning
        If a name has no place in the table and is not among `ignored`.
    """
    declared: tuple[Field[Any], ...] = fields(cls)  # type: ignore[arg-type]
    spelt = {name: item for item in declared for name in (item.name, *item.metadata["rule"].names)}
    found: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in spelt:
            continue
        rule: Rule = spelt[name].metadata["rule"]
        value = rule.value(text, where, name)
        if rule.only and value not in rule.only:
            raise InputError(f"{where} with `{name}={text}` cannot be read: {rule.why}")
        found[spelt[name].name] = value
    for item in declared:
        if item.name not in found and item.default is MISSING:
            raise ModelFileError(f"{where} lacks `{item.name}`; the file was edited or damaged: copy it again")
    if unknown := [quoted(name) for name in texts if name not in spelt and name not in ignored]:
        warnings.warn(f"{where}: QUIP does not read {', '.join(unknown[:5])}, and gapkit does not", DataWarning, 3)
    return cls(**found)

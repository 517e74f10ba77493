"""Dataclasses of options: the fields state check and help, values come from Python or from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar

from gapkit.exceptions import ConfigError
from gapkit.options.files import require_known
from gapkit.options.located import Located
from gapkit.printing import quoted

T = TypeVar("T")

Check = Callable[[Any], Any]
"""Returns the value in its final type, or says in a ValueError what it must be."""


def option(
    check: Check, about: str, default: Any = MISSING, *, metavar: str | None = None, sets: str | None = None,
    letter: str | None = None,
) -> Any:  # fmt: skip
    """A field that holds one value; None stands for "not given" where it is the default.

    `metavar` stands for the value of its flag in help, `letter` is its short flag; `sets` names the parameter of the
    library's object that it sets, alone or with others.
    """
    return _field(about, default, check=check, metavar=metavar, sets=sets, letter=letter)


def entries(name: Check, value: Check, about: str, *, sets: str | None = None) -> Any:
    """A field that holds a mapping, empty by default and for None; mistakes in a file are named by the entry's line."""
    return _field(about, dict, entries=(name, value), sets=sets)


def section(kind: type, about: str, default: Any = MISSING) -> Any:
    """A field that holds options of their own; `false` in a file is None, `true` the defaults."""
    return _field(about, default, section=kind)


def sections(kind: type, about: str) -> Any:
    """A field that holds a list, not empty, of groups of options."""
    return _field(about, MISSING, sections=kind)


def _field(about: str, default: Any, **more: Any) -> Any:
    name = "default_factory" if callable(default) else "default"
    return field(**{name: default}, metadata={"help": about, "sets": None, **more})


class Options:
    """Base of frozen dataclasses of options: all are checked one by one when an object is made.

    Raises
    ------
    ConfigError
        If one has the wrong type or is out of range.
    """

    def __post_init__(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            held, metadata, where = getattr(self, item.name), item.metadata, f"`{item.name}`"
            if "check" in metadata:
                object.__setattr__(self, item.name, check_value(type(self), item.name, held, where))
            elif "entries" in metadata:
                held = {} if held is None else held
                if not isinstance(held, Mapping):
                    raise ConfigError(f"{where} must be a mapping, got {quoted(held)}")
                checked = dict(_entry(metadata["entries"], k, v, where) for k, v in held.items())
                object.__setattr__(self, item.name, checked)
            elif kind := metadata.get("section"):
                if held is not None and not isinstance(held, kind):
                    raise ConfigError(f"{where} must be of the class {kind.__name__}, or None, got {quoted(held)}")
            else:
                kind = metadata["sections"]
                if not isinstance(held, list | tuple) or not held or not all(isinstance(each, kind) for each in held):
                    raise ConfigError(
                        f"{where} must be a list of the class {kind.__name__}, not empty, got {quoted(held)}"
                    )

    @classmethod
    def help(cls, name: str) -> str:
        """The description of an option."""
        return str(cls.__dataclass_fields__[name].metadata["help"])  # type: ignore[attr-defined]


def _passed(check: Check, value: Any, where: str) -> Any:
    try:
        return check(value)
    except ValueError as error:
        raise ConfigError(f"{where} must be {error}, got {quoted(value)}") from error


def _entry(checks: tuple[Check, Check], name: Any, value: Any, where: str) -> tuple[Any, Any]:
    name = _passed(checks[0], name, f"names in {where}")
    return name, _passed(checks[1], value, f"`{name}` in {where}")


def check_value(cls: Any, name: str, value: Any, where: str) -> Any:
    """The value of an option in its final type; `where` says in the ConfigError what was wrong."""
    declared = cls.__dataclass_fields__[name]
    return None if value is None and declared.default is None else _passed(declared.metadata["check"], value, where)


def given(cls: Any, mapping: Located, file: object, name: str = "") -> dict[str, Any]:
    """The options that a mapping of a file gives, checked; see `parse`."""
    known, where = [item.name for item in fields(cls)], f"`{name}` in {mapping.place(file)}"
    if not isinstance(mapping.value, dict):
        raise ConfigError(
            f"{where} must be a mapping of options, such as `{known[0]}: ...`, got {quoted(mapping.plain())}"
        )
    values = {}
    for key, item in mapping.value.items():
        require_known(key, known, f"option of `{name}`" if name else "option", item.place(file))
        values[key] = _parsed(cls, key, item, file)
    return values


def parse(cls: type[T], mapping: Located, file: object, name: str = "") -> T:
    """Options from a mapping of a file; `name` is what the mapping stands under, empty at the top.

    Raises
    ------
    ConfigError
        Naming file, line and option.
    """
    values = given(cls, mapping, file, name)
    for item in fields(cls):  # type: ignore[arg-type]
        if item.name not in values and item.default is MISSING and item.default_factory is MISSING:
            missing = f"`{item.name}`{f' of `{name}`' if name else ''} is missing"
            raise ConfigError(f"{missing} in {mapping.place(file)}; it is: {item.metadata['help']}")
    try:
        return cls(**values)
    except ConfigError as error:  # options that are right one by one and wrong together
        raise ConfigError(f"{mapping.place(file)}: {error}") from error


def _parsed(cls: Any, name: str, item: Located, file: object) -> Any:
    metadata, where = cls.__dataclass_fields__[name].metadata, f"`{name}` in {item.place(file)}"
    if "section" in metadata:
        if item.value is False:
            return None
        if item.value is not True and not isinstance(item.value, dict):
            got = "nothing" if item.value is None else quoted(item.plain())  # nothing might mean either
            raise ConfigError(f"{where} must be a mapping of options, true (the defaults) or false (off), got {got}")
        return parse(metadata["section"], Located({}, item.line) if item.value is True else item, file, name)
    if "entries" in metadata:
        if not isinstance(item.value, dict | None):
            raise ConfigError(f"{where} must be a mapping, got {quoted(item.plain())}")
        found = (item.value or {}).items()
        return dict(_entry(metadata["entries"], k, v.plain(), f"`{name}`, {v.place(file)},") for k, v in found)
    if "sections" in metadata:
        if not isinstance(item.value, list) or not item.value:
            raise ConfigError(f"{where} must be a list of mappings, at least one, got {quoted(item.plain())}")
        return [parse(metadata["sections"], each, file, name) for each in item.value]
    return check_value(cls, name, item.plain(), where)

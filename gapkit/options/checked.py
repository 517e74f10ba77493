"""Arguments checked by their annotations: what a function or a class takes is stated once, in its signature."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, cast, get_type_hints

from gapkit.exceptions import InputError
from gapkit.options.annotations import ByName, Check, Wrong, anything, check_of, passes, shown

F = TypeVar("F", bound=Callable[..., Any])
P = TypeVar("P", bound="Parameters")


def checked(function: F) -> F:
    """Check the arguments of a function by their annotations at every call; InputError names the one that is wrong."""
    names = tuple(inspect.signature(function).parameters)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args, strict=False))
        if len(given) < len(args) or given.keys() & kwargs.keys():
            return function(*args, **kwargs)  # a TypeError
        final = checked_arguments(function, given | kwargs)
        positional = [final.pop(name) for name in given]
        return function(*positional, **final)

    return cast(F, call)


def checked_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a function by name in their final types; InputError names the one that is wrong."""
    checks = checks_of(function)
    try:
        return {name: checks[name](value) if name in checks else value for name, value in given.items()}
    except InputError:
        raise
    except ValueError:
        _raise(checks, given)
        raise


def check_fields(held: object) -> None:
    """Check the fields of a dataclass, and set them in their final types; InputError names the one that is wrong."""
    for name, value in _found(held).items():
        object.__setattr__(held, name, value)


def in_final_types(held: P) -> P:
    """An estimator with its parameters checked: itself, or a copy where one has another type than it should."""
    return held._in_final_types()


def check_parameters(held: Parameters) -> None:
    """Check the parameters of an estimator, which keeps them as they are; InputError names the one that is wrong."""
    held._check_parameters()


class Checked:
    """Base of dataclasses whose fields are checked when one is made."""

    def __post_init__(self) -> None:
        check_fields(self)


class Parameters:
    """Base of estimators whose parameters are checked before they are used, and where one is given as an argument."""

    def __repr__(self) -> str:
        """With all parameters, those that have their defaults as well."""
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in inspect.signature(type(self)).parameters)
        return f"{type(self).__name__}({given})"

    def _in_final_types(self: P) -> P:
        self._check_parameters()
        found, held = _found(self), self
        if found:
            held = copy.copy(self)
            vars(held).update(found)
        return held

    def _check_parameters(self) -> None:
        """Raise InputError where parameters are wrong; a subclass adds what its annotations cannot say."""
        _found(self)


def _found(held: object) -> dict[str, Any]:
    """The parameters of an object that have another final type."""
    kind: Any = type(held)
    checks = checks_of(kind)
    values = {name: getattr(held, name) for name in checks}
    try:
        final = {name: check(values[name]) for name, check in checks.items()}
    except InputError:
        raise
    except ValueError:
        _raise(checks, values, f" of {type(held).__name__}")
        raise
    # an int serves where a float should be
    return {name: value for name, value in final.items() if value is not (old := values[name]) and type(old) is not int}


def _raise(checks: Mapping[str, Check], values: Mapping[str, Any], owner: str = "") -> None:
    """Raise the error of the first value that is wrong, and say where two have changed places."""
    wrong = {name: values[name] for name in checks if name in values and not passes(checks[name], values[name])}
    for name, value in wrong.items():
        swapped = (
            f"; `{name}` and `{other}` are swapped" for other, theirs in wrong.items()
            if other != name and passes(checks[name], theirs) and passes(checks[other], value)
        )  # fmt: skip
        check_one(checks[name], value, name, owner, next(swapped, ""))


def check_one(check: Check, value: Any, name: str, owner: str = "", hint: str = "") -> Any:
    """The value in its final type; InputError says by `name`, and whose it is, what was wrong."""
    try:
        return check(value)
    except InputError:
        raise
    except Wrong as error:
        raise InputError(f"`{name}{error.where}`{owner} must be {error}, got {shown(error.value)}{hint}") from None
    except ValueError as error:
        raise InputError(f"`{name}`{owner} must be {error}, got {shown(value)}{hint}") from None


@functools.cache
def checks_of(taker: Any) -> dict[str, Check]:
    """Checks of the parameters of a function or of a class, by name; those that may be anything are left out."""
    if is_dataclass(taker):
        names, hints = [item.name for item in fields(taker) if item.init], _hints(taker)
    else:
        parameters = inspect.signature(taker).parameters.values()
        kept = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        names, hints = [p.name for p in kept], _hints(taker)
    found = {name: check_of(hints[name]) for name in names if name in hints and name not in ("self", "cls")}
    return {name: check for name, check in found.items() if check is not anything}


def _hints(taker: Any) -> dict[str, Any]:
    """Annotations of the fields of a dataclass, or of the arguments of a function or of `__init__`."""
    if isinstance(taker, type) and not is_dataclass(taker):
        taker = taker.__init__  # type: ignore[misc]
    known: dict[str, Any] = {}
    while True:
        try:
            return get_type_hints(taker, localns=known or None, include_extras=True)
        except NameError as error:
            name = str(error.name)
            known[name] = ByName(name, (), {})

"""Registered objects to and from plain JSON: a class by its name, its arguments by theirs.

A class whose arguments are not plain has `to_plain`, a mapping of plain values, and `from_plain`, which takes these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import Any, TypeVar

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import find
from gapkit.io.values import shown
from gapkit.options.checked import check_one, checks_of

T = TypeVar("T")

DEEPEST = 20  # objects within objects


def encode(value: Any) -> Any:
    """Plain JSON of a value; of a registered class its name and arguments, and its module if it is not gapkit's."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, np.ndarray | list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    cls = type(value)
    if getattr(find(cls.__name__), "__module__", None) != cls.__module__:
        remedy = "use gapkit's own classes, or register it with gapkit.io.registry.registered"
        raise InputError(f"a model file cannot hold a {cls.__name__}, which is not registered; {remedy}")
    if hasattr(value, "to_plain"):
        arguments = value.to_plain()
    elif is_dataclass(value):
        arguments = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        arguments = value.get_params(deep=False)
    plain = {"class": cls.__name__, "arguments": {key: encode(item) for key, item in arguments.items()}}
    return plain if cls.__module__.startswith("gapkit.") else {**plain, "module": cls.__module__}


def decode(value: Any, where: str = "value", *, complete: bool = False) -> Any:
    """The object that `encode` was given (sequences come back as lists).

    Only registered classes are made, and no module is imported.  InputError, which names the place `where` it was
    found, if a class is not registered or does not take its arguments.  With `complete`, for files of the newest
    format, those of gapkit's own classes must all be there: none is to be another default by accident.
    """
    return _decode(value, where, complete, DEEPEST)


def _decode(value: Any, where: str, complete: bool, depth: int) -> Any:
    if depth == 0:
        raise InputError(f"`{where}` is nested too deeply")
    if isinstance(value, list):
        return [_decode(item, f"{where}[{i}]", complete, depth - 1) for i, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    if not {"class", "arguments"} <= set(value) <= {"class", "arguments", "module"}:
        return {key: _decode(item, f"{where}.{key}", complete, depth - 1) for key, item in value.items()}
    name, given, module = value["class"], value["arguments"], value.get("module")
    cls = find(name) if isinstance(name, str) else None
    if cls is None:
        own = f"import {module}, which defines it (gapkit --import {module} ...)"
        remedy = own if isinstance(module, str) else "it may be of a newer gapkit"
        raise InputError(f"`{where}` is of an unknown class {shown(name)}; {remedy}")
    if not isinstance(given, Mapping):
        raise InputError(f"`{where}.arguments` must be a mapping, got {shown(given)}")
    arguments = {key: _decode(item, f"{where}.{key}", complete, depth - 1) for key, item in given.items()}
    make = getattr(cls, "from_plain", cls)
    if cls.__module__.startswith("gapkit."):
        for key in signature(make).parameters:
            if key in arguments and (check := checks_of(make).get(key)):
                check_one(check, arguments[key], f"{where}.{key}")
            if complete and key not in arguments:
                raise InputError(f"`{where}.{key}` is missing")
    return made(lambda: make(**arguments), f"`{where}`, a {name},")


def made(make: Callable[[], T], what: str) -> T:
    """What `make` returns; InputError where it fails over values that came from a file."""
    try:
        return make()
    except InputError as error:
        raise InputError(f"{what} cannot be made: {error}") from error
    except Exception as error:  # a class, which may be the user's, raises whatever it trips over
        raise InputError(f"{what} cannot be made: {type(error).__name__}: {error}") from error

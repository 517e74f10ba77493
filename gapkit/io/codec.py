"""Registered objects to and from plain JSON: a class by its name, its arguments by theirs.

A class whose arguments are not plain has `to_plain`, a mapping of plain values, and `from_plain`, which takes these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import find


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


def decode(value: Any) -> Any:
    """The object that `encode` was given (sequences come back as lists); InputError if its class is not registered."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, Mapping):
        if {"class", "arguments"} <= set(value) <= {"class", "arguments", "module"}:
            cls = find(name := value["class"])
            if cls is None:
                module = value.get("module")
                own = f"import {module}, which defines it (gapkit --import {module} ...)"
                raise InputError(f"unknown class {name!r}; {own if module else 'it may be of a newer gapkit'}")
            arguments = {key: decode(item) for key, item in value["arguments"].items()}
            return getattr(cls, "from_plain", cls)(**arguments)
        return {key: decode(item) for key, item in value.items()}
    return value

"""Hyperparameter objects to and from plain JSON: a class by its name, its arguments by theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from gapkit.descriptors import COMPRESSIONS, CosineCutoff, DecayingCutoff, Descriptor, NoCutoff, QuinticCutoff
from gapkit.exceptions import InputError
from gapkit.gp.noise import Noise
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential.term import Term
from gapkit.sparse import SELECTORS
from gapkit.structures import LabelKeys
from gapkit.terms.pairs import BASELINES, PairTable


def _classes() -> dict[str, type]:
    known: list[type] = [
        CosineCutoff, DecayingCutoff, QuinticCutoff, NoCutoff, DotProduct, SquaredExponential, Term, Noise, LabelKeys,
        PairTable,
    ]  # fmt: skip
    known += [*Descriptor.registry.values(), *COMPRESSIONS.values(), *SELECTORS.values(), *BASELINES.values()]
    by_name = {cls.__name__: cls for cls in known}
    return by_name | {"Triangles": by_name["TripletDistances"]}  # its former name


def encode(value: Any) -> Any:
    """Plain JSON of a hyperparameter.

    Raises
    ------
    InputError
        If it is of a class that a model file cannot hold.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.integer | np.floating):
        return value.item()
    if isinstance(value, np.ndarray | list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    name = type(value).__name__
    if name not in _classes():
        raise InputError(
            f"a model file cannot hold a {name}; use gapkit's own classes, or save the parts that you need"
        )
    if is_dataclass(value) and not isinstance(value, type):
        arguments = {field.name: getattr(value, field.name) for field in fields(value)}
    else:
        arguments = value.get_params(deep=False)
    return {"class": name, "arguments": {key: encode(item) for key, item in arguments.items()}}


def decode(value: Any) -> Any:
    """The object that `encode` was given (sequences come back as lists)."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if isinstance(value, Mapping):
        if set(value) == {"class", "arguments"}:
            cls = _classes().get(value["class"])
            if cls is None:
                raise InputError(f"unknown class {value['class']!r}; the file may come from a newer version of gapkit")
            return cls(**{key: decode(item) for key, item in value["arguments"].items()})
        return {key: decode(item) for key, item in value.items()}
    return value

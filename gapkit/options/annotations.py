"""Checks that follow from annotations; a check is as in `values`.

An annotation ``Annotated[float, check]`` names its own, others follow from the type.  Nothing heavy is imported: types
of numpy are known if it is there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TextIO, TypeVar, Union, get_args, get_origin

from gapkit.exceptions import InputError
from gapkit.options.values import flag, number, path, string, whole
from gapkit.printing import quoted

Check = Callable[[Any], Any]

_PLAIN: dict[Any, Check] = {float: number, int: whole, bool: flag, str: string, os.PathLike: path}
_SAID = {  # how a class is called, where its name would say too little
    "Atoms": "ase.Atoms",
    "BaseCalculator": "an ASE calculator",
    "Descriptor": "a descriptor such as SOAP()",
    "EnergyTerm": "an energy term such as ZBL()",
    "GAP": "a GAP",
    "GapKernel": "a kernel such as DotProduct(zeta=4)",
    "Compression": "a compression such as Channels(nu_R=1, nu_S=1)",
    "CutoffFunction": "a cutoff function such as CosineCutoff(0.5)",
    "LabelKeys": 'LabelKeys such as LabelKeys(energy="dft_energy")',
    "Noise": "a Noise such as Noise(energy=0.001, forces=0.05)",
    "RandomState": "a numpy RandomState",
    "SparseSelector": "a selector such as CUR()",
}


_READS = {"Atoms": "read_frames", "GAP": "load"}


class Wrong(ValueError):
    """What a part of a value must be; `where` is its place, such as [3]."""

    def __init__(self, expected: str, where: str, value: Any) -> None:
        super().__init__(expected)
        self.where, self.value = where, value


class ByName(type):
    """Stands for a class that is imported for type checkers alone: objects are known by the name of their class."""

    def __instancecheck__(cls, value: object) -> bool:
        return cls.__name__ in (base.__name__ for base in type(value).__mro__)


def shown(value: Any) -> str:
    """A value in a message, whatever it is."""
    if isinstance(value, type):
        return f"the class {value.__name__} and not an object of it"
    try:
        return quoted(value[:20] if isinstance(value, list | tuple) else value)
    except Exception:  # noqa: BLE001  (whatever the value's own repr does)
        return f"a {type(value).__name__}"


def passes(check: Check, value: Any) -> bool:
    """Whether a value passes a check."""
    with suppress(ValueError):
        check(value)
        return True
    return False


def check_of(kind: Any) -> Check:
    """The check of an annotation."""
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Annotated:
        return next(each for each in kind.__metadata__ if callable(each))
    if origin is _ndarray():
        return _array
    if isinstance(kind, TypeVar):
        return check_of(kind.__bound__) if isinstance(kind.__bound__, type) else anything
    if origin in (Union, UnionType):
        arrays = _array_like()
        if arrays and arrays <= {*arguments}:  # other unions take this one in
            return _any_of([*(check_of(each) for each in arguments if each not in arrays), _array])
        return _any_of([check_of(each) for each in arguments])
    if origin is Literal:
        return _literal(arguments)
    if origin in _PLAIN:
        return _PLAIN[origin]
    if kind in (None, NoneType):
        return _none
    if origin is tuple and arguments[-1:] != (...,):
        return _pair([check_of(each) for each in arguments])
    if origin is Callable or origin is type(check_of):
        return _callable
    if kind is TextIO:
        return _file
    if not isinstance(origin, type) or origin in (object, Any) or _is_mere_protocol(origin):
        return anything
    if issubclass(origin, Mapping):
        name, value = arguments or (Any, Any)
        return _mapping(check_of(name), check_of(value))
    if origin is not str and issubclass(origin, Iterable) and origin.__module__ in ("collections.abc", "builtins"):
        return _list(check_of(arguments[0] if arguments else Any))
    return _instance(origin)


def _ndarray() -> Any:
    """The class of arrays, if it is imported: nothing heavy is imported here."""
    return getattr(sys.modules.get("numpy"), "ndarray", _array)


def _array_like() -> set[Any]:
    """The members of numpy's `ArrayLike`, if it is imported."""
    return {*get_args(getattr(sys.modules.get("numpy.typing"), "ArrayLike", None))}


def _is_mere_protocol(kind: type) -> bool:
    """Whether objects cannot be asked if they follow it."""
    return getattr(kind, "_is_protocol", False) and not getattr(kind, "_is_runtime_protocol", False)


def anything(value: Any) -> Any:
    """The check that all values pass."""
    return value


def _none(value: Any) -> None:
    if value is not None:
        raise ValueError("None")


def _callable(value: Any) -> Any:
    if not callable(value):
        raise ValueError("a function")
    return value


def _file(value: Any) -> Any:
    if isinstance(value, type) or not hasattr(value, "write"):
        raise ValueError("an open file")
    return value


def _array(value: Any) -> Any:
    import numpy as np

    with suppress(TypeError, ValueError, OverflowError):
        found = np.asarray(value)
        if found.dtype.kind in "biuf" or (value is not None and found.dtype.kind == "O" and found.astype(float).ndim):
            return value
    raise ValueError("an array of numbers")


def _literal(names: Sequence[Any]) -> Check:
    expected = f"one of {', '.join(map(str, names))}" if len(names) > 1 else f'"{names[0]}"'

    def check(value: Any) -> Any:
        for each in names:
            if isinstance(value, type(each)) and value == each:
                return each
        raise ValueError(expected)

    return check


def _any_of(checks: Sequence[Check]) -> Check:
    def check(value: Any) -> Any:
        said: dict[str, None] = {}
        inside: Wrong | None = None
        for each in checks:
            try:
                return each(value)
            except InputError:
                raise
            except Wrong as error:  # of the right kind, but for a part of it
                inside = inside or error
            except ValueError as error:
                said[str(error)] = None
        raise inside or ValueError(", or ".join(said))

    return anything if anything in checks else check


def _instance(kind: type) -> Check:
    expected = _SAID.get(kind.__name__) or f"a {kind.__name__}"

    def check(value: Any) -> Any:
        if isinstance(value, type) or not isinstance(value, kind):
            read = _READS.get(kind.__name__) if isinstance(value, str | os.PathLike) else None
            raise ValueError(f"{expected} (`gapkit.{read}` reads a file)" if read else expected)
        own = getattr(value, "_in_final_types", None)  # of `checked.Parameters`
        return value if own is None else own()

    return check


def _expected(check: Check, many: str) -> str:
    """What many values must be that a check lets pass."""
    try:
        check(Wrong)
    except ValueError as error:
        said = str(error)
        return f"{many}, each {said}" if said.startswith(("a ", "an ")) else f"{many} of {said}"
    return many


def _part(check: Check, value: Any, where: str) -> Any:
    try:
        return check(value)
    except InputError:
        raise
    except Wrong as error:
        raise Wrong(str(error), where + error.where, error.value) from None
    except ValueError as error:
        raise Wrong(str(error), where, value) from None


def _list(part: Check) -> Check:
    expected = _expected(part, "a list")

    def check(value: Any) -> Any:
        found = value
        if isinstance(value, Iterator) or getattr(value, "ndim", 0) > 0:
            found = list(value)
        if not isinstance(found, Sequence):  # or what has the methods of one, such as ASE's trajectories
            ordered = all(hasattr(found, name) for name in ("__len__", "__getitem__", "__iter__"))
            if not ordered or isinstance(found, Mapping | type) or type(found).__name__ == "Atoms":
                raise ValueError(expected)
        if isinstance(found, str | bytes | bytearray):
            raise ValueError(f"{expected} (write [{shown(found)}])" if passes(part, found) else expected)
        if part is anything:
            return found
        parts = [_part(part, each, f"[{i}]") for i, each in enumerate(found)]
        same = isinstance(found, list | tuple) and all(a is b for a, b in zip(parts, found, strict=True))
        return found if same else type(found)(parts) if type(found) is tuple else parts

    return check


def _pair(parts: Sequence[Check]) -> Check:
    expected = _expected(parts[0], f"{len(parts)} values")

    def check(value: Any) -> Any:
        found = tuple(value) if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1 else ()
        if len(found) != len(parts):
            raise ValueError(expected)
        final = tuple(_part(part, each, f"[{i}]") for i, (part, each) in enumerate(zip(parts, found, strict=True)))
        return value if type(value) is tuple and all(a is b for a, b in zip(final, value, strict=True)) else final

    return check


def _mapping(name: Check, part: Check) -> Check:
    expected = _expected(part, "a mapping")

    def check(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(expected)
        final = {}
        for key, each in value.items():
            try:
                own = name(key)
            except ValueError as error:
                raise Wrong(f"a mapping whose keys are each {error}", "", key) from None
            final[own] = _part(part, each, f"[{shown(key)}]")
        same = all(a is b for a, b in zip(final.values(), value.values(), strict=True)) and final.keys() == value.keys()
        return value if same else final

    return check

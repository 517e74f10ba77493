"""Classes by name, for model files, configuration files and flags; a class registers itself where it is defined.

The kind of a class is the name of its protocol or base class, as annotations of parameters have it: an argument
annotated ``CutoffFunction | None`` takes the name of any registered cutoff function.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from gapkit.exceptions import ConfigError, InputError
from gapkit.options import require_known
from gapkit.printing import quoted

C = TypeVar("C", bound=type)

_OF_KIND: dict[str, dict[str, type]] = {}
_CLASSES: dict[str, type] = {}
_PLAIN = {"float": (int, float), "int": (int,), "str": (str,), "bool": (bool,), "None": (type(None),)}


def registered(kind: str, name: str | None = None, *, former: Iterable[str] = ()) -> Callable[[C], C]:
    """Register a class of a kind, such as "CutoffFunction", as a decorator; InputError if another has its name.

    In configuration files it is called `name`, None: as the class; older model files may hold a `former` name.
    """

    def register(cls: C) -> C:
        for each in (cls.__name__, *former):
            held = _CLASSES.setdefault(each, cls)
            if held.__module__ != cls.__module__:
                raise InputError(f"a class {each} is registered already, by {held.__module__}; choose another name")
            _CLASSES[each] = cls
        _OF_KIND.setdefault(kind, {})[name or cls.__name__] = cls
        return cls

    return register


def classes(kind: str) -> dict[str, type[Any]]:
    """The registered classes of a kind by their names in configuration files."""
    return dict(_OF_KIND.get(kind, {}))


def find(name: str) -> type | None:
    """The class of a name, or former name; None if no module that defines one was imported."""
    return _CLASSES.get(name)


def make(given: Any, kind: str, where: str, *, what: str | None = None, elsewhere: Iterable[str] = ()) -> Any:
    """An object of a kind from its name, or from a mapping of its `type` and arguments; ConfigError if it has none.

    A name with a dot, ``my_module.MyKernel``, has its module imported.  For messages are `where`, the place of `given`,
    `what` it is called in place of its kind, and the names valid `elsewhere`, beside the arguments.
    """
    what = what or kind
    arguments = {"type": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    if "type" not in arguments:
        raise ConfigError(f"the {what} in {where} must be a name or a mapping with its `type`, got {given!r}")
    name = arguments.pop("type")
    module, _, own = str(name).rpartition(".")
    if module:
        import_named(module, f"{what} `{name}` in {where}")
        name = own
    require_known(name, _OF_KIND.get(kind, {}), what, where)
    cls = _OF_KIND[kind][name]
    try:
        return cls(**made_arguments(cls, arguments, where, name=name, elsewhere=elsewhere))
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} in {where}: {error}") from error


def import_named(module: str, where: str) -> None:
    """Import a module that a user named; ConfigError if there is none of that name."""
    if not all(part.isidentifier() for part in module.split(".")):
        raise ConfigError(f"{where} must name a module, such as my_package.my_module, got {quoted(module)}")
    try:
        import_module(module)
    except ImportError as error:
        raise ConfigError(f"the module of {where} cannot be imported: {error}") from error


def make_all(given: Iterable[Any], kind: str, where: str, *, what: str | None = None) -> list[Any]:
    """Objects of a kind, see `make`; messages count them from 1."""
    return [make(each, kind, f"{where}, number {i}", what=what) for i, each in enumerate(given, start=1)]


def made_arguments(
    cls: type, given: Mapping[str, Any], where: str, *, name: str = "", elsewhere: Iterable[str] = ()
) -> dict[str, Any]:
    """Arguments of a class from values of a file: objects made by `make`, and types checked by the annotations."""
    parameters = inspect.signature(cls).parameters
    made = {}
    for argument, value in given.items():
        require_known(argument, [*parameters, *elsewhere], f"argument of {name or cls.__name__}", where)
        annotation = _text_of(parameters[argument].annotation)
        kind = next((word for word in re.findall(r"\w+", annotation) if word in _OF_KIND), None)
        if kind is None:
            if not _fits(value, annotation):
                inside = f"{name} in {where}" if name else where
                raise ConfigError(f"`{argument}` of {inside} must be of type {annotation}, got {value!r}")
            made[argument] = value
        elif isinstance(value, list | tuple):
            made[argument] = make_all(value, kind, f"`{argument}` of {name or where}")
        else:
            made[argument] = None if value is None else make(value, kind, where, what=argument.replace("_", " "))
    return made


def accepts(annotation: str, value: Any) -> bool:
    """Whether an argument may have a value: an object of the kind that its annotation names, or a plain one."""
    kind = next((word for word in re.findall(r"\w+", annotation) if word in _OF_KIND), None)
    if kind is None:
        return _fits(value, annotation)
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    return (value is None and "None" in annotation) or all(
        isinstance(item, tuple(_OF_KIND[kind].values())) for item in items
    )


def _text_of(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value has one of the types of an annotation; True where a file cannot hold one of them."""
    return _is(value, ast.parse(annotation, mode="eval").body)


def _is(value: Any, kind: ast.expr) -> bool:
    """Whether a value has the type that the syntax tree of an annotation tells."""
    if isinstance(kind, ast.BinOp):  # one | other
        return _is(value, kind.left) or _is(value, kind.right)
    name = _last(kind)
    if isinstance(kind, ast.Subscript):
        name = _last(kind.value)
        inner = kind.slice.elts if isinstance(kind.slice, ast.Tuple) else [kind.slice]
        if name in ("Mapping", "dict"):
            pairs = value.items() if isinstance(value, Mapping) else None
            return pairs is not None and all(_is(key, inner[0]) and _is(each, inner[1]) for key, each in pairs)
        if name in ("Sequence", "list"):
            return isinstance(value, list | tuple) and all(_is(each, inner[0]) for each in value)
        if name == "tuple":
            fits = isinstance(value, list | tuple) and len(value) == len(inner)
            return fits and all(map(_is, value, inner))
    if isinstance(value, bool):  # which Python takes for an int
        return name == "bool" or name not in _PLAIN
    return isinstance(value, _PLAIN.get(name, object))


def _last(name: ast.expr) -> str:
    """The name of a class without its module."""
    return ast.unparse(name).rpartition(".")[2]

"""Classes by name, for model files, configuration files and flags; a class registers itself where it is defined.

The kind of a class is the name of its protocol or base class, as annotations of parameters have it: an argument
annotated ``CutoffFunction | None`` takes the name of any registered cutoff function.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, TypeVar

from gapkit.exceptions import ConfigError, InputError
from gapkit.options import require_known
from gapkit.options.checked import check_one, checks_of
from gapkit.printing import quoted

C = TypeVar("C", bound=type)

_OF_KIND: dict[str, dict[str, type]] = {}
_CLASSES: dict[str, type] = {}


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
    """Arguments of a class from values of a file: objects made by `make`, others checked by the annotations."""
    parameters, checks = inspect.signature(cls).parameters, checks_of(cls)
    made = {}
    for argument, value in given.items():
        require_known(argument, [*parameters, *elsewhere], f"argument of {name or cls.__name__}", where)
        annotation = str(parameters[argument].annotation)
        kind = next((word for word in re.findall(r"\w+", annotation) if word in _OF_KIND), None)
        if kind is None:
            inside = f" of {name} in {where}" if name else f" of {where}"
            try:
                made[argument] = check_one(checks[argument], value, argument, inside) if argument in checks else value
            except InputError as error:
                raise ConfigError(str(error)) from error
        elif isinstance(value, list | tuple):
            made[argument] = make_all(value, kind, f"`{argument}` of {name or where}")
        else:
            made[argument] = None if value is None else make(value, kind, where, what=argument.replace("_", " "))
    return made

"""Terms of the potential from their names and arguments in a configuration file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gapkit.cli.config import FitConfig
from gapkit.exceptions import ConfigError
from gapkit.options import require_known

if TYPE_CHECKING:
    from ase import Atoms

    from gapkit.potential import Term

PLAIN_TYPES = {"float": (int, float), "int": (int,), "str": (str,), "bool": (bool,), "None": (type(None),)}

OF_TERM = ("n_sparse", "n_sparse_per_config_type", "kernel", "selector")


def build_terms(config: FitConfig) -> list[Term] | None:
    """Return the terms that a configuration lists, None where gapkit is to choose them.

    Raises
    ------
    ConfigError
        If a term or one of its arguments is unknown or of the wrong type, or `cutoff` would have no effect.
    """
    if config.terms is None:
        return None
    if config.cutoff is not None and all("cutoff" in term for term in config.terms):
        raise ConfigError("`cutoff` has no effect, because every one of the `terms` names its own; remove one of them")
    default = {"cutoff": config.cutoff} if config.cutoff is not None else {}
    return [_build_term({**default, **term}, f"`terms`, number {i}") for i, term in enumerate(config.terms, start=1)]


def choose_terms(cutoff: float, frames: Sequence[Atoms]) -> list[Term]:
    """Return the terms that gapkit chooses for `frames`, but with `cutoff` in Å."""
    from gapkit.potential.defaults import default_terms
    from gapkit.structures import to_batch

    return default_terms(to_batch(frames, labels=False), cutoff)


def _build_term(mapping: Mapping[str, Any], where: str) -> Term:
    from gapkit.descriptors import COMPRESSIONS, CosineCutoff, Descriptor, NoCutoff, QuinticCutoff
    from gapkit.kernels import KERNELS
    from gapkit.potential import Term
    from gapkit.sparse import SELECTORS

    kernels = {kernel.__name__: kernel for kernel in KERNELS}
    switches = {switch.__name__: switch for switch in (CosineCutoff, QuinticCutoff, NoCutoff)}
    arguments = dict(mapping)
    n_sparse = arguments.pop("n_sparse", None)
    quotas = arguments.pop("n_sparse_per_config_type", None)
    _check_counts("n_sparse", n_sparse, where)
    _check_counts("n_sparse_per_config_type", quotas, where)
    kernel = _build(arguments.pop("kernel", None), kernels, "kernel", where)
    selector = _build(arguments.pop("selector", None), SELECTORS, "selector", where)
    if "cutoff_function" in arguments:
        arguments["cutoff_function"] = _build(arguments["cutoff_function"], switches, "cutoff function", where)
    if "compression" in arguments:
        arguments["compression"] = _build(arguments["compression"], COMPRESSIONS, "compression", where)
    descriptor = _build(arguments, Descriptor.registry, "type of term", where, OF_TERM)
    try:
        return Term(descriptor, kernel, n_sparse, selector, quotas)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_counts(argument: str, value: Any, where: str) -> None:
    """Accept a number, or numbers by name."""
    for number in value.values() if isinstance(value, Mapping) else [value]:
        _check_type(argument, number, "int | None", where)


def _build(given: Any, classes: Mapping[str, type], what: str, where: str, elsewhere: Sequence[str] = ()) -> Any:
    """Make one of `classes` from its name, or from a mapping of its `type` and arguments.

    Names in `elsewhere` are valid as well, for the message about one that is not.
    """
    if given is None:
        return None
    arguments = {"type": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    if "type" not in arguments:
        raise ConfigError(f"the {what} in {where} must be a name or a mapping with its `type`, got {given!r}")
    name = arguments.pop("type")
    require_known(name, classes, what, where)
    parameters = inspect.signature(classes[name]).parameters
    for argument, value in arguments.items():
        require_known(argument, [*parameters, *elsewhere], f"argument of {name}", where)
        _check_type(argument, value, str(parameters[argument].annotation), f"{name} in {where}")
    try:
        return classes[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} in {where}: {error}") from error


def _check_type(argument: str, value: Any, annotation: str, where: str) -> None:
    """Compare a value with an annotation, where that is made of types that a file can hold."""
    names = [name.strip() for name in annotation.split("|")]
    if not set(names) <= set(PLAIN_TYPES):
        return
    kinds = tuple(kind for name in names for kind in PLAIN_TYPES[name])
    if not isinstance(value, kinds) or (
        isinstance(value, bool) and bool not in kinds
    ):  # Python takes a bool for an int
        raise ConfigError(f"`{argument}` of {where} must be of type {annotation}, got {value!r}")

"""Terms of the potential from their names and arguments in a configuration file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from gapkit.cli.config import FitConfig
from gapkit.exceptions import ConfigError
from gapkit.io.registry import made_arguments, make

if TYPE_CHECKING:
    from ase import Atoms

    from gapkit.potential import Term


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
    from gapkit.potential import Term

    names = [item.name for item in fields(Term) if item.name != "descriptor"]
    of_term = made_arguments(Term, {name: mapping[name] for name in names if name in mapping}, where)
    of_descriptor = {name: value for name, value in mapping.items() if name not in names}
    descriptor = make(of_descriptor, "Descriptor", where, what="type of term", elsewhere=names)
    try:
        return Term(descriptor, **of_term)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error

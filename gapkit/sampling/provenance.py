"""Where a structure came from: clean copies, one random stream per structure, and a record in `info`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from ase import Atoms

from gapkit.io.plain import plain
from gapkit.options.checked import checked_arguments
from gapkit.structures import to_batch

P = ParamSpec("P")
Made = Iterator[Atoms | tuple[Atoms, Mapping[str, Any]]]
"""Structures of a sampler, each alone or with its details, such as its strain."""

# Per-atom data of the atoms rather than of one arrangement of them.
_KEPT_ARRAYS = ("tags", "masses", "initial_magmoms", "initial_charges")
_STRUCTURES = {"atoms", "bulk", "lattice"}  # arguments of samplers that are copied
_NOT_RECORDED = {*_STRUCTURES, "calculator_or_hessian", "n"}


def sampler(config_type: str | None = None) -> Callable[[Callable[P, Made]], Callable[P, list[Atoms]]]:
    """Turn a generator of structures into a sampler: it checks its arguments and returns them, each with its record.

    Their configuration type is the name of the generator by default.
    """

    def decorate(make: Callable[P, Made]) -> Callable[P, list[Atoms]]:
        signature, name = inspect.signature(make), make.__name__

        @wraps(make)
        def sample(*args: P.args, **kwargs: P.kwargs) -> list[Atoms]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            for key, value in bound.arguments.items():  # what can be read once only is read here
                bound.arguments[key] = list(value) if isinstance(value, Iterator) else value
            parameters = {key: value for key, value in bound.arguments.items() if key not in _NOT_RECORDED}
            for key, value in checked_arguments(make, bound.arguments).items():
                bound.arguments[key] = clean_copy(value) if key in _STRUCTURES else value
            structures = []
            for index, made in enumerate(make(*bound.args, **bound.kwargs)):
                atoms, details = made if isinstance(made, tuple) else (made, None)
                structures.append(record(atoms, name, parameters, index, config_type=config_type, details=details))
            return structures

        sample.__signature__ = signature.replace(return_annotation="list[Atoms]")  # type: ignore[attr-defined]
        return sample

    return decorate


def clean_copy(atoms: Atoms) -> Atoms:
    """Copy species, positions, cell, pbc, tags, masses, and initial magnetic moments and charges, but no labels."""
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for key in _KEPT_ARRAYS:
        if key in atoms.arrays:
            copy.set_array(key, atoms.arrays[key].copy())
    to_batch([copy])
    return copy


def generator(random_state: int, name: str, index: int) -> np.random.Generator:
    """Random stream of structure number `index` of a sampler: other structures and samplers have other streams."""
    return np.random.default_rng([random_state, index, *name.encode()])


def streams(random_state: int, name: str, n: int) -> Iterator[np.random.Generator]:
    """Random streams of the `n` structures of a sampler."""
    return (generator(random_state, name, index) for index in range(n))


def record(
    atoms: Atoms, name: str, parameters: Mapping[str, Any], index: int, *, config_type: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Atoms:  # fmt: skip
    """Write `config_type` and `sampling` into `atoms.info` and return the same object; `index` is its number."""
    atoms.info["config_type"] = name if config_type is None else config_type
    held = {"name": name, "parameters": parameters, "index": index, **({"details": details} if details else {})}
    atoms.info["sampling"] = plain(held)
    return atoms

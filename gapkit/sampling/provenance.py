"""Where a structure came from: clean copies, one random stream per structure, and a record in `info`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.io.plain import plain
from gapkit.sampling.inputs import check_count, check_number
from gapkit.structures import to_batch

P = ParamSpec("P")
Made = Iterator[Atoms | tuple[Atoms, Mapping[str, Any]]]
"""Structures of a sampler, each alone or with its details, such as its strain."""

# Per-atom data of the atoms rather than of one arrangement of them.
_KEPT_ARRAYS = ("tags", "masses", "initial_magmoms", "initial_charges")
# Arguments of samplers: structures, which are copied, least values of integers, and units of numbers.
_STRUCTURES = {"atoms", "bulk", "lattice"}
_COUNTS = {"n": 1, "n_shells": 1, "n_steps": 1, "n_vacancies": 1, "random_state": 0}
_NUMBERS = {
    "amplitude": "Å", "box": "Å", "floor": "eV/Å^2", "largest": "", "minimum_distance": "Å", "sigma": "Å",
    "temperature": "K", "vacuum": "Å", "width": "Å",
}  # fmt: skip
_MAY_BE_ZERO = {"minimum_distance"}
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
            bound.arguments.update({key: _checked(key, value) for key, value in bound.arguments.items()})
            structures = []
            for index, made in enumerate(make(*bound.args, **bound.kwargs)):
                atoms, details = made if isinstance(made, tuple) else (made, None)
                structures.append(record(atoms, name, parameters, index, config_type=config_type, details=details))
            return structures

        sample.__signature__ = signature.replace(return_annotation="list[Atoms]")  # type: ignore[attr-defined]
        return sample

    return decorate


def _checked(name: str, value: Any) -> Any:
    if name in _STRUCTURES:
        return clean_copy(value, name)
    if name in _COUNTS:
        return check_count(name, value, _COUNTS[name])
    if name in _NUMBERS and (name, value) != ("box", None):
        return check_number(name, value, _NUMBERS[name], inclusive=name in _MAY_BE_ZERO)
    return value


def clean_copy(atoms: Atoms, name: str = "atoms") -> Atoms:
    """Copy species, positions, cell, pbc, tags, masses, and initial magnetic moments and charges, but no labels."""
    if not isinstance(atoms, Atoms):
        raise InputError(f"`{name}` must be ase.Atoms, got {type(atoms).__name__}; pass one structure")
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

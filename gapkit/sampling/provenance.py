"""Where a structure came from: clean copies, one random stream per structure, and a record in `info`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.sampling.inputs import check_count
from gapkit.structures import to_batch

# Per-atom data that describe the atoms rather than one arrangement of them.
_KEPT_ARRAYS = ("tags", "masses", "initial_magmoms", "initial_charges")


def clean_copy(atoms: Atoms, name: str = "atoms") -> Atoms:
    """Return a copy that carries nothing which is true of the original only.

    Kept are species, positions, cell, pbc, tags, masses and initial magnetic moments and charges. Left behind are
    `info`, every other per-atom array, momenta, constraints and the calculator: the labels of the original would be
    read as those of the displaced structure.

    Raises
    ------
    InputError
        If `atoms` is not an ase.Atoms with finite positions and, in periodic directions, a cell.
    """
    if not isinstance(atoms, Atoms):
        raise InputError(f"`{name}` must be ase.Atoms, got {type(atoms).__name__}; pass one structure")
    copy = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for key in _KEPT_ARRAYS:
        if key in atoms.arrays:
            copy.set_array(key, atoms.arrays[key].copy())
    to_batch([copy])
    return copy


def generator(random_state: int, sampler: str, index: int) -> np.random.Generator:
    """Return the random stream of structure number `index` of one sampler.

    Structure i depends on the seed, the sampler and i, not on how many are made; two samplers with one seed do not
    draw the same numbers.
    """
    return np.random.default_rng([check_count("random_state", random_state, 0), index, *sampler.encode()])


def record(
    atoms: Atoms,
    name: str,
    parameters: Mapping[str, Any],
    index: int,
    *,
    config_type: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Atoms:
    """Write `config_type` and `sampling` into `atoms.info` and return the same object.

    Parameters
    ----------
    atoms : Atoms
        Made by the sampler, not by its caller.
    name : str
        The sampler; also the `config_type` unless another is given.
    parameters : mapping
        The arguments of the call, the structure itself left out.
    index : int
        Which of the structures of that call this is.
    config_type : str, optional
    details : mapping, optional
        What is particular to this structure, such as its strain.
    """
    atoms.info["config_type"] = name if config_type is None else config_type
    atoms.info["sampling"] = plain(
        {"name": name, "parameters": dict(parameters), "index": index, **({"details": details} if details else {})}
    )
    return atoms


def plain(value: Any) -> Any:
    """Return `value` in the types that JSON knows."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else "-".join(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value

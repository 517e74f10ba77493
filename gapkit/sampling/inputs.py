"""Checks of arguments of samplers."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.typing import IntArray


def check_periodic(name: str, atoms: Atoms, purpose: str) -> None:
    """Raise unless the structure is periodic in all three directions."""
    if not atoms.pbc.all():
        raise InputError(
            f"`{name}` must be periodic in all three directions for {purpose}, got pbc {atoms.pbc.tolist()}; "
            "set the cell and pbc"
        )


def sites_of(atoms: Atoms, symbol: str | None) -> IntArray:
    """Indices of the atoms of a species; None: of all."""
    return np.arange(len(atoms)) if symbol is None else np.flatnonzero(atoms.symbols == symbol)

"""Checks of arguments of samplers."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gapkit.exceptions import InputError
from gapkit.typing import IntArray


def check_count(name: str, value: SupportsIndex, least: int = 1) -> int:
    """Return `value` as an int of at least `least`."""
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least or isinstance(value, bool):
        raise InputError(f"`{name}` must be an integer >= {least}, got {value!r}")
    return count


def check_number(name: str, value: float, unit: str, *, inclusive: bool = False) -> float:
    """Return `value` as a finite float > 0, or >= 0 if `inclusive`."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or number < 0.0 or (number == 0.0 and not inclusive):
        wanted = f"{'>=' if inclusive else '>'} 0 {unit}".rstrip()
        raise InputError(f"`{name}` must be a finite number {wanted}, got {value!r}")
    return number


def check_symbols(name: str, symbols: Iterable[str]) -> list[str]:
    """Return chemical symbols as a list; X, ASE's dummy, is not one of them."""
    if isinstance(symbols, str):
        raise InputError(
            f"`{name}` must be a list of chemical symbols, got the string {symbols!r}; write [{symbols!r}]"
        )
    found = [check_symbol(name, symbol) for symbol in symbols]
    if not found:
        raise InputError(f"`{name}` must hold at least one chemical symbol, got none")
    return found


def check_symbol(name: str, symbol: str) -> str:
    """Return a chemical symbol."""
    if not isinstance(symbol, str) or atomic_numbers.get(symbol, 0) < 1:
        raise InputError(
            f"`{name}` must be made of chemical symbols such as 'Cu', got {symbol!r}; correct the spelling"
        )
    return symbol


def check_periodic(name: str, atoms: Atoms, purpose: str) -> None:
    """Raise unless the structure is periodic in all three directions."""
    if not atoms.pbc.all():
        raise InputError(
            f"`{name}` must be periodic in all three directions for {purpose}, got pbc {atoms.pbc.tolist()}; "
            "set the cell and pbc"
        )


def sites_of(atoms: Atoms, symbol: str | None) -> IntArray:
    """Indices of the atoms of a species; None: of all."""
    return np.arange(len(atoms)) if symbol is None else np.flatnonzero(atoms.symbols == check_symbol("symbol", symbol))

"""Checks of what callers pass: every sampler says what was expected, what came and what to do."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import SupportsIndex

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gapkit.exceptions import InputError


def check_count(name: str, value: SupportsIndex, least: int = 1) -> int:
    """Return `value` as an int of at least `least`."""
    try:
        count = operator.index(value)
    except TypeError:
        count = least - 1
    if count < least or isinstance(value, bool):
        raise InputError(f"`{name}` must be an integer >= {least}, got {value!r}")
    return count


def check_number(name: str, value: float, unit: str, *, above: float = 0.0, inclusive: bool = False) -> float:
    """Return `value` as a finite float greater than `above`, or equal to it where that is allowed."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number) or number < above or (number == above and not inclusive):
        raise InputError(
            f"`{name}` must be a finite number {'>=' if inclusive else '>'} {above:g}{' ' if unit else ''}{unit}, "
            f"got {value!r}"
        )
    return number


def check_symbols(name: str, symbols: Iterable[str]) -> list[str]:
    """Return chemical symbols as a list; X, ASE's dummy, is not one of them."""
    if isinstance(symbols, str):
        raise InputError(
            f"`{name}` must be a list of chemical symbols, got the string {symbols!r}; write [{symbols!r}]"
        )
    found = list(symbols)
    if not found:
        raise InputError(f"`{name}` must hold at least one chemical symbol, got none")
    for symbol in found:
        check_symbol(name, symbol)
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

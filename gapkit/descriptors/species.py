"""Chemical species, as they are given and as atomic numbers."""

from __future__ import annotations

from collections.abc import Sequence

from ase.data import atomic_numbers as table
from ase.data import chemical_symbols as symbols

from gapkit.exceptions import InputError, UnknownSpeciesError


def atomic_numbers(species: Sequence[str | int]) -> tuple[int, ...]:
    """Atomic numbers, in the order given, of symbols or atomic numbers."""
    for item in species:
        if isinstance(item, str) and item not in table:
            raise InputError(f"`species` must hold chemical symbols or atomic numbers, got {item!r}")
    return tuple(table[item] if isinstance(item, str) else int(item) for item in species)


def check_species(found: Sequence[int], known: Sequence[int]) -> None:
    """Raise UnknownSpeciesError if `found` holds an atomic number that is not in `known`."""
    missing = sorted(set(found) - set(known))
    if missing:
        raise UnknownSpeciesError(
            f"species must be among {', '.join(symbols[z] for z in known)} (those of the training set), "
            f"got also {', '.join(symbols[z] for z in missing)}; add training frames with them and fit again"
        )

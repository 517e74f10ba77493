"""Chemical species, as they are given and as atomic numbers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, TypeAlias, cast

from ase.data import atomic_numbers as table
from ase.data import chemical_symbols as symbols

from gapkit.exceptions import UnknownSpeciesError
from gapkit.options.annotations import check_of
from gapkit.options.checked import check_one
from gapkit.options.values import whole_from

_number = whole_from(1, len(symbols) - 1)


def _element(value: Any) -> str:
    """The symbol of an element; X, ASE's dummy, is none."""
    if not isinstance(value, str) or table.get(value, 0) < 1:
        raise ValueError("a chemical symbol such as Si")
    return value


def _species(value: Any) -> str | int:
    if isinstance(value, str):
        return _element(value)
    with suppress(ValueError):
        return _number(value)
    raise ValueError(f"a chemical symbol such as Si, or an atomic number from 1 to {len(symbols) - 1}")


def _several(value: Any) -> Sequence[str | int]:
    if isinstance(value, str) or not len(found := _some(value)):
        raise ValueError('a list of chemical symbols or atomic numbers, such as ["Si", "O"]')
    return cast("Sequence[str | int]", found)


Number: TypeAlias = Annotated[int, _number]
Element: TypeAlias = Annotated[str, _element]
Species: TypeAlias = Annotated[str | int, _species]
SpeciesList: TypeAlias = Annotated[Sequence[str | int], _several]

_some = check_of(Sequence[Species])


def atomic_numbers(species: Sequence[str | int]) -> tuple[int, ...]:
    """Atomic numbers, in the order given, of symbols or atomic numbers."""
    found = check_one(_some, species, "species")
    return tuple(table[item] if isinstance(item, str) else int(item) for item in found)


def check_species(found: Sequence[int], known: Sequence[int]) -> None:
    """Raise UnknownSpeciesError if `found` holds an atomic number that is not in `known`."""
    missing = sorted(set(found) - set(known))
    if missing:
        raise UnknownSpeciesError(
            f"species must be among {', '.join(symbols[z] for z in known)} (those of the training set), "
            f"got also {', '.join(symbols[z] for z in missing)}; add training frames with them and fit again"
        )

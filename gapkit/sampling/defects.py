"""Point defects: atoms left out, and atoms put into voids."""

from __future__ import annotations

from math import comb

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.sampling.inputs import check_count, check_number, check_periodic, check_symbol
from gapkit.sampling.provenance import clean_copy, generator, record
from gapkit.sampling.voids import find_voids, inequivalent_first


def vacancies(
    atoms: Atoms, n_vacancies: int, n: int, *, symbol: str | None = None, random_state: int = 0
) -> list[Atoms]:
    """Leave out atoms at random; no two structures lack the same set.

    Parameters
    ----------
    atoms : Atoms
    n_vacancies : int
        Atoms that each structure lacks.
    n : int
        Number of structures.
    symbol : str, optional
        Leave out only atoms of this species.
    random_state : int

    Returns
    -------
    structures : list of Atoms, length n
        `info["sampling"]["details"]["removed"]` holds the indices that are missing. Sets that symmetry relates count
        as different: all single vacancies of an unrattled element crystal are alike.

    Raises
    ------
    InputError
        If there are fewer than n different sets, or if nothing would be left.
    """
    n_vacancies, n = check_count("n_vacancies", n_vacancies), check_count("n", n)
    start = clean_copy(atoms)
    sites = np.arange(len(start)) if symbol is None else np.flatnonzero(start.symbols == check_symbol("symbol", symbol))
    if n_vacancies >= len(start) or n_vacancies > len(sites):
        raise InputError(
            f"`n_vacancies` must leave an atom, of {len(start)} with {len(sites)} that may go, got {n_vacancies}; "
            "use a larger supercell"
        )
    if n > comb(len(sites), n_vacancies):
        raise InputError(
            f"`n` must be at most {comb(len(sites), n_vacancies)}, the number of sets of {n_vacancies} out of "
            f"{len(sites)} atoms, got {n}; use a larger supercell or fewer structures"
        )
    parameters = {"n_vacancies": n_vacancies, "symbol": symbol, "random_state": random_state}
    seen: set[tuple[int, ...]] = set()
    structures = []
    for index in range(n):
        rng = generator(random_state, "vacancies", index)
        removed: tuple[int, ...] = ()
        while not removed or removed in seen:
            removed = tuple(sorted(rng.choice(sites, n_vacancies, replace=False).tolist()))
        seen.add(removed)
        left = start[np.setdiff1d(np.arange(len(start)), removed)]
        structures.append(record(left, "vacancies", parameters, index, details={"removed": removed}))
    return structures


def interstitials(atoms: Atoms, symbol: str, n: int, *, minimum_distance: float = 1.0) -> list[Atoms]:
    """Put one atom into one of the largest voids, a different one in each structure.

    Voids of different size or surroundings come first, from the largest down, then further ones of the same kinds: two
    structures of an fcc crystal hold an octahedral and a tetrahedral interstitial.

    Parameters
    ----------
    atoms : Atoms
        Periodic in all directions. Vacuum in the cell counts as a void.
    symbol : str
        Species of the interstitial.
    n : int
        Number of structures.
    minimum_distance : float, Å
        Voids with a smaller radius are not used.

    Returns
    -------
    structures : list of Atoms, length n
        The interstitial is the last atom; `info["sampling"]["details"]` holds its distance to the nearest others.

    Raises
    ------
    InputError
        If there are fewer than n voids of that size.
    """
    check_symbol("symbol", symbol)
    n = check_count("n", n)
    minimum_distance = check_number("minimum_distance", minimum_distance, "Å", inclusive=True)
    start = clean_copy(atoms)
    check_periodic("atoms", start, "finding voids")
    voids = [void for void in inequivalent_first(find_voids(start)) if void.radius >= minimum_distance]
    if n > len(voids):
        raise InputError(
            f"`n` must be at most {len(voids)}, the number of voids with a radius of at least {minimum_distance:g} Å, "
            f"got {n}; use a larger supercell, fewer structures or a smaller `minimum_distance`"
        )
    parameters = {"symbol": symbol, "minimum_distance": minimum_distance}
    structures = []
    for index, void in enumerate(voids[:n]):
        filled = start + Atoms(symbol, positions=[void.centre])
        structures.append(record(filled, "interstitials", parameters, index, details={"distance": void.radius}))
    return structures

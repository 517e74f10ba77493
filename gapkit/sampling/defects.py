"""Point defects: vacancies, and interstitials in voids."""

from __future__ import annotations

from math import comb

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.sampling.inputs import check_count, check_number, check_periodic, check_symbol, sites_of
from gapkit.sampling.provenance import Made, clean_copy, sampler, streams
from gapkit.sampling.voids import find_voids, inequivalent_first


@sampler()
def vacancies(atoms: Atoms, n_vacancies: int, n: int, *, symbol: str | None = None, random_state: int = 0) -> Made:
    """Leave out atoms at random; no two structures lack the same set.

    Parameters
    ----------
    atoms : Atoms
    n_vacancies : int
        Atoms that each structure lacks.
    symbol : str, optional
        Species of these atoms; default: any.

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
    sites = sites_of(start, symbol)
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
    seen: set[tuple[int, ...]] = set()
    for rng in streams(random_state, "vacancies", n):
        removed: tuple[int, ...] = ()
        while not removed or removed in seen:
            removed = tuple(sorted(rng.choice(sites, n_vacancies, replace=False).tolist()))
        seen.add(removed)
        yield start[np.setdiff1d(np.arange(len(start)), removed)], {"removed": removed}


@sampler()
def interstitials(atoms: Atoms, symbol: str, n: int, *, minimum_distance: float = 1.0) -> Made:
    """Put one atom into one of the largest voids, a different one in each structure.

    Voids of different size or surroundings come first, from the largest down, then further ones of the same kinds: two
    structures of an fcc crystal hold an octahedral and a tetrahedral interstitial.

    Parameters
    ----------
    atoms : Atoms
        Periodic in all directions. Vacuum in the cell counts as a void.
    symbol : str
        Species of the interstitial.
    minimum_distance : float, Å
        Least radius of a void.

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
    for void in voids[:n]:
        yield start + Atoms(symbol, positions=[void.centre]), {"distance": void.radius}

"""Random alloys, and special quasirandom structures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gapkit.exceptions import InputError
from gapkit.sampling.allocation import largest_remainder
from gapkit.sampling.correlations import Shells, find_shells
from gapkit.sampling.inputs import check_count, check_number, check_symbols, sites_of
from gapkit.sampling.provenance import Made, clean_copy, sampler, streams
from gapkit.typing import FloatArray, IntArray

# Deviations below this are the rounding errors of zero.
_PERFECT = 1e-15


@sampler()
def alloys(
    lattice: Atoms, composition: Mapping[str, float], n: int, *, sqs: bool = False, symbol: str | None = None,
    n_shells: int = 3, n_steps: int = 2000, random_state: int = 0,
) -> Made:  # fmt: skip
    """Occupy the sites of a lattice at random, with the composition kept exactly.

    Parameters
    ----------
    lattice : Atoms
        Sites; their species do not matter, unless `symbol` is given.
    composition : {symbol: fraction}
        Fractions that sum to one, turned into numbers of atoms by largest remainder.
    sqs : bool
        Special quasirandom structures: minimise the sum over shells and species of (p_ab - x_a x_b)^2, the deviation
        of pair correlations from those of an infinite random alloy, by simulated annealing of swaps.
    symbol : str, optional
        Species of the sites to occupy, a sublattice; default: all sites.
    n_shells : int
        Shells of neighbours in the sum of `sqs`.
    n_steps : int
        Swaps tried by `sqs`.

    Returns
    -------
    structures : list of Atoms, length n
        With `sqs`, `info["sampling"]["details"]["deviation"]` holds the sum that was reached.

    Raises
    ------
    InputError
        If the fractions do not sum to one, or there are fewer sites than species.

    Notes
    -----
    Zunger, Wei, Ferreira and Bernard, Phys. Rev. Lett. 65, 353 (1990), for pairs only.
    """
    n_shells, n_steps = check_count("n_shells", n_shells), check_count("n_steps", n_steps)
    start = clean_copy(lattice, "lattice")
    sites = sites_of(start, symbol)
    species, counts = _counts(composition, len(sites))
    numbers = np.array([atomic_numbers[s] for s in species])
    shells = find_shells(start[sites], n_shells) if sqs else None
    for rng in streams(random_state, "alloys", n):
        occupation, details = rng.permutation(np.repeat(np.arange(len(species)), counts)), {}
        if shells is not None:
            occupation, deviation = _shuffle(occupation, shells, counts / len(sites), n_steps, rng)
            details = {"deviation": deviation}
        alloy = start.copy()
        alloy.numbers[sites] = numbers[occupation]
        # Masses and moments of the lattice belong to other species.
        for key in ("masses", "initial_magmoms", "initial_charges"):
            alloy.arrays.pop(key, None)
        yield alloy, details


def _shuffle(
    occupation: IntArray, shells: Shells, fractions: FloatArray, n_steps: int, rng: np.random.Generator
) -> tuple[IntArray, float]:
    """Return the best occupation met in a Metropolis walk of swaps that cools to zero, and its deviation."""
    current = best = shells.deviation(occupation, fractions)
    best_occupation = occupation.copy()
    hottest = 0.1 * current
    for step in range(n_steps):
        if best < _PERFECT:
            break
        a, b = rng.integers(len(occupation), size=2)
        chance = rng.random()
        if occupation[a] == occupation[b]:
            continue
        occupation[[a, b]] = occupation[[b, a]]
        tried = shells.deviation(occupation, fractions)
        temperature = hottest * (1.0 - step / n_steps) ** 2
        if tried <= current or chance < np.exp(-(tried - current) / temperature):
            current = tried
        else:
            occupation[[a, b]] = occupation[[b, a]]
        if current < best:
            best, best_occupation = current, occupation.copy()
    return best_occupation, best


def _counts(composition: Mapping[str, float], n_sites: int) -> tuple[list[str], IntArray]:
    species = check_symbols("composition", composition)
    fractions = [check_number(f"composition[{s!r}]", composition[s], "", inclusive=True) for s in species]
    if abs(sum(fractions) - 1.0) > 1e-6:
        raise InputError(f"`composition` must hold fractions that sum to one, got a sum of {sum(fractions):g}")
    if n_sites == 0:
        raise InputError("`symbol` must be a species of `lattice`, got one that occupies none of its sites")
    return species, largest_remainder(n_sites, fractions)

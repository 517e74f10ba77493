"""Random alloys, special quasirandom structures, and the pair correlations that these minimise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from gapkit.descriptors.species import Element
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, NotNegative, SeedNumber
from gapkit.sampling.allocation import largest_remainder
from gapkit.sampling.distances import pairs_within
from gapkit.sampling.inputs import sites_of
from gapkit.sampling.provenance import Made, sampler, streams
from gapkit.typing import FloatArray, IntArray

_PERFECT = 1e-15  # deviations below are the rounding errors of zero
_SAME_SHELL = 0.05  # Å, between distances of one shell


@dataclass(frozen=True, eq=False)
class Shells:
    """Pairs `i`, `j` (n_pairs,) of sites by `shell` (n_pairs,), from both ends; `radii` (n_shells,) in Å."""

    i: IntArray
    j: IntArray
    shell: IntArray
    radii: FloatArray

    def pair_fractions(self, species: IntArray, n_species: int) -> FloatArray:
        """Fractions p_ab (n_shells, n_species, n_species) of the pairs of each shell by species of their ends.

        A random alloy has x_a x_b. `species` (n_sites,) are 0 .. n_species - 1.
        """
        n_shells = len(self.radii)
        key = (self.shell * n_species + species[self.i]) * n_species + species[self.j]
        counts = np.bincount(key, minlength=n_shells * n_species**2).reshape(n_shells, n_species, n_species)
        return counts / counts.sum(axis=(1, 2), keepdims=True)

    def deviation(self, species: IntArray, fractions: FloatArray) -> float:
        """Sum over shells and pairs of species of (p_ab - x_a x_b)^2, x the `fractions` (n_species,)."""
        found = self.pair_fractions(species, len(fractions))
        return float(np.sum((found - np.outer(fractions, fractions)) ** 2))


@checked
def find_shells(lattice: Atoms, n_shells: Count) -> Shells:
    """First shells of neighbours of the sites of a lattice, at least two or periodic; InputError if there are fewer."""
    cutoff = 3.0
    while True:
        i, j, distances, _ = pairs_within(lattice, cutoff, full_list=True)
        order = np.sort(distances)
        starts = np.flatnonzero(np.diff(order, prepend=-np.inf) > _SAME_SHELL)
        # The last shell may be cut in two by the cutoff, so one more has to begin inside it.
        if len(starts) > n_shells:
            break
        if cutoff > 50.0:
            raise InputError(
                f"`n_shells` must be at most {len(starts)}, the shells within {cutoff:.0f} Å, got {n_shells}"
            )
        cutoff *= 1.5
    edges = order[starts] - 0.5 * _SAME_SHELL
    shell = np.searchsorted(edges, distances, side="right") - 1
    kept = shell < n_shells
    return Shells(i[kept], j[kept], shell[kept], order[starts[:n_shells]])


@sampler()
def alloys(
    lattice: Atoms, composition: Mapping[Element, NotNegative], n: Count, *, sqs: bool = False,
    symbol: Element | None = None, n_shells: Count = 3, n_steps: Count = 2000, random_state: SeedNumber = 0,
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
    n_shells, n_steps : int
        Shells of neighbours in the sum of `sqs`, and swaps tried.

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
    sites = sites_of(lattice, symbol)
    species, counts = _counts(composition, len(sites))
    numbers = np.array([atomic_numbers[s] for s in species])
    shells = find_shells(lattice[sites], n_shells) if sqs else None
    for rng in streams(random_state, "alloys", n):
        occupation, details = rng.permutation(np.repeat(np.arange(len(species)), counts)), {}
        if shells is not None:
            occupation, deviation = _shuffle(occupation, shells, counts / len(sites), n_steps, rng)
            details = {"deviation": deviation}
        alloy = lattice.copy()
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
    species, fractions = list(composition), list(composition.values())
    if abs(sum(fractions) - 1.0) > 1e-6:
        raise InputError(f"`composition` must hold fractions that sum to one, got a sum of {sum(fractions):g}")
    if n_sites == 0:
        raise InputError("`symbol` must be a species of `lattice`, got one that occupies none of its sites")
    return species, largest_remainder(n_sites, fractions)

"""Pair correlations of an alloy, and their deviation from a random one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.sampling.distances import pairs_within
from gapkit.typing import FloatArray, IntArray

_SAME_SHELL = 0.05  # Å, between distances of one shell


@dataclass(frozen=True, eq=False)
class Shells:
    """Pairs of sites, sorted by shells of neighbours.

    Attributes
    ----------
    i, j : (n_pairs,) int
        Each pair from both ends, images included.
    shell : (n_pairs,) int
    radii : (n_shells,) float, Å
    """

    i: IntArray
    j: IntArray
    shell: IntArray
    radii: FloatArray

    def pair_fractions(self, species: IntArray, n_species: int) -> FloatArray:
        """Fractions p_ab (n_shells, n_species, n_species) of the pairs of each shell by species of their ends.

        A random alloy has x_a x_b.

        Parameters
        ----------
        species : (n_sites,) int
            0 .. n_species - 1.
        """
        n_shells = len(self.radii)
        key = (self.shell * n_species + species[self.i]) * n_species + species[self.j]
        counts = np.bincount(key, minlength=n_shells * n_species**2).reshape(n_shells, n_species, n_species)
        return counts / counts.sum(axis=(1, 2), keepdims=True)

    def deviation(self, species: IntArray, fractions: FloatArray) -> float:
        """Sum over shells and pairs of species of (p_ab - x_a x_b)^2, x the `fractions` (n_species,)."""
        found = self.pair_fractions(species, len(fractions))
        return float(np.sum((found - np.outer(fractions, fractions)) ** 2))


def find_shells(lattice: Atoms, n_shells: int) -> Shells:
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

"""Random displacements that keep atoms apart."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.sampling.distances import check_separated, pairs_within
from gapkit.sampling.inputs import check_number
from gapkit.sampling.provenance import Made, clean_copy, sampler, streams

_MAX_ROUNDS = 200


@sampler()
def rattle(atoms: Atoms, sigma: float, n: int, minimum_distance: float = 0.0, *, random_state: int = 0) -> Made:
    """Displace every atom by Gaussian noise, drawing anew where two atoms come too close.

    Only the atoms of a pair that is too close are drawn again, so a large cell does not make the search hopeless. The
    result is close to, but not exactly, a Gaussian under the condition on distances.

    Parameters
    ----------
    atoms : Atoms
    sigma : float, Å
        Standard deviation of each component.
    minimum_distance : float, Å
        Lower bound of all distances, images included.

    Raises
    ------
    InputError
        If `atoms` itself has closer atoms, or if no arrangement is found.
    """
    sigma = check_number("sigma", sigma, "Å")
    minimum_distance = check_number("minimum_distance", minimum_distance, "Å", inclusive=True)
    start = clean_copy(atoms)
    check_separated(start, minimum_distance)
    for rng in streams(random_state, "rattle", n):
        yield _displaced(start, sigma, minimum_distance, rng)


def _displaced(start: Atoms, sigma: float, minimum_distance: float, rng: np.random.Generator) -> Atoms:
    moved = start.copy()
    moved.positions += rng.normal(scale=sigma, size=(len(start), 3))
    for _ in range(_MAX_ROUNDS):
        if minimum_distance == 0.0:
            return moved
        close = np.union1d(*pairs_within(moved, minimum_distance)[:2])
        if len(close) == 0:
            return moved
        moved.positions[close] = start.positions[close] + rng.normal(scale=sigma, size=(len(close), 3))
    raise InputError(
        f"`sigma` must leave atoms {minimum_distance:g} Å apart, got {sigma:g} Å and still {len(close)} atoms "
        f"too close after {_MAX_ROUNDS} draws; reduce `sigma` or `minimum_distance`, or use monte_carlo_rattle"
    )

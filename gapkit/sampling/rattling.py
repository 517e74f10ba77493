"""Random displacements that keep atoms apart: drawn at once, or in many small steps by Monte Carlo."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.special import erf

from gapkit.exceptions import InputError
from gapkit.options.kinds import Count, NotNegative, Positive, SeedNumber
from gapkit.sampling.distances import check_separated, pairs_within
from gapkit.sampling.provenance import Made, sampler, streams
from gapkit.typing import FloatArray

_MAX_ROUNDS = 200
# The acceptance has risen from 0.2 % at the minimum distance to 50 % two widths further, and to 1 - 1e-8 six further.
_MIDPOINT = 2.0
_REACH = 6.0


@sampler()
def rattle(
    atoms: Atoms, sigma: Positive, n: Count, minimum_distance: NotNegative = 0.0, *, random_state: SeedNumber = 0
) -> Made:
    """Displace every atom by Gaussian noise, drawing anew where two atoms come too close.

    Only the atoms of a pair that is too close are drawn again, so a large cell does not make the search hopeless. The
    result is close to, but not exactly, a Gaussian under the condition on distances.

    Parameters
    ----------
    sigma : float, Å
        Standard deviation of each component.
    minimum_distance : float, Å
        Lower bound of all distances, images included.

    Raises
    ------
    InputError
        If `atoms` itself has closer atoms, or if no arrangement is found.
    """
    check_separated(atoms, minimum_distance)
    for rng in streams(random_state, "rattle", n):
        yield _displaced(atoms, sigma, minimum_distance, rng)


def _displaced(start: Atoms, sigma: float, minimum_distance: float, rng: np.random.Generator) -> Atoms:
    moved = start.copy()
    moved.positions += rng.normal(scale=sigma, size=(len(start), 3))
    for _ in range(_MAX_ROUNDS):
        close = np.union1d(*pairs_within(moved, minimum_distance)[:2]) if minimum_distance > 0.0 else ()
        if len(close) == 0:
            return moved
        moved.positions[close] = start.positions[close] + rng.normal(scale=sigma, size=(len(close), 3))
    raise InputError(
        f"`sigma` must leave atoms {minimum_distance:g} Å apart, got {sigma:g} Å and still {len(close)} atoms "
        f"too close after {_MAX_ROUNDS} draws; reduce `sigma` or `minimum_distance`, or use monte_carlo_rattle"
    )


def acceptance(distance: FloatArray, minimum_distance: float, width: float) -> FloatArray:
    """Acceptance probability of a move by the distance (Å) of the nearest atom after it.

    p(d) = [1 + erf((d - d_min - 2 w) / w)] / 2 for d >= d_min, and 0 below, so that `minimum_distance` is a promise.
    """
    smooth = 0.5 * (1.0 + erf((distance - minimum_distance) / width - _MIDPOINT))
    return np.where(distance < minimum_distance, 0.0, smooth)


@sampler()
def monte_carlo_rattle(
    atoms: Atoms, amplitude: Positive, n_steps: Count, n: Count, minimum_distance: NotNegative, *,
    width: Positive = 0.1, random_state: SeedNumber = 0,
) -> Made:  # fmt: skip
    """Displace atoms one after another in small Gaussian steps that short distances make unlikely to be accepted.

    Free atoms end with displacements of about ``amplitude * sqrt(n_steps)`` per component.

    Parameters
    ----------
    amplitude : float, Å
        Standard deviation of each component of one step.
    n_steps : int
        Sweeps; each tries to move every atom once.
    minimum_distance : float, Å
        Lower bound of all distances, images included.
    width : float, Å
        Range over which the acceptance rises, see `acceptance`.

    Returns
    -------
    structures : list of Atoms, length n
        `info["sampling"]["details"]["acceptance"]` holds the accepted part of the moves.

    Raises
    ------
    InputError
        If `atoms` itself has atoms closer than `minimum_distance`.

    Notes
    -----
    After the Monte Carlo rattle of Fransson, Eriksson and Erhart, npj Comput. Mater. 6, 135 (2020), to which the hard
    limit is added.
    """
    check_separated(atoms, minimum_distance)
    for rng in streams(random_state, "monte_carlo_rattle", n):
        moved = atoms.copy()
        accepted = sum(_sweep(moved, amplitude, minimum_distance, width, rng) for _ in range(n_steps))
        yield moved, {"acceptance": accepted / (n_steps * len(atoms))}


def _sweep(atoms: Atoms, amplitude: float, minimum: float, width: float, rng: np.random.Generator) -> int:
    """Try to move every atom once, in random order; return how many moved."""
    steps = rng.normal(scale=amplitude, size=(len(atoms), 3))
    chances = rng.random(len(atoms))
    # Nothing beyond this can come within reach in one sweep: both atoms of a pair may move.
    reach = minimum + _REACH * width + 2.0 * float(np.linalg.norm(steps, axis=1).max())
    i, j, _, offsets = pairs_within(atoms, reach, full_list=True)
    others = i != j  # an atom and its own images move together
    order = np.argsort(i[others], kind="stable")
    j, offsets = j[others][order], offsets[others][order]
    starts = np.searchsorted(i[others][order], np.arange(len(atoms) + 1))
    accepted = 0
    for atom in rng.permutation(len(atoms)):
        near = slice(starts[atom], starts[atom + 1])
        moved = atoms.positions[atom] + steps[atom]
        squared = np.sum((atoms.positions[j[near]] + offsets[near] - moved) ** 2, axis=1)
        if chances[atom] < acceptance(np.sqrt(squared.min(initial=np.inf)), minimum, width):
            atoms.positions[atom] = moved
            accepted += 1
    return accepted

"""Rattling by Monte Carlo: large displacements without unphysically short distances."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.special import erf

from gapkit.sampling.distances import check_separated, pairs_within
from gapkit.sampling.inputs import check_count, check_number
from gapkit.sampling.provenance import Made, clean_copy, sampler, streams
from gapkit.typing import FloatArray

# The acceptance has risen from 0.2 % at the minimum distance to 50 % two widths further, and to 1 - 1e-8 six further.
_MIDPOINT = 2.0
_REACH = 6.0


def acceptance(distance: FloatArray, minimum_distance: float, width: float) -> FloatArray:
    """Acceptance probability of a move by the distance (Å) of the nearest atom after it.

    p(d) = [1 + erf((d - d_min - 2 w) / w)] / 2 for d >= d_min, and 0 below, so that `minimum_distance` is a promise.
    """
    smooth = 0.5 * (1.0 + erf((distance - minimum_distance) / width - _MIDPOINT))
    return np.where(distance < minimum_distance, 0.0, smooth)


@sampler()
def monte_carlo_rattle(
    atoms: Atoms, amplitude: float, n_steps: int, n: int, minimum_distance: float, *, width: float = 0.1,
    random_state: int = 0,
) -> Made:  # fmt: skip
    """Displace atoms one after another in small Gaussian steps that short distances make unlikely to be accepted.

    Free atoms end with displacements of about ``amplitude * sqrt(n_steps)`` per component.

    Parameters
    ----------
    atoms : Atoms
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
    amplitude, width = check_number("amplitude", amplitude, "Å"), check_number("width", width, "Å")
    n_steps = check_count("n_steps", n_steps)
    minimum_distance = check_number("minimum_distance", minimum_distance, "Å", inclusive=True)
    start = clean_copy(atoms)
    check_separated(start, minimum_distance)
    for rng in streams(random_state, "monte_carlo_rattle", n):
        moved = start.copy()
        accepted = sum(_sweep(moved, amplitude, minimum_distance, width, rng) for _ in range(n_steps))
        yield moved, {"acceptance": accepted / (n_steps * len(start))}


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

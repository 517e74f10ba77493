"""Free atoms and pairs of atoms: the short-range repulsion, and the zero of energy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations_with_replacement

from ase import Atoms

from gapkit.descriptors.species import Element
from gapkit.exceptions import InputError
from gapkit.options.kinds import Positive
from gapkit.sampling.provenance import Made, sampler


@sampler(config_type="dimer")
def dimers(symbols: Iterable[Element], distances: Sequence[Positive], *, box: Positive | None = None) -> Made:
    """Place two atoms at each distance, for every pair of species, like pairs included.

    Parameters
    ----------
    symbols : iterable of str
        Species; repetitions do not count.
    distances : sequence of float, Å
    box : float, optional, Å
        Edge of a periodic cubic cell, for codes that need one; without it there is neither cell nor periodicity.

    Returns
    -------
    structures : list of Atoms
        Pair by pair, each at all distances; `config_type` is "dimer".

    Raises
    ------
    InputError
        If a species is unknown, a distance is not > 0, or the box brings an image as close as the pair.
    """
    species = _species(symbols)
    if len(distances) == 0:
        raise InputError("`distances` must hold at least one distance in Å, got none")
    if box is not None and box <= 2.0 * max(distances):
        raise InputError(
            f"`box` must be longer than {2.0 * max(distances):g} Å, twice the largest distance, so that images are "
            f"further apart than the pair, got {box:g} Å"
        )
    for pair in combinations_with_replacement(species, 2):
        for distance in distances:
            yield _boxed(Atoms(pair, positions=[(0.0, 0.0, 0.0), (distance, 0.0, 0.0)]), box)


@sampler(config_type="isolated_atom")
def isolated_atoms(symbols: Iterable[Element], *, box: Positive | None = None) -> Made:
    """Place one free atom of each species, of `config_type` "isolated_atom"; see `dimers`."""
    for symbol in _species(symbols):
        yield _boxed(Atoms(symbol, positions=[(0.0, 0.0, 0.0)]), box)


def _species(symbols: Iterable[str]) -> dict[str, None]:
    species = dict.fromkeys(symbols)
    if not species:
        raise InputError("`symbols` must hold at least one chemical symbol, got none")
    return species


def _boxed(atoms: Atoms, box: float | None) -> Atoms:
    if box is not None:
        atoms.set_cell([box, box, box])
        atoms.pbc = True
        atoms.center()
    return atoms

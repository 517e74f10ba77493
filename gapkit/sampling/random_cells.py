"""Seeds of a random structure search: random cells, random positions, and sensible distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from ase.formula import Formula

from gapkit.descriptors.species import Element
from gapkit.exceptions import InputError
from gapkit.options.annotations import check_of
from gapkit.options.checked import check_one
from gapkit.options.kinds import Count, Positive, SeedNumber
from gapkit.sampling.distances import pairs_within
from gapkit.sampling.provenance import Made, sampler, streams
from gapkit.typing import FloatArray

Pair = tuple[str, str]

_MAX_ATTEMPTS = 50
_MAX_PUSHES = 300
# Height of the flattest cell compared with a cube of its volume.
_FLATTEST = 0.5
_CLOSE_PACKED = np.pi / np.sqrt(18.0)


@sampler()
def random_search(
    composition: str | Mapping[Element, Count], volume_per_atom: Positive | tuple[Positive, Positive], n: Count,
    minimum_separations: Positive | Mapping[Pair, Positive], *, random_state: SeedNumber = 0,
) -> Made:  # fmt: skip
    """Put atoms at random into random cells, and push apart those that are too close.

    Parameters
    ----------
    composition : str or {symbol: count}
        Content of a cell, such as "Si8" or {"Si": 2, "O": 4}.
    volume_per_atom : float or (low, high), Å^3
        A range is drawn from uniformly.
    minimum_separations : float or {(symbol, symbol): float}, Å
        For all pairs, or for each in either order. Images count.

    Raises
    ------
    InputError
        If the atoms do not fit, or a pair has no separation.

    Notes
    -----
    Pickard and Needs, J. Phys.: Condens. Matter 23, 053201 (2011).
    """
    symbols = _symbols(composition)
    low, high = _volumes(volume_per_atom)
    separations = _separations(symbols, minimum_separations)
    least = np.pi / 6.0 * float(np.mean(np.diag(separations) ** 3)) / _CLOSE_PACKED
    if low < least:
        raise InputError(
            f"`volume_per_atom` must be at least {least:.4g} Å^3, at which spheres of the minimum separations "
            f"are close packed, got {low:g} Å^3; increase it, or reduce `minimum_separations`"
        )
    for rng in streams(random_state, "random_search", n):
        for _ in range(_MAX_ATTEMPTS):
            atoms = Atoms(symbols, cell=_random_cell(rng, len(symbols) * rng.uniform(low, high)), pbc=True)
            atoms.set_scaled_positions(rng.random((len(symbols), 3)))
            if _push_apart(atoms, separations):
                break
        else:
            raise InputError(
                f"`minimum_separations` must fit into the volume, and no arrangement was found in {_MAX_ATTEMPTS} "
                f"attempts with {low:g} to {high:g} Å^3 per atom; increase `volume_per_atom`, or reduce them"
            )
        atoms.wrap()
        yield atoms


def _random_cell(rng: np.random.Generator, volume: float) -> FloatArray:
    """Draw three Gaussian vectors, not too flat, and scale them to a volume in Å^3."""
    while True:
        cell = rng.normal(size=(3, 3))
        cell[0] *= np.sign(np.linalg.det(cell))
        cell *= (volume / np.linalg.det(cell)) ** (1 / 3)
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        if heights.min() > _FLATTEST * volume ** (1 / 3):
            return cell


def _push_apart(atoms: Atoms, separations: FloatArray) -> bool:
    """Move atoms apart along the vectors between those that are too close; return whether none are left."""
    longest = float(separations.max())
    for _ in range(_MAX_PUSHES):
        i, j, distances, offsets = pairs_within(atoms, longest)
        overlap = separations[i, j] - distances
        if np.any(overlap[i == j] > 0.0):  # a cell vector is too short, which no move repairs
            return False
        close = overlap > 0.0
        if not close.any():
            return True
        i, j, overlap = i[close], j[close], overlap[close]
        vectors = atoms.positions[j] + offsets[close] - atoms.positions[i]
        # A little more than half each, or the last of it would take for ever.
        push = (0.55 * overlap / np.maximum(distances[close], 1e-6))[:, None] * vectors
        moves = np.zeros((len(atoms), 3))
        np.add.at(moves, j, push)
        np.add.at(moves, i, -push)
        atoms.positions += moves
    return False


def _symbols(composition: str | Mapping[str, int]) -> list[str]:
    try:
        counts: Mapping[str, int] = Formula(composition).count() if isinstance(composition, str) else composition
    except ValueError as error:
        raise InputError(f"`composition` must be a formula such as 'SiO2', got {composition!r}") from error
    symbols = []
    for symbol, count in counts.items():
        symbols += count * [check_one(check_of(Element), symbol, "composition")]
    if not symbols:
        raise InputError("`composition` must hold at least one atom, got none")
    return symbols


def _volumes(volume_per_atom: float | tuple[float, float]) -> tuple[float, float]:
    values = list(volume_per_atom) if isinstance(volume_per_atom, Sequence) else [volume_per_atom, volume_per_atom]
    if len(values) != 2 or values[0] > values[1]:
        raise InputError(f"`volume_per_atom` must be a number or (low, high) in Å^3, got {volume_per_atom!r}")
    return values[0], values[1]


def _separations(symbols: list[str], given: float | Mapping[Pair, float]) -> FloatArray:
    """(n_atoms, n_atoms) in Å."""
    species = list(dict.fromkeys(symbols))
    table = np.empty((len(species), len(species)))
    for a, b in combinations_with_replacement(range(len(species)), 2):
        pair = (species[a], species[b])
        value = (given.get(pair, given.get(pair[::-1]))) if isinstance(given, Mapping) else given
        if value is None:
            raise InputError(f"`minimum_separations` must hold every pair of species, got none for {pair}; add it")
        table[a, b] = table[b, a] = value
    of_atom = [species.index(symbol) for symbol in symbols]
    return table[np.ix_(of_atom, of_atom)]

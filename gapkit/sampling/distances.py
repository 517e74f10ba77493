"""Pairs of atoms that are too close, periodic images included."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.structures.pairs import find_pairs, search_box
from gapkit.typing import FloatArray, IntArray


def pairs_within(atoms: Atoms, cutoff: float, *, full_list: bool = False) -> tuple[IntArray, IntArray, FloatArray, Any]:
    """Pairs closer than `cutoff`, each once or from both ends (`full_list`): i, j, distances and offsets (n, 3) in Å.

    The vector from i to j is positions[j] + offset - positions[i].
    """
    box = search_box(atoms.positions, atoms.cell.array, atoms.pbc)
    i, j, distances, shifts = find_pairs(atoms.positions, box, atoms.pbc, cutoff, "ijdS", full_list=full_list)
    close = distances < cutoff
    offsets = shifts[close] @ box
    return i[close].astype(np.int64), j[close].astype(np.int64), distances[close], offsets


def shortest_distance(atoms: Atoms, within: float) -> float:
    """Shortest distance in Å, images included; infinity where none is below `within`."""
    return float(pairs_within(atoms, within)[2].min(initial=np.inf))


def check_separated(atoms: Atoms, minimum_distance: float) -> None:
    """Raise InputError if a structure has closer atoms before any displacement."""
    shortest = shortest_distance(atoms, minimum_distance) if minimum_distance > 0.0 else np.inf
    if shortest < minimum_distance:
        raise InputError(
            f"`minimum_distance` must be at most the shortest distance of `atoms`, {shortest:.4g} Å (images included), "
            f"got {minimum_distance:g} Å; reduce it, or relax the structure first"
        )

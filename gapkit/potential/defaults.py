"""Hyperparameters chosen from the data when none are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapkit.descriptors import SOAP, TwoBody
from gapkit.descriptors.base import Engine
from gapkit.exceptions import InputError
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.terms import Term
from gapkit.structures import AtomsBatch

TARGET_NEIGHBOURS = 45.0
MIN_CUTOFF, MAX_CUTOFF = 4.5, 6.5


def default_cutoff(batch: AtomsBatch) -> float:
    """Radius in Å within which atoms have about 45 neighbours, between 4.5 and 6.5 Å."""
    sample = batch.select(np.unique(np.linspace(0, batch.n_frames - 1, 40).astype(int)))
    neighbours = build_neighbour_list(sample, MAX_CUTOFF)
    distances = np.sort(neighbours.distances)
    wanted = int(TARGET_NEIGHBOURS * sample.n_atoms)
    cutoff = distances[wanted] if wanted < len(distances) else MAX_CUTOFF
    if not sample.pbc.any():
        cutoff = min(cutoff, 5.0)
    return float(np.round(np.clip(cutoff, MIN_CUTOFF, MAX_CUTOFF), 1))


def default_sigma(batch: AtomsBatch) -> float:
    """Width in Å of the atomic Gaussians: a fifth of the shortest usual bond, between 0.3 and 0.6 Å."""
    sample = batch.select(np.unique(np.linspace(0, batch.n_frames - 1, 40).astype(int)))
    neighbours = build_neighbour_list(sample, MAX_CUTOFF)
    has = np.diff(neighbours.offsets) > 0
    if not has.any():
        return 0.5
    nearest = np.minimum.reduceat(neighbours.distances, neighbours.offsets[:-1][has])
    return float(np.round(np.clip(0.2 * np.median(nearest), 0.3, 0.6), 2))


def default_terms(batch: AtomsBatch) -> list[Term]:
    """A two-body and a SOAP term, with cutoffs from the density of the data."""
    cutoff = default_cutoff(batch)
    n_species = len(batch.species)
    n_max, l_max = {1: (10, 6), 2: (8, 6), 3: (8, 6)}.get(n_species, (7, 5))
    return [
        Term(TwoBody(cutoff)),
        Term(SOAP(cutoff, n_max, l_max, default_sigma(batch), transition=0.75 * cutoff)),
    ]


def default_n_sparse(batch: AtomsBatch) -> int:
    """Sparse points of the SOAP term: about a fifth of the force components, at most 2,000 for one species."""
    return int(np.clip(batch.n_atoms / 5, 50, 2000 if len(batch.species) == 1 else 3000))


N_SPARSE_PER_BLOCK = {1: 15, 3: 100}
"""Sparse points of each block of a two-body and of a three-body term, by their number of features."""


def share_sparse_points(
    terms: Sequence[Term], engines: Sequence[Engine], n_sparse: int | None, batch: AtomsBatch
) -> tuple[list[int], list[bool]]:
    """Sparse points of every term, and whether the user gave the number."""
    total = default_n_sparse(batch) if n_sparse is None else n_sparse
    if total < 1:
        raise InputError(f"`n_sparse` must be >= 1, got {total}")
    sharing = [term.n_sparse is None and engine.is_atomic for term, engine in zip(terms, engines, strict=True)]
    numbers, explicit = [], []
    for term, engine, shares in zip(terms, engines, sharing, strict=True):
        if term.n_sparse is not None:
            numbers.append(term.n_sparse)
        elif shares:
            numbers.append(max(total // sum(sharing), 1))
        else:
            numbers.append(N_SPARSE_PER_BLOCK[engine.n_features] * len(engine.blocks))
        explicit.append(term.n_sparse is not None or (n_sparse is not None and shares))
    return numbers, explicit

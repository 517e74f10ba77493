"""Hyperparameters chosen from the data when none are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gapkit.descriptors import SOAP, Channels, TwoBody
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.potential.term import Term, TermPlan
from gapkit.structures import AtomsBatch

TARGET_NEIGHBOURS = 45.0
MIN_CUTOFF, MAX_CUTOFF = 4.5, 6.5
MIN_SIGMA, MAX_SIGMA = 0.5, 0.6
# Å of cutoff for each radial function: about the width that the Gaussians can resolve; coarser where channels multiply.
RADIAL_SPACING, COARSE_SPACING = 0.5, 0.75
MANY_SPECIES = 4  # from here on SOAP is compressed to one species channel against the density of all


def _sample(batch: AtomsBatch) -> tuple[AtomsBatch, NeighbourList]:
    """Forty frames over the whole set, and their neighbours within the largest cutoff."""
    frames = batch.select(np.unique(np.linspace(0, batch.n_frames - 1, 40).astype(int)))
    return frames, build_neighbour_list(frames, MAX_CUTOFF)


def default_cutoff(batch: AtomsBatch) -> float:
    """Radius in Å within which atoms have about 45 neighbours, between 4.5 and 6.5 Å; 4.5 Å for lone molecules."""
    if not batch.pbc.any():
        return MIN_CUTOFF
    sample, neighbours = _sample(batch)
    distances = np.sort(neighbours.distances)
    wanted = int(TARGET_NEIGHBOURS * sample.n_atoms)
    cutoff = distances[wanted] if wanted < len(distances) else MAX_CUTOFF
    return float(np.round(np.clip(cutoff, MIN_CUTOFF, MAX_CUTOFF), 1))


def default_sigma(batch: AtomsBatch) -> float:
    """Width in Å of the atomic Gaussians: a fifth of the usual bond, between 0.5 and 0.6 Å."""
    _, neighbours = _sample(batch)
    has = np.diff(neighbours.offsets) > 0
    if not has.any():
        return MIN_SIGMA
    nearest = np.minimum.reduceat(neighbours.distances, neighbours.offsets[:-1][has])
    return float(np.round(np.clip(0.2 * np.median(nearest), MIN_SIGMA, MAX_SIGMA), 2))


def default_terms(batch: AtomsBatch, cutoff: float | None = None) -> list[Term]:
    """A two-body and a SOAP term; `cutoff` in Å, None: from the density of the data."""
    cutoff = default_cutoff(batch) if cutoff is None else cutoff
    many = len(batch.species) >= MANY_SPECIES
    n_max = int(np.clip(round(cutoff / (COARSE_SPACING if many else RADIAL_SPACING)), 4, 12))
    # neighbours fade over the whole cutoff (transition None): they then weigh less the farther they are
    compression = Channels(nu_R=2, nu_S=1) if many else None
    soap = SOAP(cutoff, n_max, 5 if many else 6, default_sigma(batch), compression=compression)
    return [Term(TwoBody(cutoff)), Term(soap)]


def default_n_sparse(batch: AtomsBatch) -> int:
    """Sparse points of the SOAP term: all atoms of a small set, a third of a large one; a cap keeps it to minutes."""
    cap = 2000 if len(batch.species) == 1 else 3000
    return int(min(batch.n_atoms, max(1000, batch.n_atoms // 3), cap))


def plan_terms(terms: Sequence[Term], n_sparse: int | None, batch: AtomsBatch) -> list[TermPlan]:
    """Engines and numbers of sparse points; `n_sparse` is shared by the terms whose descriptor has no default."""
    total = default_n_sparse(batch) if n_sparse is None else n_sparse
    if total < 1:
        raise InputError(f"`n_sparse` must be >= 1, got {total}")
    engines = [term.descriptor.engine(term.descriptor.resolve_species(batch.species)) for term in terms]
    numbers = [
        term.n_sparse_total or term.descriptor.default_n_sparse(len(engine.blocks))
        for term, engine in zip(terms, engines, strict=True)
    ]
    share = max(total // max(numbers.count(None), 1), 1)
    return [
        TermPlan(term, engine, number or share, bool(term.n_sparse_total or (number is None and n_sparse)))
        for term, engine, number in zip(terms, engines, numbers, strict=True)
    ]

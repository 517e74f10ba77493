"""Hyperparameters chosen from the data when none are given."""

from __future__ import annotations

import numpy as np

from gapkit.descriptors import SOAP, TwoBody
from gapkit.gp.evidence import LogNormalPrior
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


N_SPARSE_PAIRS = 20
"""Sparse points of each pair of species of a two-body term."""


def noise_priors(forces: float) -> dict[str, LogNormalPrior]:
    """Priors that keep the energy and virial noise in proportion to that of the forces, eV/atom for eV/Å."""
    return {
        "energy": LogNormalPrior(mean=0.02 * forces, width=0.3),
        "virial": LogNormalPrior(mean=0.3 * forces, width=0.5),
    }

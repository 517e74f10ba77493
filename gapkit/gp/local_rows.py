"""Atoms one by one: rows of their local energies and the vectors of their neighbourhoods."""

from __future__ import annotations

import numpy as np

from gapkit.gp.basis import SparseBasis
from gapkit.gp.posterior import Posterior
from gapkit.neighbours import NeighbourList
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray


def local_rows(
    basis: SparseBasis, posterior: Posterior, batch: AtomsBatch, neighbours: NeighbourList
) -> tuple[FloatArray, FloatArray]:
    """Rows (n_atoms, M) of the local energies of atomic terms, and their prior variances (n_atoms,) in eV^2."""
    rows, prior = np.zeros((batch.n_atoms, basis.n_columns)), np.zeros(batch.n_atoms)
    index = -1
    for term in basis.terms:
        for block in term.blocks:
            index += 1
            if not term.engine.is_atomic:
                continue
            view = term.engine.view(batch.numbers, neighbours)
            centres = view.centres(block.block)
            for start in range(0, len(centres), view.centres_per_chunk):
                features = view.features(block.block, centres[start : start + view.centres_per_chunk])
                x = term.kernel.scale_features(features.x)
                norms = np.einsum("nd,nd->n", x, x)
                rows[features.centres, block.columns] = term.kernel.value(
                    block.reduce(x) @ block.scaled.T, norms, block.norms
                )
                whole = norms if features.squares is None else features.squares
                prior[features.centres] += term.kernel.diag_value(whole) * posterior.variance_scale(index)
    return rows, prior


def local_vectors(
    basis: SparseBasis, batch: AtomsBatch, neighbours: NeighbourList
) -> dict[int, tuple[IntArray, FloatArray]]:
    """By species: atoms, and their vectors (n, r) in the first atomic term, as far as its sparse points have them."""
    found: dict[int, tuple[IntArray, FloatArray]] = {}
    for term in basis.terms:
        if not term.engine.is_atomic:
            continue
        view = term.engine.view(batch.numbers, neighbours)
        for block in term.blocks:
            centres = view.centres(block.block)
            parts = [np.zeros((0, block.scaled.shape[1]))]
            for start in range(0, len(centres), view.centres_per_chunk):
                x = view.features(block.block, centres[start : start + view.centres_per_chunk]).x
                parts.append(block.reduce(np.array(term.kernel.scale_features(x))))
            found[block.block[0]] = (centres, np.concatenate(parts))
        break
    return found

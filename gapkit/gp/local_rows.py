"""Atoms one by one: rows of their local energies, and their vectors."""

from __future__ import annotations

import numpy as np

from gapkit.gp.instances import AppliedBasis
from gapkit.gp.posterior import Posterior
from gapkit.typing import FloatArray, IntArray


def local_rows(applied: AppliedBasis, posterior: Posterior) -> tuple[FloatArray, FloatArray]:
    """Rows (n_atoms, M) of the local energies of atomic terms, and their prior variances (n_atoms,) in eV^2."""
    n_atoms = applied.batch.n_atoms
    rows, prior = np.zeros((n_atoms, applied.basis.n_columns)), np.zeros(n_atoms)
    for block in applied.basis.blocks:
        for chunk in applied.walk(block) if block.is_atomic else ():
            rows[chunk.centres, block.columns] = chunk.kernel()
            prior[chunk.centres] += chunk.prior() * posterior.variance_scale(block.index)
    return rows, prior


def local_vectors(applied: AppliedBasis) -> dict[int, tuple[IntArray, FloatArray]]:
    """By species: atoms, and their vectors (n, r) in the first atomic term, as far as its sparse points have them."""
    found: dict[int, tuple[IntArray, FloatArray]] = {}
    first = next((term for term in applied.basis.terms if term.engine.is_atomic), None)
    for block in () if first is None else first.blocks:
        parts = [np.zeros((0, block.scaled.shape[1]))]
        parts.extend(np.array(chunk.reduced()) for chunk in applied.walk(block))
        found[block.species[0]] = (applied.centres(block), np.concatenate(parts))
    return found

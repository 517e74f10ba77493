"""What the calculators share: threads, a neighbour list that is reused, and results as ASE holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from gapkit.calculator.neighbours import SkinnedNeighbours
from gapkit.exceptions import InputError
from gapkit.potential import Predictions
from gapkit.potential.state import Potential, state_of
from gapkit.structures import AtomsBatch, to_batch

# Properties of every calculator.
PLAIN = ("energy", "free_energy", "energies", "forces", "stress")


class PotentialCalculator(Calculator):
    """Base of the calculators of a fitted potential."""

    def __init__(self, model: Potential, skin: float, n_jobs: int | None, **kwargs: Any) -> None:
        if not (np.isfinite(skin) and skin >= 0.0):
            raise InputError(f"`skin` must be >= 0 Å, got {skin}; 0.3 to 1 Å is usual")
        self.n_jobs = model.n_jobs if n_jobs is None else n_jobs
        self._neighbours = SkinnedNeighbours(state_of(model), skin)
        super().__init__(**kwargs)

    @property
    def _batch(self) -> AtomsBatch:
        return to_batch(self.atoms, labels=False)


def plain_results(p: Predictions) -> dict[str, Any]:
    """Energies (eV), forces (n_atoms, 3; eV/Å), and the stress (6,; eV/Å^3) where the cell is three-dimensional."""
    energy = float(p.energy[0])
    results: dict[str, Any] = {
        "energy": energy, "free_energy": energy, "energies": p.local_energies, "forces": p.forces,
    }  # fmt: skip
    return results | ({"stress": p.stress[0]} if np.isfinite(p.stress[0]).all() else {})

"""What the calculators share: threads, a neighbour list that is reused, and results as ASE holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from gapkit.calculator.neighbours import SkinnedNeighbours
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
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

    def calculate(
        self, atoms: Atoms | None = None, properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:  # fmt: skip
        """Compute all that is cheap, and what else is asked for.

        Raises
        ------
        InputError
            If a standard deviation is asked for of a committee of fewer than two members.
        UnknownSpeciesError
            If `atoms` holds a species that the model was not fitted to; nothing is computed then.
        """
        super().calculate(atoms, properties, system_changes)
        batch = to_batch(self.atoms, labels=False)
        self._compute(batch, self._neighbours.of(batch), properties, bool(system_changes))

    def _compute(self, batch: AtomsBatch, neighbours: NeighbourList, properties: Sequence[str], changed: bool) -> None:
        raise NotImplementedError


def plain_results(p: Predictions) -> dict[str, Any]:
    """Energies (eV), forces (n_atoms, 3; eV/Å), and the stress (6,; eV/Å^3) where the cell is three-dimensional."""
    energy = float(p.energy[0])
    results: dict[str, Any] = {
        "energy": energy, "free_energy": energy, "energies": p.local_energies, "forces": p.forces,
    }  # fmt: skip
    return results | ({"stress": p.stress[0]} if np.isfinite(p.stress[0]).all() else {})

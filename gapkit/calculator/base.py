"""What the calculators share: threads, a neighbour list that is reused, and results as ASE holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from gapkit.neighbours import NeighbourList
from gapkit.options.values import between
from gapkit.potential import Predictions
from gapkit.potential.state import FittedState, Potential, state_of
from gapkit.structures import AtomsBatch, to_batch
from gapkit.structures.arrays import volumes_of
from gapkit.typing import FloatArray
from gapkit.workspace import Turns

# Properties of every calculator.
PLAIN = ("energy", "free_energy", "energies", "forces", "stress")


Skin: TypeAlias = Annotated[float, between(0.0, 20.0, "Å (0.3 to 1 Å is usual)")]


class PotentialCalculator(Calculator):
    """Base of the calculators of a fitted potential.

    ASE keeps the last structure and its results in the calculator, and so does the neighbour list.  Threads that share
    one take turns: every ``get_...`` is of the atoms that it was called with.  `results` is whoever's was last.  One
    calculator for each thread, of the same model, is faster, and shares nothing that changes.
    """

    results: dict[str, Any]

    def __init__(self, model: Potential, skin: float, n_jobs: int | None, **kwargs: Any) -> None:
        self.n_jobs = model.n_jobs if n_jobs is None else n_jobs
        self._neighbours = SkinnedNeighbours(state_of(model), skin)
        self._turns = Turns()
        super().__init__(**kwargs)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True) -> Any:
        """As for every ASE calculator; None without a calculation where none is allowed."""
        with self._turns.taken():
            return super().get_property(name, atoms, allow_calculation)

    def calculate_properties(self, atoms: Atoms, properties: Sequence[str]) -> Any:
        """Several properties at once, as ASE's `Properties`."""
        with self._turns.taken():
            return super().calculate_properties(atoms, properties)

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
        with self._turns.taken():
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


class SkinnedNeighbours:
    """Neighbours within reach + skin, rebuilt when displacements and cell changes together may exceed the skin."""

    def __init__(self, state: FittedState, skin: float) -> None:
        self._state = state
        self._skin = skin
        self._batch: AtomsBatch | None = None
        self._list: NeighbourList | None = None
        self.n_builds = 0

    def of(self, batch: AtomsBatch) -> NeighbourList:
        """Neighbour list of one frame; edges beyond the model's reach may be in it."""
        if self._list is not None and self._still_valid(batch):
            return self._list.moved(batch)
        self._list = self._state.neighbours(batch, self._skin)
        self._batch = batch
        self.n_builds += 1
        return self._list

    def _still_valid(self, batch: AtomsBatch) -> bool:
        old = self._batch
        if old is None or self._skin == 0.0:
            return False
        if not (np.array_equal(old.numbers, batch.numbers) and np.array_equal(old.pbc, batch.pbc)):
            return False
        # Positions follow the cell (r -> r F) but for displacements u. A pair that is not listed was at least
        # reach + skin apart, whatever its cell shift, so that now it is at least (reach + skin) s - 2 |u| apart, with s
        # the smallest singular value of F.
        strain = _deformation(old.cells[0], batch.cells[0])
        if strain is None:
            return False
        displacements = batch.positions - old.positions @ strain
        displacements -= displacements.mean(axis=0)
        largest = np.sqrt((displacements**2).sum(axis=1).max(initial=0.0))
        smallest = np.linalg.svd(strain, compute_uv=False).min()
        reach = self._state.reach
        return bool((reach + self._skin) * smallest - 2.0 * largest > reach)


def _deformation(old: FloatArray, new: FloatArray) -> FloatArray | None:
    """F (3, 3) with old @ F = new; None where a singular cell leaves it open."""
    if np.array_equal(old, new):
        return np.eye(3)
    if np.isnan(volumes_of(old)):
        return None
    return np.asarray(np.linalg.solve(old, new))

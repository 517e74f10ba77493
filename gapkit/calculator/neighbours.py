"""A neighbour list that is reused while no pair can have come within the cutoff unnoticed."""

from __future__ import annotations

import numpy as np

from gapkit.neighbours import NeighbourList
from gapkit.potential.state import FittedState
from gapkit.structures import AtomsBatch
from gapkit.structures.arrays import volumes_of
from gapkit.typing import FloatArray


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

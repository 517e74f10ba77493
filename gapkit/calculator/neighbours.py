"""A neighbour list that is reused while no pair can have come within the cutoff unnoticed."""

from __future__ import annotations

import numpy as np

from gapkit.neighbours import NeighbourList
from gapkit.potential.linear_model import LinearModel
from gapkit.structures import AtomsBatch


class SkinnedNeighbours:
    """Neighbours within reach + skin, rebuilt when displacements and cell changes together may exceed the skin."""

    def __init__(self, model: LinearModel, skin: float) -> None:
        self._model = model
        self._skin = skin
        self._batch: AtomsBatch | None = None
        self._list: NeighbourList | None = None
        self._largest_shift = np.zeros(3)
        self.n_builds = 0

    def of(self, batch: AtomsBatch) -> NeighbourList:
        """Neighbour list of one frame; edges beyond the model's reach may be in it."""
        if self._list is not None and self._still_valid(batch):
            return self._list.moved(batch)
        self._list = self._model.neighbours(batch, self._skin)
        self._batch = batch
        self._largest_shift = np.abs(self._list.shifts).max(axis=0, initial=0).astype(float)
        self.n_builds += 1
        return self._list

    def _still_valid(self, batch: AtomsBatch) -> bool:
        old = self._batch
        if old is None or self._skin == 0.0 or not np.array_equal(old.numbers, batch.numbers):
            return False
        if not np.array_equal(old.pbc, batch.pbc):
            return False
        moved = np.sqrt(((batch.positions - old.positions) ** 2).sum(axis=1).max(initial=0.0))
        # An image S of an atom moves with the cell by S . (change of cell); pairs inside one cell do not.
        strained = float(self._largest_shift @ np.linalg.norm(batch.cells[0] - old.cells[0], axis=1))
        # Pairs that were beyond every listed shift need one more cell vector.
        strained += float(np.linalg.norm(batch.cells[0] - old.cells[0], axis=1).sum())
        return bool(2.0 * moved + strained < self._skin)

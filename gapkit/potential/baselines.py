"""Baselines: a known part of the energy that is subtracted before the fit and added back in prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gapkit._core.rows import edge_forces
from gapkit.descriptors.cutoffs import QuinticCutoff
from gapkit.neighbours import NeighbourList
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray


@runtime_checkable
class Baseline(Protocol):
    """A pair-local energy with its derivatives; to be saved in a model file it must be listed in `BASELINES`."""

    cutoff: float
    """Å; the neighbour list that `__call__` gets reaches at least as far."""

    def __call__(self, batch: AtomsBatch, neighbours: NeighbourList) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Local energies (n_atoms,) in eV, forces (n_atoms, 3) in eV/Å and virials (n_frames, 3, 3) in eV."""
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments that make it again."""
        ...


@dataclass(frozen=True)
class ZBL:
    """Screened nuclear repulsion of Ziegler, Biersack and Littmark, switched off towards `cutoff`.

    Keeps atoms apart where there are no data.  Source: Ziegler, Biersack, Littmark, The Stopping and Range of Ions in
    Matter (1985).

    Parameters
    ----------
    cutoff : float
        Å, where it vanishes.
    inner : float
        Å, where the switch begins.
    """

    cutoff: float = 2.0
    inner: float = 1.0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments that make it again."""
        return {"cutoff": self.cutoff, "inner": self.inner}

    def __call__(self, batch: AtomsBatch, neighbours: NeighbourList) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Half of each pair's energy to either atom."""
        r = neighbours.distances
        z1 = batch.numbers[neighbours.centres].astype(float)
        z2 = batch.numbers[neighbours.indices].astype(float)
        length = 0.46850 / (z1**0.23 + z2**0.23)
        screening = np.zeros_like(r)
        slope = np.zeros_like(r)
        for a, b in ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)):
            part = a * np.exp(-b * r / length)
            screening += part
            slope -= b / length * part
        charge = 14.399645 * z1 * z2
        switch, switch_slope = QuinticCutoff(self.cutoff - self.inner)(r, self.cutoff)
        energy = 0.5 * charge * screening / r
        along = 0.5 * charge * (slope - screening / r) / r
        gradient = ((along * switch + energy * switch_slope) / r)[:, None] * neighbours.vectors
        forces, virials = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3))
        edge_forces(
            neighbours.offsets, neighbours.indices, neighbours.vectors, batch.frame_of_atom, gradient, forces, virials
        )
        local: FloatArray = np.bincount(neighbours.centres, energy * switch, batch.n_atoms).astype(np.float64)
        return local, forces, virials


BASELINES: dict[str, type[ZBL]] = {"ZBL": ZBL}

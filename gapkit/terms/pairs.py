"""Baselines: a known part of the energy that is subtracted before the fit and added back in prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from ase.data import chemical_symbols
from scipy.interpolate import CubicSpline

from gapkit._core.rows import edge_forces
from gapkit.descriptors.cutoffs import QuinticCutoff
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray


@runtime_checkable
class Baseline(Protocol):
    """A pair-local energy with its derivatives; to be saved in a model file it must be listed in `BASELINES`."""

    @property
    def cutoff(self) -> float:
        """Å; the neighbour list that `__call__` gets reaches at least as far."""
        ...

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


@dataclass(frozen=True)
class PairTable:
    """Energy of a pair of two species: a cubic spline, straight below its first distance and zero beyond its last.

    Parameters
    ----------
    species : sequence of 2 int
        Atomic numbers.
    distances, energies : sequence of float
        Å, ascending, and eV.
    slopes : sequence of 2 float or None
        Derivatives at the first and the last distance, eV/Å; None: the second derivative is zero there.
    """

    species: Sequence[int]
    distances: Sequence[float]
    energies: Sequence[float]
    slopes: Sequence[float | None] = (None, None)

    def __repr__(self) -> str:
        pair = "-".join(chemical_symbols[z] for z in self.species)
        return f"<{pair}: {len(self.distances)} points, {self.distances[0]:.4g} to {self.cutoff:.4g} Å>"

    def __post_init__(self) -> None:
        r = np.asarray(self.distances, float)
        if len(self.species) != 2 or len(self.slopes) != 2 or r.shape != np.shape(self.energies) or len(r) < 2:
            raise InputError("a PairTable needs two species, two slopes, and as many energies as distances (2 or more)")
        if not (np.isfinite(r).all() and np.isfinite(self.energies).all() and (np.diff(r) > 0.0).all() and r[0] > 0.0):
            raise InputError("`distances` of a PairTable must be > 0 Å and ascend, and all values be finite")

    @property
    def cutoff(self) -> float:
        """The last distance, Å."""
        return float(self.distances[-1])

    def __call__(self, r: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Energies (n,) in eV and their derivatives in eV/Å at distances r (n,)."""
        first, last = ((2, 0.0) if slope is None else (1, slope) for slope in self.slopes)
        spline = CubicSpline(self.distances, self.energies, bc_type=(first, last))
        start = float(self.distances[0])
        inside = np.maximum(r, start)
        slope = spline(inside, 1)
        energy = spline(inside) + slope * (r - inside)
        beyond = r >= self.cutoff
        return np.where(beyond, 0.0, energy), np.where(beyond, 0.0, slope)


@dataclass(frozen=True)
class PairTables:
    """Tabulated pair potentials, such as a short-range repulsion.

    Parameters
    ----------
    tables : sequence of PairTable
        One at most for each pair of species; pairs without one have no energy.
    """

    tables: Sequence[PairTable] = ()

    def __post_init__(self) -> None:
        pairs = [tuple(sorted(table.species)) for table in self.tables]
        if len(set(pairs)) < len(pairs):
            raise InputError(f"`tables` must hold no two tables of one pair of species, got {pairs}")

    @property
    def cutoff(self) -> float:
        """Å, where all tables have ended; 1 without any, as a neighbour list must have some reach."""
        return max((table.cutoff for table in self.tables), default=1.0)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments that make it again."""
        return {"tables": self.tables}

    def __call__(self, batch: AtomsBatch, neighbours: NeighbourList) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Half of each pair's energy to either atom."""
        r = neighbours.distances
        z = np.sort([batch.numbers[neighbours.centres], batch.numbers[neighbours.indices]], axis=0)
        energy, slope = np.zeros_like(r), np.zeros_like(r)
        for table in self.tables:
            low, high = sorted(table.species)
            edges = np.flatnonzero((z[0] == low) & (z[1] == high) & (r < table.cutoff))
            energy[edges], slope[edges] = table(r[edges])
        gradient = (0.5 * slope / r)[:, None] * neighbours.vectors
        forces, virials = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3))
        edge_forces(
            neighbours.offsets, neighbours.indices, neighbours.vectors, batch.frame_of_atom, gradient, forces, virials
        )
        local: FloatArray = np.bincount(neighbours.centres, 0.5 * energy, batch.n_atoms).astype(np.float64)
        return local, forces, virials


BASELINES: dict[str, type[ZBL] | type[PairTables]] = {"ZBL": ZBL, "PairTables": PairTables}

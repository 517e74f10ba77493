"""Pair potentials: ZBL, Lennard-Jones and tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import numpy as np
from ase.data import chemical_symbols
from scipy.interpolate import CubicSpline

from gapkit._core.rows import edge_forces
from gapkit.descriptors.cutoffs import QuinticCutoff
from gapkit.descriptors.species import Element, Number, atomic_numbers
from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.neighbours import NeighbourList
from gapkit.options.annotations import check_of
from gapkit.options.checked import Checked, check_fields
from gapkit.options.kinds import NotNegative
from gapkit.options.values import between
from gapkit.structures import AtomsBatch
from gapkit.terms.base import EnergyTerm, TermValues
from gapkit.typing import BoolArray, FloatArray, IntArray

Length: TypeAlias = Annotated[float, between(0.0, 1e3, "Å")]
Reach: TypeAlias = Annotated[float, between(1e-3, 50.0, "Å")]


class PairTerm(EnergyTerm):
    """E = 1/2 sum over edges v(r): half of the energy of a pair to either atom."""

    cutoff: float  # Å

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def pair(self, r: FloatArray, z1: IntArray, z2: IntArray) -> tuple[FloatArray, FloatArray]:
        """Pair energies v (n,) in eV and dv/dr in eV/Å, at distances r (n,) between species z1 and z2 (n,)."""

    @property
    def reach(self) -> float:
        """The cutoff, Å."""
        return self.cutoff

    def evaluate(
        self, batch: AtomsBatch, neighbours: NeighbourList | None, *, centres: BoolArray | None = None,
        upstream: FloatArray | None = None, inputs: Mapping[str, FloatArray] | None = None,
    ) -> TermValues:  # fmt: skip
        assert neighbours is not None
        inside = neighbours.distances < self.reach
        if centres is not None:
            inside &= centres[neighbours.centres]
        edges = neighbours.subset(inside, self.reach)
        energy, slope = self.pair(edges.distances, batch.numbers[edges.centres], batch.numbers[edges.indices])
        local = 0.5 * np.bincount(edges.centres, energy, batch.n_atoms).astype(np.float64)
        along = 0.5 * slope / edges.distances
        if upstream is not None:
            along *= upstream[edges.centres]
        forces, virials = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3))
        f = along[:, None] * edges.vectors
        edge_forces(edges.offsets, edges.indices, edges.vectors, batch.frame_of_atom, f, forces, virials)
        return TermValues(local, forces, virials)


@registered("EnergyTerm")
@dataclass(frozen=True)
class ZBL(PairTerm):
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

    cutoff: Reach = 2.0
    inner: NotNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_switch(self.cutoff, self.inner)

    def pair(self, r: FloatArray, z1: IntArray, z2: IntArray) -> tuple[FloatArray, FloatArray]:
        """Coulomb energy of the nuclei times the universal screening function."""
        return switched(*screened_repulsion(r, z1.astype(float), z2.astype(float)), r, self.cutoff, self.inner)


def screened_repulsion(r: FloatArray, z1: FloatArray, z2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Energies (n,) in eV of ZBL without a switch, and their slopes in eV/Å, at r (n,) in Å between z1 and z2 (n,)."""
    length = 0.46850 / (z1**0.23 + z2**0.23)
    screening, slope = np.zeros_like(r), np.zeros_like(r)
    for a, b in ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)):
        part = a * np.exp(-b * r / length)
        screening += part
        slope -= b / length * part
    charge = 14.399645 * z1 * z2
    return charge * screening / r, charge * (slope - screening / r) / r


@registered("EnergyTerm")
@dataclass(frozen=True)
class LennardJones(PairTerm):
    """v(r) = 4 epsilon ((sigma / r)^12 - (sigma / r)^6), switched off towards `cutoff`.

    Unlike pairs by the rules of Lorentz and Berthelot; pairs of a species that is not listed have no energy.

    Parameters
    ----------
    epsilon, sigma : mapping of symbol to float
        Depth in eV and length in Å of each species.
    cutoff : float
        Å, where it vanishes.
    inner : float or None
        Å, where the switch begins; None: 0.8 cutoff.
    """

    epsilon: Mapping[Element, NotNegative] = field(default_factory=dict)
    sigma: Mapping[Element, Length] = field(default_factory=dict)
    cutoff: Reach = 10.0
    inner: NotNegative | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.epsilon) != set(self.sigma):
            names = [", ".join(given) or "none" for given in (self.epsilon, self.sigma)]
            raise InputError(f"`epsilon` and `sigma` must name the same species, got {' and '.join(names)}")
        _check_switch(self.cutoff, self._inner)

    @property
    def _inner(self) -> float:
        return 0.8 * self.cutoff if self.inner is None else self.inner

    def pair(self, r: FloatArray, z1: IntArray, z2: IntArray) -> tuple[FloatArray, FloatArray]:
        """Energies of the pairs, with the mixed parameters."""
        depth, length = np.zeros(len(chemical_symbols)), np.zeros(len(chemical_symbols))
        for symbol, number in zip(self.epsilon, atomic_numbers(list(self.epsilon)), strict=True):
            depth[number], length[number] = self.epsilon[symbol], self.sigma[symbol]
        epsilon, six = np.sqrt(depth[z1] * depth[z2]), (0.5 * (length[z1] + length[z2]) / r) ** 6
        energy, slope = 4.0 * epsilon * (six**2 - six), -24.0 * epsilon * (2.0 * six**2 - six) / r
        return switched(energy, slope, r, self.cutoff, self._inner)


@registered("PairTable")
@dataclass(frozen=True)
class PairTable(Checked):
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

    species: Annotated[Sequence[int], check_of(tuple[Number, Number])]
    distances: Sequence[Length]
    energies: Sequence[float]
    slopes: Sequence[float | None] = (None, None)

    def __repr__(self) -> str:
        pair = "-".join(chemical_symbols[z] for z in self.species)
        return f"<{pair}: {len(self.distances)} points, {self.distances[0]:.4g} to {self.cutoff:.4g} Å>"

    def __post_init__(self) -> None:
        super().__post_init__()
        r = np.asarray(self.distances, float)
        if len(self.species) != 2 or len(self.slopes) != 2 or r.shape != np.shape(self.energies) or len(r) < 2:
            raise InputError("a PairTable needs two species, two slopes, and as many energies as distances (2 or more)")
        if not ((np.diff(r) > 0.0).all() and r[0] > 0.0):
            raise InputError("`distances` of a PairTable must be > 0 Å and ascend")

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


@registered("EnergyTerm")
@dataclass(frozen=True)
class PairTables(PairTerm):
    """Tabulated pair potentials, such as a short-range repulsion; a pair of species without a table has no energy."""

    tables: Sequence[PairTable] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = [tuple(sorted(table.species)) for table in self.tables]
        if len(set(pairs)) < len(pairs):
            raise InputError(f"`tables` must hold no two tables of one pair of species, got {pairs}")

    @property
    def reach(self) -> float:
        """Å, where all tables have ended; 1 without any, as a neighbour list must have some reach."""
        return max((table.cutoff for table in self.tables), default=1.0)

    def pair(self, r: FloatArray, z1: IntArray, z2: IntArray) -> tuple[FloatArray, FloatArray]:
        """Energies of the pairs that have a table."""
        low_z, high_z = np.minimum(z1, z2), np.maximum(z1, z2)
        energy, slope = np.zeros_like(r), np.zeros_like(r)
        for table in self.tables:
            low, high = sorted(table.species)
            edges = np.flatnonzero((low_z == low) & (high_z == high) & (r < table.cutoff))
            energy[edges], slope[edges] = table(r[edges])
        return energy, slope


def _check_switch(cutoff: float, inner: float) -> None:
    if not inner < cutoff:
        raise InputError(f"`cutoff` and `inner` must be 0 <= inner < cutoff in Å, got {inner} and {cutoff}")


def switched(
    energy: FloatArray, slope: FloatArray, r: FloatArray, cutoff: float, inner: float
) -> tuple[FloatArray, FloatArray]:
    """Energies and slopes (n,) times a quintic switch from `inner` to `cutoff`."""
    switch, switch_slope = QuinticCutoff(cutoff - inner)(r, cutoff)
    return energy * switch, slope * switch + energy * switch_slope

"""Smooth overlap of atomic positions (SOAP): the power spectrum of the neighbour density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from gapkit._core.rows import count_legs, fill_legs
from gapkit._core.soap import soap_jacobian, soap_pullback, soap_values
from gapkit.descriptors.base import Block, Descriptor, Features, Jacobian, Legs
from gapkit.descriptors.cutoffs import CutoffFunction, NoCutoff, QuinticCutoff
from gapkit.descriptors.radial import BASES, RadialTable, tabulate
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray

MAX_L = 20


class SOAP(Descriptor):
    """SOAP power spectrum of every atom's neighbourhood.

    Density coefficients c[s, n, lm] = sum_j f_c(r_ij) R_nl(r_ij) Y_lm(r_ij) for each neighbour species s, and
    p[A, B, l] = sum_m c[A, lm] c[B, lm] / sqrt(2 l + 1) over channels A = (s, n) >= B, times sqrt(2) where A > B.

    Parameters
    ----------
    cutoff : float
        Å.
    n_max, l_max : int
        Radial functions per species, and highest degree of the spherical harmonics.
    sigma : float
        Width of the Gaussian that stands for an atom, Å.
    transition : float or None
        Width in Å over which neighbours are switched off by a quintic (C2) switch; None: the whole cutoff.
    cutoff_function : CutoffFunction or None
        Another switch, such as ``CosineCutoff(0.5)``; then `transition` must be None.
    basis : {"gaussian", "gto", "polynomial"}
        Radial basis: QUIP's, or DScribe's two.
    central_weight : float
        Weight of the central atom in its own density.  With 0 and `normalize` the vector of an atom jumps when its last
        neighbour leaves: keep it > 0 for a potential.
    normalize : bool
        Divide by the Euclidean norm.
    species : sequence of str or int, or None
        Chemical species in the order of the channels; None: those of the data, by atomic number.

    Notes
    -----
    Order of the vector: A (n fastest within species), B <= A, l fastest. Length (l_max + 1) K (K + 1) / 2 with
    K = n_species * n_max. Source: Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013), eqs 21-36.
    """

    def __init__(
        self,
        cutoff: float = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float = 0.5,
        *,
        transition: float | None = None,
        cutoff_function: CutoffFunction | None = None,
        basis: str = "gaussian",
        central_weight: float = 1.0,
        normalize: bool = True,
        species: Sequence[str | int] | None = None,
    ) -> None:
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.transition = transition
        self.cutoff_function = cutoff_function
        self.basis = basis
        self.central_weight = central_weight
        self.normalize = normalize
        self.species = species

    def engine(self, species: Sequence[int]) -> SOAPEngine:
        """Tables for the atomic numbers `species`; raises InputError for a parameter out of range."""
        self._check()
        switch = self.cutoff_function or QuinticCutoff(self.cutoff if self.transition is None else self.transition)
        basis = BASES[self.basis](self.n_max, self.l_max, self.sigma, self.cutoff)
        reach = basis.reach if isinstance(switch, NoCutoff) else self.cutoff
        return SOAPEngine(
            species=tuple(species),
            n_max=self.n_max,
            l_max=self.l_max,
            cutoff=self.cutoff,
            reach=reach,
            switch=switch,
            table=tabulate(basis, self.sigma, reach),
            centre=self.central_weight * basis.values(np.zeros(1))[0, 0] / np.sqrt(4.0 * np.pi),
            normalize=self.normalize,
        )

    def _check(self) -> None:
        if not (np.isfinite(self.cutoff) and 0.5 <= self.cutoff <= 20.0):
            raise InputError(f"`cutoff` must be between 0.5 and 20 Å, got {self.cutoff}; 4 to 7 Å is usual")
        if not 1 <= self.n_max <= 24:
            raise InputError(f"`n_max` must be between 1 and 24, got {self.n_max}; 6 to 12 is usual")
        if not 0 <= self.l_max <= MAX_L:
            raise InputError(f"`l_max` must be between 0 and {MAX_L}, got {self.l_max}; 4 to 10 is usual")
        if not (np.isfinite(self.sigma) and 0.05 <= self.sigma <= self.cutoff):
            raise InputError(f"`sigma` must be between 0.05 Å and the cutoff, got {self.sigma}; 0.3 to 0.6 Å is usual")
        if self.basis not in BASES:
            raise InputError(f"`basis` must be one of {', '.join(BASES)}, got {self.basis!r}")
        if self.transition is not None and self.cutoff_function is not None:
            raise InputError("`transition` must be None when `cutoff_function` is given, which has a width of its own")
        width = getattr(self.cutoff_function, "width", self.transition)
        if width is not None and not 0.0 < width <= self.cutoff:
            raise InputError(f"`transition` must be > 0 and at most the cutoff of {self.cutoff} Å, got {width}")


@dataclass(frozen=True, eq=False)
class SOAPEngine:
    """SOAP for fixed species, with its radial table."""

    species: tuple[int, ...]
    n_max: int
    l_max: int
    cutoff: float
    reach: float
    switch: CutoffFunction
    table: RadialTable
    centre: FloatArray
    normalize: bool
    is_atomic: bool = True

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block for each central species."""
        return tuple((z,) for z in self.species)

    @property
    def n_channels(self) -> int:
        """K, species times radial functions."""
        return len(self.species) * self.n_max

    @property
    def n_features(self) -> int:
        """Length of the power spectrum."""
        return (self.l_max + 1) * self.n_channels * (self.n_channels + 1) // 2

    @property
    def public_order(self) -> IntArray:
        """Where each element of the public vector (l fastest) stands in the internal one (l slowest)."""
        return np.arange(self.n_features).reshape(self.l_max + 1, -1).T.ravel()

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> SOAPView:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        return SOAPView(self, numbers, neighbours)


class SOAPView:
    """SOAP of the atoms of one neighbour list."""

    centres_per_chunk = 64

    def __init__(self, engine: SOAPEngine, numbers: IntArray, neighbours: NeighbourList) -> None:
        self._engine = engine
        self._numbers = numbers
        channel = np.full(256, -1, np.int32)
        channel[list(engine.species)] = np.arange(len(engine.species), dtype=np.int32)
        self._channel_of_species = channel
        weights, slopes = engine.switch(neighbours.distances, engine.cutoff)
        self._shapes = ((0,) * engine.n_max, (0,) * (engine.l_max + 1))
        self._offsets = neighbours.offsets
        self._geometry = (
            neighbours.offsets,
            neighbours.vectors,
            neighbours.distances,
            channel[numbers][neighbours.indices],
        )
        self._weights, self._slopes = weights, slopes
        degrees = np.arange(engine.l_max + 1)
        factors = np.stack([1.0 / np.sqrt(2.0 * degrees + 1.0), np.sqrt(2.0 / (2.0 * degrees + 1.0))], axis=1)
        self._tables = (
            engine.reach, engine.table.nodes, engine.table.spacing, _harmonic_norms(engine.l_max), factors,
            engine.normalize,
        )  # fmt: skip

    def centres(self, block: Block) -> IntArray:
        """Atoms of the block's species."""
        return np.flatnonzero(self._numbers == block[0])

    def features(self, block: Block, centres: IntArray) -> Features:
        """Power spectra of `centres`."""
        engine = self._engine
        n = len(centres)
        coefficients = np.empty((n, (engine.l_max + 1) ** 2, engine.n_channels))
        x = np.empty((n, engine.n_features))
        lengths = np.empty(n)
        soap_values(
            *self._shapes, centres, int(self._channel_of_species[block[0]]), engine.centre, *self._geometry,
            self._weights, *self._tables, coefficients, x, lengths,
        )  # fmt: skip
        return Features(x, np.ones(n), centres, (coefficients, lengths))

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) for dE/dx `gx`; f is 1 for SOAP."""
        coefficients, lengths = features.state
        soap_pullback(
            *self._shapes, features.centres, *self._geometry, self._weights, self._slopes, *self._tables,
            coefficients, features.x, lengths, gx, edge_gradients,
        )  # fmt: skip

    def jacobian(self, features: Features) -> Jacobian:
        """Derivatives of the power spectra with respect to each neighbour."""
        coefficients, lengths = features.state
        offsets, _, distances, channels = self._geometry
        leg_offsets = np.empty(len(features.centres) + 1, np.int64)
        count_legs(features.centres, offsets, distances, channels, self._engine.reach, leg_offsets)
        leg_edges = np.empty(leg_offsets[-1], np.int64)
        fill_legs(features.centres, offsets, distances, channels, self._engine.reach, leg_edges)
        dx = np.empty((leg_offsets[-1], 3, self._engine.n_features))
        soap_jacobian(
            *self._shapes, features.centres, *self._geometry, self._weights, self._slopes, *self._tables,
            coefficients, features.x, lengths, dx,
        )  # fmt: skip
        return Jacobian(Legs(leg_offsets, leg_edges), dx, None)


def _harmonic_norms(l_max: int) -> FloatArray:
    """Norms (l, m) of real spherical harmonics, with sqrt(2) for m > 0."""
    norms = np.zeros((l_max + 1, l_max + 1))
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            ratio = factorial(degree - m) / factorial(degree + m) * (2 if m else 1)
            norms[degree, m] = np.sqrt((2 * degree + 1) / (4 * np.pi) * ratio)
    return norms

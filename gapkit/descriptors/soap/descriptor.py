"""Smooth overlap of atomic positions (SOAP): the power spectrum of the neighbour density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from gapkit._core.soap import TILE, Edges, Tables, soap_jacobian, soap_pullback, soap_values
from gapkit.descriptors.base import Block, Descriptor, Features, InstanceEdges, Jacobian, atomic_numbers
from gapkit.descriptors.cutoffs import CutoffFunction, NoCutoff, QuinticCutoff
from gapkit.descriptors.soap.compression import Columns, Compression, with_central_density
from gapkit.descriptors.soap.radial import BASES, RadialTable, tabulate
from gapkit.exceptions import InputError
from gapkit.io.registry import classes
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

MAX_L = 20


def n_stride(n_max: int) -> int:
    """Radial functions of one degree as the kernels keep them: a multiple of four."""
    return -(-n_max // 4) * 4


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
    compression : Channels, Mixing, TensorReduced or None
        Fewer products than those of all pairs of channels, for many species; None: all.
    species : sequence of str or int, or None
        Chemical species in the order of the channels; None: those of the data, by atomic number.  Neighbours of other
        species are not seen.
    centres : sequence of str or int, or None
        Species of the atoms that have a vector; None: `species`.
    centre_channels : {"own", "all"}
        Channels that the central atom is part of: that of its species, if there is one, or all of them.

    Notes
    -----
    Order of the vector: A (n fastest within species), B <= A, l fastest. Length (l_max + 1) K (K + 1) / 2 with
    K = n_species * n_max; with `compression`, as that says.
    Source: Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013), eqs 21-36.
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
        compression: Compression | None = None,
        species: Sequence[str | int] | None = None,
        centres: Sequence[str | int] | None = None,
        centre_channels: str = "own",
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
        self.compression = compression
        self.species = species
        self.centres = centres
        self.centre_channels = centre_channels

    def engine(self, species: Sequence[int]) -> SOAPEngine:
        """Tables for the atomic numbers `species`; raises InputError for a parameter out of range."""
        self._check()
        switch = self.cutoff_function or QuinticCutoff(self.cutoff if self.transition is None else self.transition)
        basis = BASES[self.basis](self.n_max, self.l_max, self.sigma, self.cutoff)
        reach = basis.reach if isinstance(switch, NoCutoff) else self.cutoff
        centre = self.central_weight * basis.values(np.zeros(1))[0, 0] / np.sqrt(4.0 * np.pi)
        radial = tabulate(basis, self.sigma, reach, n_stride(self.n_max))
        columns = None
        if self.compression is not None:
            columns = self.compression.columns(species, self.n_max, self.l_max)
        n_densities, central = len(species), None
        if self.centre_channels == "all":
            central = 0
            if len(species) > 1:
                columns = with_central_density(columns, len(species), self.n_max, self.l_max)
                n_densities, central = len(species) + 1, len(species)
        tables = make_tables(
            radial, self.n_max, self.l_max, n_densities, centre, normalise=bool(self.normalize), columns=columns
        )
        centres = tuple(species) if self.centres is None else atomic_numbers(self.centres)
        return SOAPEngine(tuple(species), reach, switch, self.cutoff, tables, centres, central)

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
        known = classes("Compression")
        if self.compression is not None and not isinstance(self.compression, tuple(known.values())):
            raise InputError(
                f"`compression` must be None or one of {', '.join(known)}, such as `Channels(nu_R=1, nu_S=1)`, "
                f"got {self.compression!r}"
            )
        if self.centre_channels not in ("own", "all"):
            raise InputError(f'`centre_channels` must be "own" or "all", got {self.centre_channels!r}')
        if self.transition is not None and self.cutoff_function is not None:
            raise InputError("`transition` must be None when `cutoff_function` is given, which has a width of its own")
        width = getattr(self.cutoff_function, "width", self.transition)
        if width is not None and not 0.0 < width <= self.cutoff:
            raise InputError(f"`transition` must be > 0 and at most the cutoff of {self.cutoff} Å, got {width}")


@dataclass(frozen=True, eq=False)
class SOAPEngine:
    """SOAP for fixed species, with its tables.

    Attributes
    ----------
    species : tuple of int
        Atomic numbers in the order of the channels.
    reach : float
        Å.
    switch : CutoffFunction
    cutoff : float
        Å; of the switch.
    tables : Tables
        What the kernels need to know.
    centres : tuple of int
        Atomic numbers of the atoms that have a vector.
    central : int or None
        Which density the central atom enters; None: that of its species.
    rotation : ndarray or None
        Of a truncated engine.
    whole : SOAPEngine or None
        Of a truncated engine: that with all features.
    """

    species: tuple[int, ...]
    reach: float
    switch: CutoffFunction
    cutoff: float
    tables: Tables
    centres: tuple[int, ...]
    central: int | None = None
    rotation: FloatArray | None = None
    is_atomic: bool = True
    whole: SOAPEngine | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block for each central species."""
        return tuple((z,) for z in self.centres)

    @property
    def n_densities(self) -> int:
        """Densities of the neighbour species, and that of the central atom where it has its own."""
        return max(len(self.species), -1 if self.central is None else self.central + 1)

    @property
    def n_channels(self) -> int:
        """Radial functions of all densities, padding included."""
        return self.n_densities * self.tables.n_stride

    @property
    def n_columns(self) -> int:
        """Columns of the coefficients of an atom, padding included."""
        return 4 * len(self.tables.lowest)

    @property
    def n_features(self) -> int:
        """Length of the power spectrum."""
        return int(np.maximum(self.tables.kept - self.tables.first, 0).sum())

    @property
    def public_order(self) -> IntArray:
        """Where each element of the public vector (l fastest) stands in the internal one (l slowest)."""
        return np.arange(self.n_features).reshape(self.tables.l_max + 1, -1).T.ravel()

    def centre_species(self, block: Block) -> tuple[int, ...]:
        """The species of the block."""
        return block

    def grow(self, whole: SOAPEngine) -> tuple[SOAPEngine, IntArray]:
        """The engine `whole` for more species, and where the features of this one are among its own."""
        from gapkit.descriptors.soap.species import grow  # which stands on this module

        return grow(self, whole)

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> SOAPView:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        return SOAPView(self, numbers, neighbours)


class SOAPView:
    """SOAP of the atoms of one neighbour list."""

    centres_per_chunk = 128

    def __init__(self, engine: SOAPEngine, numbers: IntArray, neighbours: NeighbourList) -> None:
        self._engine = engine
        self._numbers = numbers
        channel = np.full(256, -1, np.int32)
        channel[list(engine.species)] = np.arange(len(engine.species), dtype=np.int32)
        self._channel_of_species = channel
        self._edges = Edges(
            neighbours.offsets, neighbours.vectors, neighbours.distances, channel[numbers][neighbours.indices],
            *engine.switch(neighbours.distances, engine.cutoff),
        )  # fmt: skip

    def centres(self, block: Block) -> IntArray:
        """Atoms of the block's species."""
        return np.flatnonzero(self._numbers == block[0])

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        """Power spectra of `centres`."""
        engine = self._engine
        n = len(centres)
        arrays = Workspace() if workspace is None else workspace
        coefficients = arrays.array("coefficients", n, (engine.tables.l_max + 1) ** 2 + 3, engine.n_columns)
        x, lengths = arrays.array("x", n, engine.n_features), np.empty(n)
        channel = int(self._channel_of_species[block[0]]) if engine.central is None else engine.central
        soap_values(engine.tables, engine.n_channels, centres, channel, self._edges, coefficients, x, lengths)
        squares = (lengths > 0.0).astype(np.float64) if engine.tables.normalise else None
        return Features(x, np.ones(n), centres, (coefficients, lengths), squares)

    def coefficients(self, block: Block, centres: IntArray) -> FloatArray:
        """Density coefficients (n, lm, columns) over the root of the vector's length, without atoms of length 0."""
        features = self.features(block, centres)
        coefficients, lengths = features.state
        rows = slice((self._engine.tables.l_max + 1) ** 2)
        known = lengths > 0.0
        n = len(self._engine.tables.first)
        return np.asarray(coefficients[known, rows, :n] / np.sqrt(lengths[known])[:, None, None])

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) for dE/dx `gx`; f is 1 for SOAP."""
        engine = self._engine
        coefficients, lengths = features.state
        soap_pullback(
            engine.tables, engine.n_channels, features.centres, self._edges, coefficients, features.x, lengths, gx,
            edge_gradients,
        )  # fmt: skip

    def jacobian(self, features: Features, workspace: Workspace | None = None) -> Jacobian:
        """Derivatives of the power spectra with respect to each neighbour."""
        engine, edges = self._engine, self._edges
        coefficients, lengths = features.state
        legs = InstanceEdges.of_centres(features.centres, edges.offsets, edges.distances, edges.channels, engine.reach)
        arrays = Workspace() if workspace is None else workspace
        dx = arrays.array("dx", len(legs.edges) + TILE, 3, engine.n_features)
        soap_jacobian(engine.tables, engine.n_channels, features.centres, edges, coefficients, features.x, lengths, dx)
        return Jacobian(legs, dx[: len(legs.edges)], None)


def make_tables(
    radial: RadialTable,
    n_max: int,
    l_max: int,
    n_species: int,
    centre: FloatArray,
    *,
    normalise: bool,
    columns: Columns | None = None,
) -> Tables:
    """Tables of the kernels from a radial table whose rows hold n_stride(n_max) functions of each degree.

    With `columns` None they are the channels, in all pairs.
    """
    if columns is None:
        n_columns = n_species * n_max
        first, last, is_symmetric = np.zeros(n_columns, np.int64), np.arange(1, n_columns + 1), True
        mixing = np.empty((0, 0, 0))
    else:
        n_columns = columns.mixing.shape[2]
        first, last, is_symmetric = columns.first, columns.last, columns.is_symmetric
        padded = np.zeros((l_max + 1, n_species, n_stride(n_max), -(-n_columns // 4) * 4))
        padded[:, :, :n_max, :n_columns] = columns.mixing.reshape(l_max + 1, n_species, n_max, n_columns)
        mixing = padded.reshape(l_max + 1, -1, padded.shape[3])
    recurrence, diagonal = harmonic_tables(l_max)
    lowest, highest = partners(first, last, n_columns)
    kept = np.tile(last, (l_max + 1, 1))
    factors = pair_factors(first, kept, 4 * len(lowest), is_symmetric=is_symmetric)
    return Tables(
        l_max=l_max,
        n_max=n_max,
        n_stride=n_stride(n_max),
        cutoff=radial.reach,
        nodes=radial.nodes,
        spacing=radial.spacing,
        harmonics=recurrence,
        diagonal=diagonal,
        centre=centre,
        mixing=mixing,
        unmixing=np.ascontiguousarray(mixing.transpose(0, 2, 1)),
        first=first,
        last=last,
        kept=kept,
        lowest=lowest,
        highest=highest,
        factors=factors,
        kept_factors=factors,
        normalise=normalise,
    )


def pair_factors(first: IntArray, last: IntArray, n_columns: int, *, is_symmetric: bool = True) -> FloatArray:
    """Factors (l, a, b) of the pairs first[a] <= b < last[l, a]: 1 / sqrt(2 l + 1).

    Times sqrt(2) where a and b differ and (b, a) is a pair of the same product, of which this one `is_symmetric`.
    """
    columns = np.arange(n_columns)
    twice = (columns != np.arange(len(first))[:, None]) & is_symmetric
    inside = (first[:, None] <= columns) & (columns < last[:, :, None])
    return inside * np.where(twice, np.sqrt(2.0), 1.0) / np.sqrt(2.0 * np.arange(len(last)) + 1.0)[:, None, None]


def partners(first: IntArray, last: IntArray, n_columns: int) -> tuple[IntArray, IntArray]:
    """For every group of four columns, the span of the columns that any of them makes a pair with."""
    columns = np.arange(n_columns)
    paired = np.zeros((n_columns, n_columns), bool)
    paired[: len(first)] = (first[:, None] <= columns) & (columns < last[:, None])
    paired |= paired.T
    lowest, highest = [], []
    for start in range(0, len(columns), 4):
        where = np.flatnonzero(paired[start : start + 4].any(axis=0))
        lowest.append(where[0] if len(where) else 0)
        highest.append(where[-1] + 1 if len(where) else 0)
    return np.array(lowest, np.int64), np.array(highest, np.int64)


def harmonic_tables(l_max: int) -> tuple[FloatArray, FloatArray]:
    """Coefficients (4, l, m) of the normalised recurrence in l and of the gradient, and its start (m,).

    Q[l, m] = c0 z Q[l - 1, m] - c1 Q[l - 2, m]; the gradient needs c2 Q[l - 1, m + 1] and c3 Q[l - 1, m].
    """
    norms = np.zeros((l_max + 1, l_max + 1))
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            ratio = factorial(degree - m) / factorial(degree + m) * (2 if m else 1)
            norms[degree, m] = np.sqrt((2 * degree + 1) / (4 * np.pi) * ratio)
    table = np.zeros((4, l_max + 1, l_max + 1))
    for degree in range(1, l_max + 1):
        for m in range(degree):
            table[0, degree, m] = (2 * degree - 1) / (degree - m) * norms[degree, m] / norms[degree - 1, m]
            table[3, degree, m] = (degree + m) * norms[degree, m] / norms[degree - 1, m]
        for m in range(degree - 1):
            table[1, degree, m] = (degree + m - 1) / (degree - m) * norms[degree, m] / norms[degree - 2, m]
            table[2, degree, m] = norms[degree, m] / norms[degree - 1, m + 1]
    start = np.array([norms[m, m] * np.prod(np.arange(1.0, 2 * m, 2)) for m in range(l_max + 1)])
    return table, start

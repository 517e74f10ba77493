"""Smooth overlap of atomic positions (SOAP): the power spectrum of the neighbour density."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal

import numpy as np

from gapkit.descriptors.base import Descriptor
from gapkit.descriptors.cutoffs import Cutoff, CutoffFunction, NoCutoff, switch_of
from gapkit.descriptors.soap.compression import Compression, with_central_density
from gapkit.descriptors.soap.engine import SOAPEngine
from gapkit.descriptors.soap.radial import tabulate
from gapkit.descriptors.soap.tables import make_tables, n_stride
from gapkit.descriptors.species import SpeciesList, atomic_numbers
from gapkit.exceptions import InputError
from gapkit.io.registry import classes
from gapkit.options.checked import in_final_types
from gapkit.options.kinds import Positive
from gapkit.options.values import between, one_of, whole_from


def _basis(value: Any) -> str:
    return one_of(classes("RadialBasis"))(value)


@dataclass(eq=False, repr=False)
class SOAP(Descriptor):
    """SOAP power spectrum of every atom's neighbourhood.

    Density coefficients c[s, n, lm] = sum_j f_c(r_ij) R_nl(r_ij) Y_lm(r_ij) for each neighbour species s, and
    p[A, B, l] = sum_m c[A, lm] c[B, lm] / sqrt(2 l + 1) over channels A = (s, n) >= B, times sqrt(2) where A > B.

    Order of the vector: A (n fastest within species), B <= A, l fastest. Length (l_max + 1) K (K + 1) / 2 with
    K = n_species * n_max; with `compression`, as that says.
    Source: Bartók, Kondor and Csányi, Phys. Rev. B 87, 184115 (2013), eqs 21-36.

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
    """

    cutoff: Cutoff = 5.0
    n_max: Annotated[int, whole_from(1, 24, more=" (6 to 12 is usual)")] = 8
    l_max: Annotated[int, whole_from(0, 20, more=" (4 to 10 is usual)")] = 6
    sigma: Annotated[float, between(0.05, 20.0, "Å (0.3 to 0.6 Å is usual)")] = 0.5
    _: KW_ONLY
    transition: Positive | None = None
    cutoff_function: CutoffFunction | None = None
    basis: Annotated[str, _basis] = "gaussian"
    central_weight: Annotated[float, between(0.0, 1e3, "(1 is usual)")] = 1.0
    normalize: bool = True
    compression: Compression | None = None
    species: SpeciesList | None = None
    centres: SpeciesList | None = None
    centre_channels: Literal["own", "all"] = "own"

    def engine(self, species: Sequence[int]) -> SOAPEngine:
        self = in_final_types(self)
        switch = switch_of(self.cutoff, self.transition, self.cutoff_function)
        basis = classes("RadialBasis")[self.basis](self.n_max, self.l_max, self.sigma, self.cutoff)
        reach = basis.reach if isinstance(switch, NoCutoff) else self.cutoff
        centre = self.central_weight * basis.values(np.zeros(1))[0, 0] / np.sqrt(4.0 * np.pi)
        radial = tabulate(basis, self.sigma, reach, n_stride(self.n_max))
        compression = self.compression
        columns = None if compression is None else compression.columns(species, self.n_max, self.l_max)
        n_densities, central = len(species), None if self.centre_channels == "own" else 0
        if central == 0 and len(species) > 1:
            columns = with_central_density(columns, len(species), self.n_max, self.l_max)
            n_densities, central = len(species) + 1, len(species)
        tables = make_tables(
            radial, self.n_max, self.l_max, n_densities, centre, normalise=bool(self.normalize), columns=columns
        )
        centres = tuple(species) if self.centres is None else atomic_numbers(self.centres)
        return SOAPEngine(tuple(species), reach, switch, self.cutoff, tables, centres, central)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if not self.sigma <= self.cutoff:
            raise InputError(f"`sigma` must be at most the cutoff of {self.cutoff} Å, got {self.sigma}")

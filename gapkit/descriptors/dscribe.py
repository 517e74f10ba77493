"""DScribe's own descriptors behind gapkit's contract: SOAP and atom-centred symmetry functions (ACSF)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gapkit.descriptors.base import Descriptor, check_species
from gapkit.exceptions import InputError
from gapkit.structures import to_batch
from gapkit.typing import FloatArray


class _DScribe(Descriptor):
    """Transformer over lists of Atoms, one vector for each atom, computed by DScribe."""

    def _make(self, symbols: list[str], periodic: bool) -> Any:
        raise InputError(f"{type(self).__name__} is abstract; use DScribeSOAP or DScribeACSF")

    def engine(self, species: Sequence[int]) -> Any:
        """Not available: DScribe's derivatives are numerical or per Cartesian atom, too slow to train on."""
        raise InputError(
            f"{type(self).__name__} gives descriptor vectors only and cannot be a term of a GAP; use gapkit's SOAP: "
            '`basis="gto"` and `basis="polynomial"` give the same vectors'
        )

    def fit(self, frames: Atoms | Sequence[Atoms], y: object = None) -> _DScribe:
        """Note the species of `frames`, unless given."""
        self.species_ = self.resolve_species(to_batch(frames, labels=False).species)
        self._made = {
            periodic: self._make([chemical_symbols[z] for z in self.species_], periodic) for periodic in (False, True)
        }
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "species_")

    def transform(self, frames: Atoms | Sequence[Atoms]) -> FloatArray:
        """Vectors of all atoms, (n_atoms, d)."""
        return np.concatenate([self._of(atoms).create(atoms) for atoms in self._check(frames)])

    def derivatives(self, atoms: Atoms) -> tuple[FloatArray, FloatArray]:
        """Derivatives (n_centres, n_atoms, 3, d) in 1/Å and vectors (n_centres, d) of one frame."""
        (checked,) = self._check(atoms)
        made = self._of(checked)
        if not hasattr(made, "derivatives"):
            raise InputError(f"DScribe has no derivatives of {type(made).__name__}")
        centres = list(range(len(checked)))
        # `attach`: the centre moves with its atom; otherwise the derivatives are those of a fixed point in space
        found, values = made.derivatives(checked, centers=centres, attach=True, return_descriptor=True)
        return np.asarray(found), np.asarray(values)

    def _check(self, frames: Atoms | Sequence[Atoms]) -> list[Atoms]:
        if not hasattr(self, "species_"):
            raise InputError(f"this {type(self).__name__} is not fitted yet; call `fit` first")
        listed = [frames] if isinstance(frames, Atoms) else list(frames)
        check_species(to_batch(listed, labels=False).species, self.species_)
        return listed

    def _of(self, atoms: Atoms) -> Any:
        return self._made[bool(np.any(atoms.pbc))]


class DScribeSOAP(_DScribe):
    """SOAP as DScribe computes it: unnormalised, in DScribe's order.

    Parameters
    ----------
    cutoff, n_max, l_max, sigma
        As `SOAP`; Å.
    basis : {"gto", "polynomial"}
    species : sequence of str or int, or None

    Notes
    -----
    Source: Himanen et al., Comput. Phys. Commun. 247, 106949 (2020).
    """

    def __init__(
        self,
        cutoff: float = 5.0,
        n_max: int = 8,
        l_max: int = 6,
        sigma: float = 0.5,
        *,
        basis: str = "gto",
        species: Sequence[str | int] | None = None,
    ) -> None:
        self.cutoff = cutoff
        self.n_max = n_max
        self.l_max = l_max
        self.sigma = sigma
        self.basis = basis
        self.species = species

    def _make(self, symbols: list[str], periodic: bool) -> Any:
        from dscribe.descriptors import SOAP

        return SOAP(
            species=symbols, r_cut=self.cutoff, n_max=self.n_max, l_max=self.l_max, sigma=self.sigma, rbf=self.basis,
            periodic=periodic, average="off", sparse=False, dtype="float64",
        )  # fmt: skip


class DScribeACSF(_DScribe):
    """Atom-centred symmetry functions G1 to G4 of Behler as DScribe computes them.

    Parameters
    ----------
    cutoff : float
        Å.
    g2 : sequence of (eta, r_s)
        1/Å^2, Å.
    g4 : sequence of (eta, zeta, lambda)
        1/Å^2, 1, 1.
    species : sequence of str or int, or None

    Notes
    -----
    Source: Behler, J. Chem. Phys. 134, 074106 (2011).
    """

    def __init__(
        self,
        cutoff: float = 5.0,
        *,
        g2: Sequence[tuple[float, float]] = ((0.05, 0.0), (0.5, 1.5), (0.5, 3.0), (4.0, 2.4)),
        g4: Sequence[tuple[float, float, float]] = (
            (0.01, 1.0, 1.0),
            (0.01, 1.0, -1.0),
            (0.01, 4.0, 1.0),
            (0.01, 4.0, -1.0),
        ),
        species: Sequence[str | int] | None = None,
    ) -> None:
        self.cutoff = cutoff
        self.g2 = g2
        self.g4 = g4
        self.species = species

    def _make(self, symbols: list[str], periodic: bool) -> Any:
        from dscribe.descriptors import ACSF

        return ACSF(
            species=symbols, r_cut=self.cutoff, g2_params=[list(p) for p in self.g2],
            g4_params=[list(p) for p in self.g4], periodic=periodic, sparse=False, dtype="float64",
        )  # fmt: skip

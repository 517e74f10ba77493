"""DScribe's own descriptors as terms of a GAP: SOAP and atom-centred symmetry functions (ACSF); slow, for comparison.

Every neighbourhood is handed to DScribe as a cluster of its own, the centre at the origin, so that periodic cells need
nothing else and the derivatives with respect to the other atoms are those with respect to the edges.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gapkit.descriptors.base import Block, Descriptor, Engine, Features, InstanceEdges, Jacobian, View
from gapkit.descriptors.cutoffs import Cutoff
from gapkit.descriptors.species import SpeciesList
from gapkit.options.checked import in_final_types
from gapkit.options.kinds import Positive
from gapkit.options.values import whole_from
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Fourth-order central differences: offsets in steps, weights, and the step in Å.
OFFSETS, WEIGHTS, STEP = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1.0, -8.0, 8.0, -1.0]) / 12.0, 1e-3
# Places of clusters that DScribe sees in one call, far from each other.
GRID = np.array(list(product(range(3), repeat=3)), float)


class DScribeView(View):
    """DScribe's vectors of the neighbourhoods of one neighbour list."""

    engine: DScribeEngine

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        near = self.neighbours
        known = np.isin(self.numbers[near.indices], self.engine.species) - 1
        edges = InstanceEdges.of_centres(centres, near.offsets, near.distances, known, self.engine.reach)
        x, clusters = np.empty((len(centres), self.engine.n_features)), []
        for row, centre, own in zip(x, centres, np.split(edges.indices, edges.offsets[1:-1]), strict=True):
            positions = np.concatenate([np.zeros((1, 3)), near.vectors[own]])
            clusters.append(Atoms(self.numbers[[centre, *near.indices[own]]], positions))
            row[:] = self.engine.made.create(clusters[-1], [0])[0]
        return Features(x, np.ones(len(x)), centres, (edges, clusters))

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        """DScribe's derivatives where it has analytical ones, else differences of its values."""
        edges, clusters = features.state
        analytical = self.engine.made.validate_derivatives_method("auto", True) == "analytical"
        derivatives = self._analytical if analytical else self._numerical
        dx = [np.empty((0, 3, self.engine.n_features)), *(derivatives(each) for each in clusters if len(each) > 1)]
        return Jacobian(edges, np.concatenate(dx), None).projected(projection, workspace)

    def _analytical(self, cluster: Atoms) -> FloatArray:
        """Derivatives (n - 1, 3, d) of the centre's vector with respect to the other atoms, 1/Å."""
        asked = {"include": list(range(1, len(cluster))), "method": "analytical", "return_descriptor": False}
        return np.asarray(self.engine.made.derivatives(cluster, [0], **asked)[0])

    def _numerical(self, cluster: Atoms) -> FloatArray:
        """The same by differences, of higher order than DScribe's own."""
        n = len(cluster)
        moved = [(i, axis, offset * STEP) for i in range(1, n) for axis in range(3) for offset in OFFSETS]
        x = np.empty((len(moved), self.engine.n_features))
        for start in range(0, len(moved), len(GRID)):
            some = moved[start : start + len(GRID)]
            positions = cluster.positions + 3.0 * (self.engine.reach + 1.0) * GRID[: len(some), None]
            for place, (i, axis, change) in zip(positions, some, strict=True):
                place[i, axis] += change
            together = Atoms(np.tile(cluster.numbers, len(some)), positions.reshape(-1, 3))
            x[start : start + len(some)] = self.engine.made.create(together, list(range(0, n * len(some), n)))
        return np.asarray(np.einsum("iasd,s->iad", x.reshape(n - 1, 3, len(OFFSETS), -1), WEIGHTS / STEP))


@dataclass(frozen=True, eq=False)
class DScribeEngine(Engine):
    """DScribe's object for fixed species."""

    made: Any

    view_class = DScribeView

    @property
    def n_features(self) -> int:
        return int(self.made.get_number_of_features())


class _DScribe(Descriptor):
    """A descriptor that DScribe computes."""

    cutoff: Cutoff

    @abstractmethod
    def _make(self, symbols: list[str]) -> tuple[Any, float]:
        """DScribe's object for clusters of these elements, and the distance in Å beyond which it sees no atom."""

    def engine(self, species: Sequence[int]) -> DScribeEngine:
        made, reach = in_final_types(self)._make([chemical_symbols[z] for z in species])
        return DScribeEngine(tuple(species), reach, made)


@dataclass(eq=False, repr=False)
class DScribeSOAP(_DScribe):
    """SOAP as DScribe computes it: unnormalised, in DScribe's order.

    Source: Himanen et al., Comput. Phys. Commun. 247, 106949 (2020).

    Parameters
    ----------
    cutoff, n_max, l_max, sigma
        As `SOAP`; Å.
    basis : {"gto", "polynomial"}
    smooth : bool
        Weigh neighbours by DScribe's polynomial, which falls to zero at the cutoff.  Without it vectors jump where an
        atom comes within the cutoff and 3.7 sigma; derivatives of "gto" are then analytical, all others numerical.
    species : sequence of str or int, or None
    """

    cutoff: Cutoff = 5.0
    n_max: Annotated[int, whole_from(1, 24)] = 8
    l_max: Annotated[int, whole_from(0, 20)] = 6
    sigma: Positive = 0.5
    _: KW_ONLY
    basis: Literal["gto", "polynomial"] = "gto"
    smooth: bool = False
    species: SpeciesList | None = None

    def _make(self, symbols: list[str]) -> tuple[Any, float]:
        from dscribe.descriptors import SOAP

        weighting = {"function": "poly", "r0": self.cutoff, "c": 1.0, "m": 1.0} if self.smooth else None
        made = SOAP(
            species=symbols, r_cut=self.cutoff, n_max=self.n_max, l_max=self.l_max, sigma=self.sigma, rbf=self.basis,
            weighting=weighting, periodic=False, average="off", sparse=False, dtype="float64",
        )  # fmt: skip
        return made, self.cutoff if self.smooth else self.cutoff + float(made.get_cutoff_padding())


@dataclass(eq=False, repr=False)
class DScribeACSF(_DScribe):
    """Atom-centred symmetry functions G1 to G4 of Behler as DScribe computes them.

    Source: Behler, J. Chem. Phys. 134, 074106 (2011).

    Parameters
    ----------
    cutoff : float
        Å.
    g2 : sequence of (eta, r_s)
        1/Å^2, Å.
    g4 : sequence of (eta, zeta, lambda)
        1/Å^2, 1, 1.
    species : sequence of str or int, or None
    """

    cutoff: Cutoff = 5.0
    _: KW_ONLY
    g2: Sequence[tuple[Positive, float]] = ((0.05, 0.0), (0.5, 1.5), (0.5, 3.0), (4.0, 2.4))
    g4: Sequence[tuple[Positive, Positive, float]] = tuple(product((0.01,), (1.0, 4.0), (1.0, -1.0)))
    species: SpeciesList | None = None

    def _make(self, symbols: list[str]) -> tuple[Any, float]:
        from dscribe.descriptors import ACSF

        g2, g4 = ([list(function) for function in group] for group in (self.g2, self.g4))
        options = {"periodic": False, "sparse": False, "dtype": "float64"}
        return ACSF(species=symbols, r_cut=self.cutoff, g2_params=g2, g4_params=g4, **options), self.cutoff

"""Three-body descriptor: permutation-invariant distances of a triplet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from gapkit._core.triplets import (
    count_triplets,
    fill_triplets,
    triplet_jacobian,
    triplet_pullback,
    triplet_values,
)
from gapkit.descriptors.base import Block, Descriptor, Features, InstanceEdges, Jacobian
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.two_body import chosen_blocks, switch_of
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Both orders of the two neighbours count, as in QUIP's angle_3b.
MULTIPLICITY = 2.0


class ThreeBody(Descriptor):
    """Triplets x = (r_ij + r_ik, (r_ij - r_ik)^2, r_jk), factor f_c(r_ij) f_c(r_ik), both orders of j, k counted.

    Parameters
    ----------
    cutoff : float
        Å; applies to r_ij and r_ik.
    transition : float or None
        Width in Å of the quintic switch; None: the whole cutoff.
    cutoff_function : CutoffFunction or None
        Another switch; then `transition` must be None.
    species : sequence of str or int, or None
        Chemical species; None: those of the data.
    blocks : sequence of sequences of str or int, or None
        Species of the triplets, the centre first, that count, such as ``[("O", "Si", "Si")]``; None: all.

    Notes
    -----
    Source: Bartók and Csányi, Int. J. Quantum Chem. 115, 1051 (2015), section on two- and three-body descriptors.
    """

    def __init__(
        self,
        cutoff: float = 4.0,
        *,
        transition: float | None = None,
        cutoff_function: CutoffFunction | None = None,
        species: Sequence[str | int] | None = None,
        blocks: Sequence[Sequence[str | int]] | None = None,
    ) -> None:
        self.cutoff = cutoff
        self.transition = transition
        self.cutoff_function = cutoff_function
        self.species = species
        self.blocks = blocks

    def engine(self, species: Sequence[int]) -> TripletEngine:
        """Engine for the atomic numbers `species`; raises InputError for a parameter out of range."""
        switch = switch_of(self.cutoff, self.transition, self.cutoff_function)
        return TripletEngine(tuple(species), self.cutoff, switch, only=chosen_blocks(self.blocks, 3))


@dataclass(frozen=True, eq=False)
class ThreeAtomEngine:
    """What descriptors of a centre and two neighbours have in common, for fixed species."""

    species: tuple[int, ...]
    reach: float
    switch: CutoffFunction
    n_features: int = 3
    is_atomic: bool = False
    only: tuple[Block, ...] | None = None

    @property
    def public_order(self) -> IntArray:
        """As it is."""
        return np.arange(self.n_features)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block for each central species and unordered pair of neighbour species, or those chosen."""
        if self.only is not None:
            return self.only
        return tuple((z, *pair) for z in self.species for pair in combinations_with_replacement(self.species, 2))

    def centre_species(self, block: Block) -> tuple[int, ...]:
        """The first species."""
        return block[:1]

    def grow(self, whole: ThreeAtomEngine) -> tuple[ThreeAtomEngine, IntArray]:
        """The engine `whole` for more species, and where the features of this one are among its own."""
        return whole, np.arange(self.n_features)


@dataclass(frozen=True, eq=False)
class TripletEngine(ThreeAtomEngine):
    """Three-body descriptor for fixed species."""

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> TripletView:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        return TripletView(self, numbers, neighbours)


class TripletView:
    """Triplets of one neighbour list, listed a chunk of centres at a time."""

    centres_per_chunk = 8

    def __init__(self, engine: TripletEngine, numbers: IntArray, neighbours: NeighbourList) -> None:
        self._reach = engine.reach
        self._numbers = numbers
        self._neighbours = neighbours
        self._weights, self._slopes = engine.switch(neighbours.distances, engine.reach)

    def centres(self, block: Block) -> IntArray:
        """Atoms of the central species."""
        return np.flatnonzero(self._numbers == block[0])

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        """Triplets of `block` around `centres`."""
        neighbours = self._neighbours
        where = (
            centres, neighbours.offsets, neighbours.indices, neighbours.distances, self._numbers, self._reach,
            block[1], block[2],
        )  # fmt: skip
        n = count_triplets(*where)
        owners, edges, x = np.empty(n, np.int64), np.empty((n, 2), np.int64), np.empty((n, 3))
        fill_triplets(*where, owners, edges)
        triplet_values(edges, neighbours.vectors, neighbours.distances, x)
        factors = MULTIPLICITY * self._weights[edges[:, 0]] * self._weights[edges[:, 1]]
        return Features(x, factors, owners, edges)

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) for dE/dx `gx` and dE/df `gf`."""
        triplet_pullback(
            features.state, self._neighbours.vectors, self._neighbours.distances, self._weights, self._slopes,
            MULTIPLICITY, features.x, gx, gf, edge_gradients,
        )  # fmt: skip

    def jacobian(self, features: Features, workspace: Workspace | None = None) -> Jacobian:
        """Derivatives with respect to both edges of every triplet."""
        edges = features.state
        n = len(edges)
        dx, df = np.empty((2 * n, 3, 3)), np.empty((2 * n, 3))
        triplet_jacobian(
            edges, self._neighbours.vectors, self._neighbours.distances, self._weights, self._slopes,
            MULTIPLICITY, features.x, dx, df,
        )  # fmt: skip
        return Jacobian(InstanceEdges(np.arange(0, 2 * n + 1, 2), edges.ravel()), dx, df)

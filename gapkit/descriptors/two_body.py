"""Two-body descriptor: the distance of a pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from gapkit.descriptors.base import Block, Descriptor, Features, InstanceEdges, Jacobian, atomic_numbers
from gapkit.descriptors.cutoffs import CutoffFunction, QuinticCutoff
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace


class TwoBody(Descriptor):
    """Distances x = r_ij with instance factor f_c(r_ij); every pair is counted from both of its ends.

    Parameters
    ----------
    cutoff : float
        Å.
    transition : float or None
        Width in Å of the quintic switch; None: the whole cutoff.
    cutoff_function : CutoffFunction or None
        Another switch; then `transition` must be None.
    species : sequence of str or int, or None
        Chemical species; None: those of the data.
    blocks : sequence of sequences of str or int, or None
        Species of the pairs that count, such as ``[("Si", "O")]``; None: all.
    """

    def __init__(
        self,
        cutoff: float = 5.0,
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

    def engine(self, species: Sequence[int]) -> PairEngine:
        """Engine for the atomic numbers `species`; raises InputError for a parameter out of range."""
        switch = switch_of(self.cutoff, self.transition, self.cutoff_function)
        return PairEngine(tuple(species), self.cutoff, switch, only=chosen_blocks(self.blocks, 2))


def chosen_blocks(blocks: Sequence[Sequence[str | int]] | None, size: int) -> tuple[Block, ...] | None:
    """Atomic numbers of the blocks given; InputError if one is not of `size` species."""
    if blocks is None:
        return None
    if not blocks or any(isinstance(block, str) or len(block) != size for block in blocks):
        raise InputError(f"`blocks` must hold tuples of {size} species, got {blocks!r}")
    return tuple(atomic_numbers(block) for block in blocks)


def switch_of(cutoff: float, transition: float | None, cutoff_function: CutoffFunction | None) -> CutoffFunction:
    """Check the cutoff and make the switch of a distance-based descriptor."""
    if not (np.isfinite(cutoff) and 0.5 <= cutoff <= 20.0):
        raise InputError(f"`cutoff` must be between 0.5 and 20 Å, got {cutoff}; 4 to 7 Å is usual")
    if transition is not None and cutoff_function is not None:
        raise InputError("`transition` must be None when `cutoff_function` is given, which has a width of its own")
    width = getattr(cutoff_function, "width", transition)
    if width is not None and not 0.0 < width <= cutoff:
        raise InputError(f"`transition` must be > 0 and at most the cutoff of {cutoff} Å, got {width}")
    return cutoff_function or QuinticCutoff(cutoff if transition is None else transition)


@dataclass(frozen=True, eq=False)
class PairEngine:
    """Two-body descriptor for fixed species."""

    species: tuple[int, ...]
    reach: float
    switch: CutoffFunction
    n_features: int = 1
    is_atomic: bool = False
    only: tuple[Block, ...] | None = None

    @property
    def public_order(self) -> IntArray:
        """As it is."""
        return np.arange(self.n_features)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block for each unordered pair of species, or those chosen."""
        if self.only is not None:
            return self.only
        return tuple(combinations_with_replacement(self.species, 2))

    def centre_species(self, block: Block) -> tuple[int, ...]:
        """Either species of the pair."""
        return tuple(set(block))

    def grow(self, whole: PairEngine) -> tuple[PairEngine, IntArray]:
        """The engine `whole` for more species, and where the features of this one are among its own."""
        return whole, np.arange(self.n_features)

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> PairView:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        return PairView(self, numbers, neighbours)


class PairView:
    """Pairs of one neighbour list."""

    centres_per_chunk = 128

    def __init__(self, engine: PairEngine, numbers: IntArray, neighbours: NeighbourList) -> None:
        self._reach = engine.reach
        self._numbers = numbers
        self._neighbours = neighbours
        self._weights, self._slopes = engine.switch(neighbours.distances, engine.reach)

    def centres(self, block: Block) -> IntArray:
        """Atoms of either species of the pair."""
        return np.flatnonzero((self._numbers == block[0]) | (self._numbers == block[1]))

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        """Distances of the pairs of `block` around `centres`."""
        neighbours = self._neighbours
        starts, stops = neighbours.offsets[centres], neighbours.offsets[centres + 1]
        edges = _ranges(starts, stops)
        owners = np.repeat(centres, stops - starts)
        other = np.where(self._numbers[owners] == block[0], block[1], block[0])
        keep = (self._numbers[neighbours.indices[edges]] == other) & (neighbours.distances[edges] < self._reach)
        edges = edges[keep]
        return Features(neighbours.distances[edges, None], self._weights[edges], owners[keep], edges)

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) for dE/dr `gx` and dE/df `gf`."""
        edges = features.state
        along = (gx[:, 0] + gf * self._slopes[edges]) / self._neighbours.distances[edges]
        edge_gradients[edges] += along[:, None] * self._neighbours.vectors[edges]

    def jacobian(self, features: Features, workspace: Workspace | None = None) -> Jacobian:
        """Unit vectors of the pairs."""
        edges = features.state
        unit = self._neighbours.vectors[edges] / self._neighbours.distances[edges, None]
        legs = InstanceEdges(np.arange(len(edges) + 1), edges)
        return Jacobian(legs, unit[:, :, None], self._slopes[edges, None] * unit)


def _ranges(starts: IntArray, stops: IntArray) -> IntArray:
    """Concatenated arange(start, stop)."""
    counts = stops - starts
    shifts = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return np.arange(counts.sum()) + shifts

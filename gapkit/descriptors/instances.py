"""What descriptors of pairs and triplets have in common: their parameters, blocks, and the switch of every edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import numpy as np

from gapkit.descriptors.base import Block, Descriptor, Engine, View
from gapkit.descriptors.cutoffs import Cutoff, CutoffFunction, switch_of
from gapkit.descriptors.species import SpeciesList, atomic_numbers
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
from gapkit.options.annotations import shown
from gapkit.options.checked import in_final_types
from gapkit.options.kinds import Positive
from gapkit.typing import IntArray


@dataclass(eq=False, repr=False)
class _InstanceDescriptor(Descriptor):
    """Base of descriptors of pairs and triplets; parameters as of `TwoBody`."""

    cutoff: Cutoff = 4.0
    _: KW_ONLY
    transition: Positive | None = None
    cutoff_function: CutoffFunction | None = None
    species: SpeciesList | None = None
    blocks: Sequence[SpeciesList] | None = None

    _engine: ClassVar[type[InstanceEngine]]

    def engine(self, species: Sequence[int]) -> InstanceEngine:
        self = in_final_types(self)
        switch = switch_of(self.cutoff, self.transition, self.cutoff_function)
        chosen = None if self.blocks is None else tuple(atomic_numbers(block) for block in self.blocks)
        return self._engine(tuple(species), self.cutoff, switch, chosen)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        n = self._engine.n_atoms
        if self.blocks is not None and (not self.blocks or any(len(block) != n for block in self.blocks)):
            raise InputError(f"`blocks` must hold tuples of {n} species, got {shown(self.blocks)}")

    def default_n_sparse(self, n_blocks: int) -> int:
        return 100 * n_blocks


@dataclass(frozen=True, eq=False)
class InstanceEngine(Engine):
    """Engine of a descriptor of pairs and triplets: blocks of a centre and unordered neighbours, or those chosen."""

    switch: CutoffFunction
    chosen_blocks: tuple[Block, ...] | None

    is_atomic = False
    n_atoms: ClassVar[int] = 3

    @property
    def n_features(self) -> int:
        """One distance for each pair of atoms."""
        return self.n_atoms * (self.n_atoms - 1) // 2

    @property
    def largest_feature(self) -> float | None:
        return self.reach if self.n_features == 1 else None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """A centre and an unordered pair of neighbours; an unordered pair."""
        if self.chosen_blocks is not None:
            return self.chosen_blocks
        pairs = tuple(combinations_with_replacement(self.species, 2))
        return pairs if self.n_atoms == 2 else tuple((z, *pair) for z in self.species for pair in pairs)


class InstanceView(View):
    """View with the switch f_c of every edge, `_weights` (n_edges,), and its slope, `_slopes`, 1/Å."""

    engine: InstanceEngine

    def __init__(self, engine: InstanceEngine, numbers: IntArray, neighbours: NeighbourList) -> None:
        super().__init__(engine, numbers, neighbours)
        self._weights, self._slopes = engine.switch(neighbours.distances, engine.reach)


def ranges(starts: IntArray, stops: IntArray) -> IntArray:
    """Concatenated arange(start, stop)."""
    counts = stops - starts
    shifts = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return np.arange(counts.sum()) + shifts

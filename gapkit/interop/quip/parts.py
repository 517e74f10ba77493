"""What the descriptors of a gap.xml become: a term, its blocks of species, their sparse points and weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gapkit.descriptors.base import Block
from gapkit.potential.term import Term
from gapkit.typing import FloatArray


@dataclass(frozen=True, eq=False)
class Part:
    """Sparse points of one block of a term."""

    term: Term
    key: tuple | None  # parts with an equal key are blocks of one term; None: a term of its own
    block: Block
    points: FloatArray  # (m, d), in the order of the engine
    weights: FloatArray  # (m,), for the unit-scale kernel, eV


@dataclass(frozen=True)
class Setting:
    """What else of a file a descriptor depends on."""

    species: tuple[int, ...]  # all atomic numbers of the model, ascending, for which the wildcard 0 stands
    version: int  # `gap_version`

    def expand(self, z: Iterable[int]) -> tuple[int, ...]:
        """Atomic numbers, the wildcard replaced by all of them."""
        given = tuple(z)
        return self.species if 0 in given else given

"""What the descriptors of a gap.xml become: a term, its blocks of species, their sparse points and weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gapkit.descriptors.base import Block
from gapkit.potential.term import Term
from gapkit.typing import FloatArray


@dataclass(frozen=True, eq=False)
class Part:
    """Sparse points of one block of a term.

    Attributes
    ----------
    term : Term
    key : tuple or None
        Parts with an equal key are blocks of one term; None: a term of its own.
    block : tuple of int
    points : ndarray (m, d)
        In the order of the engine.
    weights : ndarray (m,)
        For the unit-scale kernel, eV.
    """

    term: Term
    key: tuple | None
    block: Block
    points: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class Setting:
    """What else of a file a descriptor depends on.

    Attributes
    ----------
    species : tuple of int
        All atomic numbers of the model, ascending, for which the wildcard 0 stands.
    version : int
        `gap_version`.
    """

    species: tuple[int, ...]
    version: int

    def expand(self, z: Iterable[int]) -> tuple[int, ...]:
        """Atomic numbers, the wildcard replaced by all of them."""
        given = tuple(z)
        return self.species if 0 in given else given

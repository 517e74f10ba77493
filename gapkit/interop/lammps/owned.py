"""A linear model of which only the first atoms are centres: those of a rank, not those of its halo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from gapkit.descriptors.base import Block, Engine, View
from gapkit.neighbours import NeighbourList
from gapkit.potential.state import FittedState
from gapkit.typing import IntArray


@dataclass(eq=False)
class Owned:
    """How many atoms, from the first on, are centres; it changes when atoms move from rank to rank."""

    n: int = 0


def with_owned_centres(state: FittedState) -> tuple[FittedState, Owned]:
    """The same model, in which atoms from `Owned.n` on have no local energy but the reference energy."""
    owned = Owned()
    terms = tuple(replace(t, engine=cast("Engine", OwnedEngine(t.engine, owned))) for t in state.sparse.basis.terms)
    sparse = replace(state.sparse, basis=replace(state.sparse.basis, terms=terms))
    return replace(state, sparse=sparse), owned


class OwnedEngine:
    """An engine whose views know only the owned atoms as centres; all else is that of the engine."""

    def __init__(self, engine: Engine, owned: Owned) -> None:
        self._engine = engine
        self._owned = owned

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> View:
        """The engine's view without the centres that are not owned."""
        return cast("View", OwnedView(self._engine.view(numbers, neighbours), self._owned.n))


class OwnedView:
    """A view with fewer centres; all else is that of the view."""

    def __init__(self, view: View, n_owned: int) -> None:
        self._view = view
        self._n_owned = n_owned

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)

    def centres(self, block: Block) -> IntArray:
        """Owned atoms that can be the centre of an instance of `block`, ascending."""
        centres = self._view.centres(block)
        return centres[: np.searchsorted(centres, self._n_owned)]

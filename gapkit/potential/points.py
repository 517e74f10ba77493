"""The sparse points of a fitted model, to look at: vectors, weights, and the atoms that they came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from ase.data import chemical_symbols

from gapkit.exceptions import InputError
from gapkit.gp.basis import SparseBlock
from gapkit.potential.state import FittedState
from gapkit.printing import columns
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False, repr=False)
class SparsePoints:
    """The sparse points of one term and one tuple of species.

    Attributes
    ----------
    term : int
        Index among the terms of the model.
    descriptor : str
        Name of the term's descriptor.
    species : str
        "Si", or "O-Si" for pairs.
    vectors : ndarray (m, d)
        As `Descriptor.transform` gives them; those of a truncated SOAP as the model keeps them.
    weights : ndarray (m,)
        Of unit-scale kernel values, eV.
    energies : ndarray (m,)
        What the points of this term and these species say of the points themselves, eV.
    frames, atoms : ndarray (m,) of int
        Training frame, and central atom in it.  -1: none (given by the user), or unknown (an older model file).
    """

    term: int
    descriptor: str
    species: str
    vectors: FloatArray
    weights: FloatArray
    energies: FloatArray
    frames: IntArray
    atoms: IntArray

    @classmethod
    def of(cls, state: FittedState, block: SparseBlock) -> SparsePoints:
        """Those of a block of the model."""
        engine, weights = block.engine, state.sparse.weights[block.columns]
        whole = engine.whole is engine
        vectors = block.points[:, engine.public_order] / engine.scale if whole else block.points
        kernel = block.kernel.value(block.scaled @ block.scaled.T, block.norms, block.norms, overwrite_q=True)
        return cls(
            block.term, type(state.terms[block.term].descriptor).__name__,
            "-".join(chemical_symbols[z] for z in block.species), vectors, weights.copy(), kernel @ weights,
            state.origins[block.columns].copy(), state.origin_atoms[block.columns].copy(),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        return _table([self])


class ModelPoints(Sequence[SparsePoints]):
    """All sparse points of a model, by term and species; by index, or by species: ``points["O-Si"]`` are a list."""

    def __init__(self, state: FittedState) -> None:
        self._parts = [SparsePoints.of(state, block) for block in state.sparse.basis.blocks]

    @overload
    def __getitem__(self, which: int) -> SparsePoints: ...

    @overload
    def __getitem__(self, which: slice | str) -> list[SparsePoints]: ...

    def __getitem__(self, which: int | slice | str) -> SparsePoints | list[SparsePoints]:
        if not isinstance(which, str):
            return self._parts[which]
        found = [part for part in self._parts if part.species == which]
        if not found:
            known = ", ".join(dict.fromkeys(part.species for part in self._parts))
            raise InputError(f"sparse points must be of species of the model, {known}, got {which!r}")
        return found

    def __len__(self) -> int:
        return len(self._parts)

    def __iter__(self) -> Iterator[SparsePoints]:
        return iter(self._parts)

    def __repr__(self) -> str:
        return _table(self._parts)


def _table(parts: Sequence[SparsePoints]) -> str:
    """One line for the points of every term and species."""
    rows = []
    for part in parts:
        frames = part.frames[part.frames >= 0]
        origin = f"{len(np.unique(frames))} frames" if len(frames) else "unknown"
        largest = f"{np.abs(part.weights).max(initial=0.0):.3g}"
        rows.append((part.term, part.descriptor, part.species, len(part), part.vectors.shape[1], largest, origin))
    head = ("term", "descriptor", "species", "points", "features", "largest weight, eV", "from")
    return "\n".join(["sparse points", *columns(head, rows)])

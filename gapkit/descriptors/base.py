"""What every descriptor offers: instances with values, a pullback for prediction and Jacobian rows for training.

An *instance* is what a descriptor yields: an atom (SOAP), a pair, a triplet.  It depends on positions only through
*edges* (vectors from a centre to its neighbours), so that a derivative with respect to edge vectors is all that forces
and virials need, whatever the descriptor: F_i += dE/dD_ij, F_j -= dE/dD_ij, virial -= D_ij (x) dE/dD_ij.

Instances come in *blocks* of like species: (Z,) for atoms, (Z1, Z2) for pairs, (Z0, Z1, Z2) for triplets; every block
has its own sparse points.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from ase import Atoms
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from gapkit._core.rows import count_legs, fill_legs
from gapkit.exceptions import InputError, UnknownSpeciesError
from gapkit.io.registry import registered
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.structures import to_batch
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

Block: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Features:
    """Instances of one block.

    Attributes
    ----------
    x : ndarray (n, d)
        Descriptor vectors.
    factors : ndarray (n,)
        Cutoff factor f of each instance, its multiplicity included.
    centres : ndarray (n,) of int
        Central atom of each instance; atoms may repeat.
    state : Any
        What the view that made them needs to go back to edges.
    squares : ndarray (n,) or None
        Squared norms of the whole vectors, where x is only the part of them that matters to the sparse points.
    """

    x: FloatArray
    factors: FloatArray
    centres: IntArray
    state: Any
    squares: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class InstanceEdges:
    """Edges on which instances depend: those of instance n are edges[offsets[n] : offsets[n + 1]]."""

    offsets: IntArray
    edges: IntArray

    @classmethod
    def of_centres(
        cls, centres: IntArray, offsets: IntArray, distances: FloatArray, channels: IntArray, cutoff: float
    ) -> InstanceEdges:
        """All edges of `centres` that are shorter than the cutoff and of a known species (channel >= 0), in order."""
        counts = np.empty(len(centres) + 1, np.int64)
        count_legs(centres, offsets, distances, channels, cutoff, counts)
        edges = np.empty(counts[-1], np.int64)
        fill_legs(centres, offsets, distances, channels, cutoff, edges)
        return cls(counts, edges)


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Derivatives of instances with respect to the vectors of their edges.

    Attributes
    ----------
    legs : InstanceEdges
    dx : ndarray (n_legs, 3, d)
        dx/d(edge vector), 1/Å times the unit of x.
    dfactors : ndarray (n_legs, 3) or None
        df/d(edge vector), 1/Å; None where f is constant.
    """

    legs: InstanceEdges
    dx: FloatArray
    dfactors: FloatArray | None


class View(Protocol):
    """A descriptor applied to one neighbour list."""

    centres_per_chunk: int
    """Central atoms whose instances fit the cache together."""

    def centres(self, block: Block) -> IntArray:
        """Atoms that can be the centre of an instance of `block`, ascending."""
        ...

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        """Instances of `block` with these centres; their arrays live in the workspace, until it is used again."""
        ...

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) (n_edges, 3) for given dE/dx (n, d) and dE/df (n,)."""
        ...

    def jacobian(self, features: Features, workspace: Workspace | None = None) -> Jacobian:
        """Derivative of every instance; arrays in the workspace."""
        ...


class Engine(Protocol):
    """A descriptor with its species fixed and its tables filled."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Species of the instances, one entry for each set of sparse points."""

    @property
    def n_features(self) -> int:
        """Length d of a descriptor vector."""

    @property
    def public_order(self) -> IntArray:
        """Indices (d,) that take a vector as the kernels keep it to the documented order."""

    @property
    def reach(self) -> float:
        """Longest edge that counts, Å."""

    @property
    def is_atomic(self) -> bool:
        """Whether every atom is one instance, so that its prior residual is a novelty of its whole neighbourhood."""

    def centre_species(self, block: Block) -> tuple[int, ...]:
        """Atomic numbers of the atoms that can be the centre of an instance of `block`."""
        ...

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> View:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        ...


class Descriptor(TransformerMixin, BaseEstimator, ABC):
    """Base of descriptors: a scikit-learn transformer over lists of `ase.Atoms`, and a factory of engines."""

    def __init_subclass__(cls, *, former: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            registered("Descriptor", former=former)(cls)

    species: Sequence[str | int] | None

    def resolve_species(self, found: Sequence[int]) -> tuple[int, ...]:
        """Atomic numbers given to the descriptor, or those `found` in the data."""
        return tuple(found) if self.species is None else atomic_numbers(self.species)

    @abstractmethod
    def engine(self, species: Sequence[int]) -> Engine:
        """Check the parameters and fill the tables for the atomic numbers `species`."""

    def fit(self, frames: Atoms | Sequence[Atoms], y: object = None) -> Descriptor:
        """Note the species of `frames` (unless given) and fill the tables.

        Raises
        ------
        InputError
            If a parameter is out of range.
        """
        batch = to_batch(frames, labels=False)
        self.species_ = self.resolve_species(batch.species)
        self.engine_ = self.engine(self.species_)
        return self

    def transform(self, frames: Atoms | Sequence[Atoms]) -> FloatArray:
        """Descriptor vectors of all instances, (n_instances, d): atom by atom for one-atom descriptors.

        Raises
        ------
        UnknownSpeciesError
            If a frame holds a species that was not there in `fit`.
        """
        check_is_fitted(self, "engine_")
        batch = to_batch(frames, labels=False)
        check_species(batch.species, self.species_)
        view = self.engine_.view(batch.numbers, build_neighbour_list(batch, self.engine_.reach))
        parts = [view.features(block, view.centres(block)) for block in self.engine_.blocks]
        order = np.argsort(np.concatenate([part.centres for part in parts]), kind="stable")
        return np.concatenate([part.x for part in parts])[order][:, self.engine_.public_order]


def atomic_numbers(species: Sequence[str | int]) -> tuple[int, ...]:
    """Atomic numbers, in the order given, of symbols or atomic numbers."""
    from ase.data import atomic_numbers as table

    numbers = []
    for item in species:
        if isinstance(item, str) and item not in table:
            raise InputError(f"`species` must hold chemical symbols or atomic numbers, got {item!r}")
        numbers.append(table[item] if isinstance(item, str) else int(item))
    return tuple(numbers)


def check_species(found: Sequence[int], known: Sequence[int]) -> None:
    """Raise UnknownSpeciesError if `found` holds an atomic number that is not in `known`."""
    from ase.data import chemical_symbols as symbols

    missing = sorted(set(found) - set(known))
    if missing:
        raise UnknownSpeciesError(
            f"species must be among {', '.join(symbols[z] for z in known)} (those of the training set), "
            f"got also {', '.join(symbols[z] for z in missing)}; add training frames with them and fit again"
        )

"""What every descriptor offers: instances with values, a pullback for prediction and Jacobian rows for training.

An *instance* is what a descriptor yields: an atom (SOAP), a pair, a triplet.  It depends on positions only through
*edges* (vectors from an atom to a neighbour), so that derivatives with respect to edge vectors give forces and virials
whatever the descriptor: F_i += dE/dD_ij, F_j -= dE/dD_ij, virial -= D_ij (x) dE/dD_ij.  An edge may start at any atom:
the vector of an atom may depend on edges of its neighbours.

Instances come in *blocks* of like species: (Z,) for atoms, (Z1, Z2) for pairs, (Z0, Z1, Z2) for triplets; every block
has its own sparse points.

A new descriptor is three classes, as in `examples/custom_descriptor.py`: a `Descriptor` with its parameters, an
`Engine` for fixed species and a `View` of one neighbour list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np
from ase import Atoms
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from gapkit._core.rows import count_instance_edges, fill_instance_edges
from gapkit.descriptors.species import SpeciesList, atomic_numbers, check_species
from gapkit.exceptions import InputError
from gapkit.io.arrays import Array, Schema
from gapkit.io.registry import registered
from gapkit.kernels import DotProduct, GapKernel
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.options.checked import Parameters, checked
from gapkit.sparse import CUR, SparseSelector
from gapkit.structures import to_batch
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

Block: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Features:
    """Instances of one block: descriptor vectors x (n, d), cutoff factors f (n,) and central atoms (n,)."""

    x: FloatArray
    factors: FloatArray  # multiplicity included
    centres: IntArray  # atoms may repeat
    state: Any  # what the view needs for derivatives
    squares: FloatArray | None = None  # (n,), squared norms of the whole vectors, where x is truncated

    @property
    def divisible(self) -> bool:
        """Whether `take` can part them: the state is arrays with a row for each instance."""
        return isinstance(self.state, tuple) and all(len(part) == len(self.x) for part in self.state)

    def take(self, rows: slice, shift: int = 0) -> Features:
        """Some of the instances, which share memory with all; `shift` is subtracted from the numbers of centres."""
        squares = None if self.squares is None else self.squares[rows]
        state = tuple(part[rows] for part in self.state)
        return Features(self.x[rows], self.factors[rows], self.centres[rows] - shift, state, squares)


@dataclass(frozen=True, eq=False)
class InstanceEdges:
    """Edges on which instances depend: those of instance n are indices[offsets[n] : offsets[n + 1]]; may repeat."""

    offsets: IntArray
    indices: IntArray

    @property
    def instances(self) -> IntArray:
        """Instance of each edge."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @classmethod
    def of_centres(
        cls, centres: IntArray, offsets: IntArray, distances: FloatArray, channels: IntArray, cutoff: float
    ) -> InstanceEdges:
        """All edges of `centres` that are shorter than the cutoff and of a known species (channel >= 0), in order."""
        counts = np.empty(len(centres) + 1, np.int64)
        count_instance_edges(centres, offsets, distances, channels, cutoff, counts)
        indices = np.empty(counts[-1], np.int64)
        fill_instance_edges(centres, offsets, distances, channels, cutoff, indices)
        return cls(counts, indices)


@dataclass(frozen=True, eq=False)
class Jacobian:
    """Derivatives of instances with respect to the vectors of their edges, 1/Å times the unit of x and f."""

    edges: InstanceEdges
    dx: FloatArray  # (n_entries, 3, d)
    dfactors: FloatArray | None  # (n_entries, 3); None where f is constant

    def projected(self, projection: FloatArray | None, workspace: Workspace | None = None) -> Jacobian:
        """With dx @ projection, (n_entries, 3, r), in place of dx; None: as it is."""
        if projection is None:
            return self
        n, d, r = len(self.edges.indices), *projection.shape
        dx = (workspace or Workspace()).array("reduced changes", 3 * n, r)
        np.dot(self.dx.reshape(3 * n, d), projection, out=dx)
        return Jacobian(self.edges, dx.reshape(n, 3, r), self.dfactors)


class View(ABC):
    """A descriptor applied to atoms of atomic numbers (n_atoms,); neighbours may be farther than the engine's reach."""

    centres_per_chunk = 128
    """Central atoms whose instances fit the cache together."""

    def __init__(self, engine: Engine, numbers: IntArray, neighbours: NeighbourList) -> None:
        self.engine, self.numbers, self.neighbours = engine, numbers, neighbours

    def centres(self, block: Block) -> IntArray:
        """Atoms that can be the centre of an instance of `block`, ascending."""
        return np.flatnonzero(np.logical_or.reduce([self.numbers == z for z in self.engine.centre_species(block)]))

    @abstractmethod
    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        """Instances of `block` with these centres; their arrays live in the workspace, until it is used again."""

    @abstractmethod
    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        """Derivative of every instance; with a projection (d, r) dx @ projection in place of dx."""

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) (n_edges, 3) for given dE/dx (n, d) and dE/df (n,).

        Made of the Jacobian here; reverse mode, which a subclass may write, costs a fraction of it.
        """
        jacobian = self.jacobian(features)
        instances = jacobian.edges.instances
        change = np.einsum("ead,ed->ea", jacobian.dx, gx[instances])
        if jacobian.dfactors is not None:
            change += jacobian.dfactors * gf[instances, None]
        np.add.at(edge_gradients, jacobian.edges.indices, change)


@dataclass(frozen=True, eq=False)
class Engine(ABC):
    """A descriptor with its species fixed and its tables filled."""

    species: tuple[int, ...]  # atomic numbers
    reach: float  # longest edge that counts, Å
    scale: float = field(default=1.0, kw_only=True)  # of the vectors

    view_class: ClassVar[type[View]]
    is_atomic: ClassVar[bool] = True
    """Whether every atom is one instance, so that its prior residual is a novelty of its whole neighbourhood."""

    @property
    def array_schema(self) -> Schema:
        """What `to_arrays` may hold."""
        return {"scale": Array((1,), 0.0, above=True)}

    @property
    @abstractmethod
    def n_features(self) -> int:
        """Length d of a descriptor vector."""

    def make_view(self, numbers: IntArray, neighbours: NeighbourList) -> View:
        """A view with vectors of scale 1."""
        return self.view_class(self, numbers, neighbours)

    def view(self, numbers: IntArray, neighbours: NeighbourList) -> View:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        view = self.make_view(numbers, neighbours)
        return view if self.scale == 1.0 else _ScaledView(view, self.scale)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Species of the instances, one entry for each set of sparse points."""
        return tuple((z,) for z in self.species)

    def centre_species(self, block: Block) -> tuple[int, ...]:
        """Atomic numbers of the atoms that can be the centre of an instance of `block`."""
        return block[:1]

    @property
    def n_layers(self) -> int:
        """Receptive field: an instance depends on edges up to this many hops from its centre."""
        return 1

    @property
    def largest_feature(self) -> float | None:
        """The limit of a single feature that is never negative, such as a distance; None: there is none."""
        return None

    @property
    def public_order(self) -> IntArray:
        """Indices (d,) that take a vector as the kernels keep it to the documented order."""
        return np.arange(self.n_features)

    @property
    def whole(self) -> Engine:
        """The engine with all features."""
        return self

    def adapted(self, environments: Iterable[tuple[Block, View, IntArray]], tolerance: float) -> Engine:
        """The engine made for a sample of a training set, (block, view, centres), which is made as it is read.

        Here with vectors of root mean square length 1, if it is atomic.  `tolerance` is the part of a vector's length
        that may be left out (root mean square).
        """
        if not self.is_atomic:
            return self
        vectors = [view.features(block, centres).x for block, view, centres in environments]
        squares = np.concatenate([np.zeros(0), *(np.einsum("nd,nd->n", x, x) for x in vectors)])
        return replace(self, scale=self.scale / np.sqrt(squares.mean())) if squares.any() else self

    def grow(self, whole: Engine) -> tuple[Engine, IntArray]:
        """The engine for more species, adapted as this one, and where this one's features are among its own.

        `whole` is as the descriptor makes it for all species.  InputError if features depend on the list of species.
        """
        if whole.n_features != self.n_features:
            raise InputError(
                f"species can't be added to {type(self).__name__}: its features depend on the list of species; fit "
                "again, or give the descriptor all `species` from the start"
            )
        return whole.with_arrays(self.to_arrays()), np.arange(self.n_features)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """What `adapted` changed, by `array_schema`."""
        return {} if self.scale == 1.0 else {"scale": np.array([self.scale])}

    def with_arrays(self, arrays: Mapping[str, np.ndarray]) -> Engine:
        """The engine whose `to_arrays` is given, from one that is as the descriptor made it."""
        return replace(self, scale=float(arrays["scale"][0])) if "scale" in arrays else self


class _ScaledView(View):
    """A view whose vectors are multiplied by a number."""

    def __init__(self, view: View, scale: float) -> None:
        super().__init__(view.engine, view.numbers, view.neighbours)
        self._view, self._scale = view, scale
        self.centres_per_chunk = view.centres_per_chunk

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        inner = self._view.features(block, centres, workspace)
        squares = None if inner.squares is None else self._scale**2 * inner.squares
        return Features(self._scale * inner.x, inner.factors, inner.centres, inner, squares)

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        inner = self._view.jacobian(features.state, workspace, projection)
        return replace(inner, dx=self._scale * inner.dx)

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        self._view.pullback(features.state, self._scale * gx, gf, edge_gradients)


class Descriptor(Parameters, TransformerMixin, BaseEstimator, ABC):
    """Base of descriptors: a scikit-learn transformer over lists of `ase.Atoms`, and a factory of engines."""

    def __init_subclass__(cls, *, former: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not cls.__name__.startswith("_"):
            registered("Descriptor", former=former)(cls)

    species: SpeciesList | None

    @abstractmethod
    def engine(self, species: Sequence[int]) -> Engine:
        """Check the parameters (InputError) and fill the tables for the atomic numbers `species`."""

    def default_kernel(self) -> GapKernel:
        """Kernel of a term that names none."""
        return DotProduct(zeta=4)

    def default_selector(self) -> SparseSelector:
        """Selector of a term that names none."""
        return CUR()

    def default_n_sparse(self, n_blocks: int) -> int | None:
        """Sparse points of a term that names no number; None: a share of the model's."""
        return None

    def resolve_species(self, found: Sequence[int]) -> tuple[int, ...]:
        """Atomic numbers given to the descriptor, or those `found` in the data."""
        return tuple(found) if self.species is None else atomic_numbers(self.species)

    @checked
    def fit(self, frames: Atoms | Sequence[Atoms], y: object = None) -> Descriptor:
        """Note the species of `frames` (unless given) and fill the tables.

        Raises
        ------
        InputError
            If a parameter is out of range.
        """
        self.species_ = self.resolve_species(to_batch(frames, labels=False).species)
        self.engine_ = self.engine(self.species_)
        return self

    @checked
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
        found = [view.features(block, view.centres(block)) for block in self.engine_.blocks]
        order = np.argsort(np.concatenate([features.centres for features in found]), kind="stable")
        return np.concatenate([features.x for features in found])[order][:, self.engine_.public_order]

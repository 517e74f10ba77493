"""SOAP of fixed species: values, pullback and Jacobian by the compiled kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gapkit._core.soap import soap_jacobian, soap_pullback, soap_values
from gapkit._core.soap_tables import TILE, Edges, Tables
from gapkit.descriptors.base import Block, Engine, Features, InstanceEdges, Jacobian, View
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.soap.truncation import feature_places, grown_rotation, principal_products, rotated_tables
from gapkit.exceptions import InputError
from gapkit.io.arrays import Array, Schema, orthonormal
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace


class SOAPView(View):
    """SOAP of the atoms of one neighbour list."""

    engine: SOAPEngine

    def __init__(self, engine: SOAPEngine, numbers: IntArray, neighbours: NeighbourList) -> None:
        super().__init__(engine, numbers, neighbours)
        channel = np.full(256, -1, np.int32)
        channel[list(engine.species)] = np.arange(len(engine.species), dtype=np.int32)
        self._channel_of_species = channel
        self._edges = Edges(
            neighbours.offsets, neighbours.vectors, neighbours.distances, channel[numbers][neighbours.indices],
            *engine.switch(neighbours.distances, engine.cutoff),
        )  # fmt: skip

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        engine, n, arrays = self.engine, len(centres), workspace or Workspace()
        n_rows, n_columns = (engine.tables.l_max + 1) ** 2 + 3, 4 * len(engine.tables.lowest)  # padding included
        coefficients = arrays.array("coefficients", n, n_rows, n_columns)
        x, lengths = arrays.array("x", n, engine.n_features), np.empty(n)
        channel = int(self._channel_of_species[block[0]]) if engine.central is None else engine.central
        soap_values(engine.tables, engine.n_channels, centres, channel, self._edges, coefficients, x, lengths)
        squares = (lengths > 0.0).astype(np.float64) if engine.tables.normalise else None
        return Features(x, np.ones(n), centres, (coefficients, lengths), squares)

    def coefficients(self, block: Block, centres: IntArray) -> FloatArray:
        """Density coefficients (n, lm, columns) over the root of the vector's length, without atoms of length 0."""
        coefficients, lengths = self.features(block, centres).state
        n_rows, n, known = (self.engine.tables.l_max + 1) ** 2, len(self.engine.tables.first), lengths > 0.0
        return np.asarray(coefficients[known, :n_rows, :n] / np.sqrt(lengths[known])[:, None, None])

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        coefficients, lengths = features.state
        of_centres = features.centres, self._edges, coefficients, features.x, lengths
        soap_pullback(self.engine.tables, self.engine.n_channels, *of_centres, gx, edge_gradients)

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        engine, edges, arrays = self.engine, self._edges, workspace or Workspace()
        coefficients, lengths = features.state
        found = InstanceEdges.of_centres(features.centres, edges.offsets, edges.distances, edges.channels, engine.reach)
        dx = arrays.array("dx", len(found.indices) + TILE, 3, engine.n_features)
        soap_jacobian(engine.tables, engine.n_channels, features.centres, edges, coefficients, features.x, lengths, dx)
        return Jacobian(found, dx[: len(found.indices)], None).projected(projection, arrays)


@dataclass(frozen=True, eq=False)
class SOAPEngine(Engine):
    """SOAP for fixed species, with its tables."""

    switch: CutoffFunction
    cutoff: float  # of the switch, Å
    tables: Tables
    centres: tuple[int, ...]  # atomic numbers of the atoms that have a vector
    central: int | None = None  # density that the central atom enters; None: that of its species
    rotation: FloatArray | None = None  # of a truncated engine
    untruncated: SOAPEngine | None = None  # of a truncated engine: that with all features

    view_class = SOAPView

    @property
    def array_schema(self) -> Schema:
        degrees, n = self.tables.l_max + 1, len(self.tables.first)
        rotation = Array((degrees, n, n), -1.001, 1.001, rule=("rotations", orthonormal))
        return {"rotation": rotation, "kept": Array((degrees, n), 0, n, whole=True)}

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple((z,) for z in self.centres)

    @property
    def whole(self) -> SOAPEngine:
        return self.untruncated or self

    @property
    def n_channels(self) -> int:
        """Radial functions, padding included, of the densities of all species and of the central atom's own."""
        return max(len(self.species), -1 if self.central is None else self.central + 1) * self.tables.n_stride

    @property
    def n_features(self) -> int:
        return int(np.maximum(self.tables.kept - self.tables.first, 0).sum())

    @property
    def public_order(self) -> IntArray:
        # l is fastest in the documented order and slowest in the kernels'
        return np.arange(self.n_features).reshape(self.tables.l_max + 1, -1).T.ravel()

    def adapted(self, environments: Iterable[tuple[Block, View, IntArray]], tolerance: float) -> SOAPEngine:
        """The engine without the products that a sample never shows; unnormalised and compressed ones stay whole."""
        if tolerance <= 0.0 or len(self.tables.mixing) or not self.tables.normalise:
            return self
        coefficients: dict[Block, list[FloatArray]] = {}
        for block, view, centres in environments:
            assert isinstance(view, SOAPView)
            coefficients.setdefault(block, []).append(view.coefficients(block, centres))
        sample = [np.concatenate(of_block) for of_block in coefficients.values()]
        return self.rotated(*principal_products(self.tables, sample, tolerance)) if sample else self

    def rotated(self, rotation: FloatArray, kept: IntArray) -> SOAPEngine:
        """The engine with the columns of rotation (l_max + 1, n, n) as channels, and pairs b < kept[l, a] of them."""
        tables = rotated_tables(self.tables, None if len(self.species) == 1 else self.n_channels, rotation, kept)
        return replace(self, tables=tables, rotation=rotation, untruncated=self)

    def grow(self, whole: Engine) -> tuple[SOAPEngine, IntArray]:
        """As for any engine; channels keep their rotation.  InputError if the vectors are compressed."""
        assert isinstance(whole, SOAPEngine)
        if len(whole.tables.mixing) or len(self.whole.tables.mixing):
            raise InputError(
                "species can't be added to a SOAP term with `compression` or `centre_channels='all'`: its features "
                "depend on the list of species; fit again, or give the descriptor all `species` from the start"
            )
        n_max, n_old, n_new = self.tables.n_max, len(self.tables.first), len(whole.tables.first)
        channels = np.concatenate([n_max * whole.species.index(z) + np.arange(n_max) for z in self.species])
        if self.rotation is None:
            return whole, feature_places(self.tables, whole.tables, channels)
        engine = whole.rotated(*grown_rotation(self.rotation, self.tables.kept, channels, n_new))
        return engine, feature_places(self.tables, engine.tables, np.arange(n_old))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {} if self.rotation is None else {"rotation": self.rotation, "kept": self.tables.kept}

    def with_arrays(self, arrays: Mapping[str, np.ndarray]) -> SOAPEngine:
        if len(arrays) == 1:
            raise InputError(f"`rotation` and `kept` belong together, got {next(iter(arrays))} alone")
        if arrays and (len(self.tables.mixing) or not self.tables.normalise):
            raise InputError("`rotation` is there, and the descriptor is compressed or not normalised")
        return self.rotated(arrays["rotation"], arrays["kept"]) if arrays else self

"""SOAP of fixed species: values, pullback and Jacobian by the compiled kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gapkit._core.soap import soap_jacobian, soap_pullback, soap_values
from gapkit._core.soap_tables import TILE, Edges, Tables
from gapkit.descriptors.base import Block, Engine, Features, InstanceEdges, Jacobian, View
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.soap.species import feature_places, grown_rotation
from gapkit.descriptors.soap.truncation import principal_products, rotated_tables
from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace


@dataclass(frozen=True, eq=False)
class SOAPEngine(Engine):
    """SOAP for fixed species, with its tables.

    Attributes
    ----------
    switch : CutoffFunction
    cutoff : float
        Å; of the switch.
    tables : Tables
        What the kernels need to know.
    centres : tuple of int
        Atomic numbers of the atoms that have a vector.
    central : int or None
        Which density the central atom enters; None: that of its species.
    rotation : ndarray or None
        Of a truncated engine.
    untruncated : SOAPEngine or None
        Of a truncated engine: that with all features.
    """

    switch: CutoffFunction
    cutoff: float
    tables: Tables
    centres: tuple[int, ...]
    central: int | None = None
    rotation: FloatArray | None = None
    untruncated: SOAPEngine | None = None

    array_names = ("rotation", "kept")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block for each central species."""
        return tuple((z,) for z in self.centres)

    @property
    def whole(self) -> SOAPEngine:
        """The engine with all features."""
        return self if self.untruncated is None else self.untruncated

    @property
    def n_densities(self) -> int:
        """Densities of the neighbour species, and that of the central atom where it has its own."""
        return max(len(self.species), -1 if self.central is None else self.central + 1)

    @property
    def n_channels(self) -> int:
        """Radial functions of all densities, padding included."""
        return self.n_densities * self.tables.n_stride

    @property
    def n_columns(self) -> int:
        """Columns of the coefficients of an atom, padding included."""
        return 4 * len(self.tables.lowest)

    @property
    def n_features(self) -> int:
        """Length of the power spectrum."""
        return int(np.maximum(self.tables.kept - self.tables.first, 0).sum())

    @property
    def public_order(self) -> IntArray:
        """Where each element of the public vector (l fastest) stands in the internal one (l slowest)."""
        return np.arange(self.n_features).reshape(self.tables.l_max + 1, -1).T.ravel()

    def make_view(self, numbers: IntArray, neighbours: NeighbourList) -> SOAPView:
        """Apply to atoms of atomic numbers `numbers` (n_atoms,) and their neighbours."""
        return SOAPView(self, numbers, neighbours)

    def adapted(self, environments: Iterable[tuple[Block, View, IntArray]], tolerance: float) -> SOAPEngine:
        """The engine without the products that a sample never shows; unnormalised and compressed ones stay whole."""
        if tolerance <= 0.0 or len(self.tables.mixing) or not self.tables.normalise:
            return self
        coefficients: dict[Block, list[FloatArray]] = {}
        for block, view, centres in environments:
            assert isinstance(view, SOAPView)
            coefficients.setdefault(block, []).append(view.coefficients(block, centres))
        if not coefficients:
            return self
        sample = [np.concatenate(of_block) for of_block in coefficients.values()]
        return self.rotated(*principal_products(self.tables, sample, tolerance))

    def rotated(self, rotation: FloatArray, kept: IntArray) -> SOAPEngine:
        """The engine with rotated channels and without the pairs that are not kept.

        Parameters
        ----------
        rotation : ndarray (l_max + 1, n, n)
            Columns are the new channels.
        kept : ndarray (l_max + 1, n) of int
            Pairs (a, b) with b < kept[l, a] stay.
        """
        channels = None if len(self.species) == 1 else self.n_channels
        tables = rotated_tables(self.tables, channels, rotation, kept)
        return replace(self, tables=tables, rotation=rotation, untruncated=self)

    def grow(self, whole: Engine) -> tuple[SOAPEngine, IntArray]:
        """As for any engine; channels keep their rotation.

        Raises
        ------
        InputError
            If the vectors are compressed: then every feature depends on the list of species.
        """
        assert isinstance(whole, SOAPEngine)
        if len(whole.tables.mixing) or len(self.whole.tables.mixing):
            raise InputError(
                "species can't be added to a SOAP term with `compression` or `centre_channels='all'`: its features "
                "depend on the list of species; fit again, or give the descriptor all `species` from the start"
            )
        n_max, n_old, n_new = self.tables.n_max, len(self.tables.first), len(whole.tables.first)
        place = np.array([whole.species.index(z) for z in self.species])
        channels = (n_max * place[:, None] + np.arange(n_max)).ravel()
        if self.rotation is None:
            return whole, feature_places(self.tables, whole.tables, channels)
        engine = whole.rotated(*grown_rotation(self.rotation, self.tables.kept, channels, n_new))
        return engine, feature_places(self.tables, engine.tables, np.arange(n_old))

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {} if self.rotation is None else {"rotation": self.rotation, "kept": self.tables.kept}

    def with_arrays(self, arrays: Mapping[str, np.ndarray]) -> SOAPEngine:
        return self.rotated(arrays["rotation"], arrays["kept"]) if "rotation" in arrays else self


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
        """Power spectra of `centres`."""
        engine = self.engine
        n = len(centres)
        arrays = Workspace() if workspace is None else workspace
        coefficients = arrays.array("coefficients", n, (engine.tables.l_max + 1) ** 2 + 3, engine.n_columns)
        x, lengths = arrays.array("x", n, engine.n_features), np.empty(n)
        channel = int(self._channel_of_species[block[0]]) if engine.central is None else engine.central
        soap_values(engine.tables, engine.n_channels, centres, channel, self._edges, coefficients, x, lengths)
        squares = (lengths > 0.0).astype(np.float64) if engine.tables.normalise else None
        return Features(x, np.ones(n), centres, (coefficients, lengths), squares)

    def coefficients(self, block: Block, centres: IntArray) -> FloatArray:
        """Density coefficients (n, lm, columns) over the root of the vector's length, without atoms of length 0."""
        features = self.features(block, centres)
        coefficients, lengths = features.state
        rows = slice((self.engine.tables.l_max + 1) ** 2)
        known = lengths > 0.0
        n = len(self.engine.tables.first)
        return np.asarray(coefficients[known, rows, :n] / np.sqrt(lengths[known])[:, None, None])

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) for dE/dx `gx`; f is 1 for SOAP."""
        engine = self.engine
        coefficients, lengths = features.state
        soap_pullback(
            engine.tables, engine.n_channels, features.centres, self._edges, coefficients, features.x, lengths, gx,
            edge_gradients,
        )  # fmt: skip

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        """Derivatives of the power spectra with respect to each neighbour."""
        engine, edges = self.engine, self._edges
        coefficients, lengths = features.state
        found = InstanceEdges.of_centres(features.centres, edges.offsets, edges.distances, edges.channels, engine.reach)
        arrays = Workspace() if workspace is None else workspace
        dx = arrays.array("dx", len(found.indices) + TILE, 3, engine.n_features)
        soap_jacobian(engine.tables, engine.n_channels, features.centres, edges, coefficients, features.x, lengths, dx)
        return Jacobian(found, dx[: len(found.indices)], None).projected(projection, arrays)

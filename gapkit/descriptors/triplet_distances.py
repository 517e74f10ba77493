"""Three-body descriptor of plain distances, with a factor that normalises the symmetrised kernel.

A kernel of triangles must not change when like atoms are renamed.  Summed over all orders P of the distances that
renaming makes of one triangle, and normalised, it is

    k(x, x') = sum_P k0(P x, x') / sqrt(s(x) s(x')),    s(x) = sum_P k0(P x, x),

with k0 squared exponential of one length scale.  In the linear model every order is an instance of its own, and
1 / sqrt(s(x)) is part of its factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from gapkit.descriptors.base import Block, Features, InstanceEdges, Jacobian
from gapkit.descriptors.instances import InstanceEngine, _InstanceDescriptor
from gapkit.descriptors.three_body import TripletView
from gapkit.options.kinds import Positive
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace


def orders_of(block: Block) -> IntArray:
    """Orders (n, 3) of the distances of a triangle that renaming like atoms makes; centre and neighbours stay so."""
    if block[1] != block[2]:
        return np.array([[0, 1, 2]])
    if block[0] != block[1]:
        return np.array([[0, 1, 2], [1, 0, 2]])
    return np.array(list(permutations(range(3))))


@dataclass(frozen=True, eq=False)
class _Triangles:
    """Triangles in one order: their edges (n, 2), distances (n, 3), s(x) (n,), and all orders (m, 3)."""

    edges: IntArray
    x: FloatArray
    s: FloatArray
    orders: IntArray


class TripletDistancesView(TripletView):
    """Triangles of one neighbour list, listed a chunk of centres at a time."""

    engine: TripletDistancesEngine

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        near = self.neighbours
        owners, edges = self.triplets(block, centres)
        x = np.empty((len(edges), 3))
        x[:, :2] = near.distances[edges]
        x[:, 2] = np.linalg.norm(near.vectors[edges[:, 1]] - near.vectors[edges[:, 0]], axis=1)
        orders = orders_of(block)
        s, _ = self.engine.self_kernel(x, orders)
        factors, m = self._weights[edges].prod(axis=1) / np.sqrt(s), len(orders)
        state = _Triangles(edges, x, s, orders)
        return Features(x[:, orders].reshape(-1, 3), np.repeat(factors, m), np.repeat(owners, m), state)

    def _slopes_of(self, features: Features) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Unit vectors (n, 3 distances, 3), df/dx at fixed f_c (n, 3) and df/dr_ij, df/dr_ik at fixed s (n, 2)."""
        near, these = self.neighbours, features.state
        edges = these.edges
        across = near.vectors[edges[:, 1]] - near.vectors[edges[:, 0]]
        units = np.stack([near.vectors[edges[:, 0]], near.vectors[edges[:, 1]], across], axis=1) / these.x[:, :, None]
        _, change = self.engine.self_kernel(these.x, these.orders)
        factors = features.factors[:: len(these.orders)]
        switch = self._slopes[edges] * self._weights[edges[:, ::-1]] / np.sqrt(these.s)[:, None]
        return units, -0.5 * (factors / these.s)[:, None] * change, switch

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        edges, orders = features.state.edges, features.state.orders
        units, by_distance, switch = self._slopes_of(features)
        along = np.zeros_like(by_distance)
        for i, order in enumerate(orders):
            along[:, order] += gx[i :: len(orders)]
        total = gf.reshape(-1, len(orders)).sum(axis=1)[:, None]
        along += total * by_distance
        along[:, :2] += total * switch
        change = along[:, :, None] * units
        np.add.at(edge_gradients, edges[:, 0], change[:, 0] - change[:, 2])
        np.add.at(edge_gradients, edges[:, 1], change[:, 1] + change[:, 2])

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        edges, orders = features.state.edges, features.state.orders
        units, by_distance, switch = self._slopes_of(features)
        n, m = len(edges), len(orders)
        dx = np.zeros((n, 2, 3, 3))  # edge, axis, distance
        for edge, sign in ((0, -1.0), (1, 1.0)):
            dx[:, edge, :, edge] = units[:, edge]
            dx[:, edge, :, 2] = sign * units[:, 2]
        df = np.einsum("nead,nd->nea", dx, by_distance) + switch[:, :, None] * units[:, :2]
        of_orders = dx[..., orders].transpose(0, 3, 1, 2, 4)  # triangle, order, edge, axis, distance
        own = InstanceEdges(np.arange(0, 2 * n * m + 1, 2), np.repeat(edges, m, axis=0).ravel())
        jacobian = Jacobian(own, of_orders.reshape(-1, 3, 3), np.repeat(df, m, axis=0).reshape(-1, 3))
        return jacobian.projected(projection, workspace)


@dataclass(frozen=True, eq=False)
class TripletDistancesEngine(InstanceEngine):
    """Triplet distances for fixed species; `length_scale` in Å."""

    length_scale: float = 1.0

    view_class = TripletDistancesView

    def self_kernel(self, x: FloatArray, orders: IntArray) -> tuple[FloatArray, FloatArray]:
        """s(x) (n,) and ds/dx (n, 3) in 1/Å at x (n, 3)."""
        s, slopes = np.zeros(len(x)), np.zeros_like(x)
        for order in orders:
            difference = (x - x[:, order]) / self.length_scale
            k = np.exp(-0.5 * np.einsum("nd,nd->n", difference, difference))
            change = k[:, None] * difference / self.length_scale
            s += k
            slopes -= change
            slopes[:, order] += change
        return s, slopes


@dataclass(eq=False, repr=False)
class TripletDistances(_InstanceDescriptor, former=("Triangles",)):
    """Distances x = (r_ij, r_ik, r_jk) in all orders of like atoms, factor f_c(r_ij) f_c(r_ik) / sqrt(s(x)).

    Every triangle is counted from each of its atoms i whose two distances are within the cutoff.  Six orders for three
    like atoms; two for like neighbours of another centre; one where the neighbours differ.

    For like species what QUIP calls `distance_Nb` of order 3.
    Source: Bartók and Csányi, Int. J. Quantum Chem. 115, 1051 (2015), section on symmetrised kernels.

    Parameters
    ----------
    cutoff : float
        Å; applies to r_ij and r_ik.
    length_scale : float
        Å, of k0 in s(x): that of the term's kernel.
    transition, cutoff_function, species
        As of `TwoBody`.
    blocks : sequence of sequences of str or int, or None
        Species of the triplets, the centre first, that count, such as ``[("Si", "Si", "Si")]``; None: all.
    """

    length_scale: Positive = 1.0

    _engine = TripletDistancesEngine

    def engine(self, species: Sequence[int]) -> TripletDistancesEngine:
        engine = super().engine(species)
        assert isinstance(engine, TripletDistancesEngine)
        return replace(engine, length_scale=float(self.length_scale))

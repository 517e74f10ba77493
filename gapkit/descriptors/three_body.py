"""Three-body descriptor: permutation-invariant distances of a triplet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit._core import triplets
from gapkit.descriptors.base import Block, Features, InstanceEdges, Jacobian
from gapkit.descriptors.instances import InstanceEngine, InstanceView, _InstanceDescriptor
from gapkit.kernels import GapKernel, SquaredExponential
from gapkit.sparse import KMeans, SparseSelector
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Both orders of the two neighbours count, as in QUIP's angle_3b.
MULTIPLICITY = 2.0


class TripletView(InstanceView):
    """Triplets of one neighbour list, listed a chunk of centres at a time."""

    centres_per_chunk = 8

    @property
    def _edges(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        return self.neighbours.vectors, self.neighbours.distances, self._weights, self._slopes

    def triplets(self, block: Block, centres: IntArray) -> tuple[IntArray, IntArray]:
        """Centres (n,) and both edges (n, 2) of the triplets of `block` around `centres`."""
        near = self.neighbours
        _, z1, z2 = block
        where = centres, near.offsets, near.indices, near.distances, self.numbers, self.engine.reach, z1, z2
        n = triplets.count_triplets(*where)
        owners, edges = np.empty(n, np.int64), np.empty((n, 2), np.int64)
        triplets.fill_triplets(*where, owners, edges)
        return owners, edges

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        owners, edges = self.triplets(block, centres)
        x = np.empty((len(edges), 3))
        triplets.triplet_values(edges, self.neighbours.vectors, self.neighbours.distances, x)
        factors = MULTIPLICITY * self._weights[edges[:, 0]] * self._weights[edges[:, 1]]
        return Features(x, factors, owners, edges)

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        triplets.triplet_pullback(features.state, *self._edges, MULTIPLICITY, features.x, gx, gf, edge_gradients)

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        n = len(features.state)
        dx, df = np.empty((2 * n, 3, 3)), np.empty((2 * n, 3))
        triplets.triplet_jacobian(features.state, *self._edges, MULTIPLICITY, features.x, dx, df)
        own = InstanceEdges(np.arange(0, 2 * n + 1, 2), features.state.ravel())
        return Jacobian(own, dx, df).projected(projection, workspace)


@dataclass(frozen=True, eq=False)
class TripletEngine(InstanceEngine):
    """Three-body descriptor for fixed species."""

    view_class = TripletView


class ThreeBody(_InstanceDescriptor):
    """Triplets x = (r_ij + r_ik, (r_ij - r_ik)^2, r_jk), factor f_c(r_ij) f_c(r_ik), both orders of j, k counted.

    Source: Bartók and Csányi, Int. J. Quantum Chem. 115, 1051 (2015), section on two- and three-body descriptors.

    Parameters
    ----------
    cutoff : float
        Å; applies to r_ij and r_ik.
    transition, cutoff_function, species
        As of `TwoBody`.
    blocks : sequence of sequences of str or int, or None
        Species of the triplets, the centre first, that count, such as ``[("O", "Si", "Si")]``; None: all.
    """

    _engine = TripletEngine

    def default_kernel(self) -> GapKernel:
        return SquaredExponential(length_scale=(1.5, 2.0, 1.5))

    def default_selector(self) -> SparseSelector:
        return KMeans()

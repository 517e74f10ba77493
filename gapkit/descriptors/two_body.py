"""Two-body descriptor: the distance of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.descriptors.base import Block, Features, InstanceEdges, Jacobian
from gapkit.descriptors.cutoffs import Cutoff
from gapkit.descriptors.instances import InstanceEngine, InstanceView, _InstanceDescriptor, ranges
from gapkit.kernels import GapKernel, SquaredExponential
from gapkit.sparse import SparseSelector, Uniform1D
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace


class PairView(InstanceView):
    """Pairs of one neighbour list."""

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        near = self.neighbours
        edges = ranges(near.offsets[centres], near.offsets[centres + 1])
        other = np.where(self.numbers[near.centres[edges]] == block[0], block[1], block[0])
        edges = edges[(self.numbers[near.indices[edges]] == other) & (near.distances[edges] < self.engine.reach)]
        return Features(near.distances[edges, None], self._weights[edges], near.centres[edges], edges)

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        edges = features.state
        along = (gx[:, 0] + gf * self._slopes[edges]) / self.neighbours.distances[edges]
        edge_gradients[edges] += along[:, None] * self.neighbours.vectors[edges]

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        edges = features.state
        unit = self.neighbours.vectors[edges] / self.neighbours.distances[edges, None]
        own = InstanceEdges(np.arange(len(edges) + 1), edges)
        return Jacobian(own, unit[:, :, None], self._slopes[edges, None] * unit).projected(projection, workspace)


@dataclass(frozen=True, eq=False)
class PairEngine(InstanceEngine):
    """Two-body descriptor for fixed species."""

    view_class = PairView
    n_atoms = 2

    def centre_species(self, block: Block) -> tuple[int, ...]:
        return tuple(set(block))


@dataclass(eq=False, repr=False)
class TwoBody(_InstanceDescriptor):
    """Distances x = r_ij with instance factor f_c(r_ij); every pair is counted from both of its ends.

    Parameters
    ----------
    cutoff : float
        Å.
    transition : float or None
        Width in Å of the quintic switch; None: the whole cutoff.
    cutoff_function : CutoffFunction or None
        Another switch; then `transition` must be None.
    species : sequence of str or int, or None
        Chemical species; None: those of the data.
    blocks : sequence of sequences of str or int, or None
        Species of the pairs that count, such as ``[("Si", "O")]``; None: all.
    """

    cutoff: Cutoff = 5.0

    _engine = PairEngine

    def default_kernel(self) -> GapKernel:
        return SquaredExponential(length_scale=0.7)

    def default_selector(self) -> SparseSelector:
        return Uniform1D()

    def default_n_sparse(self, n_blocks: int) -> int:
        return 15 * n_blocks

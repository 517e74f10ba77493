"""Two-body descriptor: the distance of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.descriptors.base import Block, Features, InstanceEdges, Jacobian
from gapkit.descriptors.instances import InstanceEngine, InstanceView, _InstanceDescriptor, ranges
from gapkit.kernels import GapKernel, SquaredExponential
from gapkit.sparse import SparseSelector, Uniform1D
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace


class PairView(InstanceView):
    """Pairs of one neighbour list."""

    def features(self, block: Block, centres: IntArray, workspace: Workspace | None = None) -> Features:
        """Distances of the pairs of `block` around `centres`."""
        neighbours = self.neighbours
        edges = ranges(neighbours.offsets[centres], neighbours.offsets[centres + 1])
        tails = neighbours.centres[edges]
        other = np.where(self.numbers[tails] == block[0], block[1], block[0])
        keep = (self.numbers[neighbours.indices[edges]] == other) & (neighbours.distances[edges] < self.engine.reach)
        edges = edges[keep]
        return Features(neighbours.distances[edges, None], self._weights[edges], tails[keep], edges)

    def pullback(self, features: Features, gx: FloatArray, gf: FloatArray, edge_gradients: FloatArray) -> None:
        """Add dE/d(edge vector) for dE/dr `gx` and dE/df `gf`."""
        edges = features.state
        along = (gx[:, 0] + gf * self._slopes[edges]) / self.neighbours.distances[edges]
        edge_gradients[edges] += along[:, None] * self.neighbours.vectors[edges]

    def jacobian(
        self, features: Features, workspace: Workspace | None = None, projection: FloatArray | None = None
    ) -> Jacobian:
        """Unit vectors of the pairs."""
        edges = features.state
        unit = self.neighbours.vectors[edges] / self.neighbours.distances[edges, None]
        of_instances = InstanceEdges(np.arange(len(edges) + 1), edges)
        return Jacobian(of_instances, unit[:, :, None], self._slopes[edges, None] * unit).projected(
            projection, workspace
        )


@dataclass(frozen=True, eq=False)
class PairEngine(InstanceEngine):
    """Two-body descriptor for fixed species."""

    view_class = PairView
    n_atoms = 2

    def centre_species(self, block: Block) -> tuple[int, ...]:
        """Either species of the pair."""
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

    cutoff: float = 5.0

    _engine = PairEngine

    def default_kernel(self) -> GapKernel:
        return SquaredExponential(length_scale=0.7)

    def default_selector(self) -> SparseSelector:
        return Uniform1D()

    def default_n_sparse(self, n_blocks: int) -> int:
        return 15 * n_blocks

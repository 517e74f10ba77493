"""A descriptor of your own: smooth numbers of neighbours in three shells, and those of the neighbours.

With g_a(r) = f_c(r) exp(-((r - R_a) / w)^2) and h_i = sum_j g(r_ij), the vector of atom i is (h_i, sum_j g(r_ij) h_j).
It is not normalised, and through h_j it depends on edges two hops away: everything that gapkit has, fits, variances and
model files among it, needs no more than what stands here.  A model file that holds it is loaded after an import of this
module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gapkit.descriptors.base import Descriptor, Engine, Features, InstanceEdges, Jacobian, View
from gapkit.descriptors.cutoffs import Cutoff, QuinticCutoff
from gapkit.descriptors.species import SpeciesList
from gapkit.options.checked import check_parameters
from gapkit.options.kinds import Positive

SHELLS = np.array([1.5, 2.5, 3.5])  # R_a, Å


class Shells(Descriptor):
    """Numbers of neighbours in shells of width `width` Å, over two layers."""

    def __init__(self, cutoff: Cutoff = 3.5, width: Positive = 0.8, *, species: SpeciesList | None = None) -> None:
        self.cutoff = cutoff
        self.width = width
        self.species = species

    def engine(self, species: Sequence[int]) -> ShellsEngine:
        check_parameters(self)  # by the annotations of `__init__`
        return ShellsEngine(tuple(species), self.cutoff, self.width)


@dataclass(frozen=True, eq=False)
class ShellsEngine(Engine):
    """The descriptor for fixed species, which share all shells."""

    width: float
    n_features = 2 * len(SHELLS)
    n_layers = 2

    def make_view(self, numbers, neighbours):
        return ShellsView(self, numbers, neighbours)


class ShellsView(View):
    """The descriptor of the atoms of one neighbour list."""

    def __init__(self, engine, numbers, neighbours):
        super().__init__(engine, numbers, neighbours)
        r = neighbours.distances[:, None]
        switch, slope = QuinticCutoff(engine.reach)(r, engine.reach)
        gauss = np.exp(-(((r - SHELLS) / engine.width) ** 2))
        self.g = switch * gauss
        change = slope * gauss - 2.0 * (r - SHELLS) / engine.width**2 * self.g
        self.dg = (neighbours.vectors / r)[:, :, None] * change[:, None]  # (n_edges, 3, shells)
        self.h, second = np.zeros((2, len(numbers), len(SHELLS)))
        np.add.at(self.h, neighbours.centres, self.g)
        np.add.at(second, neighbours.centres, self.g * self.h[neighbours.indices])
        self.x = np.concatenate([self.h, second], axis=1)

    def features(self, block, centres, workspace=None):
        return Features(self.x[centres], np.ones(len(centres)), centres, None)

    def jacobian(self, features, workspace=None, projection=None):
        near = self.neighbours
        edges, dx, counts = [np.empty(0, int)], [np.empty((0, 3, self.engine.n_features))], [0]
        for atom in features.centres:
            own = np.arange(near.offsets[atom], near.offsets[atom + 1])
            behind = [np.arange(near.offsets[j], near.offsets[j + 1]) for j in near.indices[own]]
            edges += [own, *behind]
            dx.append(np.concatenate([self.dg[own], self.dg[own] * self.h[near.indices[own], None]], axis=2))
            for edge, further in zip(own, behind, strict=True):
                dx.append(np.concatenate([np.zeros_like(self.dg[further]), self.g[edge] * self.dg[further]], axis=2))
            counts.append(len(own) + sum(map(len, behind)))
        found = InstanceEdges(np.cumsum(counts), np.concatenate(edges))
        return Jacobian(found, np.concatenate(dx), None).projected(projection, workspace)


def main() -> None:
    from ase.io import read

    from gapkit import GAP, TwoBody, load

    data = Path(__file__).parents[1] / "data" / "silicon"
    model = GAP([TwoBody(5.0), Shells(4.0)], n_sparse=80).fit(read(data / "train.extxyz", ":60"))
    model.save("shells.gapkit")
    test = read(data / "test.extxyz", ":")
    predicted = load("shells.gapkit").predict(test, return_std=True)
    errors = predicted.forces - np.concatenate([atoms.get_forces() for atoms in test])
    print(f"forces: error {np.abs(errors).mean():.3f} eV/Å, predicted {predicted.forces_std.mean():.3f} eV/Å")


if __name__ == "__main__":
    main()

"""Silicon for the benchmarks: structures, neighbour lists, engines and fitted models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, SOAP, Noise, Term, ThreeBody
from gapkit.descriptors import CosineCutoff
from gapkit.kernels import DotProduct
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.sparse import Random
from gapkit.structures import AtomsBatch, to_batch

CUTOFF = 5.4
SETTING = SOAP(CUTOFF, 8, 8, 0.5, cutoff_function=CosineCutoff(0.5))


@dataclass(frozen=True)
class Silicon:
    """A displaced crystal with its neighbours within CUTOFF (Å)."""

    atoms: Atoms
    batch: AtomsBatch
    neighbours: NeighbourList


def crystal(cells):
    atoms = bulk("Si", cubic=True) * cells
    atoms.rattle(0.15, seed=1)
    return atoms


@pytest.fixture
def timed(benchmark):
    """Return `benchmark` after one call: compilation would count when it chooses the number of rounds."""

    def run(function, *arguments, **options):
        function(*arguments, **options)
        return benchmark(function, *arguments, **options)

    return run


@pytest.fixture(scope="session")
def silicon():
    """Return 1,000 atoms."""
    atoms = crystal(5)
    batch = to_batch(atoms, labels=False)
    return Silicon(atoms, batch, build_neighbour_list(batch, CUTOFF))


@pytest.fixture(scope="session")
def soap_view(silicon):
    return SETTING.engine((14,)).view(silicon.batch.numbers, silicon.neighbours)


@pytest.fixture(scope="session")
def triplet_view(silicon):
    return ThreeBody(4.0).engine((14,)).view(silicon.batch.numbers, silicon.neighbours)


@pytest.fixture(scope="session")
def frames():
    """Return 16 frames of 64 atoms with energies of a Morse potential, every fourth with forces."""
    rng = np.random.default_rng(0)
    result = []
    for number in range(16):
        atoms = bulk("Si", cubic=True) * 2
        atoms.positions += rng.normal(0.0, rng.uniform(0.05, 0.2), atoms.positions.shape)
        atoms.calc = MorsePotential(epsilon=0.5, r0=2.35, rho0=3.5)
        labels = {"energy": atoms.get_potential_energy()}
        if number % 4 == 0:
            labels["forces"] = atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, **labels)
        result.append(atoms)
    return result


@pytest.fixture(scope="session")
def estimator():
    """Return a function that makes an unfitted model with a given number of sparse points, one thread."""

    def make(n_sparse):
        term = Term(SETTING, DotProduct(zeta=4, delta_bounds="fixed"), n_sparse, selector=Random())
        return GAP([term], noise=Noise(0.001, 0.1), reference_energies={"Si": 0.0}, n_jobs=1)

    return make


@pytest.fixture(scope="session", params=[100, 1000], ids=lambda n: f"M={n}")
def model(request, frames, estimator):
    return estimator(request.param).fit(frames)

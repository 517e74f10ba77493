"""Timings of the hot path: `pip install ".[bench]" && pytest tests/bench/bench_prediction.py` (not in the suite)."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit.descriptors import SOAP, CosineCutoff
from gapkit.gp.basis import SparseBasis
from gapkit.gp.design import design_rows, views_of
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.prediction import predict
from gapkit.kernels import DotProduct
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch

pytest.importorskip("pytest_benchmark")
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def silicon():
    atoms = bulk("Si", cubic=True) * (5, 5, 5)
    atoms.rattle(0.15, seed=1)
    batch = to_batch(atoms, labels=False)
    return batch, build_neighbour_list(batch, 5.4)


@pytest.fixture(scope="module", params=[100, 1000])
def basis(request, silicon):
    batch, neighbours = silicon
    engine = SOAP(5.4, 8, 8, 0.5, cutoff_function=CosineCutoff(0.5)).engine((14,))
    view = engine.view(batch.numbers, neighbours)
    x = view.features((14,), np.arange(request.param)).x
    return SparseBasis.build([engine], [DotProduct(zeta=4)], [[((14,), x)]])


def test_energy_forces_virial(benchmark, silicon, basis):
    batch, neighbours = silicon
    weights = rng.normal(size=basis.n_columns)
    benchmark.extra_info["atoms"] = batch.n_atoms
    benchmark(predict, basis, weights, batch, neighbours, n_jobs=1)


def test_neighbour_list(benchmark, silicon):
    benchmark(build_neighbour_list, silicon[0], 5.4)


def test_design_rows_of_64_atoms(benchmark, basis):
    atoms = bulk("Si", cubic=True) * 2
    atoms.rattle(0.15, seed=1)
    batch = to_batch(atoms, labels=False)
    neighbours = build_neighbour_list(batch, 5.4)
    views = views_of(basis, batch, neighbours)
    benchmark(design_rows, basis, views, batch, neighbours, range(1), forces=True, virial=True)


def test_fold_1000_rows(benchmark):
    rows, targets = rng.normal(size=(1000, 1000)), rng.normal(size=1000)
    factor = TriangularFactor(1000)
    benchmark(factor.update, rows, targets)

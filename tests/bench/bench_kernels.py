"""Timings of each compiled kernel, through the class that calls it where there is one.

pip install ".[bench]" && pytest tests/bench/bench_*.py       (not in the suite; all in one thread)
"""

from __future__ import annotations

import numpy as np
import pytest

from gapkit._core.rows import edge_forces
from gapkit.kernels import DotProduct
from gapkit.neighbours import build_neighbour_list

pytest.importorskip("pytest_benchmark")

CENTRES = np.arange(64)
SOAP_BLOCK, TRIPLET_BLOCK = (14,), (14, 14, 14)


@pytest.fixture(scope="module")
def spectra(soap_view):
    return soap_view.features(SOAP_BLOCK, CENTRES)


@pytest.fixture(scope="module")
def triplets(triplet_view):
    return triplet_view.features(TRIPLET_BLOCK, CENTRES)


def test_soap_values_of_64_atoms(timed, soap_view):
    timed(soap_view.features, SOAP_BLOCK, CENTRES)


def test_soap_pullback_of_64_atoms(timed, soap_view, spectra, silicon):
    gradients = np.zeros((silicon.neighbours.n_edges, 3))
    timed(soap_view.pullback, spectra, np.ones_like(spectra.x), np.ones(len(CENTRES)), gradients)


def test_soap_jacobian_of_8_atoms(timed, soap_view):
    few = soap_view.features(SOAP_BLOCK, CENTRES[:8])
    timed(soap_view.jacobian, few)


def test_triplet_values_of_64_atoms(timed, triplet_view):
    timed(triplet_view.features, TRIPLET_BLOCK, CENTRES)


def test_triplet_pullback_of_64_atoms(timed, triplet_view, triplets, silicon):
    gradients = np.zeros((silicon.neighbours.n_edges, 3))
    timed(triplet_view.pullback, triplets, np.ones_like(triplets.x), np.ones_like(triplets.factors), gradients)


def test_triplet_jacobian_of_64_atoms(timed, triplet_view, triplets):
    timed(triplet_view.jacobian, triplets)


@pytest.mark.parametrize("zeta", [2, 4, 2.5])
def test_powers_of_64_by_1000(timed, zeta):
    q = np.random.default_rng(0).uniform(0.1, 1.0, (64, 1000))
    timed(DotProduct(zeta=zeta).value, q, np.ones(64), np.ones(1000))


@pytest.mark.parametrize("zeta", [2, 4, 2.5])
def test_powers_and_slopes_of_64_by_1000(timed, zeta):
    q = np.random.default_rng(0).uniform(0.1, 1.0, (64, 1000))
    timed(DotProduct(zeta=zeta).value_and_slopes, q, np.ones(64), np.ones(1000))


def test_neighbour_list_of_1000_atoms(timed, silicon):
    timed(build_neighbour_list, silicon.batch, silicon.neighbours.cutoff)


def test_edge_vectors_of_1000_atoms(timed, silicon):
    timed(silicon.neighbours.moved, silicon.batch)


def test_edge_forces_of_1000_atoms(timed, silicon):
    neighbours = silicon.neighbours
    gradients = np.ones((neighbours.n_edges, 3))
    forces, virials = np.zeros((silicon.batch.n_atoms, 3)), np.zeros((1, 3, 3))
    timed(
        edge_forces, neighbours.offsets, neighbours.indices, neighbours.vectors, silicon.batch.frame_of_atom, gradients,
        forces, virials,
    )  # fmt: skip

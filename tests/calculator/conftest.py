"""Data and fitted models that the tests share."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from threadpoolctl import threadpool_limits

from tests.potential.models import label, make_frames, small_model, small_terms


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def alloy_model():
    """A model of copper and gold; tests must not change it."""
    return small_model(terms=small_terms(15)).fit(make_frames(8, n_gold=3, seed=1))


@pytest.fixture(scope="session")
def copper_model():
    """Copper good enough for molecular dynamics at 600 K."""
    rng = np.random.default_rng(3)
    frames = []
    for size in np.linspace(0.05, 0.35, 20):
        atoms = bulk("Cu", a=3.6, cubic=True) * (2, 1, 1)
        atoms.set_cell(atoms.cell.array * rng.uniform(0.97, 1.03), scale_atoms=True)
        atoms.positions += rng.normal(scale=size, size=(8, 3))
        frames.append(label(atoms))
    return small_model(terms=small_terms(40)).fit(frames)

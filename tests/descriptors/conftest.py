"""Small matrices: threads in BLAS only cost time."""

from functools import cache

import pytest
from sklearn.base import clone
from threadpoolctl import threadpool_limits

from tests.descriptors.cases import CASES, SPECIES, Toy


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


@cache
def _toy(name: str, n_species: int) -> Toy:
    return Toy.make(CASES[name], SPECIES[n_species])


@pytest.fixture(params=list(CASES))
def name(request):
    return request.param


@pytest.fixture
def descriptor(name):
    return clone(CASES[name])


@pytest.fixture(params=list(SPECIES), ids=lambda n: f"{n}-species")
def n_species(request):
    return request.param


@pytest.fixture
def toy(name, n_species):
    return _toy(name, n_species)

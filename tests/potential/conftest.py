"""Data and one fitted model that the tests share."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from tests.potential.models import make_frames, small_model, small_terms


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture(scope="session")
def copper():
    return make_frames(8)


@pytest.fixture(scope="session")
def alloy():
    return make_frames(12, n_gold=3, seed=1)


@pytest.fixture(scope="session")
def fitted(alloy):
    """A model of two species; tests must not change it."""
    return small_model(terms=small_terms(30)).fit(alloy)


@pytest.fixture(scope="session")
def new_frames():
    return make_frames(3, n_gold=3, seed=5)

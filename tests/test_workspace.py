"""Arrays that are used again: they change no prediction, however often, in whatever order and by how many threads."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from gapkit import SOAP, Term, ThreeBody
from gapkit.gp import prediction
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.workspace import Workspace, WorkspacePool
from tests.potential.models import make_frames, small_model, small_terms
from tests.potential.test_gap import assert_identical


def test_arrays_grow_and_stay():
    workspace = Workspace()
    first = workspace.array("a", 3, 4)
    assert first.shape == (3, 4)
    assert first.flags.c_contiguous
    first[:] = 1.0
    smaller = workspace.array("a", 2, 2, 2)
    assert smaller.shape == (2, 2, 2)
    assert np.shares_memory(first, smaller)
    larger = workspace.array("a", 5, 4)
    assert larger.shape == (5, 4)
    assert not np.shares_memory(first, larger)
    assert np.shares_memory(larger, workspace.array("a", 3, 4))
    assert workspace.array("a", 0, 4).shape == (0, 4)
    assert workspace.array("a", 21).shape == (21,)  # one more than there is room for


def test_names_and_workspaces_share_nothing():
    one, other = Workspace(), Workspace()
    arrays = [one.array("a", 4), one.array("b", 4), other.array("a", 4)]
    for value, array in enumerate(arrays):
        array[:] = value
    np.testing.assert_array_equal(arrays, np.repeat([[0.0], [1.0], [2.0]], 4, axis=1))


def test_a_borrowed_workspace_is_lent_once_and_comes_back():
    pool = WorkspacePool()
    with pool.borrow() as one, pool.borrow() as other:
        assert one is not other
        array = one.array("a", 4)
    with pool.borrow() as third, pool.borrow() as fourth:
        assert {id(third), id(fourth)} == {id(one), id(other)}
        assert np.shares_memory(one.array("a", 4), array)


def test_an_exception_loses_no_workspace():
    pool = WorkspacePool()
    with pytest.raises(KeyError), pool.borrow() as workspace:
        raise KeyError
    with pool.borrow() as again:
        assert again is workspace


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda pool: pickle.loads(pickle.dumps(pool))])
def test_a_copy_starts_empty(copied):
    pool = WorkspacePool()
    with pool.borrow() as workspace:
        workspace.array("a", 1000)
    other = copied(pool)
    assert len(pickle.dumps(pool)) < 200
    with other.borrow() as own, pool.borrow() as kept:
        assert own is not workspace
        assert kept is workspace


def test_threads_have_workspaces_of_their_own():
    pool, together = WorkspacePool(), Barrier(4)

    def use(value):
        with pool.borrow() as workspace:
            together.wait()
            array = workspace.array("a", 100)
            array[:] = value
            together.wait()
            return array.min(), array.max()

    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            assert list(threads.map(use, range(4))) == [(value, value) for value in range(4)]
    assert len(pool._idle) == 4


# ---------------------------------------------------------------------- predictions


TERMS = {
    "two-body-soap": small_terms(30),
    "three-body": [Term(ThreeBody(3.2), SquaredExponential(0.3, (1.0, 2.0, 1.0), delta_bounds="fixed"), n_sparse=24)],
    "soap-squared-exponential": [
        Term(SOAP(4.0, 5, 3, 0.5), SquaredExponential(0.5, 0.6, delta_bounds="fixed"), n_sparse=20)
    ],
    "projected": [Term(SOAP(4.0, 6, 4, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=30)],
}


@pytest.fixture(scope="module", params=list(TERMS))
def model(request):
    size, n_gold = (0.02, 0) if request.param == "projected" else (0.1, 3)
    fitted = small_model(terms=TERMS[request.param], truncation=1e-3).fit(make_frames(10, n_gold, seed=1, size=size))
    blocks = fitted.model_.basis.terms[-1].blocks
    assert (blocks[0].projection is not None) == (request.param == "projected")
    return fitted


@pytest.fixture(scope="module")
def frames(model):
    return make_frames(30, n_gold=3 * (len(model.species_) - 1), seed=5)


@pytest.fixture(autouse=True)
def blocks_of_atoms(monkeypatch):
    """Several blocks, the last one shorter."""
    monkeypatch.setattr(prediction, "ATOMS_PER_BLOCK", 32)


@pytest.mark.parametrize("what", [False, True, "local"])
def test_again_and_after_others_the_same_to_the_bit(model, frames, what):
    fresh = copy.deepcopy(model)
    expected = fresh.predict(frames, return_std=what)
    assert_identical(expected, fresh.predict(frames, return_std=what))
    few = fresh.predict(frames[3:5], return_std=what)
    for other in (True, False, "local"):
        fresh.predict(frames[:7], return_std=other)
    assert_identical(expected, fresh.predict(frames, return_std=what))
    assert_identical(few, fresh.predict(frames[3:5], return_std=what))


@pytest.mark.parametrize("what", [False, True, "local"])
def test_threads_change_no_bit(model, frames, what):
    several = copy.deepcopy(model).set_params(n_jobs=2)
    expected = model.predict(frames, return_std=what)
    for _ in range(3):
        assert_identical(expected, several.predict(frames, return_std=what))


def test_results_are_not_overwritten_by_the_next_call(model, frames):
    first = model.predict(frames[:3], return_std=True)
    kept = copy.deepcopy(first)
    model.predict(frames[20:23], return_std=True)
    assert_identical(kept, first)


def test_a_failed_prediction_leaves_the_model_as_it_was(model, frames, monkeypatch):
    expected = model.predict(frames)
    with monkeypatch.context() as patch:
        patch.setattr("gapkit.gp.prediction._Pass._add", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.predict(frames)
    assert_identical(expected, model.predict(frames))

"""One calculator, or one model, in the hands of several threads and processes: nobody gets another's results."""

from __future__ import annotations

import copy
import os
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gapkit import GAPCalculator
from gapkit.calculator.committee import CommitteeCalculator
from gapkit.workspace import Turns
from tests.potential.models import make_frames, small_model

N_THREADS = 4


@pytest.fixture(scope="module")
def model():
    """Calibrated; tests must not change it."""
    return small_model(calibration="leave-one-out").fit(make_frames(14, n_gold=3, seed=1))


def structures():
    """Of different sizes, so that a mistake is an error as well as a wrong number."""
    return [frame.copy() * (1, 1, 1 + i % 2) for i, frame in enumerate(make_frames(N_THREADS, n_gold=3, seed=8))]


def slowly(monkeypatch, of):
    """Let threads overtake each other between a structure and its results."""
    compute = of._compute

    def slow(self, *arguments):
        time.sleep(0.003)
        compute(self, *arguments)
        time.sleep(0.003)

    monkeypatch.setattr(of, "_compute", slow)


CALCULATORS = {
    "gap": lambda model: GAPCalculator(model),
    "no skin": lambda model: GAPCalculator(model, skin=0.0),
    "committee": lambda model: CommitteeCalculator(model.sample(3)),
}


@pytest.mark.parametrize("kind", list(CALCULATORS))
def test_threads_that_share_a_calculator_take_turns(model, monkeypatch, kind):
    calculator, frames = CALCULATORS[kind](model), structures()
    expected = [model.predict(atoms) for atoms in frames]
    slowly(monkeypatch, type(calculator))

    def work(which):
        found = []
        for _ in range(6):
            forces = calculator.get_property("forces", frames[which])
            energy = calculator.get_property("energy", frames[which])
            spread = calculator.get_property("energy_std" if kind == "committee" else "energies_std", frames[which])
            found.append((energy, forces, np.shape(spread)))
        return found

    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(work, range(N_THREADS)))
    for p, atoms, results in zip(expected, frames, found, strict=True):
        for energy, forces, shape in results:
            assert energy == pytest.approx(p.energy[0], abs=1e-9)
            np.testing.assert_allclose(forces, p.forces, rtol=0, atol=1e-8)
            assert shape == (() if kind == "committee" else (len(atoms),))


def test_threads_that_share_a_model(model):
    frames = structures()
    expected = [model.predict(atoms, return_std=True) for atoms in frames]
    fresh = pickle.loads(pickle.dumps(model))  # nothing made yet that is made when first asked for
    start = threading.Barrier(N_THREADS)

    def work(which):
        start.wait()
        return [fresh.predict(frames[which], return_std=True) for _ in range(4)]

    with ThreadPoolExecutor(N_THREADS) as pool:
        found = list(pool.map(work, range(N_THREADS)))
    for p, results in zip(expected, found, strict=True):
        for q in results:
            for name in ("energy", "forces", "stress", "energy_std", "forces_std", "novelty"):
                np.testing.assert_allclose(getattr(q, name), getattr(p, name), rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_are_calculators_of_their_own(model, copied):
    atoms, calculator = structures()[0], GAPCalculator(model)
    energy = calculator.get_property("energy", atoms)
    other = copied(calculator)
    with calculator._turns.taken() if copied is not copy.copy else Turns().taken(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(other.get_property, "energy", atoms).result(timeout=20) == pytest.approx(energy, abs=1e-10)


def test_a_fork_does_not_wait_for_a_thread_that_it_does_not_have(model):
    atoms, calculator = structures()[0], GAPCalculator(model, n_jobs=1)
    energy = calculator.get_property("energy", atoms)
    held, done = threading.Event(), threading.Event()

    def hold():
        with calculator._turns.taken():
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        other = calculator.get_property("energy", atoms * (1, 1, 2))
        os._exit(0 if abs(other - 2 * energy) < 1e-6 else 1)
    limit = time.monotonic() + 20
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < limit:
        time.sleep(0.01)
    done.set()
    thread.join()
    if status == (0, 0):
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert status == (child, 0)


def test_turns_are_of_one_object_and_may_be_taken_twice():
    turns = Turns()
    with turns.taken(), turns.taken(), copy.deepcopy(turns).taken():
        assert not turns._lock.acquire(blocking=False) or turns._lock.release() is None

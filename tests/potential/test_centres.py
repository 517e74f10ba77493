"""Energies of some of the atoms, as MPI ranks and regions of QM/MM ask for them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList
from gapkit.potential import ZBL, CalculatorTerm
from gapkit.structures import to_batch
from tests.descriptors.cases import numerical_forces, numerical_virial
from tests.potential.models import make_frames, small_model
from tests.potential.test_gap import DERIVATIVE


@pytest.fixture(scope="module")
def model():
    return small_model(energy_terms=ZBL(2.8, 1.5)).fit(make_frames(8, n_gold=3, seed=1)).state_


@pytest.fixture
def atoms():
    return make_frames(1, n_gold=3, seed=9)[0].copy() * (2, 1, 1)


def test_centres_and_the_others_add_up(model, atoms):
    batch = to_batch([atoms, atoms * (1, 1, 2)], labels=False)
    neighbours = model.neighbours(batch)
    some = np.random.default_rng(0).random(batch.n_atoms) < 0.4
    whole = model.predict(batch, neighbours, uncertainty="parts")
    part, others = (model.predict(batch, neighbours, uncertainty="parts", centres=mask) for mask in (some, ~some))
    assert not part.local_energies[~some].any()
    assert_allclose(part.local_energies[some], whole.local_energies[some], rtol=0, atol=1e-12)
    assert_allclose(part.unseen[some], whole.unseen[some], rtol=0, atol=1e-12)
    assert_allclose(part.energy, np.bincount(batch.frame_of_atom, part.local_energies), rtol=0, atol=1e-12)
    for key in ("energy", "forces", "virial", "stress"):
        assert_allclose(getattr(part, key) + getattr(others, key), getattr(whole, key), rtol=0, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_forces_are_derivatives_of_the_sum(model, atoms, weighted):
    some = np.arange(len(atoms)) % 3 == 0
    factors = np.random.default_rng(1).normal(size=len(atoms)) if weighted else np.ones(len(atoms))

    def energies(frames):
        batch = to_batch(frames, labels=False)
        given = {"centres": np.tile(some, len(frames)), "upstream": np.tile(factors, len(frames)) if weighted else None}
        p = model.predict(batch, model.neighbours(batch), **given)
        return np.bincount(batch.frame_of_atom, np.tile(factors, len(frames)) * p.local_energies)

    batch = to_batch([atoms], labels=False)
    p = model.predict(batch, model.neighbours(batch), centres=some, upstream=factors if weighted else None)
    forces, virial = numerical_forces(energies, atoms), numerical_virial(energies, atoms)
    assert_allclose(p.forces, forces, rtol=0, atol=DERIVATIVE * np.abs(forces).max())
    assert_allclose(p.virial[0], virial, rtol=0, atol=DERIVATIVE * np.abs(virial).max())


def test_centres_need_only_their_own_neighbours(model, atoms):
    """A rank lists the neighbours of its own atoms, which come first."""
    batch = to_batch(atoms, labels=False)
    whole = model.neighbours(batch)
    n, edges = 3, slice(whole.offsets[3])
    neighbours = NeighbourList(
        np.minimum(whole.offsets, whole.offsets[n]), whole.indices[edges], whole.shifts[edges], whole.vectors[edges],
        whole.distances[edges], whole.cutoff,
    )  # fmt: skip
    own = np.arange(batch.n_atoms) < n
    part, full = (model.predict(batch, which, uncertainty="parts", centres=own) for which in (neighbours, whole))
    for key in ("energy", "forces", "virial", "local_energies"):
        assert_allclose(getattr(part, key), getattr(full, key), rtol=0, atol=1e-12)
    assert_allclose(part.unseen[:n], full.unseen[:n], rtol=0, atol=1e-12)


def test_a_calculator_cannot_be_divided(atoms):
    fitted = small_model(energy_terms=CalculatorTerm("ase.calculators.emt.EMT")).fit(make_frames(8, 3, seed=1)).state_
    batch = to_batch(atoms, labels=False)
    with pytest.raises(InputError, match="leave CalculatorTerm out"):
        fitted.predict(batch, fitted.neighbours(batch), centres=np.arange(batch.n_atoms) < 2)

"""Descriptors that are not gapkit's: scaled features, two layers, model files, and what they need to be loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.custom_descriptor import Shells
from gapkit import Term, load
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import centres_seeing, design_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.defaults import plan_terms
from gapkit.potential.training.sparse_points import adapted
from gapkit.sparse import FromList
from gapkit.structures import to_batch
from tests.descriptors.cases import SPECIES, Toy, assert_derivatives, structure
from tests.potential.models import make_frames, small_model, small_terms

ROOT = Path(__file__).parents[2]


def terms(n_sparse=20):
    return [small_terms()[0], Term(Shells(3.0), n_sparse=n_sparse)]


@pytest.fixture(scope="module")
def frames():
    return make_frames(10, n_gold=2, seed=0)


@pytest.fixture(scope="module")
def model(frames):
    return small_model(terms=terms()).fit(frames)


def engine_of(model, term=1):
    return model.model_.basis.terms[term].engine


def test_features_are_scaled_to_unit_length(model, frames):
    batch = to_batch(frames, labels=False)
    engine = engine_of(model)
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    squares = np.concatenate([(view.features(b, view.centres(b)).x ** 2).sum(axis=1) for b in engine.blocks])
    assert engine.scale > 2.0
    assert squares.mean() == pytest.approx(1.0, rel=0.05)  # of the whole set, not of the sample


def test_given_points_are_not_scaled(frames):
    points = Shells(3.0).fit_transform(frames)[:5]
    (plan,) = plan_terms([Term(Shells(3.0), selector=FromList(points))], 5, to_batch(frames))
    assert adapted(plan, to_batch(frames), 1e-7).engine.scale == 1.0


@pytest.mark.parametrize("n_species", list(SPECIES))
def test_a_scale_changes_values_and_derivatives_alike(n_species):
    descriptor = Shells(3.0)
    engine = descriptor.engine(SPECIES[n_species]).with_arrays({"scale": np.array([0.1])})
    toy = Toy.make(descriptor, SPECIES[n_species], engine=engine, tolerance=0.03)
    assert_derivatives(toy, structure("small", n_species))
    frames = [structure(kind, n_species) for kind in ("small", "molecule")]
    rows = toy.rows(frames)
    forces = toy.predict(frames).forces
    np.testing.assert_allclose(rows.forces @ toy.weights, forces, rtol=0, atol=1e-9 * np.abs(forces).max())


def test_the_receptive_field_is_two_layers():
    """An atom that only a neighbour sees changes the vector of an atom, and its force rows come from two hops away."""
    chain = structure("molecule", 1)[:3]
    chain.positions[:] = [[0, 0, 0], [2.4, 0, 0], [4.8, 0.3, 0]]
    shells = Shells(3.2).fit(chain)
    assert np.abs(shells.transform(chain)[0] - shells.transform(chain[:2])[0]).max() > 5e-3
    toy = Toy.make(Shells(3.2), (14,))
    batch = to_batch(chain, labels=False)
    neighbours = build_neighbour_list(batch, toy.basis.reach)
    np.testing.assert_array_equal(centres_seeing(np.array([2]), neighbours, 1), [1, 2])
    np.testing.assert_array_equal(centres_seeing(np.array([2]), neighbours, 2), [0, 1, 2])
    applied = AppliedBasis.of(toy.basis, batch, neighbours)
    whole = design_rows(applied)
    parts = [design_rows(applied, atoms=np.array([i])) for i in range(3)]
    scale = np.abs(whole.forces).max()
    np.testing.assert_allclose(np.concatenate([p.forces for p in parts]), whole.forces, rtol=0, atol=1e-12 * scale)
    for name in ("energy", "virial"):
        np.testing.assert_allclose(sum(getattr(p, name) for p in parts), getattr(whole, name), atol=1e-12 * scale)


def test_forces_of_a_fit_are_derivatives_of_its_energies(model, frames):
    atoms, step = frames[0].copy(), 1e-4
    numerical = 0.0
    for offset, weight in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
        moved = atoms.copy()
        moved.positions[1, 2] += offset * step
        numerical -= weight / (12 * step) * model.predict(moved).energy[0]
    assert model.predict(atoms).forces[1, 2] == pytest.approx(numerical, rel=1e-5)


def test_it_learns(frames, model):
    plain = small_model(terms=small_terms()[:1]).fit(frames)
    test = make_frames(4, n_gold=2, seed=9)
    errors = [np.abs(m.predict(test).forces - np.concatenate([a.get_forces() for a in test])).mean()
              for m in (model, plain)]  # fmt: skip
    assert errors[0] < 0.8 * errors[1]


def test_saved_and_loaded(model, frames, tmp_path):
    model.save(tmp_path / "own.gapkit")
    other = load(tmp_path / "own.gapkit")
    assert engine_of(other).scale == engine_of(model).scale
    p, q = (m.predict(frames, return_std=True) for m in (model, other))
    for name in ("energy", "forces", "stress", "forces_std"):
        np.testing.assert_array_equal(getattr(p, name), getattr(q, name))


def test_a_file_says_which_module_it_needs(model, tmp_path):
    model.save(tmp_path / "own.gapkit")
    code = f"from gapkit import load; load({str(tmp_path / 'own.gapkit')!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode != 0
    assert "import examples.custom_descriptor" in result.stderr


def test_a_species_without_sparse_points_has_the_prior_of_its_own_vectors():
    """Its local energies have the variance k(x, x) of vectors that have no fixed length."""
    model = small_model(terms=[Term(Shells(3.0), n_sparse=1)]).fit(make_frames(8, n_gold=3, seed=1))
    (block,) = model.model_.basis.terms[0].blocks
    (gold,) = {29, 79} - set(block.species)
    atoms = make_frames(1, seed=3)[0]
    atoms.numbers[:] = gold
    batch = to_batch(atoms, labels=False)
    engine = engine_of(model, 0)
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    x = view.features((gold,), view.centres((gold,))).x
    expected = model.scales_[0] ** 2 * (x**2).sum(axis=1) ** 4
    assert np.ptp(expected) > 0.01 * expected.max()
    p = model.predict(atoms, return_std="local")
    np.testing.assert_allclose(p.local_energies_std**2, expected, rtol=1e-9)

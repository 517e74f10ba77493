"""Sparse points projected on their leading directions: another model, and an exact one."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit import SOAP, Term, load
from gapkit.descriptors import TwoBody
from gapkit.gp.basis import WORTHWHILE, SparseBasis, leading_directions
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.sparse import FromList
from tests.descriptors.cases import (
    STRUCTURES,
    Toy,
    assert_derivatives,
    numerical_forces,
    structure,
)
from tests.descriptors.test_registry import EXACT, ROWS, SYMMETRY, largest
from tests.potential.models import make_frames, small_model, small_terms
from tests.potential.test_gap import assert_identical

TOLERANCE = 1e-2
N_POINTS = 8


# ---------------------------------------------------------------------- directions


def points_of_rank(rank, m=60, d=40, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, rank)) @ rng.normal(size=(rank, d)) + noise * rng.normal(size=(m, d))


@pytest.mark.parametrize("tolerance", [1e-6, 1e-3, 0.1])
def test_what_is_left_out_is_within_the_tolerance(tolerance):
    spread = np.geomspace(1.0, 1e-10, 40)
    x = points_of_rank(40, m=400) * spread
    directions = leading_directions(x, tolerance)
    assert directions.shape[0] == 40
    np.testing.assert_allclose(directions.T @ directions, np.eye(directions.shape[1]), rtol=0, atol=EXACT)
    left = np.linalg.norm(x - x @ directions @ directions.T) / np.linalg.norm(x)
    assert left <= tolerance
    fewer = directions[:, :-1]  # not one more than needed
    assert np.linalg.norm(x - x @ fewer @ fewer.T) / np.linalg.norm(x) > tolerance


def test_the_rank_is_found_in_spite_of_rounding():
    assert leading_directions(points_of_rank(7), 1e-12).shape == (40, 7)


@pytest.mark.parametrize(
    ("x", "tolerance"),
    [
        (points_of_rank(7), 0.0),
        (points_of_rank(40), 1e-6),
        (points_of_rank(7)[:1], 1e-3),
        (points_of_rank(1, d=1), 1e-3),
        (points_of_rank(7, m=8), 1e-3),
    ],
    ids=["no-tolerance", "full-rank", "one-point", "one-feature", "few-points"],
)
def test_no_directions_where_they_do_not_pay(x, tolerance):
    assert leading_directions(x, tolerance) is None


@pytest.mark.parametrize("m", [60, 200])
def test_directions_pay_below_a_rank(m):
    """The cost of a projection and of shorter inner products against that of the inner products."""
    limit = WORTHWHILE * 40 * m / (40 + m)
    assert leading_directions(points_of_rank(int(limit), m), 1e-10).shape == (40, int(limit))
    assert leading_directions(points_of_rank(int(limit) + 1, m), 1e-10) is None


# ---------------------------------------------------------------------- the model


@pytest.fixture(scope="module", params=[1, 3], ids=lambda n: f"{n}-species")
def n_species(request):
    return request.param


@pytest.fixture(scope="module")
def toy(n_species):
    """Each block holds the points of a plane through the vectors of a few atoms, and a little of other directions."""
    descriptor, species = SOAP(4.0, 4, 3, 0.5), {1: (14,), 3: (8, 14, 32)}[n_species]
    own = Toy.make(descriptor, species)
    term = own.basis.terms[0]
    rng = np.random.default_rng(3)
    points = []
    for block in term.blocks:
        few = block.points[:3]
        mixed = rng.uniform(0.2, 1.0, size=(N_POINTS, len(few))) @ few
        points.append((block.species, mixed / np.linalg.norm(mixed, axis=1)[:, None]))
        points[-1][1][:] += 1e-4 * rng.normal(size=mixed.shape)
    basis = SparseBasis.build([term.engine], [term.kernel], [points], tolerance=TOLERANCE)
    assert all(block.projection is not None for block in basis.terms[0].blocks)
    return Toy(basis, rng.normal(size=basis.n_columns))


@pytest.fixture(scope="module")
def frames(n_species):
    return [structure(kind, n_species) for kind in STRUCTURES]


def test_the_projected_points_are_the_points_of_the_model(toy, frames):
    """The same as an unprojected basis with these points: energies, forces, rows and prior."""
    term = toy.basis.terms[0]
    points = [(block.species, block.points) for block in term.blocks]
    plain = Toy(SparseBasis.build([term.engine], [term.kernel], [points]), toy.weights)
    assert not any(block.projection is not None for block in plain.basis.terms[0].blocks)
    p, q = toy.predict(frames), plain.predict(frames)
    rows, plain_rows = toy.rows(frames), plain.rows(frames)
    for name in ("local_energies", "forces", "virials"):
        expected = getattr(q, name)
        np.testing.assert_allclose(getattr(p, name), expected, rtol=0, atol=SYMMETRY * largest(expected))
    for name in ("energy", "forces", "virial"):
        expected = getattr(plain_rows, name)
        np.testing.assert_allclose(getattr(rows, name), expected, rtol=0, atol=ROWS * largest(expected))
    for one, other in zip(term.blocks, plain.basis.terms[0].blocks, strict=True):
        np.testing.assert_allclose(one.scaled @ one.scaled.T, other.scaled @ other.scaled.T, rtol=0, atol=EXACT)
        np.testing.assert_allclose(one.norms, other.norms, rtol=EXACT)


def test_reduced_products_are_products_with_the_points(toy):
    rng = np.random.default_rng(4)
    for block in toy.basis.terms[0].blocks:
        x, g = rng.normal(size=(5, block.points.shape[1])), rng.normal(size=(5, block.scaled.shape[1]))
        assert block.scaled.shape[1] < N_POINTS
        np.testing.assert_allclose(block.reduce(x) @ block.scaled.T, x @ block.points.T, rtol=0, atol=EXACT * 10)
        # reverse mode: <expand(g), x> = <g, reduce(x)>
        np.testing.assert_allclose((block.expand(g) * x).sum(), (g * block.reduce(x)).sum(), rtol=0, atol=EXACT * 10)


def test_forces_and_virial_are_derivatives_of_the_energy(toy, n_species):
    for kind in ("small", "molecule"):
        atoms = structure(kind, n_species)
        assert_derivatives(toy, atoms)


def test_design_rows_times_weights_are_the_prediction(toy, frames):
    p, rows = toy.predict(frames), toy.rows(frames)
    np.testing.assert_allclose(rows.energy @ toy.weights, toy.energies(frames), rtol=0, atol=1e-11)
    np.testing.assert_allclose(rows.forces @ toy.weights, p.forces, rtol=0, atol=ROWS * largest(rows.forces))


def test_restored_to_the_bit(toy, frames):
    term = toy.basis.terms[0]
    stored = [(block.species, block.scaled, block.projection) for block in term.blocks]
    other = Toy(SparseBasis.restore([term.engine], [term.kernel], [stored]), toy.weights)
    p, q = toy.predict(frames), other.predict(frames)
    for name in ("local_energies", "forces", "virials"):
        np.testing.assert_array_equal(getattr(p, name), getattr(q, name))
    for one, two in zip(toy.basis.prior(), other.basis.prior(), strict=True):
        np.testing.assert_array_equal(one.L, two.L)


def test_kernels_of_distances_are_not_projected():
    x = points_of_rank(3)
    for kernel, projected in ((SquaredExponential(), False), (DotProduct(), True)):
        basis = SparseBasis.build([TwoBody(4.0).engine((14,))], [kernel], [[((14, 14), x)]], tolerance=TOLERANCE)
        block = basis.terms[0].blocks[0]
        assert (block.projection is not None) == projected
        np.testing.assert_allclose(block.points, x, rtol=0, atol=TOLERANCE * np.linalg.norm(x))
        assert (block.points is x) == (not projected)


# ---------------------------------------------------------------------- a fitted one


@pytest.fixture(scope="module")
def projected():
    """Many sparse points of hardly disordered copper: they span few directions."""
    train = make_frames(16, size=0.02)
    terms = [small_terms()[0], Term(SOAP(4.0, 6, 4, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=40)]
    models = [small_model(terms=terms, truncation=t).fit(train) for t in (1e-3, 0.0)]
    blocks = [model.model_.basis.terms[1].blocks[0] for model in models]
    assert blocks[0].projection is not None
    assert blocks[1].projection is None
    return models


def test_a_projected_model_is_consistent(projected):
    model, atoms = projected[0], make_frames(1, seed=4)[0]
    forces = numerical_forces(lambda frames: model.predict(frames).energy, atoms)
    p = model.predict(atoms)
    assert largest(forces) > 0.1
    np.testing.assert_allclose(p.forces, forces, rtol=0, atol=1e-6 * largest(forces))
    assert largest(p.forces - projected[1].predict(atoms).forces) < 0.02 * largest(forces)


def test_a_projected_model_is_saved_to_the_bit(projected, tmp_path):
    model, frames = projected[0], make_frames(2, seed=4)
    model.save(tmp_path / "m.gapkit")
    assert_identical(
        model.predict(frames, return_std=True), load(tmp_path / "m.gapkit").predict(frames, return_std=True)
    )


def test_given_points_may_be_projected():
    frames = make_frames(16, size=0.02)
    x = SOAP(4.0, 4, 3, 0.5).fit_transform(frames)[:50]  # (50, 40)
    kernel = DotProduct(0.5, 3, delta_bounds="fixed")
    model = small_model(terms=[Term(SOAP(4.0, 4, 3, 0.5), kernel, 50, FromList(x))], truncation=1e-3)
    block = model.fit(frames).model_.basis.terms[0].blocks[0]
    order = model.model_.basis.terms[0].engine.public_order
    assert block.projection is not None
    assert 0.0 < np.linalg.norm(block.points[:, order] - x) <= 1e-3 * np.linalg.norm(x)

"""SOAP vectors turned to principal axes and cut to what a sample shows: the same geometry, and exact derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import clone

from gapkit import SOAP, Term, load
from gapkit.descriptors import TwoBody
from gapkit.exceptions import InputError
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.defaults import plan_terms
from gapkit.potential.training.sparse_points import adapted
from gapkit.sparse import FromList
from gapkit.structures import to_batch
from tests.descriptors.cases import (
    STENCIL,
    STRUCTURES,
    Toy,
    assert_derivatives,
    numerical_forces,
    rotation,
    structure,
)
from tests.descriptors.test_registry import EXACT, ROWS, assert_same, largest
from tests.potential.models import make_frames, small_model, small_terms
from tests.potential.test_gap import assert_identical

TURNED = 1e-10  # two orthonormal bases of the same channels
SPECIES = {"one": (14,), "two": (8, 14), "three": (8, 14, 32)}
# Radial functions that fill groups of four, and that do not.
SIZES = [(4, 3), (5, 2), (6, 4)]


@pytest.fixture(params=list(SPECIES))
def species(request):
    return SPECIES[request.param]


@pytest.fixture(params=SIZES, ids=lambda size: f"n{size[0]}-l{size[1]}")
def descriptor(request):
    return SOAP(4.0, *request.param, 0.5)


def disordered(kind, species, seed=0):
    atoms = structure(kind, 1, seed)
    atoms.numbers = np.resize(species, len(atoms))
    return atoms


def frames_of(species):
    return [disordered(kind, species, seed) for seed in (1, 2) for kind in ("bulk", "slab", "molecule")]


def view_of(engine, frames):
    batch = to_batch(frames, labels=False)
    neighbours = build_neighbour_list(batch, engine.reach)
    return engine.view(batch.numbers, neighbours), neighbours


def vectors(engine, frames):
    """Features by block."""
    view, _ = view_of(engine, frames)
    return {block: view.features(block, view.centres(block)) for block in engine.blocks}


def samples(engine, frames):
    view, _ = view_of(engine, frames)
    return [(block, view.coefficients(block, view.centres(block))) for block in engine.blocks]


def cut(engine, frames, tolerance):
    view, _ = view_of(engine, frames)
    return engine.adapted([(block, view, view.centres(block)) for block in engine.blocks], tolerance)


def turned(engine, seed=0):
    """Channels of every degree in random axes, all pairs kept."""
    n = len(engine.tables.first)
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(engine.tables.l_max + 1, n, n)))[0]
    return engine.rotated(axes, np.tile(np.arange(1, n + 1), (len(axes), 1)))


# ---------------------------------------------------------------------- a rotation alone


@pytest.mark.parametrize("normalize", [True, False])
def test_a_rotation_keeps_all_inner_products(descriptor, species, normalize):
    engine = clone(descriptor).set_params(normalize=normalize).engine(species)
    other = turned(engine)
    assert other.n_features == engine.n_features
    one, two = (vectors(e, frames_of(species)) for e in (engine, other))
    for block in engine.blocks:
        x, y = one[block].x, two[block].x
        assert largest(x - y) > 1e-2 * largest(x)
        np.testing.assert_allclose(y @ y.T, x @ x.T, rtol=0, atol=TURNED * largest(x @ x.T))


def test_a_rotation_changes_no_prediction(descriptor, species):
    engine = descriptor.engine(species)
    frames = [disordered(kind, species) for kind in STRUCTURES]
    p, q = (Toy.make(descriptor, species, engine=e).predict(frames) for e in (engine, turned(engine)))
    for name in ("local_energies", "forces", "virials"):
        expected = getattr(p, name)
        np.testing.assert_allclose(getattr(q, name), expected, rtol=0, atol=TURNED * largest(expected))


# ---------------------------------------------------------------------- what is left out


@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-5])
def test_what_is_left_out_is_within_the_tolerance(descriptor, species, tolerance):
    engine, frames = descriptor.engine(species), frames_of(species)
    shorter = cut(engine, frames, tolerance)
    assert shorter.n_features < engine.n_features
    left_out = []
    for features in vectors(shorter, frames).values():
        np.testing.assert_array_equal(features.squares, 1.0)
        left_out.append(np.sqrt(np.maximum(1.0 - (features.x**2).sum(axis=1), 0.0).mean()))
    assert max(left_out) <= tolerance
    assert max(left_out) > 0.02 * tolerance  # the tolerance is made use of


def test_what_is_kept_is_part_of_the_whole_vector(descriptor, species):
    """Also for neighbourhoods whose left-out part is large: they are divided by the length of the whole."""
    engine = descriptor.engine(species)
    shorter = cut(engine, [disordered("bulk", species)], 0.03)
    n, kept = len(engine.tables.first), shorter.tables.kept
    whole = engine.rotated(shorter.rotation, np.tile(np.arange(1, n + 1), (len(kept), 1)))
    wanted = np.concatenate([np.arange(a + 1) < kept[l, a] for l in range(len(kept)) for a in range(n)])
    assert wanted.sum() == shorter.n_features
    frames = [disordered("molecule", species, 4)]
    parts, wholes = vectors(shorter, frames), vectors(whole, frames)
    for block in engine.blocks:
        np.testing.assert_allclose(parts[block].x, wholes[block].x[:, wanted], rtol=0, atol=EXACT)
        np.testing.assert_allclose((wholes[block].x ** 2).sum(axis=1), 1.0, rtol=EXACT)
    assert min((part.x**2).sum(axis=1).min() for part in parts.values()) < 0.9999


def test_the_axes_are_principal(species):
    engine, frames = SOAP(4.0, 6, 4, 0.5).engine(species), frames_of(species)
    shorter = cut(engine, frames, 1e-4)
    rows = slice(1, 4)  # l = 1
    covariance = sum(np.einsum("ima,imb->ab", c[:, rows], c[:, rows]) / len(c) for _, c in samples(shorter, frames))
    variances = covariance.diagonal()
    np.testing.assert_allclose(covariance, np.diag(variances), rtol=0, atol=TURNED * variances.max())
    assert (np.diff(variances) <= TURNED * variances.max()).all()


def test_rare_species_count_as_much_as_frequent_ones():
    """The tolerance holds for the atoms of every block: a thousand others do not hide them."""
    species = (8, 14)
    rare = Atoms([8, 14], positions=[[0, 0, 0], [0, 0, 1.6]])
    engine = SOAP(4.0, 4, 3, 0.5).engine(species)
    shorter = cut(engine, [rare, *[disordered("bulk", (14,), seed) for seed in range(10)]], 1e-3)
    x = vectors(shorter, [rare])[(8,)].x
    assert 1.0 - (x**2).sum() <= 1e-6


def test_other_engines_are_left_as_they_are():
    plain = SOAP(4.0, 4, 3, 0.5, normalize=False).engine((14,))
    assert cut(plain, frames_of((14,)), 1e-2) is plain
    unit = SOAP(4.0, 4, 3, 0.5).engine((14,))
    assert unit.adapted([], 1e-2) is unit


def test_atoms_without_neighbours():
    """No length with a centre of no weight: not part of the sample, and predicted like any other."""
    descriptor = SOAP(4.0, 4, 3, 0.5, central_weight=0.0)
    engine, alone = descriptor.engine((14,)), Atoms("Si", cell=np.eye(3) * 20, pbc=True)
    (_, coefficients), frames = samples(engine, [alone, disordered("bulk", (14,))])[0], frames_of((14,))
    assert len(coefficients) == len(disordered("bulk", (14,)))
    shorter = cut(engine, [alone, *frames], 1e-3)
    assert vectors(shorter, [alone])[(14,)].squares == 0.0
    p = Toy.make(descriptor, (14,), engine=shorter).predict([alone])
    assert p.local_energies == 0.0
    assert not p.forces.any()


# ---------------------------------------------------------------------- derivatives and symmetries


@pytest.fixture
def toy(descriptor, species):
    """Cut by a single bulk structure: what is left out of molecules is not small."""
    engine = cut(descriptor.engine(species), [disordered("bulk", species)], 1e-2)
    return Toy.make(descriptor, species, engine=engine)


@pytest.fixture(params=["small", "molecule"])
def atoms(request, species):
    return disordered(request.param, species)


def test_jacobian_and_pullback(toy, atoms):
    engine = toy.basis.terms[0].engine
    view, neighbours = view_of(engine, [atoms])
    rng = np.random.default_rng(1)
    offsets, weights = STENCIL
    step = 1e-3
    for block in engine.blocks:
        centres = view.centres(block)
        features = view.features(block, centres)
        gx = rng.normal(size=features.x.shape)
        backward, forward = np.zeros((2, neighbours.n_edges, 3))
        view.pullback(features, gx, np.zeros(len(gx)), backward)
        jacobian = view.jacobian(features)
        instance = np.repeat(np.arange(len(gx)), np.diff(jacobian.edges.offsets))
        np.add.at(forward, jacobian.edges.indices, np.einsum("lad,ld->la", jacobian.dx, gx[instance]))
        np.testing.assert_allclose(backward, forward, rtol=0, atol=10 * EXACT * max(largest(forward), 1e-3))
        edge = jacobian.edges.indices[0]  # of the first centre
        if not atoms.pbc.any():  # one neighbour, one edge: differences by moving the atom
            numerical = np.zeros((3, engine.n_features))
            for axis in range(3):
                for offset, weight in zip(offsets, weights, strict=True):
                    moved = atoms.copy()
                    moved.positions[neighbours.indices[edge], axis] += offset * step
                    numerical[axis] += weight / step * view_of(engine, [moved])[0].features(block, centres[:1]).x[0]
            assert largest(numerical) > 1e-3
            np.testing.assert_allclose(jacobian.dx[0], numerical, rtol=0, atol=1e-7 * largest(numerical))


def test_forces_and_virial_are_derivatives_of_the_energy(toy, atoms):
    assert_derivatives(toy, atoms)


def test_design_rows_times_weights_are_the_prediction(toy, atoms):
    p, rows = toy.predict([atoms]), toy.rows([atoms])
    np.testing.assert_allclose(rows.energy @ toy.weights, toy.energies([atoms]), rtol=1e-11)
    np.testing.assert_allclose(rows.forces @ toy.weights, p.forces, rtol=0, atol=ROWS * largest(rows.forces))


@pytest.mark.parametrize("improper", [False, True])
def test_rotation_of_the_structure(toy, atoms, improper):
    turn = rotation(improper=improper)
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ turn)
    other.positions = atoms.positions @ turn
    assert_same(toy, atoms, other, turn)


def test_permutation_and_translation(toy, atoms):
    order = np.random.default_rng(2).permutation(len(atoms))
    other = atoms[order]
    other.positions += [0.3, -0.7, 0.2]
    assert_same(toy, atoms, other, order=order)


# ---------------------------------------------------------------------- in a model


def fixed_terms(species):
    """Sparse points that do not depend on the axes of the vectors."""
    n = 24 // len(species) ** 2
    selector = FromList(indices=list(range(n)))
    kernel = DotProduct(0.5, 3, delta_bounds="fixed")
    return [small_terms()[0], Term(SOAP(4.0, 6, 4, 0.5), kernel, dict.fromkeys(species, n), selector)]


@pytest.fixture(scope="module", params=[("Cu",), ("Cu", "Au")], ids="-".join)
def symbols(request):
    return request.param


@pytest.fixture(scope="module")
def training(symbols):
    return make_frames(8, n_gold=3 * (len(symbols) - 1), seed=1)


def engine_of(model):
    return model.model_.basis.terms[-1].engine


def test_a_tight_truncation_changes_nothing_that_matters(symbols, training):
    frames = make_frames(3, n_gold=3 * (len(symbols) - 1), seed=5)
    full, tight, usual = (
        small_model(terms=fixed_terms(symbols), truncation=t).fit(training) for t in (0.0, 1e-7, 1e-5)
    )
    assert engine_of(usual).n_features < engine_of(tight).n_features < engine_of(full).n_features
    p, q, r = (model.predict(frames) for model in (full, tight, usual))
    assert largest(p.forces) > 0.1
    assert 0.0 < largest(q.forces - p.forces) < 1e-6  # eV/Å
    assert largest(q.energy - p.energy) < 1e-6
    assert largest(q.forces - p.forces) < largest(r.forces - p.forces) < 1e-3


def test_without_truncation(training):
    model = small_model(truncation=0.0).fit(training)
    assert engine_of(model).rotation is None
    assert engine_of(model).n_features == SOAP(4.0, 4, 3, 0.5).engine(model.state_.species).n_features
    assert all(block.projection is None for term in model.model_.basis.terms for block in term.blocks)
    batch = to_batch(training, labels=False)
    for plan in plan_terms(small_terms(), None, batch):
        assert adapted(plan, batch, 0.0).engine is plan.engine
        if isinstance(plan.term.descriptor, TwoBody):
            assert adapted(plan, batch, 1e-3).engine is plan.engine


def test_a_model_file_keeps_the_axes_to_the_bit(symbols, training, tmp_path):
    model = small_model(terms=fixed_terms(symbols), truncation=1e-4).fit(training)
    assert engine_of(model).rotation is not None
    model.save(tmp_path / "m.gapkit", factors=True)
    loaded = load(tmp_path / "m.gapkit")
    assert loaded.truncation == 1e-4
    assert engine_of(loaded).n_features == engine_of(model).n_features
    frames = make_frames(2, seed=5)
    assert_identical(model.predict(frames, return_std=True), loaded.predict(frames, return_std=True))
    assert_identical(model.partial_fit(frames).predict(frames), loaded.partial_fit(frames).predict(frames))


def test_given_points_keep_all_features(training):
    descriptor = SOAP(4.0, 4, 3, 0.5)
    x = descriptor.fit_transform(training)
    kernel = DotProduct(0.5, 3, delta_bounds="fixed")
    models = []
    for selector in (FromList(x[:12]), FromList(indices=range(12))):
        terms = [Term(SOAP(4.0, 4, 3, 0.5), kernel, {"Cu": 12}, selector)]
        models.append(small_model(terms=terms, truncation=1e-5).fit(training))
    given, chosen = (engine_of(model) for model in models)
    assert given.rotation is None
    assert given.n_features == x.shape[1] > chosen.n_features
    points = models[0].model_.basis.terms[0].blocks[0].points
    np.testing.assert_allclose(points[:, given.public_order], x[:12], rtol=0, atol=1e-4)


@pytest.mark.parametrize("truncation", [-1e-5, 0.02, np.nan, np.inf, "1e-5", None, True])
def test_values_out_of_range(truncation):
    with pytest.raises(InputError, match="`truncation`"):
        small_model(truncation=truncation).fit(make_frames(1))


KERNELS = [DotProduct(0.5, 3), DotProduct(0.5, 2.5, 0.3), SquaredExponential(0.5, 0.6)]


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_forces_of_every_kernel(kernel, training):
    kernel = clone(kernel).set_params(delta_bounds="fixed")
    terms = [Term(SOAP(4.0, 5, 3, 0.5), kernel, n_sparse=12)]
    model = small_model(terms=terms, truncation=1e-3).fit(training)
    assert engine_of(model).rotation is not None
    forces = numerical_forces(lambda frames: model.predict(frames).energy, training[0])
    np.testing.assert_allclose(model.predict(training[:1]).forces, forces, rtol=0, atol=1e-6 * largest(forces))

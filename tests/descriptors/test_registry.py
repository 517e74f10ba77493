"""What every descriptor with an engine must satisfy; an entry in `cases.CASES` makes a new class inherit all of it."""

from __future__ import annotations

import importlib
import pickle
import pkgutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gapkit.descriptors
from gapkit.exceptions import InputError, UnknownSpeciesError
from gapkit.io.registry import classes
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch
from tests.descriptors.cases import (
    CASES,
    DERIVATIVE,
    SPECIES,
    STRUCTURES,
    TWICE_SMOOTH,
    Toy,
    assert_derivatives,
    numerical_forces,
    rotation,
    structure,
)

SYMMETRY = 1e-10  # relative error under an exact symmetry
EXACT = 1e-12  # two ways to the same number, relative
ROWS = 1e-9  # derivative rows, whose small features are taken in single precision (`gp.basis.SINGLE_BELOW`)


@pytest.fixture(params=STRUCTURES)
def atoms(request, n_species):
    return structure(request.param, n_species)


def largest(*arrays):
    return max(np.abs(a).max(initial=0.0) for a in arrays)


def view_of(descriptor, atoms, species=None):
    batch = to_batch(atoms, labels=False)
    engine = descriptor.engine(batch.species if species is None else species)
    neighbours = build_neighbour_list(batch, engine.reach)
    return engine, engine.view(batch.numbers, neighbours), neighbours


def test_every_descriptor_is_covered():
    for module in pkgutil.walk_packages(gapkit.descriptors.__path__, "gapkit.descriptors."):
        importlib.import_module(module.name)
    public = {
        name: cls
        for name, cls in classes("Descriptor").items()
        if cls.__module__.startswith("gapkit.") and not name.startswith("_")
    }
    covered = {type(descriptor).__name__ for descriptor in CASES.values()}
    assert covered >= set(public)


# ---------------------------------------------------------------------- derivatives


def test_pullback_is_the_transpose_of_the_jacobian(descriptor, atoms):
    rng = np.random.default_rng(1)
    engine, view, neighbours = view_of(descriptor, atoms)
    seen = 0
    for block in engine.blocks:
        features = view.features(block, view.centres(block))
        n = len(features.x)
        gx, gf = rng.normal(size=features.x.shape), rng.normal(size=n)
        backward = np.zeros((neighbours.n_edges, 3))
        view.pullback(features, gx, gf, backward)
        jacobian = view.jacobian(features)
        instance = np.repeat(np.arange(n), np.diff(jacobian.edges.offsets))
        change = np.einsum("lad,ld->la", jacobian.dx, gx[instance])
        if jacobian.dfactors is not None:
            change += jacobian.dfactors * gf[instance, None]
        forward = np.zeros_like(backward)
        np.add.at(forward, jacobian.edges.indices, change)
        np.testing.assert_allclose(backward, forward, rtol=0, atol=EXACT * 10 * max(largest(forward), 1e-3))
        seen += n
    assert seen > 0


def test_pullback_adds_to_what_is_there(descriptor):
    engine, view, neighbours = view_of(descriptor, structure("molecule", 1))
    block = engine.blocks[0]
    features = view.features(block, view.centres(block))
    once, twice = np.zeros((neighbours.n_edges, 3)), np.zeros((neighbours.n_edges, 3))
    arguments = features, np.ones_like(features.x), np.ones(len(features.x))
    view.pullback(*arguments, once)
    view.pullback(*arguments, twice)
    view.pullback(*arguments, twice)
    np.testing.assert_allclose(twice, 2 * once, rtol=EXACT)
    assert largest(once) > 0


def test_chunks_of_centres_give_the_same(descriptor, atoms):
    engine, view, _ = view_of(descriptor, atoms)
    for block in engine.blocks:
        centres = view.centres(block)
        whole = view.features(block, centres)
        parts = [view.features(block, centres[i : i + 2]) for i in range(0, len(centres), 2)]
        if parts:
            np.testing.assert_array_equal(np.concatenate([p.x for p in parts]), whole.x)
            np.testing.assert_array_equal(np.concatenate([p.centres for p in parts]), whole.centres)
            np.testing.assert_array_equal(np.concatenate([p.factors for p in parts]), whole.factors)


def test_forces_and_virial_are_derivatives_of_the_energy(toy, atoms):
    assert_derivatives(toy, atoms)


def test_the_virial_of_a_rotation_invariant_energy_is_symmetric(toy, atoms):
    virial = toy.predict([atoms]).virials[0]
    np.testing.assert_allclose(virial, virial.T, rtol=0, atol=SYMMETRY * largest(virial))


def test_design_rows_times_weights_are_the_prediction(toy, n_species):
    frames = [structure(kind, n_species) for kind in STRUCTURES]
    p, rows = toy.predict(frames), toy.rows(frames)
    voigt = p.virials[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    for found, expected, tolerance in (
        (rows.energy, toy.energies(frames), 1e-11), (rows.forces, p.forces, ROWS), (rows.virial, voigt, ROWS)
    ):  # fmt: skip
        scale = largest(np.abs(found) @ np.abs(toy.weights))
        np.testing.assert_allclose(found @ toy.weights, expected, rtol=0, atol=tolerance * scale)


def test_design_rows_of_some_frames_are_those_of_all(toy, n_species):
    frames = [structure(kind, n_species) for kind in STRUCTURES]
    whole, part = toy.rows(frames), toy.rows(frames[1:3])
    atoms = slice(len(frames[0]), sum(map(len, frames[:3])))
    np.testing.assert_allclose(part.energy, whole.energy[1:3], rtol=0, atol=EXACT * largest(whole.energy))
    np.testing.assert_allclose(part.forces, whole.forces[atoms], rtol=0, atol=EXACT * largest(whole.forces))
    np.testing.assert_allclose(part.virial, whole.virial[1:3], rtol=0, atol=EXACT * largest(whole.virial))


# ---------------------------------------------------------------------- symmetries


def assert_same(toy, atoms, other, turn=None, order=None):
    turn = np.eye(3) if turn is None else turn
    order = slice(None) if order is None else order
    p, q = toy.predict([atoms]), toy.predict([other])
    scale = max(1.0, largest(p.local_energies))
    np.testing.assert_allclose(q.local_energies, p.local_energies[order], rtol=0, atol=SYMMETRY * scale)
    np.testing.assert_allclose(q.forces, p.forces[order] @ turn, rtol=0, atol=SYMMETRY * largest(p.forces))
    np.testing.assert_allclose(q.virials[0], turn.T @ p.virials[0] @ turn, rtol=0, atol=SYMMETRY * largest(p.virials))


@pytest.mark.parametrize("improper", [False, True])
def test_rotation(toy, atoms, improper):
    turn = rotation(improper=improper)
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ turn)
    other.positions = atoms.positions @ turn
    assert_same(toy, atoms, other, turn)


def test_rotation_leaves_the_vectors_alone(descriptor, atoms):
    turn = rotation()
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ turn)
    other.positions = atoms.positions @ turn
    x, y = descriptor.fit_transform([atoms]), descriptor.fit_transform([other])
    np.testing.assert_allclose(x, y, rtol=0, atol=SYMMETRY * largest(x))


def test_translation_and_wrapping(toy, atoms):
    other = atoms.copy()
    other.positions += [0.7, -13.3, 5.1]
    other.wrap()
    assert_same(toy, atoms, other)


def test_permutation(toy, atoms):
    order = np.random.default_rng(2).permutation(len(atoms))
    assert_same(toy, atoms, atoms[order], order=order)


def test_forces_sum_to_zero(toy, atoms):
    forces = toy.predict([atoms]).forces
    assert largest(forces.sum(axis=0)) < SYMMETRY * largest(forces)


def test_extensive(toy, atoms):
    if not atoms.pbc.any():
        other = atoms.copy()
        other.positions += [30.0, 0.0, 0.0]
        large, times = atoms + other, 2
    else:
        repeats = (2, 1, 1) if len(atoms) > 3 else (2, 2, 1)
        large, times = atoms.repeat(repeats), int(np.prod(repeats))
    p, q = toy.predict([atoms]), toy.predict([large])
    scale = largest(p.local_energies)
    np.testing.assert_allclose(q.local_energies, np.tile(p.local_energies, times), rtol=0, atol=SYMMETRY * scale)
    np.testing.assert_allclose(q.forces, np.tile(p.forces, (times, 1)), rtol=0, atol=SYMMETRY * largest(p.forces))
    np.testing.assert_allclose(q.virials, times * p.virials, rtol=0, atol=SYMMETRY * times * largest(p.virials))


def test_frames_of_a_batch_do_not_see_each_other(toy, n_species):
    frames = [structure(kind, n_species) for kind in STRUCTURES]
    together = toy.predict(frames)
    alone = [toy.predict([atoms]) for atoms in frames]
    for key in ("local_energies", "forces", "virials"):
        expected = np.concatenate([getattr(p, key) for p in alone])
        np.testing.assert_allclose(getattr(together, key), expected, rtol=0, atol=EXACT * largest(expected))


# ---------------------------------------------------------------------- special structures


@pytest.mark.parametrize("lattice", ["diamond", "fcc"])
def test_no_force_in_a_perfect_lattice(toy, lattice):
    z = SPECIES[len(toy.basis.terms[0].engine.species)][0]
    atoms = bulk("Si", lattice, a=5.43 if lattice == "diamond" else 3.9, cubic=True)
    atoms.numbers[:] = z
    p = toy.predict([atoms])
    # The scale: the force on one atom pushed by 0.1 Å.
    pushed = atoms.copy()
    pushed.positions[0] += [0.1, 0.05, 0.0]
    scale = largest(toy.predict([pushed]).forces)
    assert scale > 1e-3
    assert largest(p.forces) < SYMMETRY * max(scale, largest(p.virials))
    isotropic = np.trace(p.virials[0]) / 3 * np.eye(3)
    np.testing.assert_allclose(p.virials[0], isotropic, rtol=0, atol=SYMMETRY * max(largest(p.virials), scale))


def test_isolated_atom(toy):
    z = toy.basis.terms[0].engine.species[0]
    p = toy.predict([Atoms([z]), Atoms([z], cell=np.eye(3) * 20, pbc=True)])
    assert np.isfinite(p.local_energies).all()
    assert p.local_energies[0] == p.local_energies[1]
    assert not p.forces.any()
    assert not p.virials.any()
    assert not any(a.any() for a in (toy.rows([Atoms([z])]).forces, toy.rows([Atoms([z])]).virial))


def test_dimer(toy):
    species = toy.basis.terms[0].engine.species
    axis = np.array([1.0, 2.0, -2.0]) / 3
    dimer = Atoms([species[0], species[-1]], positions=[[1, 1, 1], 1 + 2.2 * axis])
    p = toy.predict([dimer])
    np.testing.assert_allclose(p.forces[0], -p.forces[1], rtol=0, atol=SYMMETRY * max(largest(p.forces), 1e-3))
    np.testing.assert_allclose(np.cross(p.forces[0], axis), 0, atol=SYMMETRY * max(largest(p.forces), 1e-3))
    numerical = numerical_forces(toy.energies, dimer)
    np.testing.assert_allclose(p.forces, numerical, rtol=0, atol=DERIVATIVE * max(largest(numerical), 1e-3))


def test_neighbour_along_the_z_axis(toy):
    """The pole of the spherical harmonics is no special point."""
    species = toy.basis.terms[0].engine.species
    atoms = Atoms(np.resize(species, 3), positions=[[0, 0, 0], [0, 0, 2.2], [0, 0, -2.4]])
    numerical = numerical_forces(toy.energies, atoms)
    np.testing.assert_allclose(
        toy.predict([atoms]).forces, numerical, rtol=0, atol=DERIVATIVE * max(largest(numerical), 1e-3)
    )


def test_smooth_at_the_cutoff(name, toy):
    """An atom that crosses the cutoff of another: energy and forces are continuous, where promised to second order."""
    engine = toy.basis.terms[0].engine
    species, cutoff = engine.species, engine.reach

    def at(distance):
        frame = Atoms(np.resize(species, 3), positions=[[0, 0, 0], [2.2, 0, 0], [0.0, distance, 0.0]])
        p = toy.predict([frame])
        return p.local_energies.sum(), p.forces

    outside = at(cutoff + 1e-9)
    jumps = [at(cutoff - step) for step in (1e-2, 1e-3, 1e-4)]
    forces = [largest(jump[1] - outside[1]) for jump in jumps]
    energies = [abs(jump[0] - outside[0]) for jump in jumps]
    assert forces[0] > 1e-8  # the atom is felt at all
    order = 2 if name in TWICE_SMOOTH else 1
    assert forces[1] < 3 * 10.0**-order * forces[0]
    assert energies[1] < 3 * 10.0 ** -(order + 1) * energies[0]
    assert forces[2] < 3 * 100.0**-order * forces[0] + 1e-14
    beyond = at(cutoff + 0.5)
    assert abs(beyond[0] - outside[0]) < EXACT * max(1.0, abs(outside[0]))


# ---------------------------------------------------------------------- scikit-learn's contract


def test_clone_and_parameters(name, descriptor):
    copy = clone(descriptor)
    assert copy is not descriptor
    assert copy.get_params() == CASES[name].get_params()
    assert copy.set_params(cutoff=3.3).cutoff == 3.3
    with pytest.raises(ValueError, match="no_such"):
        copy.set_params(no_such=1)


def test_fit_changes_no_parameter(descriptor, atoms):
    before = dict(descriptor.get_params())
    assert descriptor.fit([atoms]) is descriptor
    assert descriptor.get_params() == before


def test_pickle(descriptor, atoms):
    x = descriptor.fit_transform([atoms])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(descriptor)).transform([atoms]), x)


def test_pipeline(descriptor, n_species):
    frames = [structure(kind, n_species) for kind in STRUCTURES]
    x = descriptor.fit_transform(frames)
    pipeline = make_pipeline(clone(descriptor), StandardScaler(), PCA(1))
    y = pipeline.fit_transform(frames)
    assert y.shape == (len(x), 1)
    np.testing.assert_allclose(pipeline.transform(frames[:1]), y[: len(descriptor.transform(frames[:1]))], atol=1e-8)


def test_one_frame_need_not_be_in_a_list(descriptor):
    atoms = structure("molecule", 1)
    np.testing.assert_array_equal(descriptor.fit_transform(atoms), descriptor.transform([atoms]))


def test_frames_are_left_alone(descriptor, atoms):
    before = atoms.copy()
    descriptor.fit_transform([atoms])
    assert atoms == before
    assert atoms.info == before.info
    assert set(atoms.arrays) == set(before.arrays)


def test_transform_before_fit_is_refused(descriptor):
    with pytest.raises(NotFittedError):
        descriptor.transform([structure("molecule", 1)])


def test_unknown_species_are_named(descriptor):
    descriptor.fit([structure("molecule", 1)])
    with pytest.raises(UnknownSpeciesError, match="Ge"):
        descriptor.transform([structure("molecule", 3)])


@pytest.mark.parametrize("cutoff", [-1.0, 0.0, 0.1, 25.0, np.nan, np.inf])
def test_senseless_cutoffs(descriptor, cutoff):
    with pytest.raises(InputError, match="`cutoff`"):
        descriptor.set_params(cutoff=cutoff).fit([structure("molecule", 1)])


def test_given_species_that_are_absent_change_nothing_else(descriptor):
    """A model of many species gives the same forces on a structure of one."""
    atoms = structure("bulk", 1)
    one = Toy.make(clone(descriptor), (14,))
    block = one.basis.terms[0].blocks[0]
    engine = clone(descriptor).engine((8, 14))
    view = engine.view(atoms.numbers, build_neighbour_list(to_batch(atoms, labels=False), engine.reach))
    wide = view.features(block.species, view.centres(block.species))
    narrow_engine, narrow_view, _ = view_of(descriptor, atoms, (14,))
    narrow = narrow_view.features(block.species, narrow_view.centres(block.species))
    np.testing.assert_allclose(wide.x @ wide.x.T, narrow.x @ narrow.x.T, rtol=EXACT)
    assert narrow_engine.n_features == narrow.x.shape[1]

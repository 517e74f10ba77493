"""DScribe's descriptors as terms: its own vectors, also in periodic cells, its derivatives, and our SOAP beside it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from dscribe.descriptors import ACSF
from dscribe.descriptors import SOAP as DScribe

from gapkit import SOAP, Term, load
from gapkit.descriptors import NoCutoff
from gapkit.descriptors.dscribe import DScribeACSF, DScribeSOAP
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch
from tests.descriptors.cases import SPECIES, Toy, assert_derivatives, structure
from tests.descriptors.test_soap import in_our_order
from tests.potential.models import make_frames, small_model, small_terms

ROUNDING = 1e-12  # a cluster of its own, or an atom of a cell
EQUAL = 1e-8  # two programs
NUMERICAL = 1e-8  # differences against analytical derivatives, relative
N_MAX, L_MAX = 4, 3


def largest(array):
    return np.abs(array).max()


def jacobian(descriptor, atoms):
    batch = to_batch(atoms, labels=False)
    engine = descriptor.engine(batch.species)
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    block = engine.blocks[0]
    return view, view.jacobian(view.features(block, view.centres(block)))


@pytest.mark.parametrize("n_species", list(SPECIES))
@pytest.mark.parametrize("kind", ["bulk", "small", "slab", "molecule"])
def test_vectors_are_those_of_dscribe(kind, n_species):
    atoms = structure(kind, n_species)
    symbols, periodic = sorted(set(atoms.symbols), key=["O", "Si", "Ge"].index), bool(atoms.pbc.any())
    soap = DScribe(species=symbols, r_cut=4.0, n_max=N_MAX, l_max=L_MAX, sigma=0.5, periodic=periodic)
    g2, g4 = ((0.5, 1.5),), ((0.01, 1.0, 1.0),)
    acsf = ACSF(species=symbols, r_cut=4.0, g2_params=[[0.5, 1.5]], g4_params=[[0.01, 1.0, 1.0]], periodic=periodic)
    for ours, expected in (
        (DScribeSOAP(4.0, N_MAX, L_MAX, 0.5), soap.create(atoms)),
        (DScribeACSF(4.0, g2=g2, g4=g4), acsf.create(atoms)),
    ):
        np.testing.assert_allclose(
            ours.fit_transform([atoms]), expected, rtol=0, atol=ROUNDING * max(1.0, largest(expected))
        )


@pytest.mark.parametrize("kind", ["small", "molecule"])
@pytest.mark.parametrize("basis", ["gto", "polynomial"])
def test_values_and_derivatives_are_those_of_our_soap(basis, kind):
    atoms = structure(kind, 3)
    theirs = DScribeSOAP(3.0, N_MAX, L_MAX, 0.5, basis=basis)
    ours = SOAP(3.0, N_MAX, L_MAX, 0.5, basis=basis, cutoff_function=NoCutoff(), normalize=False)
    assert theirs.engine((8, 14, 32)).reach == pytest.approx(ours.engine((8, 14, 32)).reach, abs=1e-12)
    made = theirs.engine((8, 14, 32)).made
    x, y = in_our_order(theirs.fit_transform([atoms]), made, (8, 14, 32)), ours.fit_transform([atoms])
    np.testing.assert_allclose(x, y, rtol=0, atol=EQUAL * largest(y))
    (view, one), (other, two) = jacobian(theirs, atoms), jacobian(ours, atoms)
    np.testing.assert_array_equal(one.edges.indices, two.edges.indices)
    edges = one.edges.indices
    assert len(edges) > 2
    np.testing.assert_array_equal(view.neighbours.indices[edges], other.neighbours.indices[edges])
    order = other.engine.public_order
    found = in_our_order(one.dx, made, (8, 14, 32))
    # differences across the jump of vectors at the reach mean nothing
    away = np.abs(view.neighbours.distances[edges] - view.engine.reach) > 0.01
    assert away.sum() > 2
    np.testing.assert_allclose(found[away], two.dx[away][:, :, order], rtol=0, atol=EQUAL * largest(two.dx))


@pytest.mark.parametrize("n_species", list(SPECIES))
def test_analytical_derivatives(n_species):
    """DScribe's own, which it has for "gto" without a weighting, against differences of energies and of values."""
    descriptor = DScribeSOAP(3.0, 3, 2, 0.5)
    for kind in ("bulk", "molecule"):
        atoms = structure(kind, n_species)
        assert_derivatives(Toy.make(descriptor, SPECIES[n_species]), atoms)
    batch = to_batch(atoms, labels=False)
    engine = descriptor.engine(batch.species)
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    features = view.features(engine.blocks[0], view.centres(engine.blocks[0]))
    cluster = features.state[1][0]
    analytical, numerical = view._analytical(cluster), view._numerical(cluster)
    assert largest(analytical) > 1e-2
    np.testing.assert_allclose(numerical, analytical, rtol=0, atol=NUMERICAL * largest(analytical))


def test_an_atom_of_another_species_is_not_seen():
    atoms = Atoms("OSiGe", [[0, 0, 0], [0, 0, 1.7], [0, 1.9, 0]])
    descriptor = DScribeACSF(3.2, species=["O", "Si"])
    batch = to_batch(atoms, labels=False)
    engine = descriptor.engine(descriptor.resolve_species(()))
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    x = view.features((8,), view.centres((8,))).x
    np.testing.assert_array_equal(x, descriptor.fit_transform([atoms[:2]])[:1])


@pytest.mark.parametrize("descriptor", [DScribeSOAP(3.4, 2, 2, 0.5, smooth=True), DScribeACSF(3.4)])
def test_a_gap_with_them(descriptor, tmp_path):
    frames, test = make_frames(16, n_gold=2, seed=0), make_frames(4, n_gold=2, seed=7)
    pairs = small_terms()[0]
    model = small_model(terms=[pairs, Term(descriptor, n_sparse=20)]).fit(frames)
    assert model.model_.basis.terms[1].engine.scale != 1.0
    expected = np.concatenate([atoms.get_forces() for atoms in test])
    plain = small_model(terms=[pairs]).fit(frames)
    errors = [np.abs(fitted.predict(test).forces - expected).mean() for fitted in (model, plain)]
    assert errors[0] < 0.8 * errors[1]
    model.save(tmp_path / "a.gapkit")
    np.testing.assert_array_equal(load(tmp_path / "a.gapkit").predict(test).forces, model.predict(test).forces)

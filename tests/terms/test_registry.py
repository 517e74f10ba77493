"""What every energy term must satisfy; an entry in `cases.CASES` makes a new class inherit all of it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import clone

from gapkit.exceptions import InputError
from gapkit.io.codec import decode, encode
from gapkit.io.registry import classes
from gapkit.terms import EnergyTerm, KnownEnergy
from tests.descriptors.cases import numerical_forces, numerical_virial, rotation, structure
from tests.terms.cases import CASES, LOCAL, PAIRS, energies, evaluate

DERIVATIVE = 1e-6  # relative error of a derivative against fourth-order differences
SYMMETRY = 1e-10  # relative error under an exact symmetry
EXACT = 1e-12  # two ways to the same number, relative


@pytest.fixture(params=list(CASES))
def name(request):
    return request.param


@pytest.fixture
def term(name):
    return CASES[name]()


@pytest.fixture(params=["bulk", "small", "molecule"])
def atoms(request):
    return structure(request.param, 3, seed=4)


def assert_close(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=1e-3))


def symmetric(virials):
    return 0.5 * (virials + virials.transpose(0, 2, 1))


def test_every_term_is_covered():
    covered = {type(make()) for make in CASES.values()}
    assert {cls for cls in classes("EnergyTerm").values() if cls.__module__.startswith("gapkit.")} <= covered


def test_protocol(term):
    assert isinstance(term, EnergyTerm)
    assert term.reach is None or term.reach > 0.0


def test_local(name, term):
    assert term.is_local == (name in LOCAL)


def test_derivatives(term, atoms):
    found = evaluate(term, [atoms])
    forces, virial = numerical_forces(energies(term), atoms), numerical_virial(energies(term), atoms)
    assert np.abs(forces).max() > 0.05
    assert_close(found.forces, forces, DERIVATIVE)
    assert_close(symmetric(found.virials)[0], virial, DERIVATIVE)


@pytest.mark.parametrize("improper", [False, True])
def test_rotation(term, atoms, improper):
    turn = rotation(improper=improper)
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T
    before, after = evaluate(term, [atoms]), evaluate(term, [turned])
    assert_close(after.local_energies, before.local_energies, SYMMETRY)
    assert_close(after.forces, before.forces @ turn.T, SYMMETRY)
    assert_close(symmetric(after.virials), turn @ symmetric(before.virials) @ turn.T, SYMMETRY)


def test_translation(term, atoms):
    moved = atoms.copy()
    moved.positions += [0.7, -1.1, 3.3]
    before, after = evaluate(term, [atoms]), evaluate(term, [moved])
    for key in ("local_energies", "forces", "virials"):
        assert_close(getattr(after, key), getattr(before, key), SYMMETRY)
    assert np.abs(before.forces.sum(axis=0)).max() < SYMMETRY * np.abs(before.forces).max() * len(atoms)


def test_permutation(term, atoms):
    order = np.random.default_rng(2).permutation(len(atoms))
    before, after = evaluate(term, [atoms]), evaluate(term, [atoms[order]])
    assert_close(after.local_energies, before.local_energies[order], SYMMETRY)
    assert_close(after.forces, before.forces[order], SYMMETRY)


def test_extensive(term):
    atoms = structure("small", 3)
    one, eight = energies(term)([atoms])[0], energies(term)([atoms * (2, 2, 2)])[0]
    assert eight == pytest.approx(8.0 * one, rel=SYMMETRY)


def test_frames_do_not_see_each_other(term):
    frames = [structure(kind, 3) for kind in ("bulk", "molecule", "small")]
    together = evaluate(term, frames)
    for key in ("local_energies", "forces", "virials"):
        alone = np.concatenate([getattr(evaluate(term, [atoms]), key) for atoms in frames])
        assert_close(getattr(together, key), alone, SYMMETRY)


@pytest.mark.parametrize("name", LOCAL)
def test_smooth_at_the_cutoff(name, term):
    def at(r):
        found = evaluate(term, [Atoms("Si2", positions=[[0, 0, 0], [0, 0, r]])])
        return found.local_energies.sum(), found.forces[1, 2]

    r = np.array([1e-5, -1e-5, -2e-5]) + (4.0 if name == "pair-tables" else term.reach)
    (beyond, force_beyond), (near, force_near), (further, force_further) = (at(x) for x in r)
    assert abs(near - beyond) < 1e-8
    assert abs(force_near - force_beyond) < 1e-4
    assert abs(near - further) < 1e-8
    assert abs(force_near - force_further) < 1e-4


@pytest.mark.parametrize("name", LOCAL)
def test_parts_of_the_atoms_add_up(term, atoms):
    some = np.random.default_rng(0).random(len(atoms)) < 0.5
    some[:2] = True, False
    whole = evaluate(term, [atoms])
    parts = [evaluate(term, [atoms], centres=mask) for mask in (some, ~some)]
    np.testing.assert_array_equal(parts[0].local_energies[~some], 0.0)
    assert_close(parts[0].local_energies[some], whole.local_energies[some], EXACT)
    for key in ("local_energies", "forces", "virials"):
        assert_close(getattr(parts[0], key) + getattr(parts[1], key), getattr(whole, key), 10 * EXACT)


@pytest.mark.parametrize("name", LOCAL)
def test_gradient_of_weighted_local_energies(term):
    atoms = structure("bulk", 3, seed=1)
    factors = np.random.default_rng(1).normal(size=len(atoms))
    some = np.arange(len(atoms)) % 3 > 0
    found = evaluate(term, [atoms], upstream=factors, centres=some)
    assert_close(found.local_energies, np.where(some, evaluate(term, [atoms]).local_energies, 0.0), EXACT)
    given = {"upstream": factors, "centres": some}
    assert_close(found.forces, numerical_forces(energies(term, **given), atoms), DERIVATIVE)
    virial = numerical_virial(energies(term, **given), atoms)
    assert_close(symmetric(found.virials)[0], virial, DERIVATIVE)


@pytest.mark.parametrize("name", sorted(set(CASES) - set(LOCAL)))
def test_no_local_gradient(term):
    atoms = structure("molecule", 3)
    everything = evaluate(term, [atoms], centres=np.ones(len(atoms), bool), upstream=np.ones(len(atoms)))
    assert_close(everything.forces, evaluate(term, [atoms]).forces, EXACT)
    for given in ({"centres": np.arange(len(atoms)) > 0}, {"upstream": np.arange(len(atoms)) + 1.0}):
        with pytest.raises(InputError, match="leave CalculatorTerm out"):
            evaluate(term, [atoms], **given)


@pytest.mark.parametrize("name", LOCAL)
def test_longer_lists_do_not_matter(term, atoms):
    class Longer(KnownEnergy):
        reach = term.reach + 1.0

    with_longer = Longer(dict.fromkeys((8, 14, 32), 0.0), (term,))
    for key in ("local_energies", "forces", "virials"):
        assert_close(getattr(evaluate(with_longer, [atoms]), key), getattr(evaluate(term, [atoms]), key), 10 * EXACT)


@pytest.mark.parametrize(
    "copied", [clone, lambda term: pickle.loads(pickle.dumps(term)), lambda term: decode(encode(term))],
    ids=["clone", "pickle", "model file"],
)  # fmt: skip
def test_copies(term, atoms, copied):
    copy = copied(term)
    assert type(copy) is type(term)
    assert copy.reach == term.reach
    for key in ("local_energies", "forces", "virials"):
        np.testing.assert_array_equal(getattr(evaluate(copy, [atoms]), key), getattr(evaluate(term, [atoms]), key))


@pytest.mark.parametrize("name", PAIRS)
def test_equal_by_value(name, term):
    assert type(term)(**term.get_params()) == term == CASES[name]()

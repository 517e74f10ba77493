"""The ASE calculator: the model's own numbers, and a reused neighbour list that changes none of them."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError

from gapkit import GAPCalculator
from gapkit.calculator.base import SkinnedNeighbours
from gapkit.exceptions import InputError, ModelFileError, NotFittedModelError, UnknownSpeciesError
from gapkit.structures import to_batch
from tests.potential.models import make_frames, small_model

SAME = 1e-11  # sums over the same edges in another order, relative to the largest element
SINGLE = 1e-7  # total variance and the sum of its parts: products in single precision, relative to the prior


@pytest.fixture
def atoms():
    return make_frames(1, n_gold=3, seed=8)[0].copy()


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=SAME * np.abs(expected).max())


# ---------------------------------------------------------------------- results


@pytest.mark.parametrize("skin", [0.0, 0.7])
def test_equals_predict(alloy_model, atoms, skin):
    atoms.calc = GAPCalculator(alloy_model, skin=skin)
    p = alloy_model.predict(atoms, return_std=True)
    assert atoms.get_potential_energy() == pytest.approx(p.energy[0], rel=1e-13)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    close(atoms.get_forces(), p.forces)
    close(atoms.get_stress(), p.stress[0])
    close(atoms.get_potential_energies(), p.local_energies)
    close(atoms.calc.get_energies_std(atoms), alloy_model.predict(atoms, return_std="local").local_energies_std)
    close(atoms.calc.get_property("energies_data_std", atoms) ** 2, p.local_data_variance)
    close(atoms.calc.get_property("energies_prior_std", atoms) ** 2, p.local_prior_variance)
    close(atoms.calc.get_energies_std(atoms), p.local_energies_std)  # with the parts at hand


def test_the_total_alone_is_the_sum_of_the_parts(alloy_model, atoms):
    calculator = GAPCalculator(alloy_model)
    alone = calculator.get_property("energies_std", atoms)
    assert "energies_data_std" not in calculator.results
    parts = [calculator.get_property(f"energies_{part}_std", atoms) for part in ("data", "prior")]
    prior = max(alloy_model.scales_) ** 2
    np.testing.assert_allclose(alone**2, parts[0] ** 2 + parts[1] ** 2, rtol=0, atol=SINGLE * prior)
    assert (alone**2 > 100 * SINGLE * prior).all()


def test_from_a_file(alloy_model, atoms, tmp_path):
    alloy_model.save(tmp_path / "m.gapkit")
    forces = []
    for model in (alloy_model, tmp_path / "m.gapkit", str(tmp_path / "m.gapkit")):
        atoms.calc = GAPCalculator(model)
        forces.append(atoms.get_forces())
    np.testing.assert_array_equal(forces[1], forces[0])
    np.testing.assert_array_equal(forces[2], forces[0])
    with pytest.raises(ModelFileError):
        GAPCalculator(tmp_path / "none.gapkit")


def test_uncertainty_costs_nothing_until_it_is_asked_for(alloy_model, atoms):
    atoms.calc = GAPCalculator(alloy_model)
    atoms.get_forces()
    assert "energies_std" not in atoms.calc.results
    before = atoms.get_forces()
    assert (atoms.calc.get_energies_std() > 0).all()
    assert "energies_data_std" not in atoms.calc.results  # the total costs half of what its parts cost
    assert (atoms.calc.get_property("energies_data_std") > 0).all()
    assert {"energies_std", "energies_data_std", "energies_prior_std"} <= set(atoms.calc.results)
    np.testing.assert_allclose(atoms.get_forces(), before, rtol=0, atol=1e-12)


def test_nothing_is_computed_twice(alloy_model, atoms, monkeypatch):
    atoms.calc = GAPCalculator(alloy_model)
    calls = []
    calculate = GAPCalculator.calculate

    def counted(self, *arguments, **options):
        calls.append(1)
        calculate(self, *arguments, **options)

    monkeypatch.setattr(GAPCalculator, "calculate", counted)
    atoms.get_forces(), atoms.get_potential_energy(), atoms.get_stress(), atoms.get_potential_energies()
    assert len(calls) == 1
    atoms.positions[0, 0] += 1e-6
    atoms.get_forces()
    assert len(calls) == 2


def test_molecules_have_no_stress(alloy_model):
    atoms = Atoms("CuAu", positions=[[0, 0, 0], [0, 0, 2.5]], calculator=GAPCalculator(alloy_model))
    assert np.isfinite(atoms.get_forces()).all()
    assert "stress" not in atoms.calc.results
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_unknown_species_before_anything_is_computed(alloy_model, atoms, monkeypatch):
    calculator = GAPCalculator(alloy_model)
    atoms.calc = calculator
    good = atoms.get_forces()
    other = bulk("Si")
    other.calc = calculator
    with monkeypatch.context() as patch:
        patch.setattr(type(alloy_model.state_), "predict", lambda *a, **k: pytest.fail("something was computed"))
        with pytest.raises(UnknownSpeciesError, match="got also Si"):
            other.get_potential_energy()
    assert calculator.results == {}
    np.testing.assert_array_equal(atoms.get_forces(), good)


def test_an_atom_turned_into_another_species_is_noticed(alloy_model, atoms):
    """The list of the old structure is at hand, yet the new species is unknown."""
    atoms.calc = GAPCalculator(alloy_model)
    atoms.get_forces()
    atoms.numbers[0] = 14
    with pytest.raises(UnknownSpeciesError, match="Si"):
        atoms.get_forces()


def test_one_calculator_for_many_structures(alloy_model):
    calculator = GAPCalculator(alloy_model)
    frames = [*make_frames(3, n_gold=3, seed=8), bulk("Cu"), bulk("Cu") * (2, 1, 1)]
    for atoms in [*frames, *frames[::-1]]:
        new = atoms.copy()
        new.calc = calculator
        close(new.get_forces() + 1.0, alloy_model.predict(new).forces + 1.0)


def test_arguments_are_checked(alloy_model):
    for skin in (-0.1, np.nan, np.inf):
        with pytest.raises(InputError, match="`skin`"):
            GAPCalculator(alloy_model, skin=skin)
    with pytest.raises(NotFittedModelError):
        GAPCalculator(small_model())
    with pytest.raises(TypeError):
        GAPCalculator(alloy_model, 0.5)


# ---------------------------------------------------------------------- the reused neighbour list


def fresh_forces(model, atoms):
    return model.predict(atoms).forces


def walk(rng, atoms, kind, amount):
    """One step of a random walk in place."""
    if kind != "cell":
        atoms.positions += rng.normal(scale=amount, size=(len(atoms), 3))
    if kind == "cell":
        atoms.set_cell(atoms.cell.array + rng.normal(scale=amount, size=(3, 3)), scale_atoms=False)
    elif kind == "npt":
        strain = rng.normal(scale=amount / 4, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)


@pytest.mark.parametrize("kind", ["nvt", "npt", "cell", "slab", "molecule"])
def test_the_reused_list_gives_the_same_forces(alloy_model, kind):
    rng = np.random.default_rng(4)
    atoms = bulk("Cu", a=3.8, cubic=True) * (1, 1, 2)
    atoms.numbers[::3] = 79
    atoms.rattle(0.1, seed=1)
    if kind == "slab":
        atoms.center(4.0, axis=2)
        atoms.pbc = (True, True, False)
    elif kind == "molecule":
        atoms.pbc, atoms.cell = False, None
    atoms.calc = GAPCalculator(alloy_model, skin=0.6)
    energies = set()
    for _ in range(60):
        walk(rng, atoms, kind, 0.02)
        expected = alloy_model.predict(atoms)
        close(atoms.get_forces(), expected.forces)
        energies.add(atoms.get_potential_energy())
        assert atoms.get_potential_energy() == pytest.approx(expected.energy[0], abs=1e-10)
        if atoms.pbc.all():
            close(atoms.get_stress(), expected.stress[0])
    builds = atoms.calc._neighbours.n_builds
    assert len(energies) == 60
    assert 2 <= builds <= 40


def builds_after(model, skin, *steps):
    """Number of builds after the first structure and after each change of it."""
    atoms = bulk("Cu", a=3.7, cubic=True) * (2, 1, 1)
    neighbours = SkinnedNeighbours(model.state_, skin)
    counts = []
    for step in (lambda a: None, *steps):
        step(atoms)
        neighbours.of(to_batch(atoms, labels=False))
        counts.append(neighbours.n_builds)
    return counts


def push(distance, atom=0):
    def step(atoms):
        atoms.positions[atom, 1] += distance

    return step


def test_rebuilt_only_when_needed(alloy_model):
    assert builds_after(alloy_model, 0.5, push(0.2), push(-0.3), push(0.1)) == [1, 1, 1, 1]
    # Against the structure of the last build, not the last step.
    assert builds_after(alloy_model, 0.5, push(0.2), push(0.2), push(0.2)) == [1, 1, 2, 2]
    assert builds_after(alloy_model, 0.0, push(0.0), push(0.1)) == [1, 2, 3]


def test_rebuilt_for_another_structure(alloy_model):
    def species(atoms):
        atoms.numbers[1] = 79

    def order(atoms):
        atoms.numbers[:] = atoms.numbers[::-1]

    def boundary(atoms):
        atoms.pbc = (True, True, False)

    def fewer(atoms):
        del atoms[0]

    assert builds_after(alloy_model, 0.5, species, order, boundary, fewer) == [1, 2, 3, 4, 5]


def test_an_affine_change_of_cell_needs_no_rebuild_within_the_skin(alloy_model):
    def scale(factor):
        return lambda atoms: atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)

    # reach 4.0, skin 0.5: unlisted pairs at 4.5 or more stay beyond 4.0 down to a factor of 0.889.
    assert builds_after(alloy_model, 0.5, scale(0.95), scale(0.95), scale(0.95)) == [1, 1, 1, 2]
    assert builds_after(alloy_model, 0.5, scale(1.05), scale(1.05)) == [1, 1, 1]


def test_an_atom_many_cells_away_is_not_missed(alloy_model):
    """Unwrapped atoms: a small change of the cell moves a distant image far, listed or not."""
    atoms = Atoms("Cu2", positions=[[0, 0, 0], [6.0 + 1000 * 20.0, 0, 0]], cell=np.eye(3) * 20.0, pbc=True)
    atoms.calc = GAPCalculator(alloy_model, skin=0.5)
    assert not atoms.get_forces().any()
    atoms.cell[0, 0] += 0.003
    expected = fresh_forces(alloy_model, atoms)
    assert np.abs(expected).max() > 1e-2
    close(atoms.get_forces(), expected)


def test_wrapped_atoms_are_noticed(alloy_model):
    atoms = bulk("Cu", a=3.7, cubic=True)
    atoms.rattle(0.1, seed=2)
    atoms.calc = GAPCalculator(alloy_model, skin=0.5)
    before = atoms.get_forces()
    atoms.wrap()
    close(atoms.get_forces(), before)

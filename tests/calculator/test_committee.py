"""The calculator of a committee: the model's own numbers, and its members' spread on request."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError

from gapkit import GAPCalculator
from gapkit.calculator.committee import MEMBERS, SPREADS, CommitteeCalculator
from gapkit.exceptions import InputError, UnknownSpeciesError
from gapkit.potential import Committee, sample_committee
from tests.potential.models import make_frames

SAME = 1e-11  # sums over the same edges in another order, relative to the largest element


@pytest.fixture(scope="module")
def committee(alloy_model):
    return sample_committee(alloy_model, 4, 0, inflation=20.0)


@pytest.fixture
def atoms():
    return make_frames(1, n_gold=3, seed=8)[0].copy()


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=SAME * np.abs(expected).max())


def test_the_model_drives(committee, alloy_model, atoms):
    mine, its = CommitteeCalculator(committee), GAPCalculator(alloy_model)
    for name in ("energy", "free_energy", "energies", "forces", "stress"):
        np.testing.assert_array_equal(mine.get_property(name, atoms), its.get_property(name, atoms))
    # the average over a few members is something else
    assert np.abs(committee.predict(atoms).forces_mean - mine.results["forces"]).max() > 1e-3


@pytest.mark.parametrize("skin", [0.0, 0.7])
def test_spreads_are_those_of_predict(committee, atoms, skin):
    calculator = CommitteeCalculator(committee, skin=skin)
    for step in range(3):
        atoms.positions += 0.02 * np.random.default_rng(step).normal(size=(4, 3))
        p = committee.predict(atoms)
        std = calculator.get_property("energy_std", atoms)
        # a list of its own for the members would be a second one
        assert calculator._neighbours.n_builds == (1 if skin else step + 1)
        assert isinstance(std, float)
        assert std == pytest.approx(p.energy_std[0], rel=1e-8)
        close(calculator.get_property("forces_std", atoms), p.forces_std)
        close(calculator.get_property("stress_std", atoms), p.stress_std[0])
        close(calculator.get_property("energy_committee", atoms), p.energy[:, 0])
        close(calculator.get_property("forces_committee", atoms), p.forces)


def test_members_cost_nothing_until_they_are_asked_for(committee, atoms, monkeypatch):
    atoms.calc = CommitteeCalculator(committee)
    forces = atoms.get_forces()
    assert not {*SPREADS, *MEMBERS} & set(atoms.calc.results)
    with monkeypatch.context() as patch:  # nor is the model asked again for atoms that it knows
        patch.setattr(type(committee.model.state_), "predict", lambda *a, **k: pytest.fail("computed twice"))
        assert atoms.calc.get_property("energy_std", atoms) > 0.0
        assert {*SPREADS, *MEMBERS} <= set(atoms.calc.results)
        assert atoms.get_forces() == pytest.approx(forces, abs=0)
    atoms.positions[0, 0] += 0.1
    atoms.get_forces()
    assert not {*SPREADS, *MEMBERS} & set(atoms.calc.results)  # those were of other positions


def test_molecules_have_no_stress(committee):
    calculator = CommitteeCalculator(committee)
    atoms = Atoms("CuAu", positions=[[0, 0, 0], [0, 0, 2.5]], calculator=calculator)
    assert (calculator.get_property("forces_std", atoms)[:, 2] > 0.0).all()
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("stress_std", atoms)


def test_one_member_has_no_spread(alloy_model, atoms):
    calculator = CommitteeCalculator(Committee(alloy_model, alloy_model.model_.weights[None]))
    close(calculator.get_property("forces_committee", atoms)[0], calculator.get_property("forces", atoms))
    with pytest.raises(InputError, match="at least 2 members"):
        calculator.get_property("energy_std", atoms)


def test_an_error_leaves_no_results(committee, atoms):
    calculator = CommitteeCalculator(committee)
    calculator.get_property("energy_std", atoms)
    with pytest.raises(UnknownSpeciesError, match="Si"):
        calculator.get_property("energy_std", bulk("Si"))
    assert calculator.results == {}


def test_error_bar_of_a_property_from_calculators(committee):
    """The energy between two volumes, through a calculator of every member."""
    frames = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.8)]

    def difference(member):
        calculator = GAPCalculator(member)
        return calculator.get_potential_energy(frames[1]) - calculator.get_potential_energy(frames[0])

    mean, std = committee.error_bar(difference)
    energies = committee.predict(frames).energy
    values = energies[:, 1] - energies[:, 0]
    assert mean == pytest.approx(values.mean(), rel=1e-9)
    assert std == pytest.approx(values.std(ddof=1), rel=1e-7)
    assert std > 0.0


def test_arguments_are_checked(committee, alloy_model):
    for skin in (-0.1, np.nan, np.inf):
        with pytest.raises(InputError, match="`skin`"):
            CommitteeCalculator(committee, skin=skin)
    with pytest.raises(InputError, match="`committee`"):
        CommitteeCalculator(alloy_model)
    assert CommitteeCalculator(committee).n_jobs == alloy_model.n_jobs
    assert CommitteeCalculator(committee, n_jobs=2).n_jobs == 2

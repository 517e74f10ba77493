"""Error bars of energies, forces and stresses as properties of the ASE calculator."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError

from gapkit import GAPCalculator
from gapkit.calculator import gap as calculator_module
from gapkit.exceptions import InputError, NotFittedModelError
from tests.potential.models import make_frames, small_model, small_terms

SAME = 1e-9  # sums over the same edges in another order, relative to the largest element
ERROR_BARS = ("energy_std", "forces_std", "stress_std")
SIGNS = ("novelty", "extrapolating")


@pytest.fixture(scope="module")
def model():
    """Calibrated, of copper and gold; tests must not change it."""
    return small_model(calibration="leave-one-out").fit(make_frames(20, n_gold=3, seed=1))


@pytest.fixture
def atoms():
    return make_frames(1, n_gold=3, seed=8)[0].copy()


def assert_equals_predict(calculator, atoms, p):
    np.testing.assert_allclose(calculator.get_property("energy_std", atoms), p.energy_std[0], rtol=SAME)
    for name, expected in (("forces_std", p.forces_std), ("stress_std", p.stress_std[0])):
        values = calculator.get_property(name, atoms)
        np.testing.assert_allclose(values, expected, rtol=0, atol=SAME * expected.max(), err_msg=name)
    np.testing.assert_array_equal(calculator.get_property("extrapolating", atoms), p.extrapolating)


@pytest.mark.parametrize("std", [None, "calibrated", "epistemic", "total"])
def test_equals_predict(model, atoms, std):
    calculator = GAPCalculator(model, std=std)
    assert calculator.std == (std or "calibrated")
    assert_equals_predict(calculator, atoms, model.predict(atoms, return_std=True, std=std))
    other = model.predict(atoms, return_std=True, std="calibrated" if std == "epistemic" else "epistemic")
    if std:
        kinds = {
            s: model.predict(atoms, return_std=True, std=s).energy_std[0] for s in ("calibrated", "epistemic", "total")
        }
        assert len(set(kinds.values())) == 3
    assert np.abs(calculator.get_property("forces_std", atoms) / other.forces_std - 1).max() > 1e-3


def test_along_a_path_with_a_reused_neighbour_list(model, atoms):
    """Farther and farther from the data, until atoms are flagged."""
    calculator = GAPCalculator(model, skin=0.6)
    flags = []
    for _ in range(6):
        assert_equals_predict(calculator, atoms, model.predict(atoms, return_std=True))
        flags.append(bool(calculator.get_property("extrapolating", atoms).any()))
        atoms.set_cell(atoms.cell.array * 0.97, scale_atoms=True)
    assert calculator._neighbours.n_builds < 6
    assert flags[-1]
    assert not flags[0]


def test_from_a_file(model, atoms, tmp_path):
    model.save(tmp_path / "m.gapkit")
    one, other = GAPCalculator(model), GAPCalculator(tmp_path / "m.gapkit")
    for name in ERROR_BARS:
        np.testing.assert_allclose(other.get_property(name, atoms), one.get_property(name, atoms), rtol=SAME)


@pytest.mark.parametrize("name", ERROR_BARS)
def test_one_request_brings_all_of_them(model, atoms, name):
    calculator = GAPCalculator(model)
    calculator.get_property(name, atoms)
    assert {*ERROR_BARS, *SIGNS, "energy", "forces", "stress", "energies_std"} <= set(calculator.results)


def test_cheap_properties_come_without(model, atoms, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            calculator_module, "predict_with_error_bars", lambda *a, **k: pytest.fail("error bars were computed")
        )
        atoms.calc = GAPCalculator(model)
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energies()
        atoms.calc.get_energies_std(), atoms.calc.get_novelty(), atoms.calc.get_property("extrapolating")
    assert not set(ERROR_BARS) & set(atoms.calc.results)
    assert {"energies_std", *SIGNS} <= set(atoms.calc.results)  # what was asked for before is kept
    before = atoms.get_forces()
    assert atoms.calc.get_property("energy_std") > 0.0
    np.testing.assert_allclose(atoms.get_forces(), before, rtol=0, atol=1e-12)
    # of the structure before; they must not survive a change
    atoms.positions[0, 0] += 0.05
    atoms.get_forces()
    assert not {*ERROR_BARS, *SIGNS, "energies_std"} & set(atoms.calc.results)


def test_signs_of_extrapolation_are_those_of_the_model(model, atoms):
    """On the one scale, and for the price of what the points leave of the prior: no data part, no error bar."""
    far = atoms.copy()
    far.set_cell(far.cell.array * 0.85, scale_atoms=True)
    for frame in (atoms, far):
        found, calculator = model.extrapolation(frame), GAPCalculator(model, n_jobs=1)
        np.testing.assert_array_equal(calculator.get_property("extrapolating", frame), found.forces)
        np.testing.assert_allclose(calculator.get_novelty(frame), found.novelty, rtol=1e-7)
        np.testing.assert_allclose(model.predict(frame, return_std=True).novelty, found.novelty, rtol=1e-7)
        assert not {*ERROR_BARS, "energies_std", "energies_data_std"} & set(calculator.results)
    assert found.novelty.max() > 1


def test_local_energies_stay_epistemic(model, atoms):
    """Whatever else was asked for: one property, one meaning."""
    expected = model.predict(atoms, return_std=True, std="epistemic").local_energies_std
    for first in ("energies_std", "energies_prior_std", "forces_std"):
        calculator = GAPCalculator(model)
        calculator.get_property(first, atoms)
        np.testing.assert_allclose(calculator.get_energies_std(atoms), expected, rtol=1e-4, err_msg=first)
    assert (np.abs(model.predict(atoms, return_std=True).local_energies_std / expected - 1) > 0.01).all()


def test_molecules_have_no_error_bar_of_stress(model):
    atoms = Atoms("CuAu", positions=[[0, 0, 0], [0, 0, 2.5]])
    calculator = GAPCalculator(model)
    p = model.predict(atoms, return_std=True)
    np.testing.assert_allclose(calculator.get_property("energy_std", atoms), p.energy_std[0], rtol=SAME)
    np.testing.assert_allclose(calculator.get_property("forces_std", atoms), p.forces_std, rtol=1e-6)
    assert calculator.get_property("extrapolating", atoms).all()
    assert "stress_std" not in calculator.results
    with pytest.raises(PropertyNotImplementedError):
        calculator.get_property("stress_std", atoms)


def test_uncalibrated_models(atoms):
    model = small_model(terms=small_terms(12)).fit(make_frames(8, n_gold=3, seed=1))
    calculator = GAPCalculator(model)
    assert calculator.std == "epistemic"
    expected = model.predict(atoms, return_std=True, std="epistemic").forces_std
    np.testing.assert_allclose(calculator.get_property("forces_std", atoms), expected, rtol=1e-7)
    for name in SIGNS:
        with pytest.raises(NotFittedModelError, match="no thresholds of novelty"):
            calculator.get_property(name, atoms)
    with pytest.raises(NotFittedModelError, match="no calibration"):
        GAPCalculator(model, std="calibrated")


def test_kinds_are_checked(model):
    with pytest.raises(InputError, match="`std` must be one of calibrated, epistemic, total"):
        GAPCalculator(model, std="aleatoric")

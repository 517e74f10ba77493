"""Scans: the right structures and zero of energy, error bars, and input that makes no sense."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit import GAP
from gapkit.exceptions import InputError, NotFittedModelError, UnknownSpeciesError
from gapkit.validation import dimer_scan, volume_scan
from tests.potential.models import make_frames, small_model


@pytest.fixture(scope="module")
def model() -> GAP:
    return small_model(calibration="leave-one-out").fit(make_frames(14, n_gold=2))


def test_dimer(model: GAP) -> None:
    scan = dimer_scan(model, "Cu", "Au")
    assert (scan.x[0], scan.x[-1], scan.name) == (0.5, 4.0, "Cu-Au")
    assert scan.x_label == "distance, Å"
    assert np.isfinite(scan.energy).all()
    assert (scan.energy_std > 0).all()
    assert scan.std == "calibrated"
    assert scan.extrapolating[0]  # closer than any pair of the training set
    pair = Atoms("CuAu", positions=[(0, 0, 0), (2.5, 0, 0)])
    p = model.predict([pair], return_std=True)
    apart = model.reference_energies_["Cu"] + model.reference_energies_["Au"]
    one = dimer_scan(model, "Au", "Cu", [2.5])
    np.testing.assert_allclose(one.energy, p.energy - apart, atol=1e-8)
    np.testing.assert_allclose(one.energy_std, p.energy_std, rtol=1e-6)


def test_atoms_beyond_the_cutoff_do_not_depend_on_their_distance(model: GAP) -> None:
    energy = dimer_scan(model, "Cu", "Cu", [4.0, 5.0, 50.0]).energy
    np.testing.assert_allclose(energy, energy[0], atol=1e-8)


def test_volume(model: GAP) -> None:
    crystal = bulk("Cu", cubic=True)
    before = crystal.copy()
    scan = volume_scan(model, crystal, [-0.02, 0.0, 0.03])
    assert crystal == before
    np.testing.assert_allclose(scan.x, crystal.get_volume() / 4 * np.array([0.98, 1.0, 1.03]) ** 3)
    p = model.predict([crystal], return_std=True)
    np.testing.assert_allclose(scan.energy[1], p.energy[0] / 4, atol=1e-8)
    np.testing.assert_allclose(scan.energy_std[1], p.energy_std[0] / 4, rtol=1e-6)
    assert (scan.x_label, scan.energy_label) == ("volume, Å³/atom", "energy, eV/atom")
    whole = volume_scan(model, crystal)
    assert np.argmin(whole.energy) not in (0, 40)
    assert whole.energy_std[0] > whole.energy_std[20]


def test_without_calibration() -> None:
    scan = volume_scan(small_model(calibration=None).fit(make_frames(10)), bulk("Cu"), [0.0, 0.01])
    assert (scan.std, scan.extrapolating) == ("epistemic", None)
    assert (scan.energy_std > 0).all()


def test_input_without_sense(model: GAP) -> None:
    with pytest.raises(UnknownSpeciesError, match="got O"):
        dimer_scan(model, "Cu", "O")
    for distances in ([1.0, 0.0], [-1.0], [np.nan], [np.inf]):
        with pytest.raises(InputError, match="`distances` must be finite and > 0 Å"):
            dimer_scan(model, "Cu", "Cu", distances)
    with pytest.raises(InputError, match="shape"):
        dimer_scan(model, "Cu", "Cu", [])
    with pytest.raises(InputError, match="`strains` must be finite and > -1"):
        volume_scan(model, bulk("Cu"), [-1.0])
    with pytest.raises(InputError, match="periodic in three dimensions"):
        volume_scan(model, Atoms("Cu"))
    with pytest.raises(UnknownSpeciesError, match="Ag"):
        volume_scan(model, bulk("Ag"))
    with pytest.raises(NotFittedModelError):
        dimer_scan(GAP(), "Cu", "Cu")
    with pytest.raises(InputError, match="one energy per point"):
        replace(dimer_scan(model, "Cu", "Cu", [2.0, 3.0]), reference=np.zeros(3))

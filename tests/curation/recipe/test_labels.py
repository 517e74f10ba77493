"""Labels of any file in eV, eV/Å and eV/Å^3 under ASE's names, and labels that contradict each other."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.curation.recipe import Source
from gapkit.curation.recipe.sources import conflict, in_own_units, is_labelled
from gapkit.exceptions import DataError
from gapkit.structures import to_batch
from tests.curation.recipe.data import copper, plain, scaled
from tests.potential.models import label


def source(**options: object) -> Source:
    return Source(file="a.xyz", **options)  # type: ignore[arg-type]


@pytest.fixture
def atoms() -> Atoms:
    return copper(1)[0]


def assert_same_labels(atoms: Atoms, expected: Atoms) -> None:
    assert set(atoms.calc.results) == set(expected.calc.results)
    for kind, value in expected.calc.results.items():
        np.testing.assert_allclose(atoms.calc.results[kind], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("energy", "forces", "stress", "sizes"),
    [
        ("eV", "eV/Å", "eV/Å^3", (1.0, 1.0, 1.0)),
        ("Hartree", "Hartree/Bohr", "GPa", (27.211386, 51.422067, 1 / 160.21766)),
        ("Rydberg", "Rydberg/Bohr", "kbar", (13.605693, 25.711034, 1 / 1602.1766)),
        ("kcal/mol", "kcal/mol/Å", "Hartree/Bohr^3", (0.04336410, 0.04336410, 183.63153)),
        ("kJ/mol", "kJ/mol/Å", "Rydberg/Bohr^3", (0.01036427, 0.01036427, 91.815765)),
        ("eV", "eV/Bohr", "GPa", (1.0, 1.8897261, 1 / 160.21766)),
    ],
)
def test_units(atoms: Atoms, energy: str, forces: str, stress: str, sizes: tuple[float, float, float]) -> None:
    given = scaled(atoms, energy=1 / sizes[0], forces=1 / sizes[1], stress=1 / sizes[2])
    new = in_own_units(given, source(energy_unit=energy, forces_unit=forces, stress_unit=stress))
    for kind, value in atoms.calc.results.items():
        np.testing.assert_allclose(new.calc.results[kind], value, rtol=1e-6)


def test_frames_are_not_changed(atoms: Atoms) -> None:
    before = {kind: np.copy(value) for kind, value in atoms.calc.results.items()}
    in_own_units(atoms, source(energy_unit="Hartree", forces_unit="Hartree/Bohr", stress_unit="GPa"))
    for kind, value in before.items():
        np.testing.assert_array_equal(atoms.calc.results[kind], value)


def test_keys_of_ones_own(atoms: Atoms) -> None:
    given = plain(atoms, energy="REF_energy", forces="REF_forces", stress="REF_stress")
    given.info["phase"] = "liquid"
    keys = {"energy_key": "REF_energy", "forces_key": "REF_forces", "stress_key": "REF_stress"}
    new = in_own_units(given, source(**keys, config_type_key="phase"))
    assert_same_labels(new, atoms)
    assert new.info == {"config_type": "liquid"}
    assert set(new.arrays) == {"numbers", "positions"}


def test_no_label_in_another_unit_stays(atoms: Atoms) -> None:
    """What is left of them would be taken for labels, or for contradictions, when the data set is read again."""
    given = plain(atoms, energy="REF_energy", forces="REF_forces", stress="REF_stress")
    given.info |= {"energy": 1.0, "dft_energy": 2.0, "note": "kept"}
    given.arrays["vasp_forces"] = np.ones((4, 3))
    given.arrays["charge"] = np.ones(4)
    keys = {"energy_key": "REF_energy", "forces_key": "REF_forces", "stress_key": "REF_stress"}
    new = in_own_units(given, source(**keys, energy_unit="Hartree"))
    assert new.info == {"note": "kept"}
    assert set(new.arrays) == {"numbers", "positions", "charge"}
    assert new.calc.results["energy"] == pytest.approx(atoms.calc.results["energy"] * units.Hartree)
    assert conflict(new, source()) == ""


def test_a_virial_becomes_a_stress(atoms: Atoms) -> None:
    stress = atoms.calc.results["stress"]
    virial = -stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] * atoms.get_volume()
    for given in (virial, virial.ravel(), virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]):
        bare = plain(atoms)
        del bare.info["stress"]
        bare.info["virial"] = given / units.Hartree
        bare.info["energy"] /= units.Hartree
        assert_same_labels(in_own_units(bare, source(energy_unit="Hartree", stress_unit="GPa")), atoms)


def test_only_a_virial(atoms: Atoms) -> None:
    bare = atoms.copy()
    bare.calc = None
    bare.info["virial"] = np.diag([1.0, 2.0, 3.0])
    new = in_own_units(bare, source())
    np.testing.assert_allclose(new.calc.results["stress"], -np.array([1, 2, 3, 0, 0, 0]) / atoms.get_volume())
    assert is_labelled(new)
    assert "virial" not in new.info


def test_the_virial_of_a_molecule_stays_one() -> None:
    molecule = Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]], info={"virial": np.eye(3)})
    new = in_own_units(molecule, source(energy_unit="Rydberg"))
    np.testing.assert_allclose(new.info["virial"], np.eye(3) * units.Rydberg)
    assert is_labelled(new)


def test_stress_and_virial_in_different_units_may_agree(atoms: Atoms) -> None:
    virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
    both = scaled(atoms, stress=1.0 / units.GPa)
    both.info["virial"] = virial
    assert_same_labels(in_own_units(both, source(stress_unit="GPa")), atoms)
    with pytest.raises(
        DataError, match=r"`virial` must equal -stress \* volume in the units of the source.*stress_unit"
    ):
        in_own_units(both, source())
    assert "virial" not in in_own_units(both, source(stress_unit="GPa")).info


def test_masked_forces_are_no_labels(atoms: Atoms) -> None:
    bare = plain(atoms)
    bare.arrays["forces"][2] = np.nan
    bare.arrays["force_mask"] = np.array([False, False, True, False])
    new = in_own_units(bare, source(forces_unit="Hartree/Bohr"))
    labels = to_batch(new).labels
    assert labels is not None
    assert labels.has_forces.tolist() == [True, True, False, True]
    np.testing.assert_allclose(labels.forces[[0, 1, 3]], bare.arrays["forces"][[0, 1, 3]] * units.Hartree / units.Bohr)
    assert np.isfinite(new.calc.results["forces"]).all()


def test_sigmas_have_the_units_of_their_labels(atoms: Atoms) -> None:
    atoms.info |= {"energy_sigma": 0.1, "virial_sigma": 0.2}
    atoms.arrays["force_sigma"] = np.array([0.1, 0.2, 0.3, 0.4])
    new = in_own_units(atoms, source(energy_unit="Hartree", forces_unit="Rydberg/Bohr"))
    assert new.info["energy_sigma"] == pytest.approx(0.1 * units.Hartree)
    assert new.info["virial_sigma"] == pytest.approx(0.2 * units.Hartree)
    np.testing.assert_allclose(new.arrays["force_sigma"], atoms.arrays["force_sigma"] * units.Rydberg / units.Bohr)
    del atoms.arrays["force_sigma"]
    atoms.info["force_sigma"] = 0.5
    new = in_own_units(atoms, source())
    np.testing.assert_allclose(new.arrays["force_sigma"], 0.5)
    assert "force_sigma" not in new.info


def test_a_frame_without_labels_is_unlabelled(atoms: Atoms) -> None:
    atoms.calc = None
    new = in_own_units(atoms, source())
    assert new.calc is None
    assert not is_labelled(new)


def test_configuration_types(atoms: Atoms) -> None:
    assert "config_type" not in in_own_units(atoms, source()).info
    assert in_own_units(atoms, source(config_type="bulk")).info["config_type"] == "bulk"
    atoms.info["config_type"] = 300
    assert in_own_units(atoms, source(config_type="bulk")).info["config_type"] == "300"


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda a: a.info.update(energy=np.nan), "finite"),
        (lambda a: a.arrays.update(forces=np.zeros((4, 2))), "shape"),
        (lambda a: a.info.update(energy="high"), "numeric"),
        (lambda a: a.info.update(stress=np.arange(9.0)), "symmetric"),
    ],
)
def test_labels_that_cannot_be_read(atoms: Atoms, spoil, part: str) -> None:
    bare = plain(atoms)
    spoil(bare)
    assert conflict(bare, source()) == ""
    with pytest.raises(DataError, match=part):
        in_own_units(bare, source())


def test_labels_of_another_structure_are_stale(atoms: Atoms) -> None:
    atoms.positions[0, 0] += 0.1
    with pytest.raises(DataError, match="changed after it was computed"):
        in_own_units(atoms, source())


# --- contradictions ---------------------------------------------------------------------------------------------------


def test_one_label_of_each_kind_is_clear(atoms: Atoms) -> None:
    assert conflict(atoms, source()) == ""
    assert conflict(plain(atoms), source()) == ""
    assert conflict(plain(atoms, energy="REF_energy"), source(energy_key="REF_energy")) == ""


@pytest.mark.parametrize("alias", ["REF_energy", "dft_energy", "QM_Energy", "ref-energy"])
def test_two_different_energies_are_ambiguous(atoms: Atoms, alias: str) -> None:
    both = plain(atoms)
    both.info[alias] = both.info["energy"] + 0.1
    assert conflict(both, source()) == f"has different values under `energy` and `{alias}`; name one with `energy_key`"
    assert conflict(both, source(energy_key=alias)) == ""
    assert conflict(both, source(energy_key="energy")) == ""
    both.info[alias] = both.info["energy"]
    assert conflict(both, source()) == ""


def test_two_different_forces_are_ambiguous(atoms: Atoms) -> None:
    both = plain(atoms)
    both.arrays["REF_forces"] = both.arrays["forces"].copy()
    assert conflict(both, source()) == ""
    both.arrays["REF_forces"][3, 1] += 0.1
    assert "`forces` and `REF_forces`" in conflict(both, source())
    assert conflict(both, source(forces_key="REF_forces")) == ""


def test_results_and_info_that_differ_are_ambiguous(atoms: Atoms) -> None:
    atoms.info["energy"] = atoms.calc.results["energy"] + 0.1
    assert (
        conflict(atoms, source())
        == "has different values under `energy` in results and `info`; name one with `energy_key`"
    )
    atoms.info["energy"] = atoms.calc.results["energy"]
    atoms.arrays["forces"] = atoms.calc.results["forces"] + 1.0
    assert "`forces` in results and" in conflict(atoms, source())


def test_shapes_of_a_stress_are_not_a_contradiction(atoms: Atoms) -> None:
    atoms.info["REF_stress"] = atoms.get_stress(voigt=False)
    assert conflict(atoms, source()) == ""
    atoms.info["REF_stress"] = atoms.get_stress(voigt=False).ravel() + np.eye(3).ravel()
    assert "`stress` and `REF_stress`" in conflict(atoms, source())


def test_a_label_under_another_name_must_be_named(atoms: Atoms) -> None:
    given = plain(atoms, energy="REF_energy")
    assert conflict(given, source()) == "has no 'energy', but 'REF_energy'; name it with `energy_key`"


def test_a_name_that_only_some_frames_have(atoms: Atoms) -> None:
    message = conflict(plain(atoms), source(energy_key="REF_energy"))
    assert message == "has no 'REF_energy', but 'energy'; correct `energy_key`, or give all frames of the file one name"


def test_other_names_are_not_labels(atoms: Atoms) -> None:
    atoms.info |= {"energy_cutoff": 500.0, "formation_energy": -1.0, "REF_energy_per_atom": 1.0, "my_energy": 3.0}
    atoms.info["REF_energy"] = "unknown"
    atoms.arrays["REF_forces"] = np.ones(4)
    assert conflict(atoms, source()) == ""


def test_constraints_do_not_change_labels(atoms: Atoms) -> None:
    from ase.constraints import FixAtoms

    held = atoms.copy()
    held.set_constraint(FixAtoms([0, 1]))
    held.calc = SinglePointCalculator(held, **atoms.calc.results)
    assert_same_labels(in_own_units(held, source()), label(atoms))

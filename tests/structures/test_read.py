"""From ASE atoms and files to batches: where labels are found, and every refusal."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from gapkit.exceptions import DataError, InputError
from gapkit.structures import LabelKeys, to_batch

STRESS = np.array([[0.1, 0.01, 0.02], [0.01, 0.2, 0.03], [0.02, 0.03, 0.3]])  # eV/Å^3


def silicon(**results):
    atoms = bulk("Si")
    if results:
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def water(**info):
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


def with_array(name, values):
    atoms = water()
    atoms.arrays[name] = np.asarray(values)
    return atoms


def test_labels_of_the_calculator():
    forces = np.arange(6.0).reshape(2, 3)
    labels = to_batch([silicon(energy=-10.0, forces=forces, stress=STRESS), water()]).labels
    assert labels.energy[0] == -10.0
    assert labels.has_energy.tolist() == [True, False]
    assert np.array_equal(labels.forces[:2], forces)
    assert labels.has_forces.tolist() == [True, True, False, False, False]
    assert labels.has_virial.tolist() == [True, False]
    assert np.isnan(labels.energy[1])
    assert np.isnan(labels.forces[2:]).all()
    assert np.isnan(labels.virial[1]).all()
    assert labels.config_type == ("default", "default")


@pytest.mark.parametrize("stress", [STRESS, STRESS.ravel(), full_3x3_to_voigt_6_stress(STRESS)], ids=["33", "9", "6"])
def test_stress_becomes_virial(stress):
    atoms = silicon(stress=stress)
    assert np.allclose(to_batch(atoms).labels.virial[0], -STRESS * atoms.get_volume(), atol=1e-14)


@pytest.mark.parametrize("virial", [STRESS, STRESS.ravel(), full_3x3_to_voigt_6_stress(STRESS)], ids=["33", "9", "6"])
def test_virial_needs_no_cell(virial):
    assert np.allclose(to_batch(water(virial=virial)).labels.virial[0], STRESS, atol=1e-14)


def test_stress_and_virial_may_agree_but_not_contradict():
    atoms = silicon(stress=STRESS)
    atoms.info["virial"] = -STRESS * atoms.get_volume()
    assert to_batch(atoms).labels.has_virial.all()
    atoms.info["virial"] = STRESS * atoms.get_volume()
    with pytest.raises(DataError, match=r"`virial` must equal -stress \* volume"):
        to_batch(atoms)
    assert to_batch(atoms, keys=LabelKeys(stress=None)).labels.virial[0, 0, 0] > 0


def test_default_names_in_info_and_arrays():
    atoms = water(energy=-1.0, config_type=3, energy_sigma=0.1, virial_sigma=0.2, force_sigma=0.3)
    atoms.arrays["forces"] = np.ones((3, 3))
    atoms.arrays["force_mask"] = np.array([False, True, False])
    labels = to_batch(atoms).labels
    assert labels.energy[0] == -1.0
    assert labels.has_forces.tolist() == [True, False, True]
    assert np.isnan(labels.forces[1]).all()
    assert labels.config_type == ("3",)
    assert (labels.energy_sigma[0], labels.virial_sigma[0], labels.force_sigma.tolist()) == (0.1, 0.2, [0.3] * 3)


def test_sigma_per_atom():
    assert to_batch(with_array("force_sigma", [0.1, 0.2, 0.3])).labels.force_sigma.tolist() == [0.1, 0.2, 0.3]


def test_masked_forces_may_be_nan():
    atoms = with_array("forces", [[1.0] * 3, [np.nan] * 3, [2.0] * 3])
    with pytest.raises(DataError, match="`forces` must be finite"):
        to_batch(atoms)
    atoms.arrays["force_mask"] = np.array([0, 1, 0])
    assert to_batch(atoms).labels.has_forces.tolist() == [True, False, True]


def test_other_names_replace_the_default_ones():
    atoms = silicon(energy=-10.0, free_energy=-11.0)
    atoms.info["REF_energy"] = -12.0
    assert to_batch(atoms, keys=LabelKeys(energy="REF_energy")).labels.energy[0] == -12.0
    assert to_batch(atoms, keys=LabelKeys(energy="free_energy")).labels.energy[0] == -11.0
    labels = to_batch([atoms, silicon(energy=-9.0)], keys=LabelKeys(energy="REF_energy")).labels
    assert labels.has_energy.tolist() == [True, False]
    assert not to_batch(atoms, keys=LabelKeys(energy=None)).labels.has_energy.any()


@pytest.mark.parametrize("name", ["energy", "forces", "stress", "config_type", "force_mask"])
def test_a_name_found_nowhere_lists_those_that_exist(name):
    atoms = silicon(energy=-10.0)
    atoms.info["REF_energy"] = -12.0
    with pytest.raises(InputError, match=f"`{name}` of LabelKeys.*'nope', found in none.*REF_energy, energy"):
        to_batch(atoms, keys=LabelKeys(**{name: "nope"}))


def test_keys_are_checked():
    with pytest.raises(InputError, match="`energy` of LabelKeys must be text"):
        LabelKeys(energy=1)
    with pytest.raises(TypeError):
        LabelKeys(enrgy="x")


def test_no_calculation_is_triggered_and_live_results_are_used_only_when_they_fit():
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert not to_batch(atoms).labels.has_energy.any()
    assert atoms.calc.results == {}
    energy = atoms.get_potential_energy()
    assert to_batch(atoms).labels.energy[0] == energy
    atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
    assert not to_batch(atoms).labels.has_energy.any()


def test_stale_labels_are_refused():
    atoms = silicon(energy=-10.0)
    atoms.positions[0] += 0.1
    with pytest.raises(DataError, match=r"positions changed after it was computed.*atoms.calc = None"):
        to_batch(atoms)
    assert to_batch(atoms, labels=False).labels is None


def test_the_callers_atoms_do_not_change():
    atoms = silicon(energy=-10.0, forces=np.ones((2, 3)))
    copy, results = atoms.copy(), dict(atoms.calc.results)
    to_batch([atoms])
    assert atoms == copy
    assert atoms.info == copy.info
    assert atoms.calc.results == results
    atoms.positions[0] = 1.0  # still writeable


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (water(energy=np.nan), "`energy` must be finite"),
        (water(energy=-np.inf), "`energy` must be finite"),
        (water(energy="low"), "`energy` must be numeric"),
        (water(energy=[1.0, 2.0]), r"`energy` must have shape \(\) or \(1,\), got \(2,\)"),
        (with_array("forces", np.full((3, 3), np.inf)), "`forces` must be finite.*9 of 9"),
        (with_array("forces", np.zeros((3, 2))), r"`forces` must have shape \(3, 3\), got \(3, 2\)"),
        (silicon(stress=np.full(6, np.nan)), "`stress` must be finite"),
        (silicon(stress=np.zeros(5)), r"`stress` must have shape \(6,\) or \(9,\) or \(3, 3\)"),
        (silicon(stress=np.arange(9.0)), "`stress` must be symmetric"),
        (water(virial=[np.nan] * 6), "`virial` must be finite"),
        (water(stress=STRESS), "`stress` must come with a three-dimensional cell.*`virial` instead"),
        (water(energy_sigma=0.0), "`energy_sigma` must be finite and > 0"),
        (water(virial_sigma=np.nan), "`virial_sigma` must be finite and > 0"),
        (water(force_sigma=[0.1, 0.1]), "`force_sigma` must have shape"),
        (with_array("force_mask", [0, 1, 2]), "`force_mask` must be 3 booleans"),
        (Atoms(), "at least one atom"),
        (Atoms("X"), "`numbers` must be atomic numbers"),
        (Atoms("H", positions=[[np.nan, 0, 0]]), "`positions` must be finite"),
        (Atoms("H", cell=[np.inf, 1, 1]), "`cell` must be finite"),
        (Atoms("H", pbc=True), "`cell` must have independent"),
        (Atoms("H", cell=[[1, 0, 0], [0, 1, 0], [1, 1, 0]], pbc=True), "no volume"),
        (Atoms("H", cell=[3, 0, 0], pbc=[True, True, False]), "`cell` must have independent"),
    ],
)
def test_unusable_frames_are_named(atoms, message):
    good = water(config_type="good")
    atoms.info["config_type"] = "bad one"
    with pytest.raises(DataError, match=r"^frame 1 \(config_type 'bad one'\): .*" + message):
        to_batch([good, atoms])


@pytest.mark.parametrize("pbc", [False, [True, True, False]])
def test_open_directions_need_no_cell(pbc):
    assert to_batch(Atoms("H", cell=[3, 3, 0], pbc=pbc)).n_atoms == 1


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "at least one structure, got an empty list"),
        ("a.xyz", "read_frames` reads a file"),
        (3, "Atoms, or a list of ase.Atoms, got 3"),
        ([water(), None], r"`frames\[1\]` must be ase.Atoms, got None"),
    ],
)
def test_other_things_than_frames(frames, message):
    with pytest.raises(InputError, match=message):
        to_batch(frames)


def displaced(move):
    atoms = bulk("Si", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=-10.0)
    move(atoms)
    return atoms


@pytest.mark.parametrize(
    "move",
    [
        lambda atoms: (atoms.translate([1.0, -7.0, 3.0]), atoms.wrap()),
        lambda atoms: atoms.translate([1e4, 0.0, 0.1]),
        lambda atoms: atoms.positions.__setitem__(
            3, atoms.positions[3] + 5 * atoms.cell.array[0] - atoms.cell.array[2]
        ),
    ],
    ids=["wrapped", "translated", "one atom by lattice vectors"],
)
def test_labels_of_equivalent_positions_are_not_stale(move):
    assert to_batch(displaced(move)).labels.energy[0] == -10.0


@pytest.mark.parametrize(
    "move",
    [
        lambda atoms: atoms.positions.__setitem__(3, atoms.positions[3] + 0.5 * atoms.cell.array[0]),
        lambda atoms: atoms.positions.__setitem__(3, atoms.positions[3] + 1e-4),
        lambda atoms: atoms.set_cell(atoms.cell * 1.001),
        lambda atoms: atoms.numbers.__setitem__(0, 6),
        lambda atoms: (atoms.set_pbc([True, True, False]), atoms.positions.__setitem__(3, [0, 0, 40.0])),
    ],
)
def test_labels_of_other_structures_stay_stale(move):
    with pytest.raises(DataError, match="changed after it was computed"):
        to_batch(displaced(move))


def test_lattice_vectors_of_open_directions_do_not_count():
    atoms = bulk("Si", cubic=True)
    atoms.pbc = [True, True, False]
    atoms.calc = SinglePointCalculator(atoms, energy=-10.0)
    atoms.positions[3] += atoms.cell.array[0]
    assert to_batch(atoms).labels.has_energy.all()
    atoms.positions[3] += atoms.cell.array[2]
    with pytest.raises(DataError, match="positions changed"):
        to_batch(atoms)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (water(energy=1e308), "`energy` must be at most 1e.100 eV, .*got 1e.308"),
        (water(energy=True), "`energy` must be numeric"),
        (water(energy=1j), "`energy` must be numeric"),
        (with_array("forces", np.full((3, 3), -1e200)), "`forces` must be at most 1e.100 eV/Å.*got 1e.200"),
        (with_array("forces", np.ones((3, 3), bool)), "`forces` must be numeric"),
        (silicon(stress=np.full(6, 1e308)), "`stress` must be at most"),
        (water(virial=[1e154] * 6), "`virial` must be at most"),
        (water(energy_sigma=1e-160), "`energy_sigma` must be finite and > 0.*with a square that is too, got 1e-160"),
        (water(virial_sigma=1e200), "`virial_sigma` must be finite and > 0"),
    ],
)
def test_labels_that_cannot_be_squared_or_are_no_numbers(atoms, message):
    with pytest.raises(DataError, match=message):
        to_batch(atoms)

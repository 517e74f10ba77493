"""The data report: counts, and each fault planted once in data that are otherwise without warning."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.structures import describe, find_faults, to_batch


@pytest.fixture(scope="module")
def copper():
    """EMT copper: ten rattled cells, ten strained ones, with consistent labels."""
    rng = np.random.default_rng(0)
    frames = []
    for k in range(20):
        atoms = bulk("Cu", cubic=True) * (2, 2, 1)
        if k < 10:
            atoms.rattle(0.01 * (k + 1), seed=k)
        else:
            strain = rng.uniform(-0.03, 0.03, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        frames.append(relabel(atoms, "rattled" if k < 10 else "strained", **results))
    return frames


def relabel(atoms, config_type=None, **results):
    new = atoms.copy()
    new.info["config_type"] = config_type or atoms.info["config_type"]
    new.calc = SinglePointCalculator(new, **results)
    return new


def scaled(frames, energy=1.0, forces=1.0, stress=1.0):
    factors = {"energy": energy, "forces": forces, "stress": stress}
    return [relabel(a, **{k: v * factors[k] for k, v in a.calc.results.items()}) for a in frames]


def kinds(frames):
    return {finding.kind for finding in find_faults(to_batch(frames))}


def messages(frames, kind):
    (finding,) = (finding for finding in find_faults(to_batch(frames)) if finding.kind == kind)
    return finding


def test_good_data_give_no_warning(copper):
    assert kinds(copper) == set()


def test_unlabelled_data_give_no_warning(copper):
    batch = to_batch(copper, labels=False)
    report = describe(batch)
    assert report.warnings == ()
    assert report.unlabelled == tuple(range(20))
    assert (report.energy_per_atom, report.max_force, report.max_stress) == (None, None, None)


def test_counts_and_ranges(copper):
    isolated = relabel(Atoms("O"), "atom", energy=-1.5)
    boxed = relabel(Atoms("H", cell=[9, 9, 9], pbc=True), "atom", energy=-0.5)
    bare = molecule("H2O")
    report = describe(to_batch([*copper, isolated, boxed, bare]))
    assert (report.n_frames, report.n_atoms) == (23, 20 * 16 + 5)
    assert report.species == {"H": 3, "O": 2, "Cu": 320}
    assert [(c.config_type, c.n_frames, c.n_atoms) for c in report.config_types] == [
        ("rattled", 10, 160),
        ("strained", 10, 160),
        ("atom", 2, 2),
        ("default", 1, 3),
    ]
    first = report.config_types[0]
    assert first.n_labels == {"energy": 10, "forces": 160, "virial": 10}
    assert report.unlabelled == (22,)
    assert report.isolated_atoms == {"O": (20,), "H": (21,)}
    energies = [a.calc.results["energy"] / 16 for a in copper]
    assert report.energy_per_atom == pytest.approx((min(energies), max(energies)))
    forces = np.concatenate([a.calc.results["forces"] for a in copper])
    assert report.max_force == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert report.volume_per_atom[1] == pytest.approx(729.0)
    assert report.nearest_distance == pytest.approx(0.9686, abs=1e-3)


def test_words(copper):
    text = str(describe(to_batch([*copper, molecule("H2O")])))
    for words in ("21 frames, 323 atoms", "320 Cu", "strained", "eV/atom", "Å^3/atom", "largest force", "no warnings"):
        assert words in text
    assert "without any label: frame 20" in text
    assert "isolated atoms: none" in text


@pytest.mark.parametrize(
    ("factors", "kind", "words"),
    [
        ({"forces": -1.0}, "force_sign", "wrong sign"),
        ({"stress": -1.0}, "stress_sign", "wrong sign"),
        ({"energy": 1 / units.Hartree}, "energy_force_units", "energies in Hartree with forces in eV/Å"),
        ({"forces": units.Bohr / units.Hartree}, "energy_force_units", "energies in eV with forces in Hartree/Bohr"),
        ({"forces": units.mol / units.kcal}, "energy_force_units", "energies in eV with forces in kcal/mol/Å"),
        (
            {"energy": 1 / units.Hartree, "forces": units.Bohr / units.Hartree},
            "energy_force_units",
            "energies in Hartree with forces in Hartree/Bohr",
        ),
        ({"stress": 1 / units.GPa}, "energy_stress_units", "stresses in GPa"),
        ({"stress": -10 / units.GPa}, "energy_stress_units", "stresses in kbar"),
        ({"stress": 10 / units.GPa}, "stress_units", "not GPa or kbar"),
        ({"forces": 300.0}, "force_units", "not kcal/mol/Å"),
    ],
)
def test_planted_units_and_signs(copper, factors, kind, words):
    assert words in messages(scaled(copper, **factors), kind).message


def test_wrong_energy_unit_is_not_blamed_on_stresses_too(copper):
    assert kinds(scaled(copper, energy=1 / units.Hartree)) == {"energy_force_units"}


@pytest.mark.parametrize(("unit", "size"), [("Hartree", units.Hartree), ("kcal/mol", units.kcal / units.mol)])
def test_all_electron_energies(unit, size):
    total = -154.7 * units.Hartree  # ethanol, density functional theory
    right, wrong = molecule("CH3CH2OH"), molecule("CH3CH2OH")
    right.calc = SinglePointCalculator(right, energy=total)
    wrong.calc = SinglePointCalculator(wrong, energy=total / size)
    assert kinds([right]) == {"species_energies"}
    assert f"look like {unit}" in messages([wrong], "energy_units").message


def test_planted_close_atoms(copper):
    broken = copper[0].copy()
    broken.positions[1] = broken.positions[0] + [0.3, 0, 0]
    finding = messages([*copper, broken], "close_atoms")
    assert finding.frames == (20,)
    assert "0.300 Å" in finding.message


def test_planted_duplicates(copper):
    assert messages([*copper, copper[3]], "duplicates").frames == (3, 20)
    results = dict(copper[3].calc.results)
    other_energy = relabel(copper[3], **{**results, "energy": results["energy"] + 0.1})
    other_forces = relabel(copper[3], **{**results, "forces": results["forces"] * 1.1})
    for other in (other_energy, other_forces):
        assert "contradictory_duplicates" in kinds([*copper, other])
        assert "duplicates" not in kinds([*copper, other])


def test_planted_outlier(copper):
    results = dict(copper[5].calc.results)
    frames = list(copper)
    frames[5] = relabel(copper[5], **{**results, "energy": results["energy"] + 16 * 3.0})
    assert messages(frames, "energy_outliers").frames == (5,)


def test_planted_net_force(copper):
    results = dict(copper[5].calc.results)
    forces = results["forces"].copy()
    forces[:4] = 0.0
    forces[4:] += 0.3
    broken = relabel(copper[5], **{**results, "forces": forces})
    assert messages([*copper[:5], broken], "net_force").frames == (5,)
    masked = relabel(broken, **broken.calc.results)
    masked.arrays["force_mask"] = np.arange(16) < 4
    assert "net_force" not in kinds([*copper[:5], masked])


def test_long_lists_of_frames_are_cut_in_words(copper):
    text = str(messages(scaled(copper, forces=300.0), "force_units"))
    assert "frames 0, 1, 2, 3, 4, 5, 6, 7 and 12 more" in text

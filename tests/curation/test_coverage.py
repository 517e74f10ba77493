from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit import SOAP
from gapkit.curation.coverage import measure_coverage
from gapkit.exceptions import InputError
from tests.curation.test_leakage import snapshots
from tests.potential.models import label, make_frames

SMALL = SOAP(4.0, 4, 3, 0.5)


def test_pairs_are_counted_once_by_species():
    frames = [Atoms("CuAuAu", [[0, 0, 0], [2.05, 0, 0], [0, 3.15, 0]]) for _ in range(3)]
    coverage = measure_coverage(frames, descriptor=SMALL)
    assert {pair: int(counts.sum()) for pair, counts in coverage.pairs.items()} == {
        ("Cu", "Cu"): 0, ("Cu", "Au"): 6, ("Au", "Au"): 3,
    }  # fmt: skip
    assert coverage.pairs["Cu", "Au"][[20, 31]].tolist() == [3, 3]
    assert coverage.edges[20] == pytest.approx(2.0)


@pytest.mark.parametrize("turn", [False, True])
def test_strains(turn):
    reference = bulk("Cu", cubic=True)
    frames = []
    for e in (0.0, 0.02):
        shear, volume = np.diag([1.0 + e, 1.0 / (1.0 + e), 1.0]), (1.0 + e) * np.eye(3)
        for deformation in (shear, volume):
            atoms = reference.copy()
            rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0] if turn else np.eye(3)
            rotation *= np.sign(np.linalg.det(rotation))
            atoms.set_cell(reference.cell.array @ deformation @ rotation, scale_atoms=True)
            frames.append(atoms)
    coverage = measure_coverage(frames, reference_cell=reference.cell.array, descriptor=SMALL)
    np.testing.assert_allclose(coverage.volumetric_strain, [0, 0, 0, 1.02**3 - 1], atol=1e-12)
    green = 0.5 * np.diag([1.02**2 - 1, 1.02**-2 - 1, 0.0])
    green -= np.trace(green) / 3 * np.eye(3)
    np.testing.assert_allclose(coverage.shear_strain, [0, 0, np.sqrt(2 / 3 * np.sum(green**2)), 0], atol=1e-12)
    strains = measure_coverage(frames, descriptor=SMALL).volumetric_strain
    assert strains[3] > 0.03 > 0 > strains[0]


def test_cells_of_other_settings_are_no_strains():
    cubic = [bulk("Cu", cubic=True) for _ in range(5)]
    long = [bulk("Cu") * (1, 1, 4) for _ in range(3)]  # four atoms as well
    lonely = [bulk("Cu") * (4, 1, 1)]
    for k, atoms in enumerate([*cubic, *long, *lonely]):
        atoms.set_cell(atoms.cell.array * (1.0 + 0.01 * k) ** (1 / 3), scale_atoms=True)
    lonely[0].set_cell(lonely[0].cell.array * [2.0, 1.0, 1.0], scale_atoms=True)
    coverage = measure_coverage([*long, *lonely, *cubic], descriptor=SMALL)
    strains = coverage.volumetric_strain
    np.testing.assert_allclose(strains[:3], np.array([1.05, 1.06, 1.07]) / 1.06 - 1, atol=1e-4)
    np.testing.assert_allclose(strains[4:], np.array([1.0, 1.01, 1.02, 1.03, 1.04]) / 1.02 - 1, atol=2e-4)
    assert np.isnan(strains[3])
    assert np.nanmax(coverage.shear_strain) < 1e-12


def test_ranges():
    frames = [label(bulk("Cu", "fcc", a=a)) for a in (3.5, 3.6, 3.7)]
    coverage = measure_coverage(frames, descriptor=SMALL)
    np.testing.assert_allclose(coverage.volume_per_atom, [3.5**3 / 4, 3.7**3 / 4])
    energies = [atoms.get_potential_energy() for atoms in frames]
    np.testing.assert_allclose(coverage.energy_per_atom, [min(energies), max(energies)])


def test_pool():
    known = snapshots(20, 0.1, 0)
    alike = measure_coverage(known, snapshots(10, 0.1, 1), descriptor=SMALL)
    hotter = measure_coverage(known, snapshots(10, 0.4, 1), descriptor=SMALL)
    itself = measure_coverage(known, known, descriptor=SMALL)
    assert alike.covered["Cu"] == pytest.approx(0.95, abs=0.05)
    assert hotter.covered["Cu"] < 0.1
    assert hotter.covered_frames == 0.0
    assert itself.covered["Cu"] == itself.covered_frames == 1.0
    gold = snapshots(1, 0.1, 2)[0]
    gold.numbers[:] = 79
    assert measure_coverage(known, [gold], descriptor=SMALL).covered == {"Au": 0.0}


def test_dictionary_is_json():
    coverage = measure_coverage(make_frames(4, n_gold=2), descriptor=SMALL)
    again = json.loads(json.dumps(coverage.to_dict(), allow_nan=False))
    assert again["pairs"]["Cu-Au"] == coverage.pairs["Cu", "Au"].tolist()
    assert again["covered"] is None
    molecule = measure_coverage([Atoms("CuCu", [[0, 0, 0], [0, 0, 2.5]])], descriptor=SMALL).to_dict()
    assert molecule["volumetric_strain"] == [None]
    assert molecule["volume_per_atom"] is None
    json.dumps(molecule, allow_nan=False)


def test_options():
    with pytest.raises(InputError, match="max_distance"):
        measure_coverage(make_frames(2), max_distance=0.0)
    with pytest.raises(InputError, match="reference_cell"):
        measure_coverage(make_frames(2), reference_cell=np.zeros((3, 3)))

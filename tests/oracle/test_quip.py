"""Descriptor vectors and whole models against QUIP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gapkit.descriptors import SOAP, CosineCutoff
from gapkit.structures import to_batch
from tests.descriptors.cases import structure
from tests.oracle.gap_xml import read_model

pytestmark = pytest.mark.oracle

VECTORS = 1e-10
MODELS = 1e-8  # eV, eV/Å and eV; relative where values are large

SPECIES = {1: (14,), 2: (14, 8), 3: (32, 8, 14)}


@pytest.mark.parametrize("n_species", [1, 2, 3])
@pytest.mark.parametrize("kind", ["bulk", "small", "molecule"])
@pytest.mark.parametrize("n_l", [(4, 3), (6, 4)])
def test_soap_vectors(kind, n_species, n_l):
    descriptors = pytest.importorskip("quippy.descriptors")
    n_max, l_max = n_l
    species = SPECIES[n_species]
    atoms = structure(kind, 1)
    atoms.numbers = np.resize(species, len(atoms))
    soap = SOAP(4.0, n_max, l_max, 0.5, cutoff_function=CosineCutoff(0.7), species=species)
    x = soap.fit_transform([atoms])
    for z in species:
        listed = " ".join(map(str, species))
        quip = descriptors.Descriptor(
            f"soap cutoff=4.0 cutoff_transition_width=0.7 l_max={l_max} n_max={n_max} atom_sigma=0.5 "
            f"n_Z=1 Z={{{z}}} n_species={n_species} species_Z={{{listed}}}"
        )
        # The last element is covariance_sigma0.
        expected = quip.calc(atoms)["data"][:, :-1]
        np.testing.assert_allclose(x[atoms.numbers == z], expected, rtol=0, atol=VECTORS)


def frames(n_species, n=6):
    rng = np.random.default_rng(0)
    made = []
    for k in range(n):
        atoms = bulk("Cu", cubic=True) * (1, 1, 2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, seed=k)
        if n_species == 2:
            atoms.numbers[rng.permutation(8)[:3]] = 79
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        made.append(atoms)
    return made


PAIRS = (
    "distance_2b cutoff=4.2 cutoff_transition_width=1.0 delta=0.5 theta_uniform=0.8 n_sparse=5 "
    "sparse_method=uniform covariance_type=ard_se add_species=T"
)
TRIPLETS = (
    "angle_3b cutoff=3.2 cutoff_transition_width=0.8 delta=0.3 theta_fac=0.5 n_sparse=10 "
    "sparse_method=uniform covariance_type=ard_se add_species=T"
)
SOAPS = (
    "soap cutoff=4.0 cutoff_transition_width=0.9 n_max=4 l_max=3 atom_sigma=0.5 zeta={zeta} delta=0.4 n_sparse=12 "
    "sparse_method=cur_points covariance_type=dot_product covariance_sigma0={sigma0} add_species=T"
)
SOAP_2, SOAP_4 = SOAPS.format(zeta=2, sigma0=0.0), SOAPS.format(zeta=4, sigma0=0.1)


def gap_fit(folder: Path, data, gap: str) -> Path:
    program = shutil.which("gap_fit") or str(Path(sys.executable).parent / "gap_fit")
    if not Path(program).exists():
        pytest.skip("gap_fit is not installed; `pip install quippy-ase`")
    write(folder / "train.xyz", data, format="extxyz")
    command = [
        program, "atoms_filename=train.xyz", f"gap={{{gap}}}", "default_sigma={0.01 0.05 0.05 0.0}",
        "energy_parameter_name=energy", "force_parameter_name=forces", "virial_parameter_name=virial",
        "e0_method=average", "gp_file=gap.xml", "rnd_seed=1", "do_copy_at_file=F", "sparse_separate_file=T",
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **threads}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "gap.xml"


@pytest.mark.parametrize(
    ("n_species", "gap"),
    [
        pytest.param(1, SOAP_2, id="soap"),
        pytest.param(2, SOAP_4, id="soap-sigma0-2-species"),
        pytest.param(1, f"{PAIRS} : {SOAP_2}", id="2b-soap"),
        pytest.param(1, f"{PAIRS} : {TRIPLETS} : {SOAP_2}", id="2b-3b-soap"),
        pytest.param(2, f"{PAIRS} : {TRIPLETS} : {SOAP_2}", id="2b-3b-soap-2-species"),
    ],
)
def test_predictions_of_a_gap_fit_model(tmp_path, n_species, gap):
    potential = pytest.importorskip("quippy.potential")
    path = gap_fit(tmp_path, frames(n_species), gap)
    model = read_model(path)
    quip = potential.Potential(param_filename=str(path))
    molecule = frames(n_species, 1)[0]
    molecule.pbc = False
    molecule.cell = np.eye(3) * 30.0
    primitive = bulk("Cu", a=3.5)
    primitive.set_cell(primitive.cell.array @ (np.eye(3) + 0.03 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True)
    for atoms in [*frames(n_species, 8)[6:], primitive, molecule]:
        atoms = atoms.copy()
        batch = to_batch(atoms, labels=False)
        p = model.predict(batch, model.neighbours(batch), n_jobs=1)
        atoms.calc = quip
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        assert abs(p.energy[0] - energy) < MODELS * max(1.0, abs(energy))
        np.testing.assert_allclose(p.forces, forces, rtol=0, atol=MODELS * max(1.0, np.abs(forces).max()))
        np.testing.assert_allclose(
            p.local_energies, quip.get_energies(atoms), rtol=0, atol=MODELS * max(1.0, abs(energy))
        )
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        np.testing.assert_allclose(p.virial[0], virial, rtol=0, atol=MODELS * max(1.0, np.abs(virial).max()))

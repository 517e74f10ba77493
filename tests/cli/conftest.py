"""A small copper data set on disk, a model that was fitted to it once, and a way to run commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from typer.testing import CliRunner, Result

from gapkit.cli.app import app

# Small enough to be fitted in a second.
CONFIG = """\
n_jobs: 1
n_sparse: 20
energy_sigma: 0.001
forces_sigma: 0.05
virial_sigma: 0.01
terms:
  - {type: TwoBody, cutoff: 4.0, n_sparse: 8}
  - {type: SOAP, cutoff: 4.0, n_max: 4, l_max: 3}
"""


def copper_frames(n_frames: int, seed: int) -> list[Atoms]:
    """Rattled and strained copper with energies, forces and stresses from EMT, of two configuration types."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(n_frames):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.05 if i % 2 else 0.15, size=atoms.positions.shape)
        atoms.calc = EMT()
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.info["config_type"] = "cold" if i % 2 else "hot"
        frames.append(atoms)
    return frames


@dataclass(frozen=True)
class Files:
    """The data set, its configuration and the model."""

    folder: Path
    train: Path
    test: Path
    config: Path
    model: Path


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def run() -> Run:
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Files:
    folder = tmp_path_factory.mktemp("copper")
    files = Files(folder, *(folder / name for name in ("train.extxyz", "test.extxyz", "fit.yaml", "cu.gapkit")))
    write(files.train, copper_frames(12, seed=1))
    write(files.test, copper_frames(4, seed=2))
    files.config.write_text(CONFIG)
    result = run("fit", files.train, "--config", files.config, "--output", files.model, "--quiet")
    assert result.exit_code == 0, result.output
    return files

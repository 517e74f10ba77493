"""The examples run from the data that ship, without a warning."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script, *arguments, folder=None):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(ROOT / "examples" / script), *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_silicon():
    result = run("silicon.py")
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.strip().startswith("100 fs")
    assert abs(float(last.split("total energy")[1].split()[0])) < 1.0  # meV/atom


def test_uncertainty(tmp_path):
    result = run("uncertainty.py", "--picture", str(tmp_path / "a.png"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    strained, dimer, modulus = (result.stdout.splitlines()[i] for i in (-4, -2, -1))
    assert strained.endswith("known")
    assert dimer.endswith("extrapolation")
    mean, std = float(modulus.split()[2]), float(modulus.split()[4])
    assert abs(mean - 89.0) < 4.0  # GPa; PBE gives 88 to 90
    assert 0.0 < std < 10.0


def test_comparison(tmp_path):
    # the alloys are labelled by effective medium theory, which every supported ASE has
    options = "--quick --without quip,snap --only fit,species --json cost.json --picture cost.png"
    result = run("benchmarks/compare.py", *options.split(), folder=tmp_path)
    assert result.returncode == 0, result.stderr
    sections = json.loads((tmp_path / "cost.json").read_text())["sections"]
    assert sections["fit"]["rows"][0]["forces_mae"] < 0.12  # eV/Å
    assert [row["species"] for row in sections["species"]["rows"]] == [1, 2]
    assert all(row["E+F+stress"] > 0.0 for row in sections["species"]["rows"])
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "value"), [("--only", "fits"), ("--without", "gap"), ("--e0", "Cu=x"), ("--train", "no")]
)
def test_comparison_names_what_it_cannot_use(option, value):
    result = run("benchmarks/compare.py", option, value)
    assert result.returncode == 2
    assert value in result.stderr

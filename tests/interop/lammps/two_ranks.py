"""Run dynamics on however many ranks there are and keep the results: ``two_ranks.py MODEL CASE OUTPUT``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ase import Atoms

from gapkit.interop.lammps import attach, require_lammps
from tests.interop.lammps.systems import Instance, P, copper_block, triclinic, with_gold


def corner() -> Atoms:
    """Atoms that leave half of the box, and so one of two ranks, empty."""
    atoms = with_gold(copper_block(2))
    atoms.set_cell([[40.0, 0, 0], [0, 12, 0], [0, 0, 12]])
    atoms.positions += 2.0
    atoms.pbc = [False, True, True]
    return atoms


CASES = {
    "triclinic": lambda: with_gold(triclinic(copper_block(2, 0.05))),
    "empty": corner,
}


def owned(lmp) -> set[int]:
    return set(lmp.numpy.extract_atom("id")[: lmp.extract_setting("nlocal")].tolist())


def main(model: str, case: str, output: str) -> None:
    lammps = require_lammps()
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    folder = Path(f"rank{comm.rank}")
    folder.mkdir(exist_ok=True)
    here = Instance.of(lammps, folder, CASES[case](), ["Cu", "Au"], "processors * 1 1", "neigh_modify delay 0")
    lmp = here.lmp
    attachment = attach(lmp, model, ["Cu", "Au"], novelty_every=20)
    here.commands("compute e all pe/atom", P, "velocity all create 1500 5", "velocity all set 20 NULL NULL sum yes")
    here.commands("timestep 0.002", "fix 1 all nve", "thermo_style custom step pe etotal c_p[*]", "thermo 10", "run 0")
    before, trace = owned(lmp), []
    for _ in range(6):
        here.commands("run 10")
        trace.append([attachment.energy, lmp.get_thermo("etotal"), *here.virial_stress()])
    results = {
        "trace": trace, "x": here.vectors("x"), "f": here.vectors("f"), "e": here.scalars("c_e"),
        "novelty": here.scalars("d_novelty"), "largest": [attachment.novelty],
        "changed": [comm.allreduce(len(owned(lmp) - before))],
        "local": comm.allgather(attachment.work.n_local), "foreign": comm.allgather(attachment.work.n_foreign),
    }  # fmt: skip
    if comm.rank == 0:
        np.savez(output, **results)
    lmp.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

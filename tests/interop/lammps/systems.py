"""Structures, and LAMMPS instances that hold them to the last digit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_masses

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
# of `compute pressure`
LAMMPS_VOIGT = (0, 1, 2, 5, 4, 3)


def write_data(path: Path, atoms: Atoms, types: list[str]) -> None:
    """A data file with all digits; the cell must be lower triangular."""
    cell = atoms.cell.array
    assert np.allclose(cell, np.tril(cell), atol=0.0)
    lines = ["", "", f"{len(atoms)} atoms", f"{len(types)} atom types"]
    lines += [f"0.0 {cell[i, i]!r} {axis}lo {axis}hi" for i, axis in enumerate("xyz")]
    if cell[1, 0] or cell[2, 0] or cell[2, 1]:
        lines.append(f"{cell[1, 0]!r} {cell[2, 0]!r} {cell[2, 1]!r} xy xz yz")
    lines += ["", "Atoms # atomic", ""]
    for i, (symbol, position) in enumerate(zip(atoms.symbols, atoms.positions, strict=True)):
        lines.append(f"{i + 1} {types.index(symbol) + 1} " + " ".join(repr(float(x)) for x in position))
    path.write_text("\n".join(lines).replace("np.float64(", "").replace(")", "") + "\n")


@dataclass(eq=False)
class Instance:
    """LAMMPS with atoms in it.

    `atoms` is what it was started with.
    """

    lmp: Any
    atoms: Atoms

    @classmethod
    def of(cls, lammps: Any, folder: Path, atoms: Atoms, types: list[str] | None = None, *commands: str) -> Instance:
        """With `commands` before the box is read."""
        types = sorted(set(atoms.symbols)) if types is None else types
        path = folder / "atoms.data"
        write_data(path, atoms, types)
        boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
        lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
        lmp.commands_list([
            "units metal", "atom_style atomic", "atom_modify map array", f"boundary {boundary}", "neighbor 0.4 bin",
            *commands, f"read_data {path}",
        ])  # fmt: skip
        for i, symbol in enumerate(types, start=1):
            number = Atoms(symbol).numbers[0]
            lmp.command(f"mass {i} {atomic_masses[number]!r}".replace("np.float64(", "").replace(")", ""))
        return cls(lmp, atoms)

    def commands(self, *commands: str) -> None:
        self.lmp.commands_list(list(commands))

    def vectors(self, name: str) -> np.ndarray:
        """`x` or `f` of all atoms by ID, on all ranks."""
        return np.array(self.lmp.gather_atoms(name, 1, 3)).reshape(-1, 3)

    def scalars(self, name: str) -> np.ndarray:
        """Per-atom data of all atoms by ID, on all ranks."""
        return np.array(self.lmp.gather(name, 1, 1))

    def virial_stress(self) -> np.ndarray:
        """Stress in ASE's sign, order and units, without the part of the velocities, from ``compute p`` of `P`."""
        p = np.array(self.lmp.numpy.extract_compute("p", 0, 1))[list(LAMMPS_VOIGT)]
        return -p / self.lmp.extract_global("nktv2p")

    def now(self) -> Atoms:
        """The atoms as they are, wrapped as LAMMPS has them."""
        atoms = self.atoms.copy()
        low, high, xy, yz, xz, *_ = self.lmp.extract_box()
        cell = np.diag(np.array(high) - np.array(low))
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        atoms.set_cell(cell)
        atoms.positions = self.vectors("x") - np.array(low)
        return atoms


# What `Instance.virial_stress` reads.
P = "compute p all pressure NULL virial"


def copper_block(n: int = 3, size: float = 0.1, seed: int = 0) -> Atoms:
    """n^3 rattled cells of 4 atoms."""
    atoms = bulk("Cu", a=3.62, cubic=True) * (n, n, n)
    atoms.positions += np.random.default_rng(seed).normal(scale=size, size=atoms.positions.shape)
    atoms.wrap()
    return atoms


def triclinic(atoms: Atoms) -> Atoms:
    """The same, sheared."""
    a, b, c = atoms.cell.lengths()
    atoms = atoms.copy()
    atoms.set_cell([[a, 0, 0], [0.13 * a, 0.97 * b, 0], [-0.08 * a, 0.11 * b, 1.04 * c]], scale_atoms=True)
    return atoms


def with_gold(atoms: Atoms, seed: int = 0) -> Atoms:
    """The same with some gold atoms."""
    atoms = atoms.copy()
    atoms.numbers[np.random.default_rng(seed).random(len(atoms)) < 0.3] = 79
    return atoms

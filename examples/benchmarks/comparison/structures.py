"""Crystals to predict, and training sets: the user's, or made here with labels of a cheap classical potential.

Made sets serve sections that ask what a prediction costs: that depends on species, neighbours and sparse points, and
hardly on where the labels come from.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.data import atomic_numbers
from ase.io import read, write

LATTICE = {"Si": ("diamond", 5.43)}
ALLOY = ("fcc", 3.95)  # the same for every alloy, so that all have as many neighbours


def make(
    elements: list[str] | None = None, repeat: list[int] | None = None, *, file: str = "", atoms: int = 1
) -> Atoms:
    """A cubic crystal of `repeat` cells decorated at random, or the largest frame of a file repeated to `atoms`."""
    if elements:
        structure, a = LATTICE.get(elements[0], ALLOY)
        crystal = bulk(elements[0], structure, a=a, cubic=True) * tuple(repeat or (1, 1, 1))
        species = np.resize(elements, len(crystal))
        crystal.set_chemical_symbols(np.random.default_rng(0).permutation(species).tolist())
        return crystal
    frame = max(read(file, ":"), key=len)
    large = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
    if large.cell.rank < 3:  # a molecule: a periodic box of its own
        large.center(vacuum=3.0)
        large.pbc = True
    while len(large) < atoms:
        shortest = int(np.argmin(large.cell.lengths()))
        large *= tuple(2 if axis == shortest else 1 for axis in range(3))
    return large


def training_set(output: str, elements: list[str], n_frames: int, repeat: list[int]) -> dict[str, Any]:
    """Write strained and displaced crystals, forces on every eighth frame only; return what `summary` says."""
    rng = np.random.default_rng(1)
    calculator = _classical(elements)
    frames = []
    for number in range(n_frames):
        atoms = make(elements, repeat)
        strain = rng.uniform(0.96, 1.04) * np.eye(3) + rng.normal(0.0, 0.015, (3, 3))
        atoms.set_cell(atoms.cell @ strain, scale_atoms=True)
        atoms.positions += rng.normal(0.0, rng.uniform(0.03, 0.2), atoms.positions.shape)
        atoms.calc = calculator
        frames.append(_labelled(atoms, atoms, forces=number % 8 == 0))
    write(output, frames, format="extxyz")
    return summary(frames)


def _classical(elements: list[str]) -> Calculator:
    """Tersoff's silicon (Phys. Rev. B 37, 6991 (1988)), or effective medium theory for metals."""
    if elements != ["Si"]:
        from ase.calculators.emt import EMT

        return EMT()
    from ase.calculators.tersoff import Tersoff, TersoffParameters

    silicon = TersoffParameters(
        m=3.0, gamma=1.0, lambda3=0.0, c=1.0039e5, d=16.217, h=-0.59825, n=0.78734, beta=1.1e-6, lambda2=1.73222,
        B=471.18, R=2.85, D=0.15, lambda1=2.4799, A=1830.8,
    )  # fmt: skip
    return Tersoff({("Si", "Si", "Si"): silicon})


def copy_labelled(source: str, output: str) -> dict[str, Any]:
    """Write a user's set with energies and forces under names that no reader rewrites; return what `summary` says."""
    frames = [_labelled(frame, frame) for frame in read(source, ":")]
    write(output, frames, format="extxyz")
    return summary(frames)


def _labelled(frame: Atoms, labels: Atoms, *, forces: bool = True) -> Atoms:
    atoms = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
    atoms.info["dft_energy"] = labels.get_potential_energy()
    if forces:
        with suppress(PropertyNotImplementedError):  # a frame may have an energy only
            atoms.arrays["dft_forces"] = labels.get_forces()
    return atoms


def summary(frames: list[Atoms]) -> dict[str, Any]:
    """Atoms and atomic number of each species, and the energy of each (eV) by least squares of the labels."""
    species = sorted({symbol for frame in frames for symbol in frame.get_chemical_symbols()})
    counts = np.array([[frame.get_chemical_symbols().count(symbol) for symbol in species] for frame in frames])
    energies = np.array([frame.info["dft_energy"] for frame in frames])
    # per atom, so that a large cell counts as much as a small one
    sizes = counts.sum(axis=1)
    e0 = np.linalg.lstsq(counts / sizes[:, None], energies / sizes, rcond=None)[0]
    return {
        "frames": len(frames),
        "atoms": dict(zip(species, counts.sum(axis=0).tolist(), strict=True)),
        "numbers": {symbol: atomic_numbers[symbol] for symbol in species},
        "e0": dict(zip(species, e0.tolist(), strict=True)),
    }

"""Timing loops and errors that serve any ASE calculator."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.io import read
from ase.md.verlet import VelocityVerlet

LEAST, MOST = 3, 15  # timed steps


def time_steps(atoms: Atoms, step: Callable[[Atoms], object], budget: float) -> dict[str, Any]:
    """Microseconds per atom: median and quartiles of steps between which every atom moves a little.

    The first step is not counted: it reads tables and builds neighbour lists.  After `budget` seconds no more than
    LEAST steps are made.
    """
    atoms = atoms.copy()
    rng = np.random.default_rng(1)
    atoms.positions += rng.normal(0.0, 0.05, atoms.positions.shape)
    seconds: list[float] = []
    while len(seconds) < 1 + LEAST or (len(seconds) < 1 + MOST and sum(seconds) < budget):
        atoms.positions += rng.normal(0.0, 0.01, atoms.positions.shape)
        begin = time.perf_counter()
        step(atoms)
        seconds.append(time.perf_counter() - begin)
    low, median, high = np.percentile(seconds[1:], [25, 50, 75]) / len(atoms) * 1e6
    return {"median": median, "quartiles": [low, high], "steps": len(seconds) - 1}


def one_by_one(calculator: Calculator) -> Callable[[Atoms], object]:
    """Step that asks for energy, forces and stress in three calls, as ASE's getters do."""
    return lambda atoms: [calculator.get_property(name, atoms) for name in ("energy", "forces", "stress")]


def time_dynamics(atoms: Atoms, calculator: Calculator, n_steps: int) -> dict[str, Any]:
    """Microseconds per atom and step of ASE's velocity Verlet at 1 fs, from velocities of 600 K (300 K later on)."""
    atoms = atoms.copy()
    atoms.calc = calculator
    spread = np.sqrt(600 * units.kB * atoms.get_masses()[:, None])
    atoms.set_momenta(spread * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    dynamics.run(5)
    begin = time.perf_counter()
    dynamics.run(n_steps)
    seconds = time.perf_counter() - begin
    return {"median": seconds / n_steps / len(atoms) * 1e6, "steps": n_steps, "temperature": atoms.get_temperature()}


class Stored(Calculator):
    """Returns zeros: molecular dynamics with it costs what ASE costs."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


def errors(calculator: Calculator, test: str) -> dict[str, float]:
    """Mean absolute errors of energy (meV/atom) and forces (eV/Å) on the frames of a file."""
    energy, forces = [], []
    for frame in read(test, ":"):
        atoms = Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)
        calculator.calculate(atoms, ["energy", "forces"], ["positions", "numbers", "cell", "pbc"])
        energy.append((calculator.results["energy"] - frame.info["dft_energy"]) / len(atoms))
        if "dft_forces" in frame.arrays:
            forces.append((calculator.results["forces"] - frame.arrays["dft_forces"]).ravel())
    result = {"energy_mae": float(1e3 * np.abs(energy).mean())}
    return result | ({"forces_mae": float(np.abs(np.concatenate(forces)).mean())} if forces else {})

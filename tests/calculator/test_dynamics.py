"""Energy is conserved: forces are the derivatives of the energy along a trajectory, list rebuilds included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from gapkit import GAP, GAPCalculator, read_frames

DRIFT = 1e-4  # eV/atom/ps
SILICON = Path(__file__).parents[2] / "data" / "silicon" / "train.extxyz"


def run_nve(atoms, calculator, n_steps, temperature=600.0, every=5):
    """Drift in eV/atom/ps by least squares, and the rest's standard deviation in eV/atom, of 1 fs steps."""
    atoms.calc = calculator
    # Twice the temperature: half of the energy goes into the potential.
    masses = atoms.get_masses()[:, None]
    spread = np.sqrt(2 * temperature * units.kB * masses)
    momenta = np.random.default_rng(0).normal(size=(len(atoms), 3)) * spread
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    times, totals, kinetic = [], [], []

    def note():
        times.append(dynamics.nsteps * 1e-3)
        totals.append(atoms.get_total_energy() / len(atoms))
        kinetic.append(atoms.get_temperature())

    dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    dynamics.attach(note, interval=every)
    dynamics.run(n_steps)
    assert 0.7 * temperature < np.mean(kinetic[len(kinetic) // 2 :]) < 1.4 * temperature
    slope, level = np.polyfit(times, totals, 1)
    return slope, np.std(np.array(totals) - slope * np.array(times) - level)


def test_nve_of_copper(copper_model):
    atoms = bulk("Cu", a=3.65, cubic=True) * (4, 2, 2)
    calculator = GAPCalculator(copper_model, skin=0.4, n_jobs=1)
    drift, rest = run_nve(atoms, calculator, 1000)
    assert abs(drift) < DRIFT
    assert rest < 2e-5
    assert 5 < calculator._neighbours.n_builds < 300


@pytest.mark.slow
def test_nve_of_silicon():
    """512 atoms, 20 ps, with the default model of our own data."""
    model = GAP(random_state=0).fit(read_frames(SILICON))
    atoms = bulk("Si", a=5.43, cubic=True) * 4
    drift, rest = run_nve(atoms, GAPCalculator(model), 20_000, every=20)
    assert abs(drift) < DRIFT
    assert rest < 2e-4

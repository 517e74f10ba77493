"""Fit silicon, look at the errors, run a little molecular dynamics and watch the uncertainty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet

from gapkit import GAP, GAPCalculator, read_frames
from gapkit.validation import evaluate

DATA = Path(__file__).parents[1] / "data" / "silicon"


def main() -> None:
    train, test = read_frames(DATA / "train.extxyz"), read_frames(DATA / "test.extxyz")
    model = GAP().fit(train)
    print(model.summary())
    errors = evaluate(model, test)
    print(f"test: {1e3 * errors.to_dict()['energy_mae']:.1f} meV/atom, {errors.to_dict()['forces_mae']:.3f} eV/Å")

    # Novelty is a ratio of variances: what counts is how it compares with that of frames whose errors are known.
    highest = model.predict(test, return_std=True).novelty.max()
    print(f"highest novelty in the test set: {highest:.2f} of the threshold")

    atoms = bulk("Si", cubic=True) * 2
    atoms.calc = GAPCalculator(model)
    spread = np.sqrt(600 * units.kB * atoms.get_masses()[:, None])
    atoms.set_momenta(spread * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, timestep=1.0 * units.fs)
    start = atoms.get_total_energy()
    for _ in range(4):
        dynamics.run(25)
        std, novelty = atoms.calc.get_energies_std(atoms), atoms.calc.get_novelty(atoms)
        change = 1e3 * (atoms.get_total_energy() - start) / len(atoms)
        print(
            f"{dynamics.nsteps:4d} fs  {atoms.get_temperature():5.0f} K  total energy {change:+.3f} meV/atom  "
            f"largest local std {1e3 * std.max():.0f} meV  highest novelty {novelty.max():.2f}"
        )


if __name__ == "__main__":
    main()

"""Timings of predictions of 1,000 silicon atoms, one thread, neighbour list at hand (not in the suite)."""

from __future__ import annotations

import pytest
from ase.calculators.calculator import all_changes

from gapkit import GAPCalculator

pytest.importorskip("pytest_benchmark")


@pytest.mark.parametrize("std", [False, True], ids=["plain", "std"])
def test_energy_forces_stress(timed, model, silicon, std):
    calculator = GAPCalculator(model, n_jobs=1)
    wanted = ["energy", "forces", "stress"] + (["energies_std"] if std else [])
    timed(calculator.calculate, silicon.atoms, wanted, all_changes)

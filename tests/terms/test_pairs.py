"""ZBL: its formula and its switch."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from gapkit.terms import ZBL
from tests.terms.cases import evaluate


def test_formula():
    r, z1, z2 = 0.7, 8, 14
    a = 0.8854 * units.Bohr / (z1**0.23 + z2**0.23)
    x = r / a
    phi = (
        0.1818 * np.exp(-3.2 * x)
        + 0.5099 * np.exp(-0.9423 * x)
        + 0.2802 * np.exp(-0.4029 * x)
        + 0.02817 * np.exp(-0.2016 * x)
    )
    coulomb = units._e / (4 * np.pi * units._eps0) * 1e10 / r
    local = evaluate(ZBL(2.0, 1.0), [Atoms("OSi", positions=[[0, 0, 0], [0, 0, r]])]).local_energies
    assert local[0] == local[1]
    assert local.sum() == pytest.approx(z1 * z2 * coulomb * phi, rel=2e-3)  # published with four digits


def test_vanishes_smoothly():
    def at(r):
        found = evaluate(ZBL(2.0, 1.0), [Atoms("Si2", positions=[[0, 0, 0], [0, 0, r]])])
        return found.local_energies.sum(), found.forces[1, 2]

    assert at(2.0 + 1e-9) == (0.0, 0.0)
    assert at(1.5)[1] > 1.0
    # A quintic switch: energy with the third, force with the second power of the distance from the cutoff.
    assert at(2.0 - 1e-3)[0] < 2e-3 * at(2.0 - 1e-2)[0]
    assert at(2.0 - 1e-3)[1] < 2e-2 * at(2.0 - 1e-2)[1]

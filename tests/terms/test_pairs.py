"""ZBL: its formula, its derivatives and its switch."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units

from gapkit.io.registry import classes
from gapkit.neighbours import build_neighbour_list
from gapkit.potential import ZBL
from gapkit.structures import to_batch
from gapkit.terms.pairs import Baseline
from tests.descriptors.cases import numerical_forces, numerical_virial, structure

DERIVATIVE = 1e-6


def evaluate(baseline, frames):
    batch = to_batch(frames, labels=False)
    return baseline(batch, build_neighbour_list(batch, baseline.cutoff))


def energies(baseline):
    def of(frames):
        batch = to_batch(frames, labels=False)
        return np.add.reduceat(evaluate(baseline, frames)[0], batch.offsets[:-1])

    return of


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
    local, _, _ = evaluate(ZBL(2.0, 1.0), [Atoms("OSi", positions=[[0, 0, 0], [0, 0, r]])])
    assert local[0] == local[1]
    assert local.sum() == pytest.approx(z1 * z2 * coulomb * phi, rel=2e-3)  # published with four digits


@pytest.mark.parametrize("baseline", [ZBL(3.0, 1.5), ZBL(3.4, 0.0)])
@pytest.mark.parametrize("kind", ["bulk", "small", "molecule"])
def test_derivatives(baseline, kind):
    atoms = structure(kind, 3)
    _, forces, virials = evaluate(baseline, [atoms])
    expected = numerical_forces(energies(baseline), atoms)
    assert np.abs(expected).max() > 1.0
    np.testing.assert_allclose(forces, expected, rtol=0, atol=DERIVATIVE * np.abs(expected).max())
    virial = numerical_virial(energies(baseline), atoms)
    np.testing.assert_allclose(virials[0], virial, rtol=0, atol=DERIVATIVE * np.abs(virial).max())


def test_vanishes_smoothly():
    baseline = ZBL(2.0, 1.0)

    def at(r):
        local, forces, _ = evaluate(baseline, [Atoms("Si2", positions=[[0, 0, 0], [0, 0, r]])])
        return local.sum(), forces[1, 2]

    assert at(2.0 + 1e-9) == (0.0, 0.0)
    assert at(1.5)[1] > 1.0
    # A quintic switch: energy with the third, force with the second power of the distance from the cutoff.
    assert at(2.0 - 1e-3)[0] < 2e-3 * at(2.0 - 1e-2)[0]
    assert at(2.0 - 1e-3)[1] < 2e-2 * at(2.0 - 1e-2)[1]


@pytest.mark.parametrize("name", ["ZBL", "PairTables"])
def test_registry(name):
    baseline = classes("EnergyTerm")[name]()
    assert isinstance(baseline, Baseline)
    assert type(baseline)(**baseline.get_params()) == baseline

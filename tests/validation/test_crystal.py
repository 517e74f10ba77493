"""Numbers of a crystal against its energies."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit.exceptions import InputError
from gapkit.validation.crystal import crystal_check
from tests.potential.models import make_frames, small_model


def test_crystal_check_by_energies():
    """Elastic constants from second differences of the energy."""
    model = small_model().fit(make_frames(12))
    crystal = bulk("Cu", cubic=True)
    found = crystal_check(crystal)(model)
    atoms = crystal.copy()
    scale = (found["volume"] * 4 / crystal.get_volume()) ** (1 / 3)
    atoms.set_cell(scale * crystal.cell.array, scale_atoms=True)

    def second(strain, h=4e-3):
        e = []
        for x in (-h, 0.0, h):
            new = atoms.copy()
            new.set_cell(atoms.cell.array @ (np.eye(3) + x * strain), scale_atoms=True)
            e.append(model.predict(new).energy[0])
        return (e[0] - 2 * e[1] + e[2]) / h**2 / atoms.get_volume() / 0.0062415091

    assert found["C11"] == pytest.approx(second(np.diag([1.0, 0, 0])), rel=0.03)
    assert 2 * found["C11"] + 2 * found["C12"] == pytest.approx(second(np.diag([1.0, 1.0, 0])), rel=0.03)
    shear = np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    assert found["C44"] == pytest.approx(second(shear), rel=0.05, abs=2.0)
    assert found["bulk_modulus"] == pytest.approx((found["C11"] + 2 * found["C12"]) / 3, rel=0.05)
    moved = [atoms.copy() for _ in range(3)]
    for x, new in zip((-0.01, 0, 0.01), moved, strict=True):
        new.positions[0, 0] += x
    e = model.predict(moved).energy
    assert found["curvature"] == pytest.approx((e[0] - 2 * e[1] + e[2]) / 1e-4, rel=0.05)


def test_refusals():
    with pytest.raises(InputError, match="periodic"):
        crystal_check(bulk("Cu"), strain=0.5)

"""Derivative rows of parts of a frame, and in mixed precision."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.descriptors import SOAP
from gapkit.descriptors.three_body import ThreeBody
from gapkit.descriptors.two_body import TwoBody
from gapkit.gp import basis as basis_module
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch
from tests.descriptors.cases import Toy, structure

EXACT = 1e-12
SINGLE = 1e-8  # features of a hundredth of the norm, with rounding of 6e-8


def rows_of(toy, batch, atoms=None):
    neighbours = build_neighbour_list(batch, toy.basis.reach)
    return design_rows(AppliedBasis.of(toy.basis, batch, neighbours), atoms=atoms)


@pytest.mark.parametrize(
    "descriptor", [SOAP(3.8, 4, 3, 0.5), TwoBody(3.8), ThreeBody(3.2)], ids=lambda d: type(d).__name__
)
@pytest.mark.parametrize("kind", ["bulk", "molecule"])
def test_parts_of_a_frame_add_up(descriptor, kind):
    toy = Toy.make(descriptor, (14,))
    batch = to_batch(structure(kind, 1), labels=False)
    whole = rows_of(toy, batch)
    order = np.random.default_rng(0).permutation(batch.n_atoms)
    parts = [np.sort(part) for part in (order[:3], order[3:4], order[4:])]
    energy, virial = 0.0, 0.0
    for atoms in parts:
        rows = rows_of(toy, batch, atoms)
        np.testing.assert_allclose(rows.forces, whole.forces[atoms], rtol=0, atol=EXACT * np.abs(whole.forces).max())
        energy, virial = energy + rows.energy, virial + rows.virial
    np.testing.assert_allclose(energy, whole.energy, rtol=0, atol=EXACT * np.abs(whole.energy).max())
    np.testing.assert_allclose(virial, whole.virial, rtol=0, atol=EXACT * np.abs(whole.virial).max())


def test_small_features_in_single_precision(monkeypatch):
    batch = to_batch(structure("bulk", 1), labels=False)
    toys = {}
    for below in (0.0, 1e-2):
        monkeypatch.setattr(basis_module, "SINGLE_BELOW", below)
        toys[below] = Toy.make(SOAP(3.8, 6, 5, 0.5), (14,))
        assert (toys[below].basis.terms[0].blocks[0].split is None) == (below == 0.0)
        rows = rows_of(toys[below], batch)
        if below == 0.0:
            double = rows
    scale = np.abs(double.forces).max()
    difference = np.abs(rows.forces - double.forces).max()
    assert 0.0 < difference < SINGLE * scale
    np.testing.assert_array_equal(rows.energy, double.energy)

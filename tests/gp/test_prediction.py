"""Cheaper ways to the same prediction: a quadratic form for zeta = 2, single precision for small features."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit import GAP, SOAP, GAPCalculator
from gapkit.gp import basis as basis_module
from gapkit.gp import prediction
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.prediction import PredictionPlan, predict
from gapkit.kernels import DotProduct
from gapkit.neighbours import build_neighbour_list
from gapkit.potential import Term
from gapkit.structures import to_batch
from tests.potential.models import make_frames

EXACT = 1e-10
ROUNDING = 6e-8  # of single precision


@pytest.fixture(scope="module")
def frames():
    return make_frames(10, seed=2)


def fitted(frames, kernel):
    return GAP([Term(SOAP(4.0, 5, 4, 0.5), kernel, 35)], truncation=0.0, n_jobs=1, calibration=None).fit(frames).model_


@pytest.mark.parametrize("sigma0", [0.0, 0.4])
def test_the_quadratic_form_is_the_sum_over_points(frames, sigma0, monkeypatch):
    model = fitted(frames, DotProduct(zeta=2, sigma0=sigma0))
    batch = to_batch(frames[:3], labels=False)
    neighbours = build_neighbour_list(batch, model.basis.reach)
    # few points do not pay for a form here: it is made all the same
    monkeypatch.setattr(prediction, "form_pays", lambda block, n: True)
    by_form = PredictionPlan.of(model.basis, model.weights)
    monkeypatch.setattr(prediction, "form_pays", lambda block, n: False)
    by_points = PredictionPlan.of(model.basis, model.weights)
    assert by_form.forms[0] is not None
    assert by_points.forms == (None,)
    applied = AppliedBasis.of(model.basis, batch, neighbours)
    one, two = (predict(applied, plan, n_jobs=1)[0] for plan in (by_form, by_points))
    scale = np.abs(model.weights).max()
    np.testing.assert_allclose(one.local_energies, two.local_energies, rtol=0, atol=EXACT * scale)
    np.testing.assert_allclose(one.forces, two.forces, rtol=0, atol=EXACT * scale)


@pytest.mark.parametrize("zeta", [1, 3, 4, 2.5])
def test_other_exponents_have_no_quadratic_form(zeta):
    assert DotProduct(zeta=zeta).quadratic_form(np.eye(3), np.ones(3)) is None


def test_a_form_is_made_where_it_is_cheaper():
    class Block:
        def __init__(self, m, r):
            self.scaled = np.zeros((m, r))

    assert prediction.form_pays(Block(100, 150))
    assert not prediction.form_pays(Block(70, 150))


def test_single_precision_is_a_rounding_error(frames, monkeypatch):
    """Of the small features, a hundredth of the norm, times slope and weight of every sparse point."""
    monkeypatch.setattr(basis_module, "MIN_SINGLE", 1)
    model = GAP([Term(SOAP(4.0, 6, 5, 0.5), n_sparse=35)], n_jobs=1, calibration=None).fit(frames)
    assert model.model_.basis.terms[0].blocks[0].split is not None
    bound = ROUNDING * basis_module.SINGLE_BELOW * 4 * np.abs(model.model_.weights).sum()
    for atoms in make_frames(3, seed=9):
        double, single = (GAPCalculator(model, single_precision=flag) for flag in (False, True))
        difference = double.get_property("energies", atoms) - single.get_property("energies", atoms)
        assert 0.0 < np.abs(difference).max() < bound
        difference = double.get_forces(atoms) - single.get_forces(atoms)
        assert 0.0 < np.abs(difference).max() < 10.0 * bound  # over a tenth of an Å, the scale on which features change

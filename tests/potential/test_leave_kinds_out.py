"""Kinds left out of a fitted model, against a model without their frames and without their sparse points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit import SOAP, Term
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.posterior import Posterior
from gapkit.gp.variance.targets import target_variances
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.error_bars import leave_kinds_out
from gapkit.potential.error_bars.leave_kinds_out import leave_kind_out
from gapkit.potential.model import SparseModel
from gapkit.structures import to_batch
from tests.potential.models import make_frames
from tests.potential.test_gap import with_results
from tests.potential.test_leave_one_out import NOVELTY, REFIT, Fitted, assert_close, without

ATOMIC = [
    Term(SOAP(4.0, 4, 3, 0.5), SquaredExponential(0.5, 0.6, delta_bounds="fixed"), n_sparse=14),
    Term(SOAP(3.5, 3, 3, 0.5), DotProduct(0.2, 2, delta_bounds="fixed"), n_sparse=8),
]
KIND = np.array([1, 4, 5, 8])


def frames_of_kinds():
    """Four frames of gold and of other sizes among those of copper, some of them without some labels."""
    frames, kind = make_frames(10, n_gold=1, seed=1), make_frames(4, n_gold=3, seed=2, size=0.2)
    for place, atoms in zip(KIND, kind, strict=True):
        frames[place] = atoms
    frames[4] = with_results(frames[4], stress=None)
    frames[5] = with_results(frames[5], energy=None)
    frames[5].set_array("force_mask", np.array([True, False, False, False]))  # True: not to be used
    return frames


class KindCase(Fitted):
    """Its state without the kind, by the normal equations."""

    def __init__(self, **changes):
        super().__init__(frames_of_kinds(), **changes)
        state = self.model.state_
        removed = np.flatnonzero(np.isin(state.origins, KIND))
        assert 3 < len(removed) < self.state.basis.n_columns - 3
        kept = np.setdiff1d(np.arange(self.state.basis.n_columns), removed)
        use = ~np.isin(self.frames_of, KIND)
        scaled = self.rows[np.ix_(use, kept)] / self.sigmas[use, None]
        A = scaled.T @ scaled + self.precision[np.ix_(kept, kept)]
        weights = np.linalg.solve(A, scaled.T @ (self.labels[use] / self.sigmas[use]))
        basis, scales = without(self.state.basis, removed), self.state.posterior.scales
        posterior = Posterior(np.linalg.cholesky(A).T, basis.prior(), scales)
        self.part = to_batch([self.frames[k] for k in KIND])
        sparse = SparseModel(basis, posterior, weights)
        places = {name: getattr(state, name)[kept] for name in ("origins", "origin_atoms")}
        self.refitted = replace(state, sparse=sparse, **places, factors=None, rows=None)
        self.applied = AppliedBasis.of(basis, self.part, build_neighbour_list(self.part, basis.reach))
        self.p = self.refitted.evaluate(self.applied, uncertainty="parts")
        self.variances = target_variances(self.applied, posterior)

    def leave_out(self, n_jobs=1):
        return leave_kind_out(self.model.state_, self.batch, "gold", KIND, np.random.default_rng(0), n_jobs)

    def expected(self, name):
        """Targets with labels, errors, data variances and prior residuals, in the unit of a quantity."""
        frames = [self.frames[k] for k in KIND]
        if name == "energy":
            has = np.array([0, 1, 3])
            labels = np.array([a.calc.results["energy"] for a in frames if "energy" in a.calc.results])[:, None]
            values, parts, unit = self.p.energy[:, None], self.variances.energy, np.full(4, 0.25)
        else:
            has = np.setdiff1d(np.arange(16), 8)
            labels = np.concatenate([a.calc.results["forces"] for a in frames])[has]
            values, parts, unit = self.p.forces, self.variances.forces, np.ones(16)
        factor = unit[has, None]
        errors = (values[has] - labels) * factor
        data, prior = (np.einsum("ncc->nc", part)[has] * factor**2 for part in (parts.data, parts.prior))
        return has, errors, data, prior


CASES = {"pairs-and-atoms": {}, "atoms-alone": {"terms": ATOMIC}, "truncated": {"terms": ATOMIC, "truncation": 1e-3}}


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    return KindCase(**CASES[request.param])


@pytest.mark.parametrize("name", ["energy", "forces"])
def test_as_the_model_without_the_kind(case, name):
    found = case.leave_out()
    assert (found.name, list(found.frames)) == ("gold", list(KIND))
    has, errors, data, prior = case.expected(name)
    left = found.quantities[name]
    np.testing.assert_array_equal(left.targets, has)
    assert_close(left.errors, errors, REFIT)
    assert_close(left.data, data, REFIT)
    if len(case.state.basis.terms) == 2 and all(term.engine.is_atomic for term in case.state.basis.terms):
        assert_close(left.prior, prior, REFIT)  # the residual of other terms is left out
    plain = case.model.predict([case.frames[k] for k in KIND], return_std=True)
    inside = {"energy": plain.energy[:, None] / 4, "forces": plain.forces}[name][has]
    outside = {"energy": case.p.energy[:, None] / 4, "forces": case.p.forces}[name][has]
    assert np.abs(inside - outside).max() > 30 * REFIT * np.abs(errors).max()  # the kind matters to the model


def test_what_is_unseen_of_the_kind(case):
    found = case.leave_out().unseen
    np.testing.assert_allclose(found, case.p.unseen, rtol=0, atol=NOVELTY)
    one_at_a_time = case.found.unseen.reshape(-1, 4)[KIND].ravel()
    assert (found > one_at_a_time - NOVELTY).all()
    assert (found - one_at_a_time).max() > 1e-4


def test_prior_residuals_of_some_atoms_alone(monkeypatch):
    """As many forces as asked for, and the frames that they are in; the others' errors are not told."""
    case = KindCase(terms=ATOMIC)
    everything = case.leave_out()
    monkeypatch.setattr(leave_kinds_out, "ATOMS_WITH_PRIOR", 5)
    monkeypatch.setattr(leave_kinds_out, "FRAMES_WITH_PRIOR", 2)
    some = case.leave_out()
    forces, all_forces = some.quantities["forces"], everything.quantities["forces"]
    assert 4 <= len(forces.targets) <= 5  # one of the atoms may be without a label
    assert len(np.unique(forces.targets // 4)) == 2
    for name in ("energy", "forces"):
        one, other = some.quantities[name], everything.quantities[name]
        rows = np.searchsorted(other.targets, one.targets)
        np.testing.assert_array_equal(one.errors, other.errors[rows])
        np.testing.assert_array_equal(one.data, other.data[rows])
        assert_close(one.prior, other.prior[rows], 1e-9)
    assert len(all_forces.targets) == 15
    np.testing.assert_array_equal(some.unseen, everything.unseen)


def test_threads_change_nothing(case):
    one, two = case.leave_out(1), case.leave_out(2)
    for name, left in one.quantities.items():
        for part in ("targets", "errors", "data", "prior"):
            np.testing.assert_array_equal(getattr(two.quantities[name], part), getattr(left, part))

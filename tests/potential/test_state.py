"""The fitted state: what it holds, and that estimators, committees and files need nothing else."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from gapkit import GAP, GAPCalculator, Noise, load
from gapkit.descriptors.soap.engine import SOAPView
from gapkit.exceptions import NotFittedModelError
from gapkit.potential import Committee
from gapkit.potential.files import read_state, write_state
from gapkit.potential.fitted import Attribute, FittedPotential
from gapkit.potential.state import FittedState, state_of
from gapkit.terms import ZBL
from tests.potential.models import make_frames, small_model

OUTPUTS = ("energy", "forces", "stress", "local_energies", "local_energies_std", "novelty", "energy_std", "forces_std")
ATTRIBUTES = [name for name, value in vars(FittedPotential).items() if isinstance(value, Attribute)]


def assert_identical(one, other):
    for name in OUTPUTS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.fixture(scope="module")
def frames():
    made = make_frames(12, n_gold=3, seed=1)
    made[-1].info["config_type"] = "loose"
    return made


@pytest.fixture(scope="module")
def model(frames):
    """With an energy term and noise by configuration type; tests must not change it."""
    noise = Noise(energy=2e-3, forces=0.05, virial=0.05, per_config_type={"loose": Noise(forces=0.5)})
    return small_model(energy_terms=ZBL(2.8, 1.5), noise=noise, calibration="leave-one-out").fit(frames)


def test_an_estimator_of_a_state_predicts_as_the_one_that_was_fitted(model):
    new = make_frames(3, seed=7)
    again = GAP.from_state(model.state_, n_jobs=1)
    assert again.energy_terms == ()  # parameters are the estimator's own
    assert again.report_ is None
    assert_identical(again.predict(new, return_std=True), model.predict(new, return_std=True))
    assert again.score(new) == model.score(new)
    assert again.summary() == model.summary()


def test_a_state_is_frozen_and_attributes_are_read_from_it(model):
    with pytest.raises(FrozenInstanceError):
        model.state_.noise = {}
    assert len(ATTRIBUTES) == 12
    unfitted = small_model()
    for name in ATTRIBUTES:
        assert hasattr(model, name)
        assert not hasattr(unfitted, name)
        with pytest.raises(AttributeError, match="with_state"):
            setattr(model, name, None)
    other = model.with_state(replace(model.state_, calibration=None))
    assert other.calibration_ is None
    assert model.calibration_ is not None


def test_partial_fit_leaves_earlier_states_alone(frames):
    model = small_model().fit(frames[:8])
    before, new = model.state_, make_frames(2, seed=3)
    weights, R = before.sparse.weights.copy(), {kind: f.R.copy() for kind, f in before.factors.items()}
    committee = model.sample(3)
    expected = committee.predict(new)
    model.partial_fit(frames[8:])
    assert model.state_ is not before
    assert "partial_fit" not in before.metadata
    assert np.abs(model.state_.sparse.weights - weights).max() > 1e-6 * np.abs(weights).max()
    np.testing.assert_array_equal(before.sparse.weights, weights)
    for kind, triangle in R.items():
        np.testing.assert_array_equal(before.factors[kind].R, triangle)
    np.testing.assert_array_equal(
        Committee(model.with_state(before), committee.weights).predict(new).forces, expected.forces
    )
    assert model.state_.sparse.basis is before.sparse.basis
    assert model.state_.sparse.workspaces is before.sparse.workspaces


def test_solved_again_with_the_same_noise_is_the_same(model):
    state = model.state_
    again = state.solved()
    np.testing.assert_array_equal(again.sparse.weights, state.sparse.weights)
    assert again.log_marginal_likelihood == state.log_marginal_likelihood
    louder = state.solved(noise={**state.noise, "forces": 10.0 * state.noise["forces"]})
    assert np.abs(louder.sparse.weights - state.sparse.weights).max() > 1e-3 * np.abs(state.sparse.weights).max()
    with pytest.raises(NotFittedModelError, match="factors"):
        replace(state, factors=None).solved()


def test_files_hold_the_state_and_not_what_became_of_the_parameters(model, tmp_path):
    new = make_frames(3, seed=7)
    changed = model.with_state(model.state_)
    changed.energy_terms, changed.noise = (), None
    changed.save(tmp_path / "changed.gapkit", factors=True)
    loaded = load(tmp_path / "changed.gapkit")
    assert loaded.energy_terms == loaded.state_.known.terms == (ZBL(2.8, 1.5),)
    assert loaded.noise is None
    assert loaded.noise_ == model.noise_
    assert_identical(loaded.predict(new, return_std=True), model.predict(new, return_std=True))
    # relative sigmas of further rows follow the noise of the fit
    more = make_frames(4, n_gold=2, seed=9)
    for atoms in more:
        atoms.info["config_type"] = "loose"
    expected = GAP.from_state(model.state_, n_jobs=1).partial_fit(more)
    np.testing.assert_array_equal(loaded.partial_fit(more).model_.weights, expected.model_.weights)


def test_states_are_saved_without_an_estimator(model, tmp_path):
    write_state(tmp_path / "state.gapkit", model.state_, {}, factors=False)
    state, parameters = read_state(tmp_path / "state.gapkit")
    assert "n_jobs" not in parameters
    assert isinstance(state, FittedState)
    assert state.factors is None
    assert (state.noise, state.given_noise) == (model.state_.noise, model.state_.given_noise)
    assert_identical(
        GAP.from_state(state, n_jobs=1).predict(make_frames(2, seed=7), return_std=True),
        model.predict(make_frames(2, seed=7), return_std=True),
    )


def test_unfitted_models_are_refused_alike():
    for use in (state_of, GAPCalculator, lambda m: Committee(m, np.zeros((2, 3))), lambda m: m.predict([])):
        with pytest.raises(NotFittedModelError, match="call `fit`"):
            use(small_model())


@pytest.mark.parametrize("std", ["calibrated", "epistemic"])
def test_error_bars_share_the_descriptors_of_the_prediction(model, monkeypatch, std):
    """Every atom has the vector of the truncated engine made once; those of all features are the prior's."""
    engine = model.model_.basis.terms[1].engine
    assert engine.n_features < engine.whole.n_features
    made = []

    def features(self, block, centres, *arguments):
        found = original(self, block, centres, *arguments)
        if found.x.shape[1] == engine.n_features:
            made.extend(centres.tolist())
        return found

    original = SOAPView.features
    monkeypatch.setattr(SOAPView, "features", features)
    model.predict(make_frames(3, n_gold=2, seed=7), return_std=True, std=std)
    assert sorted(made) == list(range(12))

"""Leverage, Cook's distance, changes of weights and studentised residuals against explicit refits."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.curation.influence import examine, influence, outlier_scores
from gapkit.curation.weights import copy_frame
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.structures import to_batch
from tests.potential.models import label, make_frames, small_model
from tests.potential.test_leave_one_out import Fitted

# Fits take small features in single precision.
REFIT = 1e-3


def some_labels():
    frames = make_frames(9, n_gold=2, seed=1)
    frames[1] = copy_frame(frames[1], forces=None, stress=None)
    frames[2].set_array("force_mask", np.array([True, False, True, False]))  # True: not to be used
    molecule = frames[3].copy()
    molecule.pbc = False
    frames[3] = label(molecule, "forces")
    return frames


@pytest.fixture(scope="module", params=[lambda: make_frames(9, n_gold=2, seed=0), some_labels], ids=["all", "some"])
def case(request):
    return Fitted(request.param())


@pytest.fixture(scope="module")
def report(case):
    return influence(case.model, case.frames)


def precision(case, use):
    scaled = case.rows[use] / case.sigmas[use, None]
    return scaled.T @ scaled + case.precision


def test_leverage_is_the_change_of_fitted_values_with_labels(case, report):
    every = np.ones(len(case.rows), bool)
    hat = (case.rows / case.sigmas[:, None]) @ np.linalg.solve(
        precision(case, every), (case.rows / case.sigmas[:, None]).T
    )
    for frame in report.frames:
        for kind, found in frame.kinds.items():
            own = (case.frames_of == frame.frame) & (case.kinds == kind)
            assert found.n_rows == own.sum()
            assert found.leverage == pytest.approx(np.diagonal(hat)[own].sum(), rel=REFIT)
    assert report.n_effective == pytest.approx(np.trace(hat), rel=REFIT)
    assert 1.0 < report.n_effective < len(hat)


def test_cook_and_dfbetas_as_refits(case, report):
    every = np.ones(len(case.rows), bool)
    weights = case.state.weights
    spread = np.sqrt(np.diagonal(np.linalg.inv(precision(case, every))))
    cooks, moves = [], []
    for frame in range(case.batch.n_frames):
        without, _ = case.refit(frame, [])
        change = case.rows @ (weights - without) / case.sigmas
        cooks.append(change @ change / report.n_effective)
        moves.append(np.abs(weights - without) / spread)
    np.testing.assert_allclose([f.cook for f in report.frames], cooks, rtol=0, atol=REFIT * max(cooks))
    found = [f.dfbetas for f in report.frames]
    np.testing.assert_allclose(found, [m.max() for m in moves], rtol=0, atol=10 * REFIT * max(found))
    assert report.ranked()[0].frame == np.argmax(cooks)
    assert max(cooks) > 3 * min(cooks)


def test_studentised_residuals_as_refits(case, report):
    for frame in report.frames:
        own = case.frames_of == frame.frame
        without, covariance = case.refit(frame.frame, [])
        residual = case.labels - case.rows @ without
        for kind, found in frame.kinds.items():
            rows = own & (case.kinds == kind)
            total = case.rows[rows] @ covariance @ case.rows[rows].T + np.diag(case.sigmas[rows] ** 2)
            chi2 = residual[rows] @ np.linalg.solve(total, residual[rows])
            assert found.chi2 == pytest.approx(chi2, rel=5 * REFIT)


def test_new_frames_have_the_same_chi2_as_left_out_ones(case):
    """A model fitted without a frame says of it what the model with it says of it left out."""
    full = influence(case.model, case.frames).frames[0]
    use = case.frames_of != 0
    state = case.state
    weights, _ = case.refit(0, [])
    R = np.linalg.cholesky(precision(case, use)).T
    model = small_model(truncation=0.0).fit(case.frames)
    posterior = type(state.posterior)(R, state.posterior.prior, state.posterior.scales)
    model.model_ = type(state)(state.basis, posterior, weights, state.energies)
    outside = examine(model, to_batch(case.frames), np.arange(len(case.frames)) > 0)[0]
    for kind, found in outside.kinds.items():
        assert found.chi2 == pytest.approx(full.kinds[kind].chi2, rel=5 * REFIT)
        assert found.leverage == 0.0


def test_a_bad_frame_stands_out_and_only_it():
    frames = make_frames(30, seed=3)
    forces = frames[11].calc.results["forces"].copy()
    forces[2] += [0.0, 0.0, 3.0]
    frames[4] = copy_frame(frames[4], energy=frames[4].calc.results["energy"] + 0.8)
    frames[11] = copy_frame(frames[11], forces=forces)
    frames[20] = copy_frame(frames[20], stress=frames[20].calc.results["stress"] + 0.05)
    found = influence(small_model().fit(frames), frames)
    scores = outlier_scores(found.frames)
    assert [int(np.argmax(scores[kind])) for kind in ("energy", "forces", "virial")] == [4, 11, 20]
    assert min(scores["energy"][4], scores["forces"][11], scores["virial"][20]) > 6.0
    rest = np.setdiff1d(np.arange(30), [4, 11, 20])
    assert max(score[rest].max() for score in scores.values()) < 6.0
    assert "Cook" not in str(found)
    assert len(found.to_dict()["frames"]) == 30


def test_a_sign_of_stress_is_found_however_small():
    frames = make_frames(30, seed=3, size=0.04)
    stress = [np.abs(atoms.calc.results["stress"]).max() for atoms in frames]
    i = int(np.argsort(stress)[10])
    frames[i] = copy_frame(frames[i], stress=-frames[i].calc.results["stress"])
    found = influence(small_model().fit(frames), frames)
    sign = outlier_scores(found.frames)["sign"]
    assert sign[i] > 6.0
    assert np.delete(sign, i).max() < 6.0


def test_types_are_judged_by_their_own():
    frames = make_frames(24, seed=4)
    rng = np.random.default_rng(0)
    for i, atoms in enumerate(frames[:20]):  # a type with noisy forces is not a type of outliers
        frames[i] = copy_frame(atoms, forces=atoms.calc.results["forces"] + rng.normal(scale=0.6, size=(4, 3)))
        frames[i].info["config_type"] = "noisy"
    quiet = make_frames(60, seed=5)
    found = influence((model := small_model()).fit(frames[:20] + quiet), frames[:20] + quiet)
    assert model.n_sparse_ > 0
    assert outlier_scores(found.frames)["forces"][:20].max() < 6.0
    assert np.median([f.kinds["forces"].chi2 for f in found.frames[:20]]) > 10 * np.median(
        [f.kinds["forces"].chi2 for f in found.frames[20:]]
    )


def test_refusals(case):
    with pytest.raises(InputError, match="same order"):
        influence(case.model, case.frames[::-1])
    with pytest.raises(NotFittedModelError):
        influence(small_model(), case.frames)
    with pytest.raises(InputError, match="`by`"):
        influence(case.model, case.frames).ranked("size")

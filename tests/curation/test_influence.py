"""Leverage, Cook's distance, changes of weights and studentised residuals against explicit refits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.curation.influence import (
    FrameInfluence,
    KindInfluence,
    _alike,
    examine,
    influence,
    outlier_scores,
)
from gapkit.curation.weights import copy_frame
from gapkit.exceptions import InputError, NotFittedModelError
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


def inside_of(n_frames):
    """Energy in and stress out, the reverse, forces alone, all but forces, a new frame."""
    inside = {kind: np.ones(n_frames, bool) for kind in ("energy", "forces", "virial")}
    inside["virial"][[0, 5, 8]] = False
    inside["energy"][[4, 5, 8]] = False
    inside["forces"][[6, 8]] = False
    return inside


def test_frames_of_which_the_fit_had_some_labels_as_refits(case):
    inside = inside_of(case.batch.n_frames)
    use = np.array([inside[kind][frame] for kind, frame in zip(case.kinds, case.frames_of, strict=True)])
    scaled = case.rows / case.sigmas[:, None]
    labels = case.labels / case.sigmas

    def solve(rows):
        A = precision(case, rows)
        return np.linalg.solve(A, scaled[rows].T @ labels[rows]), np.linalg.inv(A)

    weights, covariance = solve(use)
    state, model = case.state, small_model(truncation=0.0).fit(case.frames)
    posterior = type(state.posterior)(np.linalg.cholesky(precision(case, use)).T, *shared(state.posterior))
    model.state_ = replace(model.state_, sparse=type(state)(state.basis, posterior, weights))
    found = examine(model, case.batch, inside)
    hat = scaled @ covariance @ scaled.T
    n_effective = np.trace(hat[np.ix_(use, use)])
    cooks, moves = [], []
    for frame in found:
        own = case.frames_of == frame.frame
        without, spread = solve(use & ~own)
        residual = labels - scaled @ without
        assert set(frame.kinds) == set(case.kinds[own])
        for kind, of in frame.kinds.items():
            rows = own & (case.kinds == kind)
            total = scaled[rows] @ spread @ scaled[rows].T + np.eye(rows.sum())
            assert of.chi2 == pytest.approx(residual[rows] @ np.linalg.solve(total, residual[rows]), rel=5 * REFIT)
            leverage = np.diagonal(hat)[rows].sum() if inside[kind][frame.frame] else 0.0
            assert of.leverage == pytest.approx(leverage, rel=REFIT)
            if kind == "virial":
                other = residual[rows] - 2.0 * labels[rows]
                assert of.flipped == pytest.approx(other @ np.linalg.solve(total, other), rel=5 * REFIT)
        change = scaled[use] @ (weights - without)
        cooks.append(change @ change / n_effective)
        moves.append((np.abs(weights - without) / np.sqrt(np.diagonal(covariance))).max())
    np.testing.assert_allclose([f.cook for f in found], cooks, rtol=0, atol=REFIT * max(cooks))
    np.testing.assert_allclose([f.dfbetas for f in found], moves, rtol=0, atol=10 * REFIT * max(moves))
    assert found[8].cook == found[8].dfbetas == found[8].leverage == 0.0  # nothing of it is in the fit


def shared(posterior):
    return posterior.prior, posterior.scales


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


def judged(chi2, *, force=None, flipped=None, config_type="a", kind="virial"):
    """A frame of which only one kind of target is known."""
    n = {"energy": 1, "forces": 12, "virial": 6}[kind]
    return FrameInfluence(0, config_type, 4, {kind: KindInfluence(n, 0.1, n * chi2, 0.0, flipped)}, 0.0, 0.0, 0, force)


def test_hot_frames_are_judged_by_hot_ones():
    rng = np.random.default_rng(0)
    forces = np.exp(np.linspace(np.log(0.1), np.log(3.0), 80))
    frames = [judged(f**2 * rng.chisquare(12) / 12, force=float(f), kind="forces") for f in forces]
    assert outlier_scores(frames)["forces"].max() < 5.0
    frames[10] = replace(frames[10], kinds=judged(0.6, kind="forces").kinds)  # as the hot ones
    assert np.flatnonzero(outlier_scores(frames)["forces"] > 6.0).tolist() == []  # noise that was assumed is no outlier
    frames[10] = replace(frames[10], kinds=judged(4.0, kind="forces").kinds)
    assert np.flatnonzero(outlier_scores(frames)["forces"] > 6.0).tolist() == [10]
    for i, frame in enumerate(frames):  # without forces all of the type are alike
        frames[i] = replace(frame, force=None)
    assert outlier_scores(frames)["forces"][10] < 4.0


def test_scores_by_the_formula():
    rng = np.random.default_rng(1)
    frames = [judged(c, kind="energy", config_type="b") for c in rng.chisquare(1, 12)]
    frames += [judged(30.0 * c, kind="energy", config_type="a") for c in rng.chisquare(1, 9)]
    frames += [judged(c, kind="energy", config_type="few") for c in (0.1, 0.2)]
    x = np.cbrt([f.kinds["energy"].chi2 for f in frames])
    found = outlier_scores(frames)["energy"]
    for i, frame in enumerate(frames):
        own = [f.config_type == frame.config_type or frame.config_type == "few" for f in frames]
        others = np.delete(x, i)[np.delete(own, i)]
        m = np.median(others)
        spread = max(1.4826 * np.median(np.abs(others - m)), m * np.sqrt(2 / 9), 0.15)
        assert found[i] == pytest.approx((x[i] - m) / spread)


def test_those_alike_are_the_nearest_by_forces():
    rng = np.random.default_rng(2)
    forces = [None if k % 17 == 5 else float(rng.choice([0.01, 0.2, rng.uniform(0, 2)])) for k in range(150)]
    frames = [judged(1.0, force=force, config_type="ab"[k % 2]) for k, force in enumerate(forces)]
    heat = np.log(np.maximum([np.nan if f.force is None else f.force for f in frames], 0.05))
    for i, others in enumerate(_alike(frames)):
        pool = np.array([j for j in range(150) if j != i and j % 2 == i % 2])
        if np.isnan(heat[i]):
            assert sorted(others) == pool.tolist()
            continue
        distance = np.sort(np.abs(heat[pool] - heat[i]))[:30]
        assert len(set(others)) == 30
        assert set(others) <= set(pool)
        np.testing.assert_allclose(np.sort(np.abs(heat[others] - heat[i])), distance)


def test_sign_is_a_likelihood_ratio():
    rng = np.random.default_rng(3)
    right = [judged(0.3 * rng.chisquare(6) / 6, flipped=60.0) for _ in range(20)]
    wrong = judged(9.0, flipped=6 * 0.2)
    sign = outlier_scores([*right, wrong])["sign"]
    scale = np.median([f.kinds["virial"].chi2 / 6 for f in right]) / 0.891
    assert sign[-1] == pytest.approx(5.0 * np.log((4 + 54 / scale) / (4 + 1.2 / scale)))
    assert sign[-1] > 6.0
    assert sign[:-1].max() <= 0.0
    # where neither sign fits, something else is wrong
    assert outlier_scores([*right, judged(40.0, flipped=6 * 4.0)])["sign"][-1] == 0.0
    # and a model that cannot tell is not asked: errors as large as the labels
    poor = [judged(5.0 * rng.chisquare(6) / 6, flipped=60.0) for _ in range(20)]
    assert outlier_scores([*poor, wrong])["sign"][-1] < 6.0

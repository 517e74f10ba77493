"""Planted outliers: weighed down."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.curation.robust import robust_fit
from gapkit.exceptions import InputError
from gapkit.structures import LabelKeys, to_batch
from tests.curation.test_pruning import damaged, rmse
from tests.potential.models import NOISE, make_frames, small_model


@pytest.mark.parametrize(("kind", "noise"), [("student", NOISE), ("huber", NOISE), ("student", None)])
def test_outliers_weigh_little_and_the_fit_is_better(kind, noise):
    frames = damaged()
    for i in (5, 6):  # a frame whose sigmas the user has set keeps their ratio to the others
        frames[i].info["energy_sigma"] = 0.02
    found = robust_fit(small_model(noise=noise), frames, weights=kind, max_iterations=2)
    assert found.weights["energy"][3] < 0.1 < np.median(found.weights["energy"])
    assert found.weights["virial"][20] < 0.35 * np.median(found.weights["virial"])
    assert found.weights["forces"][10] < 0.35 * np.median(found.weights["forces"])
    test = make_frames(20, seed=9)
    assert rmse(found.model, test) < rmse(small_model(noise=noise).fit(frames), test)
    labels = to_batch(found.frames).labels
    expected = (2e-3 if noise else 1e-3) * 2 / np.sqrt(found.weights["energy"])
    expected[5:7] = 0.02 / np.sqrt(found.weights["energy"][5:7])
    np.testing.assert_allclose(labels.energy_sigma, expected)
    assert "force_sigma" not in frames[0].arrays


@pytest.mark.parametrize("kind", ["student", "huber"])
def test_weights_are_those_of_residuals_left_out(kind):
    frames = damaged()
    found = robust_fit(small_model(), frames, weights=kind, max_iterations=1)
    left_out = small_model().fit(frames).leave_one_out(frames)
    for name, residuals, sigma, median in (
        ("energy", left_out.energy, NOISE.energy / 2.0, 0.4549),  # of four atoms
        ("forces", left_out.forces, NOISE.forces, 11.340 / 12.0),
    ):
        u2 = (residuals.errors**2 / (sigma**2 + residuals.variances)).reshape(40, -1).mean(axis=1)
        u2 *= median / np.median(u2)
        w = 5.0 / (4.0 + u2) if kind == "student" else np.minimum(1.0, 1.345 / np.sqrt(u2))
        np.testing.assert_allclose(found.weights[name], w, rtol=1e-3)


def test_own_names_of_sigmas():
    keys = LabelKeys(energy_sigma="sE", force_sigma="sF", virial_sigma="sV")
    frames = damaged()
    for atoms in frames:
        atoms.info["sE"], atoms.info["sF"], atoms.info["sV"] = 4e-3, 0.05, 0.1
    found = robust_fit(small_model(label_keys=keys), frames, max_iterations=1)
    np.testing.assert_allclose([atoms.info["sE"] for atoms in found.frames], 4e-3 / np.sqrt(found.weights["energy"]))


def test_iterations_converge():
    found = robust_fit(small_model(), damaged(), max_iterations=4)
    assert found.changes[-1] < 0.2 * found.changes[0]


def test_refusals():
    with pytest.raises(InputError, match="student"):
        robust_fit(small_model(), damaged(), weights="cauchy")

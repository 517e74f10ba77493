"""Model files of version 0.1 load and predict what that version predicted; the same data still give the same models."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gapkit import load
from gapkit.exceptions import NotFittedModelError
from tests.potential.files_of_0_1 import make

FOLDER = Path(__file__).parent / "files_of_0_1"
SAME = 1e-10  # relative to the largest value of a kind
REFITTED = 1e-7  # a fit's rounding errors, on another processor or with another BLAS


@cache
def expected() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "expected.npz") as stored:
        return dict(stored)


def expected_of(model: str) -> dict[str, np.ndarray]:
    return {key.split("/", 1)[1]: value for key, value in expected().items() if key.split("/", 1)[0] == model}


def assert_same(found: dict[str, np.ndarray], of: dict[str, np.ndarray], tolerance: float) -> None:
    assert set(found) == set(of)
    for name, value in of.items():
        if value.dtype == bool:
            np.testing.assert_array_equal(found[name], value, err_msg=name)
            continue
        scale = np.nanmax(np.abs(value), initial=0.0)
        # a variance that vanishes beside others has no digits left; nor has a standard deviation, its square root
        assert scale > 0.0 or name.endswith(("novelty", "prior_variance")), name
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * max(scale, 1e-6), err_msg=name)


# Since 0.1 the calibration of energies is also that of local energies, the prior residual of novel structures has
# another share, and pairs that are closer than any known one widen error bars.
CHANGED = "calibrated/local_energies_std"
CALIBRATED = ("energy_std", "forces_std", "stress_std", "energy_interval", "forces_interval", "stress_interval")
NEW_TO_THEM = tuple(f"calibrated/{field}" for field in (*CALIBRATED, "extrapolating"))
N_KNOWN, N_KNOWN_ATOMS = 2, 8  # the first test frames are like the training set, the others are clusters


def of_known(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of error bars and flags only those of structures like the training set."""
    found = {}
    for key, value in values.items():
        if key in NEW_TO_THEM:
            value = value[: N_KNOWN_ATOMS if "forces" in key or "extrapolating" in key else N_KNOWN]
        if key != CHANGED:
            found[key] = value
    return found


def predicted(model, name: str) -> dict[str, np.ndarray]:
    return make.predicted(model, make.frames(FOLDER, "test", name))


@pytest.mark.parametrize("name", list(make.SPECIES))
def test_predictions_are_the_same(name):
    of = expected_of(name)
    assert {"energy", "forces", "stress", "local_energies_std"} <= {key.split("/")[1] for key in of}
    assert_same(of_known(predicted(make.load_model(FOLDER, name), name)), of_known(of), SAME)


@pytest.mark.parametrize("name", ["one_species", "two_species"])
def test_the_first_frames_are_known(name):
    """Those whose error bars are compared: nothing is novel, no pair closer than the closest known one."""
    model = make.load_model(FOLDER, name)
    found = model.extrapolation(make.frames(FOLDER, "test", name))
    assert np.bincount(found.frame_of_atom)[:N_KNOWN].sum() == N_KNOWN_ATOMS
    assert not (found.novelty[:N_KNOWN_ATOMS] > 0.1).any()  # NaN without an atomic term
    assert (found.pair[:N_KNOWN_ATOMS] > 1.0).all()
    assert np.isnan(found.average).all()
    assert found.frames[N_KNOWN:].all()


@pytest.mark.parametrize("name", list(make.SPECIES))
def test_saved_again(name, tmp_path):
    model = make.load_model(FOLDER, name)
    model.save(tmp_path / "again.gapkit", factors=name in make.FACTORS)
    again = load(tmp_path / "again.gapkit")
    assert again.species_ == model.species_
    assert again.summary() == model.summary()
    assert_same(predicted(again, name), predicted(model, name), 1e-14)


@pytest.mark.parametrize("name", make.FACTORS)
def test_partial_fit_goes_on(name):
    model = make.load_model(FOLDER, name).partial_fit(make.frames(FOLDER, "more", name))
    before, after = expected_of(name), expected_of(f"{name}+")
    key = next(key for key in after if key.endswith("/forces"))
    assert np.abs(after[key] - before[key]).max() > 1e-4
    assert_same(of_known(predicted(model, name)), of_known(after), SAME)


def test_without_factors():
    model = make.load_model(FOLDER, "four_species")
    with pytest.raises(NotFittedModelError, match="factors"):
        model.partial_fit(make.frames(FOLDER, "more", "four_species"))


@pytest.mark.parametrize("name", list(make.models()))
def test_a_fit_gives_the_same_model(name):
    model = make.models()[name].set_params(n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few configurations
        model.fit(make.frames(FOLDER, "train", name))
        if name == "updated":
            model.partial_fit(make.frames(FOLDER, "more", name)[:1])
    learned_otherwise = {*NEW_TO_THEM, CHANGED}  # calibrations and thresholds are learned by other formulas since
    found, of = (
        {key: value for key, value in values.items() if key not in learned_otherwise}
        for values in (predicted(model, name), expected_of(name))
    )
    assert_same(found, of, REFITTED)

"""A model file of format 2, written before the present one, loads and predicts what the same model of format 1 does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from gapkit import load

HERE = Path(__file__).parent
OLDER, OLD = HERE / "files_of_0_1", HERE / "files_of_0_2"


@pytest.fixture(scope="module")
def models():
    return [load(folder / "two_species.gapkit") for folder in (OLDER, OLD)]


def test_predictions_are_the_same(models):
    frames = read(OLDER / "test_2.extxyz", ":")
    older, old = (model.predict(frames, return_std=True) for model in models)
    for name in ("energy", "forces", "stress", "energy_std", "forces_std", "stress_std", "novelty"):
        np.testing.assert_allclose(getattr(old, name), getattr(older, name), rtol=1e-10, atol=1e-12, err_msg=name)


def test_saved_again(models, tmp_path):
    models[1].save(tmp_path / "again.gapkit")
    assert load(tmp_path / "again.gapkit").summary() == models[1].summary()

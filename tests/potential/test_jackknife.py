"""The jackknife's covariance against refits without each configuration."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit import SOAP, Term, load
from gapkit.exceptions import InputError
from gapkit.kernels import DotProduct
from gapkit.sparse import FromList
from tests.potential.models import make_frames, small_model

# Fits take features that are small in single precision.
SINGLE = 1e-3


@pytest.fixture(scope="module")
def frames():
    return make_frames(9, seed=4)


@pytest.fixture(scope="module")
def model(frames):
    """With given sparse points, which no configuration takes away when it is left out."""
    points = SOAP(4.0, 4, 3, 0.5).fit_transform(make_frames(3, seed=8))
    terms = [
        Term(
            SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=len(points),
            selector=FromList(points),
        ),
    ]  # fmt: skip
    return small_model(terms=terms, truncation=0.0, reference_energies={"Cu": 0.0}).fit(frames)


@pytest.fixture(scope="module")
def jackknifed(model, frames):
    return model.jackknife(frames)


def test_variances_are_those_of_refits(model, jackknifed, frames):
    new = make_frames(4, seed=11)
    mean = model.predict(new)
    left = [
        small_model(**{**model.get_params(deep=False), "noise": model.noise_})
        .fit(frames[:i] + frames[i + 1 :])
        .predict(new)
        for i in range(len(frames))
    ]
    p = jackknifed.predict(new, return_std=True)
    np.testing.assert_array_equal(p.energy, mean.energy)
    share = (len(frames) - 1) / len(frames)
    for found, changes in (
        (p.variances.energy.data[:, 0, 0], [q.energy - mean.energy for q in left]),
        (np.einsum("ncc->nc", p.variances.forces.data), [q.forces - mean.forces for q in left]),
    ):
        expected = share * np.sum(np.square(changes), axis=0)
        np.testing.assert_allclose(found, expected, rtol=SINGLE, atol=SINGLE * expected.max())
    bayes = model.predict(new, return_std=True)
    assert not np.allclose(p.variances.energy.data, bayes.variances.energy.data, rtol=0.1)
    np.testing.assert_array_equal(p.variances.energy.prior, bayes.variances.energy.prior)


def test_draws_have_the_covariance(jackknifed):
    new = make_frames(2, seed=12)
    found = jackknifed.sample(3000, 0).predict(new).energy_std
    expected = np.sqrt(jackknifed.predict(new, return_std=True).variances.energy.data[:, 0, 0])
    np.testing.assert_allclose(found, expected, rtol=0.06)


def test_a_file_keeps_it(jackknifed, tmp_path):
    new = make_frames(2, seed=13)
    jackknifed.save(tmp_path / "a.gapkit")
    p, q = (m.predict(new, return_std=True) for m in (jackknifed, load(tmp_path / "a.gapkit")))
    np.testing.assert_array_equal(p.energy_std, q.energy_std)
    np.testing.assert_array_equal(p.forces_std, q.forces_std)


def test_other_frames_are_refused(model, frames):
    with pytest.raises(InputError, match="same order"):
        model.jackknife(frames[::-1])

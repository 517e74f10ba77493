"""What is not sound is neither made nor written, and what can be made again takes no room in a file."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from gapkit import Term, TwoBody, load
from gapkit.exceptions import DataError, InputError
from gapkit.terms.known import KnownEnergy
from tests.potential.files_of_0_1 import make
from tests.potential.models import small_model
from tests.potential.test_old_files import FOLDER


@pytest.mark.parametrize("change", [lambda w: w[: len(w) // 2], lambda w: w * np.nan, lambda w: w + 1e200])
def test_weights(fitted, change):
    with pytest.raises(InputError, match="`weights` must"):
        replace(fitted.model_, weights=change(fitted.model_.weights))


@pytest.mark.parametrize("reference", [{-1: 0.0}, {0: 0.0}, {119: 0.0}, {29: np.nan}, {29: -np.inf}, {29: 1e12}])
def test_reference_energies(reference):
    with pytest.raises(InputError, match="reference energy"):
        KnownEnergy(reference)


@pytest.mark.parametrize(
    "change",
    [{"noise": {"forces": -0.1}}, {"noise": {"spin": 0.1}}, {"noise": {"forces": np.nan}}, {"given_noise": 3},
     {"origins": np.zeros(3, int)}],
)  # fmt: skip
def test_states(fitted, change):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(fitted.state_, **change)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_fit_without_a_finite_solution(fitted, value):
    state = fitted.state_
    factors = {kind: factor.copy() for kind, factor in state.factors.items()}
    factors["forces"].R[0, -1] = value
    with pytest.raises(DataError, match=r"no finite solution.*forces"):
        state.solved(factors)


def test_what_could_not_be_read_again_is_not_written(fitted, tmp_path):
    path = tmp_path / "m.gapkit"
    fitted.save(path)
    before = path.read_bytes()
    for metadata in ({"seconds": {"rows": np.nan}}, {"training_set": 3}, {"own": object()}):
        with pytest.raises(InputError, match="not written"):
            fitted.with_state(replace(fitted.state_, metadata=metadata)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_read_model_has_no_matrices(tmp_path):
    model = make.load_model(FOLDER, "gap")
    model.save(tmp_path / "m.gapkit")
    with zipfile.ZipFile(tmp_path / "m.gapkit") as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert not any(name.startswith("prior") for name in sizes)
    assert sizes["posterior.npy"] == sizes["weights.npy"]
    again = load(tmp_path / "m.gapkit")
    frames = make.frames(FOLDER, "test", "gap")
    one, other = (m.predict(frames, return_std="local").local_energies_std for m in (model, again))
    np.testing.assert_array_equal(one, other)


def test_triangles_are_packed(fitted, tmp_path):
    fitted.save(tmp_path / "m.gapkit", factors=True)
    with zipfile.ZipFile(tmp_path / "m.gapkit") as archive:
        m = fitted.n_sparse_
        assert archive.getinfo("posterior.npy").file_size == 128 + 4 * m * (m + 1)
        assert archive.getinfo("factor_forces_R.npy").file_size == 128 + 4 * (m + 1) * (m + 2)


def test_what_could_not_be_read_again_is_told_before_the_fit(alloy):
    with pytest.raises(InputError, match="n_sparse"):
        small_model(terms=[Term(TwoBody(4.0), n_sparse=5.0)]).fit(alloy)

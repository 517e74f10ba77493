"""A fit that is interrupted or killed goes on to the model of an uninterrupted one, to the last bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, Noise
from gapkit.exceptions import GapkitWarning, InputError, ModelFileError
from gapkit.io import atomic
from gapkit.potential.model import SparseModel
from gapkit.potential.training import accumulator, checkpoint
from gapkit.potential.training import rows as training
from tests.potential.models import make_frames, small_model, small_terms

FRAMES = 24  # with the chunks of `small_chunks` twelve chunks
# What is not given in `small_model` is: noise and kernel scales by evidence, and calibration, both of which draw.
MODEL = {"noise": None, "calibration": "leave-one-out", "n_jobs": 2}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Many chunks, a few of which are folded together: some rows then wait when a checkpoint is written."""
    monkeypatch.setattr(training, "ATOMS_PER_CHUNK", 8)
    monkeypatch.setattr(accumulator, "ROWS_AT_ONCE", 60)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "WRITING", 1e9)


def with_results(atoms, **changes):
    """A copy whose labels are changed; None removes one."""
    new = atoms.copy()
    results = {**atoms.calc.results, **changes}
    new.calc = SinglePointCalculator(new, **{k: v for k, v in results.items() if v is not None})
    return new


def frames_with_gaps():
    """Some frames lack energies, forces or stresses."""
    frames = make_frames(FRAMES, n_gold=3, seed=4)
    frames[3], frames[10] = with_results(frames[3], energy=None), with_results(frames[10], forces=None)
    return [with_results(atoms, stress=None) if i % 5 == 0 else atoms for i, atoms in enumerate(frames)]


@pytest.fixture(scope="module")
def frames():
    return frames_with_gaps()


def stop_at(monkeypatch, n_calls, action):
    """Do `action` in the middle of a chunk."""
    calls = []
    original = training.training_rows

    def add_rows(*arguments):
        calls.append(1)
        if len(calls) == n_calls:
            action()
        return original(*arguments)

    monkeypatch.setattr(training, "training_rows", add_rows)
    return calls


def assert_same_bits(one: GAP, other: GAP) -> None:
    assert list(one.state_.factors) == list(other.state_.factors)
    for kind, factor in one.state_.factors.items():
        np.testing.assert_array_equal(factor.R, other.state_.factors[kind].R)
        assert (factor.n_rows, factor.log_weights) == (
            other.state_.factors[kind].n_rows,
            other.state_.factors[kind].log_weights,
        )
    np.testing.assert_array_equal(one.model_.weights, other.model_.weights)
    np.testing.assert_array_equal(one.model_.posterior.R, other.model_.posterior.R)
    np.testing.assert_array_equal(one.state_.origins, other.state_.origins)
    frames = make_frames(3, n_gold=2, seed=9)
    p, q = one.predict(frames, return_std=True), other.predict(frames, return_std=True)
    for name in ("energy", "forces", "stress", "energy_std", "forces_std", "stress_std"):
        np.testing.assert_array_equal(getattr(p, name), getattr(q, name))


KILLED = """
import os, signal, sys
from tests.potential import test_checkpoint as this
from gapkit.potential.model import SparseModel
from gapkit.potential.training import accumulator, checkpoint
from gapkit.potential.model import SparseModel
from gapkit.potential.training import rows as training
training.ATOMS_PER_CHUNK, accumulator.ROWS_AT_ONCE, checkpoint.INTERVAL, checkpoint.WRITING = 8, 60, 0.0, 1e9
os.fsync = lambda number: None  # which takes as long as many chunks where the disk is busy
calls, original = [], training.training_rows
def add_rows(*arguments):
    calls.append(1)
    if len(calls) == {at}:
        os.kill(os.getpid(), signal.SIG{signal})
    return original(*arguments)
training.training_rows = add_rows
this.small_model(**this.MODEL).fit(this.frames_with_gaps(), checkpoint=sys.argv[1])
"""


@pytest.mark.parametrize(("at", "name"), [(2, "KILL"), (7, "KILL"), (7, "TERM")])
def test_killed_and_resumed_is_uninterrupted(at, name, frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    run = subprocess.run(
        [sys.executable, "-c", KILLED.format(at=at, signal=name), str(path)], cwd=Path(__file__).parents[2],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"}, capture_output=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == -getattr(signal, f"SIG{name}"), run.stderr.decode()
    plain = small_model(**MODEL).fit(frames)
    calls = stop_at(monkeypatch, 0, None)
    resumed = small_model(**MODEL).fit(frames, checkpoint=path)
    assert len(calls) < 12 if at > 2 else len(calls) <= 12  # what was saved is not made again
    assert_same_bits(resumed, plain)
    assert list(tmp_path.iterdir()) == [path]  # nor is a half-written file left


def test_ctrl_c_saves_what_is_done(frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    monkeypatch.setattr(checkpoint, "INTERVAL", 1e6)  # nothing is saved but by the interruption
    model = small_model(**MODEL)
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        calls = stop_at(patch, 5, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            model.fit(frames, checkpoint=path)
    assert signal.getsignal(signal.SIGINT) is before
    assert not hasattr(model, "model_")
    done = len(calls)
    assert done < 12
    calls = stop_at(monkeypatch, 0, None)
    model.fit(frames, checkpoint=path)
    assert 12 - done <= len(calls) <= 12 - done + MODEL["n_jobs"]  # chunks under way are given up
    assert_same_bits(model, small_model(**MODEL).fit(frames))


def test_interrupted_after_the_rows(frames, tmp_path, monkeypatch):
    """Evidence, solution and calibration start from the rows."""
    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(SparseModel, "solve", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(MemoryError):
            small_model(**MODEL).fit(frames, checkpoint=path)
    calls = stop_at(monkeypatch, 0, None)
    model = small_model(**MODEL).fit(frames, checkpoint=path)
    assert calls == []
    assert_same_bits(model, small_model(**MODEL).fit(frames))


def test_other_numbers_of_threads_go_on_with_the_same_shares(frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        stop_at(patch, 6, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            small_model(**MODEL).fit(frames, checkpoint=path)
    model = small_model(**MODEL | {"n_jobs": 1}).fit(frames, checkpoint=path)
    assert_same_bits(model, small_model(**MODEL).fit(frames))


def test_a_chunk_that_failed_is_not_saved(frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    model = small_model(**MODEL | {"n_jobs": 1})

    def fail():
        raise MemoryError

    with monkeypatch.context() as patch:
        stop_at(patch, 7, fail)
        with pytest.raises(MemoryError):
            model.fit(frames, checkpoint=path)
    calls = stop_at(monkeypatch, 0, None)
    model.fit(frames, checkpoint=path)
    assert len(calls) == 12 - 6
    assert_same_bits(model, small_model(**MODEL | {"n_jobs": 1}).fit(frames))


def test_unseeded_fits_resume_with_their_own_draw(frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    given = MODEL | {"random_state": None, "n_jobs": 1}
    kept = []
    original = checkpoint.Checkpoint.keep_selection

    def keep(self, basis, origins, rng):
        kept.append(origins.copy())
        original(self, basis, origins, rng)

    monkeypatch.setattr(checkpoint.Checkpoint, "keep_selection", keep)
    with monkeypatch.context() as patch:
        stop_at(patch, 6, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            small_model(**given).fit(frames, checkpoint=path)
    model = small_model(**given).fit(frames, checkpoint=path)
    assert len(kept) == 1  # selected once
    np.testing.assert_array_equal(model.state_.origins, kept[0][0])


@pytest.fixture
def halfway(frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        stop_at(patch, 6, lambda: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            small_model(n_jobs=1).fit(frames, checkpoint=path)
    return path


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"random_state": 1}, "parameters"), ({"noise": Noise(forces=0.2)}, "parameters"),
        ({"terms": small_terms(19)}, "parameters"), ({"truncation": 0.0}, "parameters"), ({}, "data"),
    ],
)  # fmt: skip
def test_other_data_or_parameters_are_refused(change, what, halfway, frames):
    content = halfway.read_bytes()
    data = frames if change else [*frames[1:], frames[0]]
    with pytest.raises(InputError, match=f"other {what}.*delete it"):
        small_model(n_jobs=1, **change).fit(data, checkpoint=halfway)
    assert halfway.read_bytes() == content


def test_other_sigmas_of_labels_are_other_data(halfway, frames):
    changed = [with_results(atoms) for atoms in frames]
    changed[2].info["energy_sigma"] = 0.1
    with pytest.raises(InputError, match="other data"):
        small_model(n_jobs=1).fit(changed, checkpoint=halfway)


@pytest.mark.parametrize("content", [b"", b"something else", None])
def test_damage_is_an_error_that_names_the_file(content, halfway, frames):
    whole = halfway.read_bytes()
    halfway.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ModelFileError, match=r"fit\.checkpoint"):
        small_model(n_jobs=1).fit(frames, checkpoint=halfway)


def test_a_changed_byte_is_seen(halfway, frames):
    content = bytearray(halfway.read_bytes())
    content[content.index(b"rows/0/forces") + 400] ^= 1
    halfway.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"fit\.checkpoint"):
        small_model(n_jobs=1).fit(frames, checkpoint=halfway)


def test_a_checkpoint_stays_until_the_model_is_saved(frames, tmp_path, monkeypatch):
    path, model_file = tmp_path / "fit.checkpoint", tmp_path / "model.gapkit"
    model = small_model(**MODEL).fit(frames, checkpoint=path)
    for output in (path, tmp_path / "no" / "model.gapkit", tmp_path, "a" * 256):
        with pytest.raises(InputError):
            model.save(output)
        assert path.exists()
    calls = stop_at(monkeypatch, 0, None)
    again = small_model(**MODEL).fit(frames, checkpoint=path)
    assert calls == []  # all rows are there
    assert_same_bits(again, model)
    monkeypatch.chdir(tmp_path.parent)
    again.with_state(again.state_).save(model_file)  # another model, whose checkpoint it is not
    assert path.exists()
    again.save(model_file)
    assert list(tmp_path.iterdir()) == [model_file]
    path.write_bytes(b"of someone else")
    again.save(model_file)
    model.save(model_file)
    assert path.read_bytes() == b"of someone else"


def test_a_checkpoint_that_another_fit_has_written_since_stays(frames, tmp_path):
    path = tmp_path / "fit.checkpoint"
    first, second = (small_model(n_jobs=1).fit(frames, checkpoint=path) for _ in range(2))
    (tmp_path / "copy").write_bytes(path.read_bytes())
    (tmp_path / "copy").replace(path)
    first.save(tmp_path / "model.gapkit")
    second.save(tmp_path / "model.gapkit")
    assert path.exists()


def test_what_cannot_be_a_checkpoint_is_refused_before_it_is_opened(frames, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none" / "fit.checkpoint", tmp_path, tmp_path / "pipe", os.devnull, "a" * 256, 3):
        with pytest.raises(InputError, match=r"must be a path|cannot write"):
            small_model().fit(frames, checkpoint=path)


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_does_not_end_the_fit(first, frames, tmp_path, monkeypatch):
    """Neither at the first checkpoint, when the sparse points are written, nor later."""
    count, fsync = [], os.fsync

    def full(number):
        count.append(1)
        if first or len(count) > 2:
            raise OSError(28, "No space left on device")
        fsync(number)

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.warns(
        GapkitWarning, match=r"the fit goes on.*fit\.checkpoint: No space left on device; free some space"
    ):
        model = small_model(n_jobs=1).fit(frames, checkpoint=tmp_path / "fit.checkpoint")
    assert_same_bits(model, small_model(n_jobs=1).fit(frames))
    assert (tmp_path / "fit.checkpoint").exists() is not first
    monkeypatch.undo()
    model.save(tmp_path / "model.gapkit")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.gapkit"]

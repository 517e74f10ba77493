"""What a fit says while it runs, what an interrupt says and keeps, and what it warns of at the end."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import warnings

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, Noise, progress
from gapkit._core import compiling, jit
from gapkit.exceptions import GapkitWarning, HyperparameterWarning, Interrupted
from gapkit.gp import rows
from gapkit.gp.evidence.maximise import EvidenceResult
from gapkit.gp.factors import TriangularFactor
from gapkit.potential.error_bars import learn
from gapkit.potential.training import checkpoint, estimate
from gapkit.potential.training import fit as training
from gapkit.potential.training.plausibility import warn_of_hyperparameters
from gapkit.progress import Stages
from gapkit.structures import to_batch
from tests.potential.models import make_frames, small_model

STAGES = ["select", "rows", "evidence", "solve", "calibrate"]
MODEL = {"noise": None, "calibration": "leave-one-out", "n_jobs": 1}


@pytest.fixture(scope="module")
def frames():
    return make_frames(24)


def lines_of(text):
    return [line for line in text.replace("\r", "\n").split("\n") if line.startswith("fit: ")]


def test_a_line_for_every_stage_with_its_time_after_the_report_and_the_estimate(frames, capfd):
    model = small_model(**MODEL, progress=True).fit(frames)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.index("24 frames, 96 atoms") < err.index("no warnings") < err.index("sparse points: about")
    lines = lines_of(err[err.index("sparse points: about") :])
    assert [line.split()[1] for line in lines] == STAGES
    for line, stage in zip(lines, STAGES, strict=True):
        assert f"{model.metadata_['seconds'][stage]:.1f} s" in line
    assert "frames left out" in lines[-1]
    assert all(stage in next(line for line in lines_of(err) if "about" in line) for stage in STAGES)


def test_silent_without_progress(frames, capfd):
    compiling.tell()
    small_model(**MODEL).fit(frames)
    assert capfd.readouterr() == ("", "")


def test_compilation_is_told_once_where_progress_is(capfd):
    compiling.tell()
    with progress.telling_of_compilation(False):
        compiling.tell()
        with progress.telling_of_compilation(True):
            compiling.tell()
            compiling.tell()
        compiling.tell()
    assert capfd.readouterr().err.count("compiling, once") == 1


def test_a_kernel_that_is_not_on_disk_tells(tmp_path, monkeypatch):
    if jit.IndexDataCacheFile is None:
        pytest.skip("this Numba has no such cache")
    told = []
    monkeypatch.setattr(compiling, "LISTENERS", [lambda: told.append(1)])
    source = "from gapkit._core.jit import jit\n\n@jit\ndef double(x):\n    return 2.0 * x\n"
    (tmp_path / "kernel_of_a_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for expected in (1, 1):  # the second time it is read from disk
        sys.modules.pop("kernel_of_a_test", None)
        assert importlib.import_module("kernel_of_a_test").double(2.0) == 4.0
        assert len(told) == expected


AT = {
    "select": (training, "select_points"),
    "rows": (training.RowMaker, "fold"),
    "evidence": (training, "choose_hyperparameters"),
    "solve": (training.SparseModel, "solve"),
    "calibrate": (learn, "leave_one_out"),
}


def interrupt(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1.0)  # Python's handler runs here


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("stage", list(AT))
def test_an_interrupt_says_where_it_came_and_what_is_kept(stage, kept, frames, tmp_path, monkeypatch):
    path = tmp_path / "fit.checkpoint" if kept else None
    with monkeypatch.context() as patch:
        patch.setattr(*AT[stage], interrupt)
        with pytest.raises(Interrupted) as raised:
            small_model(**MODEL).fit(frames, checkpoint=path)
    message = str(raised.value)
    assert f"`{stage}`" in message
    if not kept:
        assert "no checkpoint was kept" in message
        assert "--checkpoint" in message
    elif stage == "select":
        assert f"{path} was not begun" in message
        assert not path.exists()
    else:
        assert f"{path} was kept" in message
        assert path.exists()


def test_a_resumed_fit_says_from_where(frames, tmp_path, monkeypatch, capfd):
    path = tmp_path / "fit.checkpoint"
    with monkeypatch.context() as patch:
        patch.setattr(*AT["evidence"], interrupt)
        with pytest.raises(Interrupted):
            small_model(**MODEL).fit(frames, checkpoint=path)
    capfd.readouterr()
    small_model(**MODEL, progress=True).fit(frames, checkpoint=path)
    text = " ".join(lines_of(capfd.readouterr().err))
    assert str(path) in text
    assert "goes on after 24 of 24 frames" in text


def test_stages_add_up_and_an_interrupt_between_them(capfd):
    stages = Stages("walk", show=True)
    for _ in range(2):
        with stages.stage("step"):
            stages.note("a note")
            time.sleep(0.06)
    assert stages.seconds["step"] > 0.1
    assert "walk: step 0.1 s, a note" in capfd.readouterr().err
    place = "the walk was interrupted between two stages; nothing"
    with pytest.raises(Interrupted, match=place), stages.interruptible(lambda: "nothing was kept"):
        raise KeyboardInterrupt


# --- calibration --------------------------------------------------------------------------------------------------


def costs(n_columns=1000, **changes):
    values = {"n_frames": 500, "n_atoms": 20_000, "n_rows": 60_500, "n_kinds": 2, "making": 1e12}
    return estimate.FitCosts(n_columns=n_columns, **values | changes)


@pytest.mark.parametrize("n_columns", [100, 1000, 5000])
@pytest.mark.parametrize("n_atoms", [500, 5000, 200_000])
def test_calibration_is_a_part_of_the_fit(n_columns, n_atoms):
    of = costs(n_columns, n_atoms=n_atoms, n_rows=3 * n_atoms, making=1e5 * n_atoms * n_columns)
    left_out = of.atoms_to_leave_out(4000)
    assert 1 <= left_out <= 4000
    cost, others = of.of_calibration(left_out), sum(of.stages.values())
    assert left_out == 1 or cost <= (estimate.SHARE_OF_CALIBRATION + 0.01) * (cost + others)
    if 1 < left_out < 4000:  # and no more was possible
        assert cost > 0.9 * estimate.SHARE_OF_CALIBRATION * (cost + others)


def test_few_frames_are_left_out_where_the_fit_was_short(frames, monkeypatch):
    """One at a time, frames of four atoms; a part of all atoms is those of kinds."""
    state = small_model(**MODEL).fit(frames).state_
    data, order = to_batch(frames), np.random.default_rng(0).permutation(len(frames))
    for atoms, more, expected in ((1, 1, 10), (1, 41, 11), (1, 4000, 20), (86, 86, 22), (4000, 4000, 24)):
        together = [int(np.ceil(some / (1.0 - learn.PART_OF_KINDS))) for some in (atoms, more)]
        by_share = dict(zip((estimate.SHARE_OF_CALIBRATION, estimate.LARGEST_SHARE), together, strict=True))
        monkeypatch.setattr(estimate.FitCosts, "atoms_to_leave_out", lambda _, most, *how, by=by_share: by[how[0]])
        assert len(learn.frames_to_leave_out(state, data, order)) == expected


# --- hyperparameters ----------------------------------------------------------------------------------------------


def changed(frames, name, factor):
    """Frames with one of the labels multiplied."""
    new = [atoms.copy() for atoms in frames]
    for atoms, old in zip(new, frames, strict=True):
        results = {**old.calc.results, name: factor * old.calc.results[name]}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return new


@pytest.mark.parametrize(
    ("name", "kind", "remedy"), [("stress", "virial", "sign of the stresses"), ("forces", "forces", "sign")]
)
def test_labels_of_the_wrong_sign_are_told(name, kind, remedy, frames):
    other = "forces" if name == "stress" else "stress"
    given = Noise(**{"forces" if other == "forces" else "virial": 0.02, "energy": 1e-3})
    with pytest.warns(HyperparameterWarning, match=f"noise that evidence found for the {kind} labels.*{remedy}"):
        small_model(noise=given, calibration=None).fit(changed(frames, name, -1.0))


def test_sound_labels_are_not(frames):
    with warnings.catch_warnings():
        warnings.simplefilter("error", GapkitWarning)
        small_model(**MODEL).fit(frames)


def factor(y):
    made = TriangularFactor(1)
    made.update(np.ones((len(y), 1)), np.asarray(y))
    return made


def found(noise, **at_bound):
    bounds = {name.replace("_", " "): limit for name, limit in at_bound.items()}
    return EvidenceResult(noise, (1.0, 1.0), 0.0, 1, True, "", bounds)


CASES = {
    "sound": (found({"forces": 0.1}), []),
    "as-large": (found({"forces": 0.9}), ["0.9 eV/Å, is as large", "1 eV/Å in the root mean square"]),
    "lower": (found({"forces": 1e-5}, noise_of_forces="lower"), ["lower bound", "remove copies"]),
    "upper": (found({"forces": 0.1}, noise_of_forces="upper"), ["upper bound", "units"]),
    "scale-lower": (found({"forces": 0.1}, scale_1="lower"), ["`delta` of the SOAP term", "leave it out"]),
    "scale-upper": (found({"forces": 0.1}, scale_0="upper"), ["`delta` of the TwoBody term", 'delta_bounds="fixed"']),
}


@pytest.mark.parametrize("name", list(CASES))
def test_hyperparameters_that_can_not_be_believed(name):
    result, words = CASES[name]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        y = np.tile([1.0, -1.0], 50)
        warn_of_hyperparameters(result, {"forces": factor(y)}, ["TwoBody", "SOAP"], ["forces"])
    assert len(seen) == bool(words)
    for word in words:
        assert word in str(seen[0].message)


def test_noise_that_was_given_is_nobody_elses_business():
    with warnings.catch_warnings():
        warnings.simplefilter("error", GapkitWarning)
        warn_of_hyperparameters(found({"forces": 5.0}), {"forces": factor(np.ones(50))}, ["SOAP"], [])


# --- an interrupt in the middle -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_in_a_long_chunk_of_rows_comes_at_once(n_jobs, frames, tmp_path, monkeypatch):
    """A chunk of a fit with a checkpoint is given up where its rows are being made."""
    begin, made, original = [], [], rows._Rows._add

    def slow(*arguments):
        made.append(1)
        if len(made) == 3:
            begin.append(time.perf_counter())
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return original(*arguments)

    path, model = tmp_path / "fit.checkpoint", MODEL | {"n_jobs": n_jobs}
    plain = small_model(**model).fit(frames)
    with monkeypatch.context() as patch:
        patch.setattr(rows._Rows, "_add", slow)
        patch.setattr(rows, "EDGES_PER_CHUNK", 1)  # some hundred walks for a chunk
        patch.setattr(checkpoint, "INTERVAL", 1e6)
        with pytest.raises(Interrupted, match="was kept"):
            small_model(**model).fit(frames, checkpoint=path)
    assert time.perf_counter() - begin[0] < 2.0
    assert len(made) < 20
    resumed = small_model(**model).fit(frames, checkpoint=path)
    np.testing.assert_array_equal(resumed.model_.weights, plain.model_.weights)


def test_estimate_has_all_stages(frames):
    found = GAP().estimate(frames)
    assert list(found.stages) == STAGES
    assert found.seconds == pytest.approx(sum(found.stages.values()))
    assert list(GAP(calibration=None).estimate(frames).stages) == STAGES[:-1]


def test_thresholds_of_novelty_are_learned_from_all_frames(frames, monkeypatch):
    """Those of the few that are left out with their labels would be several times wider."""
    found = []
    for n_atoms in (1, 4000):
        monkeypatch.setattr(estimate.FitCosts, "atoms_to_leave_out", lambda *_, n=n_atoms: n)
        found.append(small_model(**MODEL).fit(frames).state_)
    few, whole = found
    assert few.calibration.n_configurations < whole.calibration.n_configurations == len(frames)
    for z, limits in whole.detector.thresholds().items():
        np.testing.assert_allclose(few.detector.thresholds()[z], limits, rtol=1e-6)

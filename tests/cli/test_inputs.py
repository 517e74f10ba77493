"""What a command line may name: several files, some frames of them, models and structures in their places."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase.io import read, write

from tests.cli.conftest import Files, Run
from tests.cli.test_bad_input import assert_refused

ERRORS = ("energy_mae", "forces_rmse")


def errors_of(run: Run, *words: object) -> dict[str, float]:
    result = run("evaluate", *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_some_frames_and_several_files(files: Files, run: Run, tmp_path: Path) -> None:
    frames = read(files.test, ":")
    parts = {"some": frames[1::2], "both": frames + frames[:1], "one": frames[2:3], "last": frames[-1:]}
    for name, part in parts.items():
        write(tmp_path / f"{name}.extxyz", part)
    for words, name in (
        ([f"{files.test}@1::2"], "some"), ([files.test, f"{files.test}@0"], "both"), ([f"{files.test}@2"], "one"),
        ([f"{files.test}@-1"], "last"),
    ):  # fmt: skip
        assert errors_of(run, files.model, *words) == errors_of(run, files.model, tmp_path / f"{name}.extxyz")
    result = run("evaluate", files.model, files.test, f"{files.test}@::3")
    assert f"0 to 3 of {files.test}, 4 to 5 of {files.test}@::3" in result.stderr
    assert run("info", files.test, files.test).stdout.startswith("8 frames")
    output = tmp_path / "out.extxyz"
    assert run("predict", files.model, files.test, f"{files.test}@:2", "-o", output).exit_code == 0
    assert len(read(output, ":")) == 6


def test_a_name_that_holds_an_at(files: Files, run: Run, tmp_path: Path) -> None:
    write(tmp_path / "a.extxyz", read(files.test, ":"))
    shutil.copy(files.train, tmp_path / "a.extxyz@:2")
    assert run("info", tmp_path / "a.extxyz@:2").stdout.startswith("12 frames")
    assert run("info", tmp_path / "a.extxyz@:3").stdout.startswith("3 frames")
    shutil.copy(files.train, tmp_path / "me@home.extxyz")
    assert run("info", tmp_path / "me@home.extxyz@:5").stdout.startswith("5 frames")


def test_a_fit_to_several_files(files: Files, run: Run, tmp_path: Path) -> None:
    model = tmp_path / "cu.gapkit"
    done = run("fit", f"{files.train}@:6", f"{files.train}@6:", "-o", model, "--config", files.config, "--quiet")
    assert done.exit_code == 0, done.output
    assert errors_of(run, model, files.test) == errors_of(run, files.model, files.test)


def test_frames_that_are_none(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "output" / "old.gapkit"
    output.parent.mkdir()
    output.write_bytes(b"an older file that took an hour to make")
    for which, words in (("::0", "a slice such as"), ("x", "a slice"), ("100:", "frame"), ("1.5", "a slice")):
        assert_refused(run("predict", files.model, f"{files.test}@{which}", "-o", output), output, words)
    assert_refused(run("info", "missing.extxyz@::2"), output, "'missing.extxyz'", "does not exist")


def test_models_and_structures_in_each_others_places(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "output" / "old.gapkit"
    output.parent.mkdir()
    output.write_bytes(b"an older file that took an hour to make")
    xml = tmp_path / "gap.xml"
    xml.write_text("<GAP_params/>")
    for words, parts in (
        (("predict", files.test, files.model, "-o", output), ("model comes first", "swap")),
        (("evaluate", f"{files.test}@:2", files.model), ("model comes first", "no model")),
        (("predict", files.model, files.model, "-o", output), ("structures were expected", "is a model")),
        (("fit", files.model, "-o", output), ("structures were expected",)),
        (("fit", files.train, "--test", files.model, "-o", output), ("structures were expected",)),
        (("info", files.model, files.test), ("structures were expected",)),
        (("info", xml), ("gapkit convert", "gap.gapkit")),
        (("predict", xml, files.test, "-o", output), ("gapkit convert",)),
        (("convert", files.model), ("--output",)),
        (("convert", files.model, xml, "-o", xml), ("--output",)),
    ):  # fmt: skip
        assert_refused(run(*words), output, *parts)


@pytest.mark.parametrize("n_jobs", [0, -2, 10**9])
def test_threads_of_predictions(files: Files, run: Run, tmp_path: Path, n_jobs: int) -> None:
    for words in (
        ("evaluate", files.model, files.test),
        ("predict", files.model, files.test, "-o", tmp_path / "o.xyz"),
    ):
        assert run(*words, "--n-jobs", 2).exit_code == 0
        result = run(*words, "--n-jobs", n_jobs)
        assert result.exit_code == 2
        assert "`--n-jobs` must be a whole number >= 1" in result.stderr


def test_help_and_completion(run: Run) -> None:
    for command in ((), ("fit",), ("predict",), ("evaluate",), ("curate",), ("info",), ("convert",), ("lammps",)):
        assert run(*command, "-h").stdout == run(*command, "--help").stdout
    assert "--install-completion" in run("--help").stdout
    assert "-o" in run("fit", "-h").stdout


INTERRUPTED = """
import sys

class Interrupt:
    def find_spec(self, name, *more):
        if name == {name!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.argv = ["gapkit", "info", "some.extxyz"]
{start}
"""


@pytest.mark.parametrize("name", ["typer", "gapkit.cli.app", "gapkit.options.fit", "numpy", "gapkit.potential"])
@pytest.mark.parametrize("start", ["from gapkit.cli import main; main()", "import runpy; runpy.run_module('gapkit')"])
def test_an_interrupt_of_the_imports_is_quiet(name: str, start: str) -> None:
    start = start.replace("run_module('gapkit')", "run_module('gapkit', run_name='__main__')")
    code = INTERRUPTED.format(name=name, start=start)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("Interrupted")
    assert len(done.stderr.splitlines()) == 1

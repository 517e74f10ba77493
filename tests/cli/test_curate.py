"""`gapkit curate`: a data set, or one paragraph that says why not and an older data set as it was."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from ase import Atoms
from ase.io import read, write
from threadpoolctl import threadpool_limits
from typer.testing import Result

from tests.cli.conftest import Run, copper_frames
from tests.curation.recipe.data import scaled

NAMES = ["card.json", "card.md", "index.html", "test.extxyz", "train.extxyz"]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, run: Run) -> tuple[Path, Result]:
    """A recipe, its source, and its data set."""
    folder = tmp_path_factory.mktemp("curate")
    frames = copper_frames(16, seed=1)
    for k, atoms in enumerate(frames):
        frames[k] = shifted(atoms)
    write(folder / "cu.extxyz", frames)
    (folder / "r.yaml").write_text("name: copper\nsources:\n  - file: cu.extxyz\noutput: set\n")
    return folder, run("curate", folder / "r.yaml")


def shifted(atoms: Atoms) -> Atoms:
    """With a total energy of the size that programs have, by which units are told."""
    new = scaled(atoms)
    new.calc.results["energy"] -= 50.0 * len(atoms)
    return new


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def folder(made: tuple[Path, Result], tmp_path: Path) -> Path:
    """A copy to spoil."""
    for name, content in contents(made[0]).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def curate(run: Run, folder: Path, text: str, *flags: object) -> Result:
    (folder / "r.yaml").write_text(dedent(text))
    return run("curate", folder / "r.yaml", *flags)


def refused(run: Run, folder: Path, text: str, *parts: str) -> str:
    """Refused, and nothing is written, changed or printed but one paragraph."""
    (folder / "r.yaml").write_text(dedent(text))
    before = contents(folder)
    paragraph = ""
    for flags in ([], ["--json"]):
        result = run("curate", folder / "r.yaml", *flags)
        assert result.exit_code == 2, result.output
        paragraph = result.stderr.strip().splitlines()[-1]
        assert paragraph.startswith("Error: "), result.stderr
        assert result.stderr.count("Error") == 1, result.stderr
        assert "Traceback" not in result.output
        assert [part for part in parts if part not in paragraph] == [], paragraph
        assert result.stdout == ""
        assert contents(folder) == before
    return paragraph


# --- what it does -----------------------------------------------------------------------------------------------------


def test_a_data_set_is_written_and_the_steps_are_shown(made: tuple[Path, Result]) -> None:
    folder, result = made
    assert result.exit_code == 0, result.output
    assert [path.name for path in sorted((folder / "set").iterdir())] == NAMES
    assert sorted(path.name for path in folder.iterdir()) == ["cu.extxyz", "r.yaml", "set"]
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["step", "left", "out", "remain", "what", "it", "did"]
    assert [line.split()[0] for line in lines[1:6]] == ["read", "check", "duplicates", "split", "leakage"]
    assert lines[1].split() == ["read", "0", "16", "16", "frames", "of", "1", "files"]
    assert lines[-2].split() == ["hot", "7", "1", "0"]
    assert lines[-1].split() == ["cold", "7", "1", "0"]
    assert result.stderr.strip().splitlines()[-1].endswith(f"Wrote {folder / 'set'}")
    assert len(read(folder / "set/train.extxyz", ":")) == 14


def test_the_same_again(made: tuple[Path, Result], folder: Path, run: Run) -> None:
    before = contents(folder)
    assert run("curate", folder / "r.yaml", "--quiet").exit_code == 0
    assert contents(folder) == before


def test_a_dry_run_says_the_same_and_writes_nothing(
    made: tuple[Path, Result], folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # it draws nothing either
    before = contents(folder)
    result = run("curate", folder / "r.yaml", "--dry-run", "--output", folder / "elsewhere")
    assert result.exit_code == 0, result.output
    assert result.stdout == made[1].stdout
    assert "Nothing written (--dry-run)" in result.stderr
    assert str(folder / "elsewhere") in result.stderr
    assert contents(folder) == before


def test_quiet_prints_nothing(folder: Path, run: Run) -> None:
    result = run("curate", folder / "r.yaml", "--quiet", "--dry-run")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_another_output(folder: Path, run: Run) -> None:
    before = contents(folder / "set")
    result = run("curate", folder / "r.yaml", "--output", folder / "new", "--quiet")
    assert result.exit_code == 0, result.output
    assert contents(folder / "set") == before == contents(folder / "new")


def test_json_is_the_card(folder: Path, run: Run) -> None:
    result = run("curate", folder / "r.yaml", "--json")
    assert result.exit_code == 0, result.output
    card = json.loads(result.stdout)
    assert card == json.loads((folder / "set/card.json").read_text())
    assert card["files"]["train.extxyz"] == hashlib.sha256((folder / "set/train.extxyz").read_bytes()).hexdigest()
    dry = json.loads(run("curate", folder / "r.yaml", "--json", "--dry-run", "--quiet").stdout)
    assert dry == {**card, "files": {}}


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_mistakes_in_the_recipe(folder: Path, run: Run) -> None:
    head = "sources:\n  - file: cu.extxyz\noutput: set\n"
    refused(run, folder, head + "splitt: {}\n", "r.yaml, line 4", "`splitt`", "did you mean `split`?")
    refused(run, folder, head + "split:\n  test_fraction: lots\n", "r.yaml, line 5", "a number", "'lots'")
    refused(run, folder, head + "seed: 1\nseed: 2\n", "r.yaml", "`seed`", "lines 4 and 5")
    refused(run, folder, "output: set\n", "r.yaml, line 1", "`sources` is missing")
    refused(run, folder, head + "select: {n: 100}\n", "`n` of `select`", "14 training frames", "got 100")


@pytest.mark.parametrize(
    "options", ["select: {n: 4, quotas: {warm: 2}}", "weights: {config_types: {warm: {forces_sigma: 0.1}}}"]
)
def test_types_that_there_are_not(folder: Path, run: Run, options: str) -> None:
    option = "quotas" if "quotas" in options else "config_types"
    text = f"sources: [{{file: cu.extxyz}}]\noutput: set\n{options}\n"
    refused(run, folder, text, f"`{option}` of the recipe", "(cold, hot)", "got warm")


def test_files_that_cannot_be_read(folder: Path, run: Run) -> None:
    text = "sources: [{file: cu.extxyz}, {file: NAME}]\noutput: set\n"
    refused(run, folder, text.replace("NAME", "nowhere.xyz"), "nowhere.xyz", "does not exist")
    (folder / "cut.extxyz").write_text("\n".join((folder / "cu.extxyz").read_text().splitlines()[:20]))
    refused(run, folder, text.replace("NAME", "cut.extxyz"), "cut.extxyz", "frame 3", "truncated")
    (folder / "empty.extxyz").write_text("")
    refused(run, folder, text.replace("NAME", "empty.extxyz"), "empty.extxyz", "empty")
    result = run("curate", folder / "missing.yaml")
    assert result.exit_code == 2
    assert "missing.yaml" in result.stderr


def test_one_file_in_hartree(folder: Path, run: Run) -> None:
    frames = [scaled(shifted(a), energy=1 / 27.211386, forces=1 / 51.422067) for a in copper_frames(6, seed=7)]
    write(folder / "ha.extxyz", frames)
    text = "sources:\n  - {file: cu.extxyz}\n  - {file: ha.extxyzOPTIONS}\noutput: set\n"
    refused(
        run, folder, text.replace("OPTIONS", ""), "ha.extxyz, frames 0, 1, 2, 3, 4, 5", "mixed_units", "Hartree",
        "options of the source (`energy_unit`", "check: {mixed_units: drop}",
    )  # fmt: skip
    right = text.replace("OPTIONS", ", energy_unit: Hartree, forces_unit: Hartree/Bohr")
    assert curate(run, folder, right, "--dry-run").exit_code == 0


def test_two_kinds_of_energies_in_one_frame(folder: Path, run: Run) -> None:
    frames = read(folder / "cu.extxyz", ":")
    frames[5].info["REF_energy"] = 1.0
    write(folder / "two.extxyz", frames)
    text = "sources:\n  - file: two.extxyz\noutput: set\n"
    refused(run, folder, text, "two.extxyz, frame 5 ", "`energy` and `REF_energy`", "`energy_key`")
    assert curate(run, folder, text.replace("output", "    energy_key: energy\noutput"), "--dry-run").exit_code == 0


def test_a_name_that_only_some_frames_have(folder: Path, run: Run) -> None:
    frames = read(folder / "cu.extxyz", ":")
    for atoms in frames[:12]:
        atoms.info["REF_energy"] = atoms.calc.results.pop("energy")
    write(folder / "some.extxyz", frames)
    text = "sources: [{file: some.extxyz, energy_key: REF_energy}]\noutput: set\n"
    refused(run, folder, text, "some.extxyz, frames 12, 13, 14, 15 ", "has no 'REF_energy', but 'energy'")
    refused(run, folder, "sources: [{file: some.extxyz}]\noutput: set\n", "frames 0, 1,", "`energy_key`")


def test_one_frame_that_lost_its_cell(folder: Path, run: Run) -> None:
    frames = read(folder / "cu.extxyz", ":")
    results = {kind: value for kind, value in frames[3].calc.results.items() if kind != "stress"}
    frames[3].set_cell(None)
    frames[3].pbc = False
    frames[3].calc = type(frames[4].calc)(frames[3], **results)
    write(folder / "lost.extxyz", frames)
    text = "sources: [{file: lost.extxyz}]\noutput: set\n"
    refused(run, folder, text, "lost.extxyz, frame 3 ", "no_cell", "set its cell and pbc", "check: {no_cell: drop}")
    assert curate(run, folder, text + "check: {no_cell: drop}\n", "--quiet").exit_code == 0
    assert [a.info["frame_id"] for a in read(folder / "set/left_out.extxyz", ":")] == ["lost:3"]


def nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapkit.cli.curate.curate", lambda *_, **__: pytest.fail("worked first"))


def test_a_folder_with_something_else(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing_is_computed(monkeypatch)
    text = "sources: [{file: cu.extxyz}]\noutput: set\n"
    (folder / "set" / "notes.txt").write_text("mine")
    refused(run, folder, text, "set", "notes.txt", "choose a new or empty one")
    refused(run, folder, text.replace("set", "."), "it holds the input", "r.yaml", "choose another")
    refused(run, folder, text.replace("set", "no/set"), "no", "does not exist")
    refused(run, folder, text.replace("set", "cu.extxyz"), "cu.extxyz", "it is a file")


def test_without_matplotlib(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    nothing_is_computed(monkeypatch)
    refused(run, folder, "sources: [{file: cu.extxyz}]\noutput: set\n", "matplotlib", "gapkit[plot]")


def test_no_page_needs_no_matplotlib(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run("curate", folder / "r.yaml", "--no-page", "--output", folder / "plain")
    assert result.exit_code == 0, result.output
    assert (folder / "plain" / "card.json").exists()
    assert not (folder / "plain" / "index.html").exists()


# --- what interrupts it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place",
    ["gapkit.curation.recipe.steps.drop_duplicates", "gapkit.cli.curate.curation_page",
     "gapkit.curation.recipe.result.markdown"],
)  # fmt: skip
def test_ctrl_c(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = contents(folder)
    monkeypatch.setattr(place, interrupt)
    result = run("curate", folder / "r.yaml", "--json")
    assert result.exit_code == 130, result.output
    assert "Interrupted" in result.stderr
    assert result.stdout == ""
    assert contents(folder) == before
    assert sorted(path.name for path in folder.iterdir()) == ["cu.extxyz", "r.yaml", "set"]


# Halts at a place of the program and says so with a file.
HALTED = """
import os, sys, time
from pathlib import Path
from gapkit.cli.app import app
from gapkit.curation.recipe import result
place, marker = sys.argv[1:3]
rename = os.rename
def halt(*arguments):
    if place == "rename" and Path(arguments[0]).name == "set":
        return rename(*arguments)
    Path(marker).touch()
    time.sleep(60)
if place == "rename":
    os.rename = halt
else:
    setattr(result, place, halt)
app(sys.argv[3:])
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9")
@pytest.mark.parametrize("place", ["markdown", "rename"])
def test_kill(folder: Path, run: Run, place: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = contents(folder / "set")
    (folder / "r.yaml").write_text("sources: [{file: cu.extxyz}]\noutput: set\nsplit: false\n")
    marker = tmp_path_factory.mktemp("marker") / "halted"
    command = [sys.executable, "-c", HALTED, place, str(marker), "curate", str(folder / "r.yaml"), "--quiet"]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        end = time.monotonic() + 60
        while not marker.exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    hidden = {path.suffix: path for path in folder.glob(".gapkit-*")}
    assert "train.extxyz" in contents(hidden[""])
    assert contents(hidden[".old"] if place == "rename" else folder / "set") == before
    assert (folder / "set").exists() == (place != "rename")
    # a run that is refused puts it back; the next one sweeps up
    refused_run = curate(run, folder, "sources: [{file: nowhere.xyz}]\noutput: set\n")
    assert refused_run.exit_code == 2
    assert contents(folder / "set") == before
    assert curate(run, folder, "sources: [{file: cu.extxyz}]\noutput: set\nsplit: false\n", "--quiet").exit_code == 0
    assert contents(folder / "set").keys() == {"card.json", "card.md", "index.html", "train.extxyz"}
    assert sorted(path.name for path in folder.iterdir()) == ["cu.extxyz", "r.yaml", "set"]

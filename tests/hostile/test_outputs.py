"""Outputs that must not be: inputs under any name, what is no regular file, and names that no file can have."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hostile.trial import Server

CLASSIC = """
from gapkit import GAP, Noise, TwoBody
from gapkit.descriptors import CosineCutoff
from gapkit.structures import read_frames
terms, noise = [TwoBody(cutoff=4.0, cutoff_function=CosineCutoff(0.5))], Noise(0.001, 0.05, 0.01)
model = GAP(terms, n_sparse=8, noise=noise, calibration=None, n_jobs=1).fit(read_frames("train.extxyz"))
model.save("classic.gapkit")
model.to_quip("gap.xml")
"""
RECIPE = """
sources: [{file: train.extxyz}, {file: test.extxyz, role: test, name: t}]
duplicates: false
outliers: {crystal: crystal.extxyz, energy_terms: [{type: ModelTerm, model: base.gapkit}]}
output: new
"""


@pytest.fixture(scope="module")
def stage(made: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of `made`, more inputs, other names for them, and what is no file."""
    folder = tmp_path_factory.mktemp("stage")
    for path in made.iterdir():
        shutil.copy(path, folder / path.name)
    done = server.call(folder, CLASSIC)
    assert done.code == 0, done.err
    (sparse,) = folder.glob("gap.xml.sparseX.*")
    sparse.rename(folder / "points")
    text = (folder / "gap.xml").read_text()
    (folder / "gap.xml").write_text(text.replace(sparse.name, "points"))
    for copy, source in (("crystal.extxyz", "test.extxyz"), ("base.gapkit", "cu.gapkit")):
        shutil.copy(folder / source, folder / copy)
    (folder / "mine.py").write_text("")
    (folder / "r.yaml").write_text(RECIPE)
    (folder / "fit.yaml").write_text(
        (folder / "fit.yaml").read_text() + "energy_terms: [{type: ModelTerm, model: base.gapkit}]\ntest: test.extxyz\n"
    )
    os.mkfifo(folder / "pipe")
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    os.chdir(here)
    (folder / "held").mkdir()
    (folder / "held" / "mine").write_text("mine")
    return folder


# Names that no file can have or that stand for something else than a file, and a word of the reason.
NO_FILES = {
    "held": "folder", "": "", ".": "folder", "..": "folder", "held/": "folder", "/": "folder",
    "/dev/null": "device", "/dev/full": "device", "/dev/stdin": "device", "/dev/zero": "device", "pipe": "pipe",
    "./pipe": "pipe", "held/../pipe": "pipe", "socket": "socket", "no/new": "does not exist", "no/../new/a": "",
    "train.extxyz/new": "irectory", "a" * 256: "too long", "ä" * 128: "too long", "x/" * 2100 + "x": "too long",
    "/proc/new": "cannot write", "/proc/self/new": "cannot write", "link to ..": "folder", "link to pipe": "pipe",
    "link to /dev/null": "device", "link to socket": "socket", "link to itself": "link", "link to no/file": "not exist",
}  # fmt: skip
COMMANDS: dict[str, tuple[str, ...]] = {
    "fit": ("--import", "mine", "fit", "train.extxyz", "--config", "fit.yaml", "--quiet", "--output", "{}"),
    "checkpoint": ("fit", "train.extxyz", "--config", "fit.yaml", "--output", "new", "--checkpoint", "{}"),
    "predict": ("predict", "cu.gapkit", "test.extxyz", "--output", "{}"),
    "to_quip": ("convert", "classic.gapkit", "{}.xml"),
    "from_quip": ("convert", "gap.xml", "{}"),
    "plot": ("evaluate", "cu.gapkit", "test.extxyz", "--plot", "{}.png"),
}
INPUTS = {
    "fit": ["train.extxyz", "test.extxyz", "fit.yaml", "base.gapkit", "mine.py"],
    "checkpoint": ["train.extxyz", "test.extxyz", "fit.yaml", "base.gapkit", "cu.gapkit"],
    "predict": ["cu.gapkit", "test.extxyz"],
    "to_quip": ["classic.gapkit"],
    "from_quip": ["gap.xml", "points"],
    "plot": ["cu.gapkit", "test.extxyz"],
}
# Another name of a file in the same folder.
WAYS: dict[str, Callable[[Path, Path], object]] = {
    "itself": lambda name, file: None,
    "hard link": lambda name, file: os.link(file, name),
    "link": lambda name, file: name.symlink_to(file.name),
    "link to a link": lambda name, file: (
        name.with_suffix(".1").symlink_to(file.name), name.symlink_to(name.with_suffix(".1").name)
    ),
    "way round": lambda name, file: name.parent.joinpath("round").symlink_to("."),
}  # fmt: skip


def words(command: str, output: str) -> list[str]:
    return [word.replace("{}", output) for word in COMMANDS[command]]


def given(folder: Path, name: str, suffix: str) -> str:
    """A name as a command takes it; a link is made."""
    if name.startswith("link to "):
        target = name.removeprefix("link to ")
        (folder / f"link{suffix}").symlink_to(f"link{suffix}" if target == "itself" else target)
        return "link"
    return name


@pytest.fixture
def free(stage: Path) -> Path:
    """The stage, from which new links are removed afterwards."""
    before = set(stage.iterdir())
    yield stage
    for path in set(stage.iterdir()) - before:
        path.unlink()


def suffix_of(command: str) -> str:
    return Path(COMMANDS[command][-1]).suffix


@pytest.mark.parametrize("name", NO_FILES)
@pytest.mark.parametrize("command", ["fit", "checkpoint", "predict", "from_quip"])
def test_what_is_no_file(server: Server, free: Path, command: str, name: str) -> None:
    done = server.run(free, *words(command, given(free, name, "")))
    done.assert_refused(NO_FILES[name])


@pytest.mark.parametrize(
    "name", [name for name in NO_FILES if name.startswith("link to") or "x/" in name or "no/" in name]
)
@pytest.mark.parametrize("command", ["plot", "to_quip"])
def test_what_is_no_file_under_a_name_with_a_suffix(server: Server, free: Path, command: str, name: str) -> None:
    done = server.run(free, *words(command, given(free, name, suffix_of(command))))
    done.assert_refused(NO_FILES[name])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("command", "name"), [(command, name) for command, names in INPUTS.items() for name in names])
def test_inputs(server: Server, free: Path, command: str, name: str, way: str) -> None:
    suffix = suffix_of(command)
    if suffix and way in ("itself", "way round"):
        pytest.skip("its suffix is another")
    WAYS[way](free / f"other{suffix}", free / name)
    output = {"itself": name, "way round": f"round/{name}"}.get(way, "other")
    done = server.run(free, *words(command, output))
    done.assert_refused("" if (command, name) == ("checkpoint", "cu.gapkit") else "also an input")


@pytest.mark.parametrize("option", ["output", "checkpoint"])
@pytest.mark.parametrize("name", ["held", "/dev/null", "pipe", "no/new", "a" * 256, "fit2.yaml", "train.extxyz"])
def test_options_of_a_file(server: Server, free: Path, option: str, name: str) -> None:
    other = {"output": "checkpoint: c", "checkpoint": "output: o"}[option]
    (free / "fit2.yaml").write_text(f"{option}: {name}\n{other}\n")
    server.run(free, "fit", "train.extxyz", "--config", "fit2.yaml").assert_refused("cannot write")


def test_output_and_checkpoint_are_two_files(server: Server, free: Path) -> None:
    for name in ("new", "./new", "held/../new"):
        server.run(free, *COMMANDS["checkpoint"][:-1], name).assert_refused("another output")


# --- folders ----------------------------------------------------------------------------------------------------------

FOLDERS = (
    NO_FILES
    | dict.fromkeys(("held", "held/"), "it holds mine")
    | dict.fromkeys((".", "..", "link to .."), "you are in it")
    | dict.fromkeys(("train.extxyz", "pipe", "./pipe", "held/../pipe", "socket", "link to pipe"), "it is a file")
    | dict.fromkeys(("/dev/null", "/dev/full", "/dev/zero", "/dev/stdin", "link to /dev/null"), "it is a file")
    | {"link to socket": "it is a file", "/": "root", "train.extxyz/new": ""}
)


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_a_data_set(server: Server, free: Path, name: str) -> None:
    output = given(free, name, "")
    server.run(free, "curate", "r.yaml", "--quiet", "--no-page", "--output", output).assert_refused(FOLDERS[name])


@pytest.fixture(scope="module")
def old(stage: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set, `set`."""
    folder = tmp_path_factory.mktemp("old")
    for name in ("train.extxyz", "test.extxyz", "crystal.extxyz", "base.gapkit"):
        shutil.copy(stage / name, folder / name)
    (folder / "r.yaml").write_text("sources: [{file: train.extxyz}]\noutput: set\n")
    done = server.run(folder, "curate", "r.yaml", "--quiet", "--no-page")
    assert done.code == 0, done.err
    return folder


@pytest.mark.parametrize("way", ["itself", "hard link", "link", "link to a link", "way round", "link into"])
@pytest.mark.parametrize("role", ["source", "crystal", "recipe", "model"])
def test_a_data_set_is_not_written_over_its_inputs(
    server: Server, old: Path, tmp_path: Path, role: str, way: str
) -> None:
    folder = shutil.copytree(old, tmp_path / "f")
    inside = folder / "set" / {"recipe": "card.json", "model": "card.md"}.get(role, "train.extxyz")
    if role == "model":
        shutil.copy(folder / "base.gapkit", inside)
    name = {"itself": f"set/{inside.name}", "way round": f"round/set/{inside.name}"}.get(way, f"other{inside.suffix}")
    if way == "link into":  # the folder holds a link to the input
        inside.rename(folder / name)
        inside.symlink_to(f"../{name}")
    elif way == "way round":
        (folder / "round").symlink_to(".")
    elif way in ("link", "link to a link"):
        (folder / "1").symlink_to(f"set/{inside.name}")
        (folder / name).symlink_to("1" if way == "link to a link" else f"set/{inside.name}")
    else:
        WAYS[way](folder / name, inside)
    text = {
        "source": f"sources: [{{file: {name}}}]", "recipe": "sources: [{file: train.extxyz}]",
        "crystal": f"sources: [{{file: train.extxyz}}]\noutliers: {{crystal: {name}}}",
        "model": f"sources: [{{file: train.extxyz}}]\noutliers: {{energy_terms: [{{type: ModelTerm, model: {name}}}]}}",
    }[role]  # fmt: skip
    recipe = "r.yaml"
    if role == "recipe":
        inside.write_text(f"{text}\noutput: {folder / 'set'}\n")
        recipe = f"r{way.replace(' ', '')}.yaml"
        os.link(inside, folder / recipe) if way == "hard link" else (folder / recipe).symlink_to(name)
    else:
        (folder / recipe).write_text(f"{text}\nsplit: false\noutput: set\n")
    server.run(folder, "curate", recipe, "--quiet", "--no-page").assert_refused("it holds the input")


def test_folders_of_others_stay(server: Server, old: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(old, tmp_path / "f")
    mine = [".set.old", ".set.new", "set.old", "set.new", ".set", ".gapkit-set-0.old"]
    for name in mine:
        (folder / name).mkdir()
        (folder / name / "card.json").write_text("mine")
    done = server.run(folder, "curate", "r.yaml", "--quiet", "--no-page")
    assert done.code == 0, done.err
    assert done.after == done.before  # the same data set again
    shutil.rmtree(folder / "set")
    done = server.run(folder, "curate", "r.yaml", "--quiet", "--no-page")
    assert done.code == 0, done.err
    assert set(done.after) - set(done.before) == {"set", *(f"set/{name}" for name in os.listdir(folder / "set"))}
    assert (folder / "set" / "card.json").read_text() != "mine"


# --- functions --------------------------------------------------------------------------------------------------------

CALLS = {
    "save": "from gapkit import load; load('cu.gapkit').save({})",
    "to_quip": "from gapkit import load; load('classic.gapkit').to_quip({})",
    "checkpoint": "from gapkit import GAP, TwoBody\nfrom gapkit.structures import read_frames\n"
    "GAP([TwoBody(cutoff=4.0)], n_sparse=8).fit(read_frames('train.extxyz'), checkpoint={})",
    "keep_rows": "from gapkit import GAP, TwoBody\nfrom gapkit.structures import read_frames\n"
    "GAP([TwoBody(cutoff=4.0)], n_sparse=8).fit(read_frames('train.extxyz'), keep_rows={})",
    "check_folder": "from pathlib import Path\nfrom gapkit.curation.recipe import check_folder\ncheck_folder(Path({}))",
}


@pytest.mark.parametrize("name", [*NO_FILES, "a\0b", "\ud800"])
@pytest.mark.parametrize("call", CALLS)
def test_functions(server: Server, free: Path, call: str, name: str) -> None:
    reason = FOLDERS.get(name, "") if call == "check_folder" else NO_FILES.get(name, "")
    server.call(free, CALLS[call].format(ascii(given(free, name, "")))).assert_raised(reason)


@pytest.mark.parametrize("name", ["train.extxyz", "cu.gapkit", "fit.yaml", "mine", "held/mine"])
@pytest.mark.parametrize("call", ["checkpoint", "keep_rows"])
def test_files_with_something_else(server: Server, free: Path, call: str, name: str) -> None:
    (free / "mine").write_bytes(b"\0" * 100)
    server.call(free, CALLS[call].format(repr(name))).assert_raised(Path(name).name)


def test_a_file_of_sparse_points_that_cannot_be_written(server: Server, stage: Path, tmp_path: Path) -> None:
    """It is known before any file is written."""
    shutil.copy(stage / "classic.gapkit", tmp_path)
    done = server.run(tmp_path, "convert", "classic.gapkit", "gap.xml")
    assert done.code == 0, done.err
    (sparse,) = tmp_path.glob("*.sparseX.*")
    sparse.unlink()
    sparse.mkdir()
    (tmp_path / "gap.xml").write_text("older")
    server.run(tmp_path, "convert", "classic.gapkit", "gap.xml").assert_refused("it is a folder")


# --- full disks -------------------------------------------------------------------------------------------------------

LIMITED = """
import resource
from pathlib import Path
from gapkit import GAP, TwoBody, load
from gapkit.cli import curate, fit, predict
from gapkit.options.fit import FitConfig
from gapkit.structures import read_frames
model, frames = load("classic.gapkit"), read_frames("train.extxyz")
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
{code}
"""
WRITERS = {
    "save": "model.save('new')",
    "to_quip": "model.to_quip('new')",
    "keep_rows": "GAP([TwoBody(cutoff=4.0)], n_sparse=8, n_jobs=1).fit(frames, keep_rows='new')",
    "fit": "fit.run([Path('train.extxyz')], FitConfig(output='new', quiet=True, cutoff=4.0, n_sparse=8))",
    "predict": "predict.run(Path('cu.gapkit'), [Path('test.extxyz')], Path('new'))",
    "curate": "curate.run(Path('r2.yaml'), output=None, page=False, dry_run=False, as_json=False, quiet=True)",
}


@pytest.mark.parametrize("limit", [1000, 2000, 3000])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_told_with_the_name(server: Server, free: Path, writer: str, limit: int) -> None:
    """A file may not grow beyond a limit; what was written so far goes."""
    (free / "r2.yaml").write_text("sources: [{file: train.extxyz}]\noutliers: false\noutput: new\n")
    done = server.call(free, LIMITED.format(limit=limit, code=WRITERS[writer]))
    if writer == "keep_rows":  # the file is of this process
        (free / "new").unlink()
        done = replace(done, after={name: held for name, held in done.after.items() if name != "new"})
    done.assert_raised("cannot write", "new", "File too large; free some space")


@pytest.mark.parametrize("limit", [1000, 10000])
def test_a_full_disk_for_a_checkpoint_is_a_warning(server: Server, free: Path, limit: int) -> None:
    code = "GAP([TwoBody(cutoff=4.0)], n_sparse=8, n_jobs=1).fit(frames, checkpoint='new')"
    done = server.call(free, LIMITED.format(limit=limit, code=code))
    done.assert_bounded()
    assert done.code == 0, done.err
    assert ("the fit goes on" in done.err) == (limit < 10000), done.err
    assert set(done.after) - set(done.before) == ({"new"} if limit == 10000 else set())


@pytest.mark.parametrize("words", [("info", "cu.gapkit"), ("evaluate", "cu.gapkit", "test.extxyz", "--json")])
def test_a_full_disk_behind_standard_output(made: Path, words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "gapkit", *words]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, cwd=made, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("Error: cannot write standard output: No space left on device"), done.stderr

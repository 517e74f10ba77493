"""Input that cannot be used: one paragraph that names the culprit and the remedy, exit code 2, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from typer.testing import Result

from tests.cli.conftest import Files, Run

OLD = b"an older file that took an hour to make"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "output" / "old.gapkit"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def assert_refused(result: Result, output: Path, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    paragraph = result.stderr.strip().splitlines()[-1]
    assert paragraph.startswith("Error: "), result.stderr
    assert "Traceback" not in result.output
    assert [part for part in parts if part not in paragraph] == [], paragraph
    assert result.stdout == ""
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert output.read_bytes() == OLD


def changed(files: Files, tmp_path: Path, change: Callable[[list[Atoms]], object]) -> Path:
    frames = read(files.train, ":")
    for atoms in frames:  # plain labels, so that they can be spoilt one by one
        atoms.info["energy"], atoms.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.info["stress"] = atoms.get_stress()
        atoms.calc = None
    change(frames)
    path = tmp_path / "bad.extxyz"
    write(path, frames, format="extxyz")
    return path


def spoil(frames: list[Atoms], name: str, value: float) -> None:
    atoms = frames[3]
    if name == "forces":
        atoms.arrays["forces"][1, 2] = value
    elif name == "stress":
        atoms.info["stress"][4] = value
    elif name == "energy":
        atoms.info["energy"] = value
    elif name == "positions":
        atoms.positions[2, 0] = value
    else:
        cell = atoms.cell.array.copy()
        cell[0, 0] = value
        atoms.set_cell(cell)


def drop_labels(frames: list[Atoms]) -> None:
    for atoms in frames:
        del atoms.info["energy"], atoms.info["stress"], atoms.arrays["forces"]


def flatten_forces(frames: list[Atoms]) -> None:
    frames[3].arrays["forces"] = frames[3].arrays["forces"][:, :2].copy()


def gold_without_energy(frames: list[Atoms]) -> None:
    frames[3].numbers[0] = 79
    del frames[3].info["energy"]


def test_missing_file(files: Files, run: Run, output: Path) -> None:
    missing = files.folder / "missing.extxyz"
    assert_refused(run("fit", missing, "--output", output), output, "missing.extxyz", "does not exist")
    assert_refused(run("fit", files.train, "--test", missing, "--output", output), output, "missing.extxyz")
    assert_refused(run("fit", files.train, "--config", missing, "--output", output), output, "missing.extxyz")
    assert_refused(run("predict", files.model, missing, "--output", output), output, "missing.extxyz")
    assert_refused(run("evaluate", missing, files.test), output, "missing.extxyz")
    assert_refused(run("info", missing), output, "missing.extxyz")


def test_empty_and_unreadable_files(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.extxyz"
    empty.write_text("")
    cut = tmp_path / "cut.extxyz"
    cut.write_text("\n".join(files.train.read_text().splitlines()[:20]))
    assert_refused(run("fit", empty, "--output", output), output, "empty.extxyz", "empty")
    assert_refused(run("fit", cut, "--output", output), output, "cut.extxyz", "frame 3")
    assert_refused(run("predict", files.model, empty, "--output", output), output, "empty.extxyz")
    assert_refused(run("evaluate", files.model, empty), output, "empty.extxyz")
    assert_refused(run("fit", tmp_path, "--output", output), output, str(tmp_path), "a folder")


def test_no_labels_at_all(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    bare = changed(files, tmp_path, drop_labels)
    assert_refused(run("fit", bare, "--output", output), output, "no label", "--energy-key")
    assert_refused(run("fit", files.train, "--test", bare, "--output", output), output, "bad.extxyz", "--energy-key")
    assert_refused(run("evaluate", files.model, bare, "--json"), output, "12 frames", "--energy-key")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["energy", "forces", "stress", "positions", "cell"])
def test_not_finite(files: Files, run: Run, output: Path, tmp_path: Path, name: str, value: float) -> None:
    bad = changed(files, tmp_path, lambda frames: spoil(frames, name, value))
    # ASE itself refuses a cell or stress that it cannot make sense of; either way frame 3 is named.
    assert_refused(run("fit", bad, "--output", output), output, "frame 3")
    assert_refused(run("evaluate", files.model, bad), output, "frame 3")


def test_forces_of_the_wrong_shape(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    bad = changed(files, tmp_path, flatten_forces)
    assert_refused(run("fit", bad, "--output", output), output, "frame 3", "forces", "(4, 3)", "(4, 2)")


def test_species_without_energy(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    bad = changed(files, tmp_path, gold_without_energy)
    result = run("fit", bad, "--config", files.config, "--output", output)
    assert_refused(result, output, "Au", "energ")


def test_species_that_the_model_does_not_know(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    gold = changed(files, tmp_path, gold_without_energy)
    result = run("fit", files.train, "--test", gold, "--output", output)
    assert_refused(result, output, "frame 3", "bad.extxyz", "Au")
    assert_refused(run("predict", files.model, gold, "--output", output), output, "Au")
    assert_refused(run("evaluate", files.model, gold), output, "Au")


def test_a_key_that_no_frame_has(files: Files, run: Run, output: Path) -> None:
    result = run("fit", files.train, "--forces-key", "REF_forces", "--output", output)
    assert_refused(result, output, "REF_forces", "the keys that exist", "forces")


@pytest.mark.parametrize("cutoff", [0.5, 60.0])
def test_a_cutoff_without_sense(files: Files, run: Run, output: Path, cutoff: float) -> None:
    """Shorter than any pair, or so long that an atom would have tens of thousands of neighbours."""
    assert_refused(run("fit", files.train, "--cutoff", cutoff, "--output", output), output, "cutoff", f"{cutoff:g}")


def test_more_sparse_points_than_environments(files: Files, run: Run, output: Path) -> None:
    """12 frames of 4 atoms are 48 environments."""
    result = run("fit", files.train, "--config", files.config, "--n-sparse", 1000, "--output", output)
    assert result.exit_code == 0, result.stderr
    assert output.exists()
    words = " ".join(result.stderr.split())
    assert "`n_sparse` = 1000 of the SOAP term exceeds the 48 environments" in words


def test_options_of_the_configuration(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    config = tmp_path / "fit.yaml"

    def fit(text: str, *flags: object) -> Result:
        config.write_text(text)
        return run("fit", files.train, "--config", config, "--output", output, *flags)

    assert_refused(fit("sparse: 3"), output, "`sparse`", "`n_sparse`", "fit.yaml")
    assert_refused(fit("cutoff: wide"), output, "`cutoff`", "a number", "fit.yaml")
    assert_refused(fit("terms: [{type: Soap}]"), output, "`Soap`", "`SOAP`", "number 1")
    assert_refused(fit("terms: [{type: TwoBody}, {type: SOAP, nmax: 4}]"), output, "`nmax`", "`n_max`", "number 2")
    assert_refused(fit("terms: [{type: SOAP, cutoff: 4}]", "--cutoff", 5), output, "`cutoff`", "no effect")
    assert_refused(fit("e0: {Xx: -1.0}"), output, "Xx")
    assert_refused(fit("terms: [{type: SOAP, cutoff: -1}]"), output, "cutoff", "-1")
    assert_refused(fit("terms: [{type: SOAP, n_max: many}]"), output, "n_max", "many")


def edited(model: Path, path: Path, change: Callable[[dict[str, Any]], object], *, sealed: bool) -> Path:
    """Copy a model file with its header changed, sealed again as a program would, or not as an editor would."""
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(path, "w") as new:
        header = json.loads(old.read("header.json"))
        change(header)
        text = json.dumps(header).encode()
        for name in old.namelist():
            content = text if name == "header.json" else old.read(name)
            if name == "seal.txt" and sealed:
                content = hashlib.sha256(text).hexdigest().encode()
            new.writestr(name, content)
    return path


def test_model_files_that_are_damaged_edited_or_newer(files: Files, run: Run, output: Path, tmp_path: Path) -> None:
    whole = files.model.read_bytes()
    cut = tmp_path / "cut.gapkit"
    cut.write_bytes(whole[: len(whole) // 2])
    changed_byte = tmp_path / "byte.gapkit"
    middle = len(whole) // 2
    changed_byte.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    text = tmp_path / "text.gapkit"
    text.write_text("not a model")
    by_hand = edited(files.model, tmp_path / "hand.gapkit", lambda header: header.update(edited=True), sealed=False)
    newer = edited(files.model, tmp_path / "new.gapkit", lambda header: header.update(format_version=99), sealed=True)
    for model, part in (
        (cut, "truncated"), (changed_byte, "copy"), (text, "not a complete"), (by_hand, "edited"), (newer, "upgrade")
    ):  # fmt: skip
        assert_refused(run("predict", model, files.test, "--output", output), output, model.name, part)
        assert_refused(run("evaluate", model, files.test, "--json"), output, model.name, part)
        assert_refused(run("info", model), output, model.name, part)


def test_an_output_that_cannot_be_written_is_found_before_the_fit(files: Files, run: Run, output: Path) -> None:
    assert_refused(run("fit", files.train), output, "--output")
    assert_refused(run("fit", files.train, "--output", output.parent / "no" / "a"), output, "no", "does not exist")
    assert_refused(run("fit", files.train, "--output", output.parent), output, "folder")
    assert_refused(run("fit", files.train, "--output", files.train), output, "input")
    assert_refused(run("predict", files.model, files.test, "--output", files.test), output, "input")
    assert_refused(run("evaluate", files.model, files.test, "--plot", output.with_suffix(".gap")), output, "png")
    assert read(files.train, ":")


def test_matplotlib_is_missing(files: Files, run: Run, output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    result = run("evaluate", files.model, files.test, "--plot", output.with_suffix(".png"))
    assert_refused(result, output, "gapkit[plot]")

"""A data set on disk: the same bytes from the same recipe, and never half of one."""

from __future__ import annotations

import os
from pathlib import Path
from textwrap import dedent
from typing import TextIO

import numpy as np
import pytest
from ase import Atoms
from ase.io import read as read_file
from ase.io import write as write_file

from gapkit.curation.recipe import Curated, Recipe, check_folder, curate, output, result
from gapkit.exceptions import InputError, OutputError
from gapkit.io.temporary import prefix_of
from gapkit.report.page import curation_page
from tests.curation.recipe.data import copper, make, plain, put, scaled, turned

TEXT = """\
    sources:
      - {file: a.extxyz, config_type: bulk}
      - {file: b.extxyz, energy_unit: Hartree, forces_unit: Hartree/Bohr, stress_unit: GPa}
    select: {fraction: 0.7}
    """


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    frames = copper(12, per_atom=-3000.0)
    copy = turned(frames[2])
    copy.calc.results["energy"] += -3000.0 * len(copy)
    put(folder, "a.extxyz", [*frames, copy])
    other = copper(6, seed=4, name="other", per_atom=-3000.0)
    put(
        folder, "b.extxyz", [scaled(a, energy=1 / 27.211386, forces=1 / 51.422067, stress=160.21766) for a in other]
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def curated(folder: Path) -> Curated:
    return make(folder, TEXT)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def old(curated: Curated, tmp_path: Path) -> Path:
    """An older data set, with a page that the new one will not have."""
    curated.write(tmp_path / "set", "<html>old</html>")
    return tmp_path / "set"


def test_what_is_written(curated: Curated, tmp_path: Path) -> None:
    written = curated.write(tmp_path / "set", "<html></html>")
    names = ["card.json", "card.md", "index.html", "left_out.extxyz", "test.extxyz", "train.extxyz"]
    assert [path.name for path in written] == names
    assert sorted(contents(tmp_path)) == [f"set/{name}" for name in names]
    assert [path.name for path in curated.write(tmp_path / "set")] == [n for n in names if n != "index.html"]


def test_no_file_for_frames_that_there_are_not(folder: Path, tmp_path: Path) -> None:
    whole = make(folder, 'sources: [{file: a.extxyz, frames: ":12"}]\nsplit: false\n')
    assert [path.name for path in whole.write(tmp_path / "s")] == ["card.json", "card.md", "train.extxyz"]


def test_frames_are_the_same_when_they_are_read_again(curated: Curated, old: Path) -> None:
    for place, frames in (("train", curated.train), ("test", curated.test), ("left_out", curated.left_out)):
        again = read_file(old / f"{place}.extxyz", ":")
        assert [a.info["frame_id"] for a in again] == [a.info["frame_id"] for a in frames]
        assert [a.info.get("config_type") for a in again] == [a.info["config_type"] for a in frames]
        for new, atoms in zip(again, frames, strict=True):
            np.testing.assert_array_equal(new.numbers, atoms.numbers)
            np.testing.assert_allclose(new.positions, atoms.positions, atol=1e-7)
            np.testing.assert_allclose(new.cell.array, atoms.cell.array, atol=1e-8)
            assert new.pbc.all()
            assert new.get_potential_energy() == pytest.approx(atoms.get_potential_energy(), rel=1e-8)
            np.testing.assert_allclose(new.get_forces(), atoms.get_forces(), atol=1e-7)
            np.testing.assert_allclose(new.get_stress(), atoms.get_stress(), atol=1e-9)


def test_labels_are_written_in_the_units_of_gapkit(folder: Path, old: Path) -> None:
    originals: dict[str, Atoms] = {f"a:{k}": a for k, a in enumerate(read_file(folder / "a.extxyz", ":"))}
    originals |= {f"b:{k}": a for k, a in enumerate(copper(6, seed=4, per_atom=-3000.0))}
    seen = set()
    for place in ("train", "test", "left_out"):
        for atoms in read_file(old / f"{place}.extxyz", ":"):
            expected = originals[atoms.info["frame_id"]]
            assert atoms.get_potential_energy() == pytest.approx(expected.get_potential_energy(), rel=1e-6)
            np.testing.assert_allclose(atoms.get_forces(), expected.get_forces(), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(atoms.get_stress(), expected.get_stress(), rtol=1e-5, atol=1e-6)
            seen.add(atoms.info["frame_id"])
    assert seen == set(originals)


def test_what_is_left_out_says_why(old: Path) -> None:
    reasons = {a.info["frame_id"]: a.info["left_out"] for a in read_file(old / "left_out.extxyz", ":")}
    assert reasons["a:12"].startswith("duplicates: the structure of a:2 (symmetry, distance ")
    assert sum(reason.startswith("select: not among the ") for reason in reasons.values()) == len(reasons) - 1


def test_files_do_not_depend_on_the_locale(curated: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encodings, write_extxyz = [], output.write_extxyz

    def noted(file: TextIO, *arguments: object, **options: object) -> None:
        encodings.append(file.encoding)
        write_extxyz(file, *arguments, **options)

    monkeypatch.setattr(output, "write_extxyz", noted)
    curated.write(tmp_path / "set", "<p>Å</p>")
    assert encodings == ["utf-8"] * 3
    text = {path.name: path.read_bytes().decode("utf-8") for path in (tmp_path / "set").iterdir()}
    assert "Å" in text["card.json"]
    assert "Å" in text["index.html"]
    assert not any("\r" in words for words in text.values())


def test_a_data_set_can_be_the_source_of_another(old: Path, tmp_path: Path) -> None:
    again = make(tmp_path, "sources: [{file: set/train.extxyz}]\nsplit: false\nduplicates: false\n")
    np.testing.assert_array_equal(
        [a.get_potential_energy() for a in again.train],
        [a.get_potential_energy() for a in read_file(old / "train.extxyz", ":")],
    )


def test_objects_and_results_in_info_do_not_spoil_the_file(tmp_path: Path) -> None:
    """Other formats than extended XYZ may hold labels twice, and anything in `info`."""
    frames = copper(6)
    frames[1].info["energy"] = 5.0
    frames[2].info["settings"] = {"encut": 500}
    write_file(tmp_path / "a.traj", frames)
    assert read_file(tmp_path / "a.traj", 1).info["energy"] == 5.0
    made = make(tmp_path, "sources: [{file: a.traj}]\ncheck: {conflicting_labels: drop}\nsplit: false\n")
    made.write(tmp_path / "set")
    out = read_file(tmp_path / "set/left_out.extxyz", ":")
    assert [a.info["frame_id"] for a in out] == ["a:1"]
    assert out[0].info["info_energy"] == 5.0
    assert out[0].get_potential_energy() == pytest.approx(frames[1].get_potential_energy())
    assert len(read_file(tmp_path / "set/train.extxyz", ":")) == 5


def test_the_same_bytes_from_elsewhere_and_on_more_threads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = dedent(TEXT) + "outliers: {n_sparse: 20, cutoff: 4}\nweights: {scheme: hull}\nn_jobs: "
    make_dir = folder / "recipes"
    make_dir.mkdir()
    found = []
    for k, (n_jobs, cwd, base) in enumerate(((1, folder, Path(".")), (2, make_dir, Path("..")))):
        (folder / "both.yaml").write_text(f"{text}{n_jobs}\n")
        monkeypatch.chdir(cwd)
        made = curate(Recipe.read(base / "both.yaml"), base)
        made.write(tmp_path / f"set{k}", curation_page(made))
        found.append(contents(tmp_path / f"set{k}"))
    assert len(found[0]) == 6
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError("a bug")])
@pytest.mark.parametrize("place", ["write_extxyz", "markdown", "rename"])
def test_an_error_on_the_way_leaves_the_old_one(
    curated: Curated, old: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    before = contents(old.parent)

    def fail(*_: object, **__: object) -> None:
        raise error

    held = next(module for module in (output, result, os) if hasattr(module, place))
    monkeypatch.setattr(held, place, fail)
    with pytest.raises(type(error)):
        curated.write(old)
    assert contents(old.parent) == before
    assert [path.name for path in old.parent.iterdir()] == ["set"]


def test_a_failure_between_the_renames_puts_the_old_one_back(
    curated: Curated, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename, calls = contents(old.parent), os.rename, list[tuple[str, str]]()

    def second_fails(a: Path, b: Path) -> None:
        calls.append((a.name, b.name))
        if len(calls) == 2:
            raise PermissionError(13, "Permission denied")
        rename(a, b)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OutputError, match="set: Permission denied"):
        curated.write(old)
    (_, aside), (new, _), _ = calls
    assert calls == [("set", aside), (new, "set"), (aside, "set")]
    assert contents(old.parent) == before


def test_the_next_run_puts_back_what_was_killed_between_the_renames(curated: Curated, old: Path) -> None:
    before, aside, new = contents(old), old.with_name(prefix_of(old) + "0.old"), old.with_name(prefix_of(old) + "0")
    old.rename(aside)
    check_folder(old)
    assert contents(old) == before
    old.rename(aside)
    new.mkdir()
    (new / "train.extxyz").write_text("half")
    curated.write(old)
    assert "index.html" not in contents(old)
    assert [path.name for path in old.parent.iterdir()] == ["set"]


def test_what_was_killed_after_the_renames_is_swept_up(curated: Curated, old: Path) -> None:
    """The new one is complete then, and the older one only in the way."""
    before, aside = contents(old), old.with_name(prefix_of(old) + "0.old")
    aside.mkdir()
    (aside / "card.json").write_text("{}")
    check_folder(old)
    assert contents(old) == before
    curated.write(old)
    assert [path.name for path in old.parent.iterdir()] == ["set"]


def test_the_folder_of_a_source_is_refused(curated: Curated, old: Path) -> None:
    """It would be replaced: 17 frames become 15 + 2, and the next run has 15."""
    (old.parent / "crystal.extxyz").symlink_to(old / "train.extxyz")
    for text in (
        "sources: [{file: set/train.extxyz}]\nsplit: false\n",
        "sources: [{file: other.extxyz}]\nsplit: false\noutliers: {crystal: crystal.extxyz}\n",
    ):
        (old.parent / "recipe.yaml").write_text(text)
        recipe = Recipe.read(old.parent / "recipe.yaml")
        with pytest.raises(InputError, match="it holds the input"):
            check_folder(old, *recipe.inputs(old.parent))
    again = make(old.parent, "sources: [{file: set/train.extxyz}]\nsplit: false\nduplicates: false\n")
    before = contents(old)
    with pytest.raises(InputError, match=r"it holds the input .*train\.extxyz"):
        again.write(old)
    assert contents(old) == before


@pytest.mark.parametrize("strange", ["notes.txt", "sub/x.txt", ".hidden"])
def test_a_folder_with_other_files_is_refused(curated: Curated, old: Path, strange: str) -> None:
    (old / strange).parent.mkdir(exist_ok=True)
    (old / strange).write_text("mine")
    before = contents(old.parent)
    with pytest.raises(InputError, match=f"it holds {strange.split('/')[0]}; choose a new or empty one"):
        curated.write(old)
    assert contents(old.parent) == before


def test_frames_that_are_no_data_set_are_not_replaced(curated: Curated, tmp_path: Path) -> None:
    (tmp_path / "train.extxyz").write_text("years of work")
    with pytest.raises(InputError, match="it holds no card of a data set"):
        curated.write(tmp_path)
    assert contents(tmp_path) == {"train.extxyz": b"years of work"}


def test_folders_that_cannot_be_written(curated: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"the folder .*/no does not exist"):
        curated.write(tmp_path / "no" / "set")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it is a file"):
        curated.write(tmp_path / "file")
    with pytest.raises(InputError, match="root of all folders"):
        check_folder(Path("/"))
    (tmp_path / "here" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "sub")
    for name in (".", "..", "../../here"):
        with pytest.raises(InputError, match="you are in it"):
            check_folder(Path(name))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="not writable"):
        curated.write(tmp_path / "set")


def test_an_empty_folder_and_a_link_are_filled(curated: Curated, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    for _ in range(3):  # a link that was taken away would be in the way of the next one
        curated.write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert "card.json" in contents(tmp_path / "disk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link"]


def test_frames_given_out_are_named_copies(curated: Curated) -> None:
    first = curated.train[0]
    first.info["frame_id"] = "changed"
    first.positions += 1.0
    assert curated.train[0].info["frame_id"] != "changed"
    assert not np.allclose(curated.train[0].positions, first.positions)
    assert plain(curated.train[0]).info["config_type"] in ("bulk", "other")

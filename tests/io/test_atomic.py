"""Files and folders in one step: whole or not at all, with the mode and the links of the old ones."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gapkit.exceptions import InputError
from gapkit.io import atomic
from gapkit.io.atomic import check_output, put_back, replacing, replacing_folder, temporary_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.txt") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".txt")
        temporary.write_text("new")
        assert names(tmp_path) == [temporary.name]
    (tmp_path / "b.txt").write_text("usual")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_mode_and_link_stay(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    target, link = tmp_path / "held" / "a.txt", tmp_path / "link.txt"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_old_file_survives_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_it_is_on_the_disk_before_it_takes_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(atomic.os, "fsync", lambda number: (done.append("fsync"), fsync(number)))
    monkeypatch.setattr(atomic.os, "replace", lambda *paths: (done.append("replace"), replace(*paths)))
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert done == ["fsync", "replace"]


def test_what_a_kill_left_under_a_constant_tag_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "fit.checkpoint"
    temporary_path(path, "writing").write_text("left by a kill")
    with replacing(path, tag="writing") as temporary:
        assert temporary == temporary_path(path, "writing")
        temporary.write_text("new")
    assert names(tmp_path) == ["fit.checkpoint"]


def test_what_cannot_be_replaced_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("x")
    for path, match in ((tmp_path, "folder"), (tmp_path / "no" / "a", "does not exist"), (Path(os.devnull), "device")):
        with pytest.raises(InputError, match=match), replacing(path):
            raise AssertionError("not reached")
    with pytest.raises(InputError, match="also an input"):
        check_output(file, None, file)


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for content in ("one", "two"):
        with replacing_folder(folder) as new:
            (new / content).write_text(content)
        assert names(folder) == [content]
    with pytest.raises(ValueError, match="full"), replacing_folder(folder) as new:
        raise ValueError("full")
    assert names(folder) == ["two"]
    assert names(tmp_path) == ["set"]


def test_a_folder_is_put_back_after_a_kill_between_the_renames(tmp_path: Path) -> None:
    (tmp_path / ".set.old").mkdir()
    put_back(tmp_path / "set")
    assert names(tmp_path) == ["set"]
    put_back(tmp_path / "set")
    assert names(tmp_path) == ["set"]

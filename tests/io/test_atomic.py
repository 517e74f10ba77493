"""Files and folders in one step: whole or not at all, with the mode and the links of the old ones."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gapkit.exceptions import OutputError
from gapkit.inputs import check_input, watching
from gapkit.io import atomic
from gapkit.io.atomic import check_output, check_output_folder, replacing, replacing_folder


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
    assert done == ["fsync", "replace", "fsync"]  # the last one is that of the name


def test_a_kill_between_the_renames_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    with replacing_folder(folder) as new:
        (new / "one").write_text("one")
    killed(
        "import os; rename = os.rename\n"
        "def once(a, b):\n    rename(a, b); os.kill(os.getpid(), 9)\n"
        "os.rename = once\nwith replacing_folder(Path('set')) as new: (new / 'two').write_text('two')",
        tmp_path,
    )
    assert len(names(tmp_path)) == 2
    assert not folder.exists()
    assert check_output_folder(folder) == folder
    assert names(folder) == ["one"]
    with replacing_folder(folder) as new:
        (new / "three").write_text("three")
    assert names(tmp_path) == ["set"]


def killed(code: str, folder: Path) -> None:
    """Run lines in a process that kills itself."""
    lines = f"import os\nfrom pathlib import Path\nfrom gapkit.io.atomic import replacing, replacing_folder\n{code}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", lines], cwd=folder, env=environment, capture_output=True, timeout=60)
    assert done.returncode == -9, done.stderr.decode()


def test_what_a_kill_left_goes_with_the_next_call(tmp_path: Path) -> None:
    half = "with replacing('a.txt') as temporary:\n    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    killed(half, tmp_path)
    assert len(names(tmp_path)) == 1
    with replacing(tmp_path / "b.txt") as temporary:  # another's remains are not its own
        temporary.write_text("b")
    assert len(names(tmp_path)) == 2
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_what_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    """Two at once, in threads or in processes: the last one stays."""
    with replacing(tmp_path / "a.txt") as one:
        one.write_text("one")
        with replacing(tmp_path / "a.txt") as two:
            two.write_text("two")
        assert (tmp_path / "a.txt").read_text() == "two"
        assert one.read_text() == "one"
    assert (tmp_path / "a.txt").read_text() == "one"
    assert names(tmp_path) == ["a.txt"]


def test_files_and_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    mine = [".set.old", ".set.new", ".set.txt", ".a.writing.txt", ".a.1.txt", ".gapkit-", ".gapkit-0123456789abcdef-0"]
    for name in mine:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("mine")
    check_output_folder(tmp_path / "set")
    for _ in range(2):
        with replacing_folder(tmp_path / "set"):
            pass
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")
    assert names(tmp_path) == sorted([*mine, "a.txt", "set"])
    assert {(tmp_path / name / "mine").read_text() for name in mine} == {"mine"}


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 255, "a." + "b" * 253, "ä" * 127):
        check_output(tmp_path / name)
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("new")
        assert (tmp_path / name).read_text() == "new"
        with replacing_folder(tmp_path / f"s{name[1:]}"):
            pass


def strange(folder: Path) -> None:
    """Fill a folder with what is no regular file."""
    os.mkfifo(folder / "pipe")
    for link, target in (("loop", "loop"), ("null", os.devnull), ("way", "pipe"), ("here", "."), ("astray", "no/file")):
        (folder / link).symlink_to(target)
    here = Path.cwd()
    os.chdir(folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
    os.chdir(here)
    (folder / "data").write_text("data")


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "folder"), ("", "folder"), ("a/", "folder"), ("here", "folder"), ("no/a", "does not exist"),
        ("astray", "does not exist"), ("data/a", "director"), (os.devnull, "device"), ("null", "device"),
        ("pipe", "pipe"), ("way", "pipe"), ("socket", "socket"), ("loop", "links"), ("a" * 256, "too long"),
        ("a\0b", "null"),
        ("\ud800", "surrogates"), (atomic.__file__, "input"), (3, "its path"), (b"a", "its path"), (None, "its path"),
    ],
)  # fmt: skip
def test_what_cannot_be_replaced_is_refused(
    path: object, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = names(tmp_path)
    with pytest.raises(OutputError, match=reason):
        check_output(path)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match=reason), replacing(path):  # type: ignore[arg-type]
        raise AssertionError("not reached")
    assert names(tmp_path) == before


def test_inputs_and_other_outputs_are_refused_under_any_name(tmp_path: Path) -> None:
    file, link, hard = tmp_path / "a.txt", tmp_path / "link", tmp_path / "hard"
    file.write_text("x")
    link.symlink_to(file)
    os.link(file, hard)
    for path in (file, link, hard, tmp_path / "." / "a.txt"):
        for other in (file, link, hard):
            with pytest.raises(OutputError, match="also an input"):
                check_output(path, None, other)
        with watching():
            check_input(file)
            with pytest.raises(OutputError, match="also an input"):
                check_output(path)
    with pytest.raises(OutputError, match="another output"):
        check_output(tmp_path / "new", tmp_path / "sub" / ".." / "new")
    check_output(file)
    assert names(tmp_path) == ["a.txt", "hard", "link"]


def test_a_dangling_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with replacing(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_full_disk_is_named_and_not_the_hidden_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def write() -> None:
        with replacing(tmp_path / "a.txt") as temporary:
            temporary.write_text("new")

    monkeypatch.setattr(atomic.os, "replace", full)
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path}/a.txt: No space left on device; free some space"):
        write()
    with pytest.raises(OutputError, match="free some space"), replacing(tmp_path / "a.txt"):
        full()
    with pytest.raises(OSError, match="other"), replacing(tmp_path / "a.txt"):
        (tmp_path / "other").read_text()
    assert names(tmp_path) == []


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


def test_a_folder_with_an_input_is_refused_under_any_name(tmp_path: Path) -> None:
    folder, link, hard = tmp_path / "set", tmp_path / "link", tmp_path / "hard"
    folder.mkdir()
    (folder / "a").write_text("x")
    link.symlink_to(folder / "a")
    os.link(folder / "a", hard)
    (tmp_path / "way").symlink_to(folder)
    for given in (folder, tmp_path / "way"):
        for source in (folder / "a", link, hard, tmp_path / "way" / "a"):
            with pytest.raises(OutputError, match="holds the input"):
                check_output_folder(given, source)
    assert check_output_folder(tmp_path / "way") == folder

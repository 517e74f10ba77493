"""What may be opened as an input, and how much of it is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gapkit.exceptions import ConfigError, InputError, ModelFileError
from gapkit.inputs import check_input, read_input


def test_a_file_and_a_link_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, link = tmp_path / "file.txt", tmp_path / "link"
    file.write_bytes(b"text")
    link.symlink_to(file)
    for path in (file, link, str(file)):
        assert check_input(path) == Path(path)
        assert read_input(path) == b"text"
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(b"a name like any other")
    assert check_input("-") == Path("-")
    os.rename(file, os.fsdecode(b"\xff\xfe"))  # bytes that are no text
    assert read_input(os.fsdecode(b"\xff\xfe")) == b"text"


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nothing")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    refused = {
        tmp_path: ("a folder", "name a file in it"),
        tmp_path / "pipe": ("a pipe", "save what it gives in a file"),
        tmp_path / "socket": ("a socket",),
        "/dev/zero": ("a device", "save"),
        "-": ("does not exist", "standard input"),
        tmp_path / "missing": ("'" + str(tmp_path / "missing"), "does not exist", "check the path"),
        tmp_path / "dangling": ("does not exist",),
        tmp_path / "loop": ("cannot be opened", "symbolic links"),
        "x" * 5000: ("xxx... (5,002 characters)", "File name too long"),
        "a\0b": ("null", "check the path"),
        "\ud800": ("cannot be opened",),
        b"name": ("by its path",),
        3: ("by its path", "got 3"),
        None: ("by its path", "got None"),
    }  # fmt: skip
    for path, words in refused.items():
        with pytest.raises(InputError) as caught:
            read_input(path, "the model file")  # type: ignore[arg-type]
        assert all(word in str(caught.value) for word in ("the model file", *words)), str(caught.value)
    listening.close()


def test_the_class_of_the_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        check_input(tmp_path, error=ModelFileError)


def test_reading_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1025)
    assert len(read_input(file, at_most=1025)) == 1025
    with pytest.raises(ConfigError, match=r"at most 1,024 bytes"):
        read_input(file, at_most=1024, error=ConfigError)
    with pytest.raises(InputError, match="larger"):  # no size beforehand
        read_input("/proc/self/maps", at_most=10)

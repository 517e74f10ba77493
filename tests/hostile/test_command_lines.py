"""Command lines: every option of every command with strange values, names in places of others, files that are none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import get_args

import pytest
from typer.models import OptionInfo

from gapkit.cli.app import app
from tests.hostile.trial import Server

SOUND: dict[str, tuple[str, ...]] = {
    "fit": ("train.extxyz", "--config", "fit.yaml", "--output", "new.gapkit", "--quiet"),
    "predict": ("cu.gapkit", "test.extxyz", "--output", "new.extxyz"),
    "evaluate": ("cu.gapkit", "test.extxyz"),
    "info": ("test.extxyz",),
    "curate": ("recipe.yaml", "--output", "new", "--quiet"),
    "convert": ("cu.gapkit", "new.xml"),
    "lammps": ("in.lmp", "--model", "cu.gapkit"),
}
STRANGE = {
    "int": ["x", "0", "-2", "1.5", "1e9", "9" * 400, "nan", ""],
    "float": ["x", "nan", "inf", "-1", "0", "1e999", "1e-320", ""],
    "text": ["", "[/red]", "\x1b[31m", "\udcff", "a\nb", "../../x", "x" * 5000, "/dev/null", ".", "-"],
}


def values() -> Iterator[tuple[str, str, str]]:
    """Command, flag and value: two for every flag that takes one, others from one flag to the next."""
    turn = 0
    for command in app.registered_commands:
        assert command.callback is not None
        for name, parameter in signature(command.callback, eval_str=True).parameters.items():
            kind, described, *_ = get_args(parameter.annotation)
            kinds = {kind, *get_args(kind)}
            if not isinstance(described, OptionInfo) or bool in kinds:
                continue
            texts = STRANGE["int" if int in kinds else "float" if float in kinds else "text"]
            for _ in range(2):
                turn += 1
                yield command.callback.__name__, f"--{name.replace('_', '-')}", texts[turn % len(texts)]


@pytest.mark.parametrize(("command", "flag", "value"), list(values()), ids=ascii)
def test_a_value(server: Server, folder: Path, command: str, flag: str, value: str) -> None:
    (folder / "recipe.yaml").write_text("sources: [{file: train.extxyz}]\n")
    (folder / "in.lmp").write_text("units metal\n")
    done = server.run(folder, command, *SOUND[command], flag, value)
    if done.code == 0:  # as some files' names, ends of names, and labels that nobody has to have
        done.assert_bounded()
        assert all(done.after[name] == digest for name, digest in done.before.items())
    else:
        done.assert_refused()


NAMES = {
    "missing": lambda path: None,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "empty": Path.touch,
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 40),
    "one line": lambda path: path.write_bytes(b"x" * 100_000),
    "zeros": lambda path: path.write_bytes(bytes(100_000)),
    "image": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64)),
    "html": lambda path: path.write_text("<html></html>"),
    "archive": lambda path: path.write_bytes(b"PK\x03\x04" + bytes(60)),
}
PLACES = [
    ("fit", "{}", "--output", "new.gapkit"), ("fit", "train.extxyz", "--test", "{}", "--output", "new.gapkit"),
    ("predict", "{}", "test.extxyz", "--output", "o.xyz"), ("predict", "cu.gapkit", "{}", "--output", "o.xyz"),
    ("evaluate", "cu.gapkit", "{}"), ("info", "{}"), ("convert", "{}", "new.gapkit"), ("curate", "{}"),
]  # fmt: skip


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("suffix", ["", ".extxyz", ".gapkit", ".xml"])
def test_a_file(server: Server, folder: Path, kind: str, suffix: str) -> None:
    name = f"strange{suffix}"
    NAMES[kind](folder / name)  # type: ignore[operator]
    turn = list(NAMES).index(kind) + len(suffix)
    for words in (PLACES[turn % len(PLACES)], PLACES[(turn + 3) % len(PLACES)]):
        server.run(folder, *(word.format(name) for word in words)).assert_refused()


LINES = [
    (),
    ("[/red]",),
    ("fit",),
    ("fit", "--[/red]", "x"),
    ("predict",),
    ("predict", "cu.gapkit"),
    ("evaluate", "cu.gapkit"),
    ("\udcff",),
    ("fit", "\udcff", "-o", "x.gapkit"),
    ("info", "\x1b[31m"),
    ("info", "a\nb"),
    ("info", "x" * 5000),
    ("info", ""),
    ("info", "-"),
    ("info", "/dev/stdin"),
    ("info", "test.extxyz@"),
    ("info", "test.extxyz@x"),
    ("info", "test.extxyz@::0"),
    ("info", "test.extxyz@" + "9" * 50),
    ("info", "test.extxyz@99:"),
    ("info", "@"),
    ("info", "@:3"),
    ("info", "."),
    ("--import", "", "info", "test.extxyz"),
    ("--import", "..", "info", "test.extxyz"),
    ("--import", "no.such", "info", "test.extxyz"),
    ("--import", "a b", "info", "test.extxyz"),
    ("--import", "\udcff", "info", "test.extxyz"),
    ("--frobnicate",),
    ("info", "--help", "x", "--y"),
    ("predict", "test.extxyz", "cu.gapkit", "-o", "x.xyz"),
    ("fit", "cu.gapkit", "-o", "x.gapkit"),
    ("convert", "cu.gapkit", "x.gapkit"),
    ("convert", "x.xml", "y.xml"),
    ("convert", "cu.gapkit"),
    ("evaluate", "cu.gapkit", "test.extxyz", "--plot", "x.nope"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--e0", "O=-2"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--e0", "Cu=nan"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--e0", "Cu"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--e0", "Cu=1,Cu=2"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--energy-terms", "Nope"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--energy-terms", "a b.C"),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--energy-terms", ","),
    ("fit", "train.extxyz", "-o", "x.gapkit", "--cutoff", "1e-5"),
    ("fit", "train.extxyz", "train.extxyz@5:2", "-o", "x.gapkit"),
    ("fit", "train.extxyz", "-o", "no/such/folder/x.gapkit"),
    ("fit", "train.extxyz", "-o", "x" * 300),
    ("fit", "train.extxyz", "-o", "train.extxyz"),
    ("fit", "train.extxyz", "-o", "."),
]


@pytest.mark.parametrize("words", [words for words in LINES if words[1:2] != ("--help",) and words], ids=ascii)
def test_a_line(server: Server, folder: Path, words: tuple[str, ...]) -> None:
    server.run(folder, *words).assert_refused()

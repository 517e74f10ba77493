"""Configuration files: every declared option with values of every kind, and files that are hardly one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gapkit.options.fit import FitConfig
from tests.hostile.trial import Server
from tests.hostile.values import FILES, VALUES, chosen, options, refused

PAIRS = [(name, kind) for name in options(FitConfig) for kind in chosen(name, 6)]
WORDS = ("fit", "train.extxyz", "--output", "new.gapkit", "--quiet")


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_a_value(server: Server, folder: Path, name: str, kind: str) -> None:
    own = (folder / "fit.yaml").read_text()
    lines = [line for line in own.splitlines() if not line.startswith(f"{name}:")]
    if name == "terms":
        lines = lines[: lines.index("  - {type: TwoBody, cutoff: 4.0, n_sparse: 8}")]
    (folder / "hostile.yaml").write_text("\n".join([*lines, f"{name}: {VALUES[kind]}"]))
    done = server.run(folder, *WORDS, "--config", "hostile.yaml")
    if done.code == 0:
        done.assert_bounded()
        assert not refused(FitConfig, name, VALUES[kind])
        assert set(done.after) - set(done.before) <= {"new.gapkit", "x"}
    else:
        done.assert_refused()


@pytest.mark.parametrize("file", FILES)
def test_a_file(server: Server, folder: Path, file: str) -> None:
    (folder / file).write_bytes(FILES[file])
    server.run(folder, *WORDS, "--config", file).assert_refused(file)


@pytest.mark.parametrize("file", ["folder.yaml", "pipe.yaml", "device.yaml", "loop.yaml", "missing.yaml"])
def test_what_is_no_file(server: Server, folder: Path, file: str) -> None:
    kinds = {"folder": Path.mkdir, "pipe": os.mkfifo, "missing": lambda path: None}
    links = {"device": "/dev/zero", "loop": "loop.yaml"}
    path, stem = folder / file, Path(file).stem
    kinds.get(stem, lambda path: path.symlink_to(links[stem]))(path)  # type: ignore[operator]
    server.run(folder, *WORDS, "--config", file).assert_refused(file)


TERMS = {
    "cutoff": [".nan", ".inf", "-1", "0", "1e-300", "1e9", "x", "[1]", "true"],
    "n_sparse": ["0", "-1", "1.5", "1e99", "x"],
    "n_max": ["0", "1.5", "1000000", "x"],
    "l_max": ["-1", "1000000", "x"],
    "sigma": ["0", ".nan", "1e-160", "1e160"],
    "kernel": ["x", "{}", "{type: DotProduct, zeta: 0}", "{type: DotProduct, zeta: .nan}", "{type: 1}", "[x]"],
    "selector": ["x", "{type: x}", "1", "{type: CUR, x: 1}"],
    "species": ["1", "[Xx]", "x"],
    "x": ["1"],
    "type": ["1", "Kernel", "[]"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in TERMS.items() for text in texts])
def test_an_argument_of_a_term(server: Server, folder: Path, name: str, text: str) -> None:
    term = {"type": "SOAP", "cutoff": "4.0", "n_max": "3", "l_max": "2", name: text}
    written = ", ".join(f"{key}: {value}" for key, value in term.items())
    (folder / "hostile.yaml").write_text(f"terms: [{{{written}}}]\nn_sparse: 5\nn_jobs: 1\n")
    server.run(folder, *WORDS, "--config", "hostile.yaml").assert_refused()

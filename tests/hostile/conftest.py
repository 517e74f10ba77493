"""A server of trials, and a small model with its data in files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.io import write

from tests.cli.conftest import CONFIG, copper_frames
from tests.hostile.trial import Server

PART = 3  # one input of so many is in the ordinary suite


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most generated inputs to ``pytest -m slow``: all of them take minutes."""
    generated = [item for item in items if item.path.parent == Path(__file__).parent and hasattr(item, "callspec")]
    for number, item in enumerate(generated):
        if number % PART:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """Folder of train.extxyz, test.extxyz, fit.yaml and the model cu.gapkit; tests must not change it."""
    folder = tmp_path_factory.mktemp("made")
    write(folder / "train.extxyz", copper_frames(12, seed=1))
    write(folder / "test.extxyz", copper_frames(4, seed=2))
    (folder / "fit.yaml").write_text(CONFIG)
    done = server.run(folder, "fit", "train.extxyz", "--config", "fit.yaml", "--output", "cu.gapkit", "--quiet")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` that a test may change."""
    for path in made.iterdir():
        shutil.copy(path, tmp_path / path.name)
    return tmp_path

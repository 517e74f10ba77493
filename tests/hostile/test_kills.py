"""Fits and curations that are killed: the run started again gives the same bits, and nothing is left over."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.io import write

from tests.cli.conftest import CONFIG, copper_frames
from tests.hostile.killing import PLACES, Aim, Killer, copied

FIT = ("fit", "train.extxyz", "--config", "fit.yaml", "--output", "cu.gapkit", "--checkpoint", "c", "--quiet")
CURATE = ("curate", "r.yaml", "--no-page", "--quiet")
IN_A_ROW = 3  # kills before a run may end


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    with Killer() as killer:
        yield killer


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    write(folder / "train.extxyz", copper_frames(12, seed=1))
    (folder / "fit.yaml").write_text(CONFIG)
    (folder / "r.yaml").write_text("sources: [{file: train.extxyz}]\noutliers: false\noutput: set\n")
    return folder


def shots(command: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Kills: half of them at a random time, half at a random call of a place, all places in turn."""
    rng = np.random.default_rng(0)
    for place, (_, _, calls) in cycle(PLACES[command].items()):
        yield {"aim": Aim(place, int(rng.integers(1, calls + 1)), bool(rng.integers(2)))}
        yield {"seconds": float(rng.uniform(0.0, 1.1 * seconds))}


def content(folder: Path) -> dict[str, Any]:
    """Bytes of all files by their names; of a model what it holds beside the times that its fit took."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".gapkit" and path.is_file() and not name.startswith("."):
            found[name] = of_model(path)
        elif path.is_file():
            found[name] = path.read_bytes()
        elif not any(path.iterdir()):
            found[name] = "an empty folder"
    return found


def of_model(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist() if name != "seal.txt"}
    header = json.loads(entries.pop("header.json"))
    for name in ("seconds", "created"):
        del header["metadata"][name]
    return {**entries, "header.json": header}


def settled(found: dict[str, Any]) -> dict[str, Any]:
    """What a user sees, without the checkpoint."""
    return {name: value for name, value in found.items() if name != "c" and not name.startswith(".")}


def killed(killer: Killer, source: Path, words: tuple[str, ...], n: int, tmp_path: Path) -> dict[str, Any]:
    """Kill a command in copies of a folder, some times in each, until n hit; the content after an undisturbed run."""
    found = []
    for name in ("whole", "again"):  # what is compiled on first use is compiled
        folder = copied(source, tmp_path / name)
        code, seconds = killer.run(folder, *words)
        assert code == 0
        found.append(content(folder))
    whole, again = found
    assert again == whole
    inputs = {name: value for name, value in content(source).items() if not name.startswith("set/")}
    kills, hits = shots(words[0], seconds), 0
    for i in range(n):
        folder = copied(source, tmp_path / f"{i}")
        for kill in islice(kills, IN_A_ROW):
            code, _ = killer.run(folder, *words, **kill)
            assert code in (0, -9), (kill, code)
            hits += code == -9
            # the old one, the new one, or none between two renames
            assert settled(content(folder)) in (content(source), whole, inputs), kill
        assert killer.run(folder, *words)[0] == 0
        assert content(folder) == whole, kill  # hidden names and the checkpoint among it
        if hits >= n:
            return whole
    raise AssertionError(f"of {n * IN_A_ROW} kills only {hits} hit")


def check_fits(killer: Killer, sources: Path, tmp_path: Path, n: int) -> None:
    whole = killed(killer, sources, FIT, n, tmp_path)
    # the windows: the model stands and the checkpoint is there still, or just not any more
    for place, after in (("model", False), ("removal", False), ("removal", True)):
        folder = copied(sources, tmp_path / f"{place}{after}")
        assert killer.run(folder, *FIT, aim=Aim(place, 1, after))[0] == -9
        found = content(folder)
        assert ("cu.gapkit" in found, "c" in found) == (place == "removal", not after)
        assert killer.run(folder, *FIT)[0] == 0
        assert content(folder) == whole


def check_curations(killer: Killer, sources: Path, tmp_path: Path, n: int) -> None:
    """Over an older data set of another name."""
    source = copied(sources, tmp_path / "source")
    text = (source / "r.yaml").read_text()
    (source / "r.yaml").write_text(text + "name: older\n")
    assert killer.run(source, *CURATE)[0] == 0
    (source / "r.yaml").write_text(text)
    killed(killer, source, CURATE, n, tmp_path)


def test_fits(killer: Killer, sources: Path, tmp_path: Path) -> None:
    check_fits(killer, sources, tmp_path, 6)


def test_curations(killer: Killer, sources: Path, tmp_path: Path) -> None:
    check_curations(killer, sources, tmp_path, 3)


@pytest.mark.slow
def test_a_hundred_fits(killer: Killer, sources: Path, tmp_path: Path) -> None:
    check_fits(killer, sources, tmp_path, 100)


@pytest.mark.slow
def test_fifty_curations(killer: Killer, sources: Path, tmp_path: Path) -> None:
    check_curations(killer, sources, tmp_path, 50)

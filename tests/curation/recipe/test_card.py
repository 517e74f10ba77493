"""The card: every frame once, numbers that agree with the files, and nothing of the machine it was made on."""

from __future__ import annotations

import copy
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase.io import read as read_file
from markdown_it import MarkdownIt

from gapkit.curation.recipe import Curated
from gapkit.curation.recipe.card import markdown
from gapkit.report.page import curation_page
from tests.curation.recipe.data import copper, make, moved, plain, put, read, turned

TEXT = """\
    name: copper
    licence: CC-BY-4.0
    sources:
      - {file: FOLDER/pool.extxyz, licence: CC0-1.0, reference: "doi:10.1000/x|y", config_type: bulk, frames: "1:"}
      - {file: exam.extxyz, role: test, config_type: "a|b"}
    duplicates: {energy_tolerance: 0.00123456789}
    check: {net_force: ignore}
    leakage: {drop: train}
    select: {n: 9}
    weights: {scheme: energy_window, windows: {0.05: 1, 0.123456789: 3}}
    n_jobs: 1
    """


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    frames = copper(16)
    spoilt = plain(copper(1, seed=8)[0])
    spoilt.info["dft_energy"] = 3.0
    bare = copper(1, seed=9)[0]
    bare.calc = None
    put(folder, "pool.extxyz", [*(plain(a) for a in frames), bare, plain(turned(frames[3]))])
    put(folder, "exam.extxyz", [moved(frames[5]), *copper(3, seed=3)])
    return folder


@pytest.fixture(scope="module")
def curated(folder: Path) -> Curated:
    return make(folder, TEXT.replace("FOLDER", str(folder)))


@pytest.fixture(scope="module")
def made(folder: Path, curated: Curated) -> Path:
    curated.write(folder / "set", curation_page(curated))
    return folder / "set"


@pytest.fixture(scope="module")
def content(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made / "card.json").read_text())
    return found


def test_every_frame_is_there_once_and_in_the_file_of_its_place(made: Path, content: dict[str, Any]) -> None:
    ids = [frame["id"] for frame in content["frames"]]
    assert ids == [*(f"pool:{k}" for k in range(1, 18)), *(f"exam:{k}" for k in range(4))]
    for place in ("train", "test", "left out"):
        expected = [frame["id"] for frame in content["frames"] if frame["place"] == place]
        atoms = read_file(made / f"{place.replace(' ', '_')}.extxyz", ":")
        assert [a.info["frame_id"] for a in atoms] == expected
    assert all(frame["reason"] and frame["step"] for frame in content["frames"])
    assert {frame["n_atoms"] for frame in content["frames"]} == {4}


def test_counts_agree_with_the_files(made: Path, content: dict[str, Any]) -> None:
    train, test, out = (read_file(made / f"{name}.extxyz", ":") for name in ("train", "test", "left_out"))
    assert (len(train), len(test), len(out)) == (9, 4, 8)
    for name, frames in (("train", train), ("test", test)):
        own = content["sets"][name]
        assert (own["n_frames"], own["n_atoms"]) == (len(frames), sum(map(len, frames)))
        assert (own["n_energies"], own["n_virials"]) == (len(frames), len(frames))
        assert own["n_force_components"] == 3 * sum(map(len, frames))
        assert own["max_force"] == pytest.approx(
            max(np.linalg.norm(a.get_forces(), axis=1).max() for a in frames), 1e-5
        )
    assert content["config_types"] == {
        "bulk": {"train": 9, "test": 0, "left out": 8}, "a|b": {"train": 0, "test": 4, "left out": 0},
    }  # fmt: skip
    assert sum(step["left_out"] for step in content["steps"]) == len(out)
    assert [step["remain"] for step in content["steps"]][-1] == len(train) + len(test)


def test_hashes_are_those_of_the_files(folder: Path, made: Path, content: dict[str, Any]) -> None:
    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert content["files"] == {
        name: digest(made / name) for name in ("train.extxyz", "test.extxyz", "left_out.extxyz")
    }  # fmt: skip
    assert [source["sha256"] for source in content["sources"]] == [
        digest(folder / "pool.extxyz"), digest(folder / "exam.extxyz"),
    ]  # fmt: skip
    assert [(s["name"], s["role"], s["n_frames"], s["n_read"]) for s in content["sources"]] == [
        ("pool", "pool", 18, 17), ("exam", "test", 4, 4),
    ]  # fmt: skip


def test_nothing_of_this_machine_is_in_it(folder: Path, made: Path, content: dict[str, Any]) -> None:
    assert content["sources"][0]["file"] == content["recipe"]["sources"][0]["file"] == "pool.extxyz"
    for path in made.iterdir():
        text = path.read_text()
        assert [word for word in (str(folder), str(Path.home()) + "/", str(Path.cwd())) if word in text] == []
    assert "n_jobs" not in content["recipe"]
    assert "output" not in content["recipe"]


def test_the_recipe_in_the_card_makes_the_same_recipe(curated: Curated, folder: Path, content: dict[str, Any]) -> None:
    again = read(folder, yaml.safe_dump(content["recipe"]), "again.yaml")
    assert again.to_dict() | {"sources": []} == curated.recipe.to_dict() | {"sources": [], "n_jobs": None}
    assert again.duplicates == curated.recipe.duplicates  # not rounded
    assert again.weights == curated.recipe.weights


def test_the_card_is_plain_json(made: Path, content: dict[str, Any]) -> None:
    text = (made / "card.json").read_text(encoding="utf-8")
    assert "NaN" not in text
    assert text.endswith("}\n")
    assert "eV/Å" in text
    assert content["format"] == 1
    assert content["coverage"].keys() == {"volume_per_atom", "energy_per_atom", "reach", "covered", "covered_frames"}
    assert content["outliers"] is None


def test_the_card_in_words_lists_what_was_left_out(made: Path, content: dict[str, Any]) -> None:
    text = (made / "card.md").read_text(encoding="utf-8")
    assert text == markdown(content)
    out = [f for f in content["frames"] if f["place"] == "left out" and f["step"] != "select"]
    assert {f["id"]: f["step"] for f in out} == {
        "pool:5": "leakage", "pool:16": "check", "pool:17": "duplicates",
    }  # fmt: skip
    for frame in out:
        assert f"- frame {frame['id']} (bulk, {frame['step']}): {frame['reason']}\n" in text
    assert "And 5 frames that were not selected" in text
    assert "# copper\n" in text
    assert "Licence: CC-BY-4.0." in text
    assert "| bulk | 9 | 0 | 8 |" in text
    assert "| a\\|b | 0 | 4 | 0 |" in text
    assert "| pool | pool.extxyz | 17 of 18 | CC0-1.0 | doi:10.1000/x\\|y | " in text


def test_frames_with_flags_are_listed(folder: Path) -> None:
    frames = copper(12)
    frames[4].calc.results["forces"] = frames[4].calc.results["forces"] + np.array([0.0, 0.0, 3.0])
    put(folder, "pushed.extxyz", frames)
    made = make(folder, "sources: [{file: pushed.extxyz}]\nsplit: false\n")
    content = made.card()
    flags = next(f["flags"] for f in content["frames"] if f["id"] == "pushed:4")
    assert any(flag.startswith("net_force") for flag in flags)
    text = rendered(content).words
    line = next(line for line in text.splitlines() if line.startswith("frame pushed:4 (default, train): "))
    assert all(flag in line for flag in flags)
    assert "## Left out\n\nNothing.\n" in markdown(content)


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=y>", "a|b|c", "`x` ``y`` `", "*a* **b** _c_ __d__ ~~e~~",
    "![a](b) [c](d)",
    "&lt;b&gt; &amp;", "\\| \\` \\\\", "a\n# b\n\n| c |", "---", "$x$", "a\x1b[31mb", "<!-- c", "1. x", "http://a.b/<c>",
]  # fmt: skip


class Text(HTMLParser):
    """Words and tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.tags = "", set[str]()
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def rendered(content: dict[str, Any]) -> Text:
    """The card in words as a reader of Markdown shows it."""
    return Text(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown(content)))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_in_words_are_shown_as_they_are_written(content: dict[str, Any], name: str) -> None:
    hostile = copy.deepcopy(content)
    hostile["name"] = hostile["licence"] = name
    hostile["sources"][0].update(name=name, file=name, licence=name, reference=name)
    hostile["config_types"] = {name: hostile["config_types"]["bulk"]}
    for frame in hostile["frames"]:
        frame.update(id=name, config_type=name, reason=name, flags=[name])
    page = rendered(hostile)
    assert page.tags == {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li", "code"}
    shown = " ".join(name.split()).replace("\x1b", "\\x1b")
    n_listed = sum(f["place"] != "left out" or f["step"] != "select" for f in hostile["frames"])
    assert page.words.count(shown) == 2 + 4 + 1 + 3 * n_listed

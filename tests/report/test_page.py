"""The page of a data set: everything that was done, in one file that needs no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from gapkit.curation.recipe import Curated
from gapkit.exceptions import InputError
from gapkit.report.page import curation_page
from tests.curation.recipe.data import copper, free_atom, label, make, plain, put, turned

TEXT = """\
    name: "<script>alert(1)</script> & sons"
    licence: "<licence>"
    sources:
      - {file: a.extxyz, name: "<b>bold</b>", reference: "<a href=x>&amp;", config_type: "<i>cold</i> & \\"slow\\""}
      - {file: b.extxyz, role: test}
    outliers: {n_sparse: 20, cutoff: 4}
    leakage: {drop: train}
    select: {n: 12}
    """
VOID = {"meta", "img", "br"}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    frames = copper(18)
    frames[7] = label(frames[7])
    frames[7].calc.results["energy"] += 0.6
    unlabelled = copper(1, seed=9)[0]
    unlabelled.calc = None
    put(folder, "a.extxyz", [*frames, turned(frames[2]), unlabelled, free_atom()])
    put(folder, "b.extxyz", copper(3, seed=4, name="hot"))
    return folder


@pytest.fixture(scope="module")
def curated(folder: Path) -> Curated:
    return make(folder, TEXT)


@pytest.fixture(scope="module")
def page(curated: Curated) -> str:
    return curation_page(curated)


class Reader(HTMLParser):
    """Tags, attributes, and the cells of the tables; elements that are not closed in turn are an error."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._cell: list[str] | None = None
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action", "data")]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("td", "th"):
            assert self._cell is not None
            self.tables[-1][-1].append("".join(self._cell))
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell is not None:
            self._cell.append(data)


def table(page: str, first: str) -> list[list[str]]:
    (found,) = [rows for rows in Reader(page).tables if rows[0][0] == first]
    return found[1:]


def test_it_has_the_steps_the_content_and_the_sources(page: str, curated: Curated) -> None:
    assert table(page, "step") == [[n, str(o), str(r), what] for n, what, o, r in curated.ledger.steps]
    assert table(page, "configuration type") == [
        ['<i>cold</i> & "slow"', "13", "0", "8"], ["hot", "0", "3", "0"],
    ]  # fmt: skip
    assert [row[:4] for row in table(page, "name")] == [
        ["<b>bold</b>", "a.extxyz", "21", "21"], ["b", "b.extxyz", "3", "3"],
    ]  # fmt: skip
    assert [row[-1] for row in table(page, "name")] == [file.sha256 for file in curated.files]
    words = " ".join(Reader(page).words)
    assert "13 training frames, 3 test frames, 8 frames left out" in words


def test_it_gives_the_reason_for_every_frame_that_was_left_out(page: str, curated: Curated) -> None:
    tables = [rows for rows in Reader(page).tables if rows[0][:2] == ["frame", "configuration type"]]
    given = {row[0]: row[-1] for rows in tables for row in rows[1:] if rows[0][-1] == "reason"}
    assert given == {e.id: e.reason for e in curated.ledger.of("left out")}
    unselected = sum(e.step == "select" for e in curated.ledger.of("left out"))
    assert f"{unselected} frames that were not selected" in page


def test_it_shows_the_model_before_and_after(page: str, curated: Curated) -> None:
    assert curated.pruned is not None
    assert {row[0] for row in table(page, "quantity")} == set(curated.pruned.before)
    assert {row[0] for row in table(page, "most influential")} <= set(curated.modelled)


@pytest.mark.parametrize(("options", "number"), [("", 3), ("b.extxyz: no energies", 2)])
def test_the_number_of_pictures(folder: Path, options: str, number: int) -> None:
    text = "sources: [{file: a.extxyz}]\nsplit: false\n"
    if options:
        frames = [plain(atoms) for atoms in copper(6)]
        for atoms in frames:
            del atoms.info["energy"]
        put(folder, "forces.extxyz", frames)
        text = text.replace("a.extxyz", "forces.extxyz")
    assert Reader(curation_page(make(folder, text))).tags.count("img") == number


def test_with_outliers_there_is_one_of_influence(page: str) -> None:
    assert Reader(page).tags.count("img") == 4


def test_names_are_text_and_not_markup(page: str) -> None:
    tags = set(Reader(page).tags)
    assert not tags & {"script", "b", "i", "a", "licence"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; sons</h1>" in page
    assert "<title>&lt;script&gt;" in page
    assert "&lt;licence&gt;" in page
    assert "&lt;a href=x&gt;&amp;amp;" in page


def test_it_needs_nothing_else(page: str) -> None:
    links = Reader(page).links
    assert len(links) == 4
    assert all(link.startswith("data:image/png;base64,") for link in links)
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.search(r"https?:|//|@import|url\(", rest)
    assert page.startswith("<!DOCTYPE html>")


def test_the_same_data_set_makes_the_same_page(curated: Curated, page: str) -> None:
    assert curation_page(curated) == page


def test_empty_tables_say_so(folder: Path) -> None:
    page = curation_page(make(folder, "sources: [{file: b.extxyz}]\nsplit: false\n"))
    assert "<h2>Left out</h2>\n<p>None.</p>" in page


def test_without_matplotlib(curated: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"gapkit\[plot\]"):
        curation_page(curated)

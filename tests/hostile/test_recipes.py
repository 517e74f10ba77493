"""Recipes: every declared option with values of every kind, and data that are named in strange ways."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from ase.io import read, write

from gapkit.curation.recipe import Recipe
from tests.hostile.trial import Server
from tests.hostile.values import FILES, VALUES, chosen, refused

SECTIONS = {item.name: item.metadata["section"] for item in fields(Recipe) if "section" in item.metadata}
(SOURCES,) = (item.metadata["sections"] for item in fields(Recipe) if "sections" in item.metadata)
NEEDED = {"select": "fraction: 0.5", "weights": "scheme: hull"}  # sections without defaults of their own
WORDS = ("curate", "recipe.yaml", "--output", "new", "--no-page", "--quiet")


def everywhere() -> list[tuple[str, str, str]]:
    """Section, empty at the top, option and kind of value."""
    places = [("", item.name) for item in fields(Recipe) if item.name not in ("sources", "output")]
    places += [("sources", item.name) for item in fields(SOURCES)]
    places += [(name, item.name) for name, cls in SECTIONS.items() for item in fields(cls)]
    return [(section, name, kind) for section, name in places for kind in chosen(f"{section}.{name}", 2)]


def recipe(section: str, name: str, text: str) -> str:
    """A recipe whose sources are the training frames and that has one option more."""
    source = {"file": "train.extxyz"} | ({name: text} if section == "sources" else {})
    lines = ["sources:", "  - " + "\n    ".join(f"{key}: {value}" for key, value in source.items())]
    if section == "":
        lines.append(f"{name}: {text}")
    elif section != "sources":
        own = [NEEDED[section]] if section in NEEDED and not NEEDED[section].startswith(name) else []
        lines += [f"{section}:", *(f"  {line}" for line in own), f"  {name}: {text}"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("section", "name", "kind"), everywhere())
def test_a_value(server: Server, folder: Path, section: str, name: str, kind: str) -> None:
    (folder / "recipe.yaml").write_text(recipe(section, name, VALUES[kind]))
    done = server.run(folder, *WORDS, "--dry-run")
    if done.code == 0:
        done.assert_bounded()
        assert done.after == done.before
        assert not refused({"": Recipe, "sources": SOURCES, **SECTIONS}[section], name, VALUES[kind])
    else:
        done.assert_refused()


@pytest.mark.parametrize("file", list(FILES)[::3])
def test_a_file(server: Server, folder: Path, file: str) -> None:
    (folder / file).write_bytes(FILES[file])
    server.run(folder, "curate", file, "--output", "new").assert_refused(file)


TYPES = [
    "[/red]",
    "<script>",
    "a|b",
    "$\\bad{$",
    "_x",
    "`x`",
    "\x1b[31mred",
    "x" * 3000,
    "../../x",
    "{x}",
    "\u202ex",
]


@pytest.mark.parametrize("name", TYPES, ids=ascii)
def test_a_configuration_type(server: Server, folder: Path, name: str) -> None:
    """They are data: no name of one does anything in tables, cards, pages and pictures."""
    frames = read(folder / "train.extxyz", ":")
    for atoms in frames[::2]:
        atoms.info["config_type"] = "strange"
    write(folder / "strange.extxyz", frames)
    text = (folder / "strange.extxyz").read_bytes()
    (folder / "strange.extxyz").write_bytes(text.replace(b"strange", b'"' + name.encode() + b'"'))
    (folder / "recipe.yaml").write_text("sources: [{file: strange.extxyz}]\nleakage: false\nsplit: false\n")
    for words in (
        ("info", "strange.extxyz"),
        ("evaluate", "cu.gapkit", "strange.extxyz", "--uncertainty", "--plot", "errors.png"),
        ("predict", "cu.gapkit", "strange.extxyz", "--output", "out.extxyz"),
        ("curate", "recipe.yaml", "--output", "new"),
    ):
        done = server.run(folder, *words)
        done.assert_bounded()
        assert done.code == 0, done.err
        assert "\x1b" not in done.out + done.err
    assert "<script>" not in (folder / "new" / "card.md").read_text() + (folder / "new" / "index.html").read_text()
    assert server.run(folder, "info", "new/train.extxyz").code == 0

"""Names from data on a screen, in tables and in pictures: nothing in them acts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from gapkit.errors import Errors, ErrorTable
from gapkit.printing import printable, quoted
from gapkit.report.groups import add_groups_legend, draw_frames, groups_of
from gapkit.report.picture import label_of, panels_of
from gapkit.targets import shown_quantities

NAMES = [
    "[/red]",
    "[red]x[/red]",
    "[",
    ":smile:",
    "a\x1b[31mb",
    "\ud800",
    "a\nb",
    "\u202ea",
    "$\\bad{$",
    "_hidden",
    "x" * 500,
]


def test_printable_text_stays() -> None:
    for text in ("plain", "Å σ 你好 [b]", ""):
        assert printable(text) == text
    assert printable("a\nb\tc", keep="\n\t") == "a\nb\tc"
    assert printable("a\nb\x1b\0\ud800\u202e") == "a\\nb\\x1b\\x00\\ud800\\u202e"
    assert quoted("é\n") == "'é\\n'"


@pytest.mark.parametrize("name", NAMES)
def test_a_table_shows_names_as_they_are_written(name: str) -> None:
    none = dict.fromkeys(shown_quantities())
    errors = Errors(7, 7, none, none)
    table = ErrorTable(errors, {name: errors, "other": errors})
    file = io.StringIO()
    Console(file=file, width=200).print(table)  # with markup, as a notebook prints it
    for text in (file.getvalue(), str(table)):
        assert printable(name) in "".join(text.split()).replace("-", "").replace("7", "")


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_names_as_they_are_written(name: str) -> None:
    figure, (panel,) = panels_of(1)
    groups = groups_of([name, "other"], 2)
    draw_frames(panel, [1, 2], [1, 2], groups, np.array([True, False]))
    add_groups_legend(figure, groups)
    figure.savefig(io.BytesIO(), dpi=20)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == [group.label for group in groups]
    assert label_of(name).strip().replace("\\$", "$")[:10] == printable(name)[:10]

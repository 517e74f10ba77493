"""An input script of LAMMPS in which the potential is left out."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gapkit.exceptions import InputError
from gapkit.options.checked import checked

MARK = "gapkit"
_MAKES_BOX = ("create_box", "read_data", "read_restart")
_POTENTIAL = ("pair_style", "pair_coeff")


@checked
def split_script(text: str) -> tuple[str, str]:
    """The parts of a script before and after the line `gapkit`, or after the first command that makes a box.

    Raises
    ------
    InputError
        If there is no such line, or the script has a pair style of its own.
    """
    commands = _commands(text)
    own = [word for word, _, _ in commands if word in _POTENTIAL]
    if own:
        raise InputError(f"the script must leave the potential to gapkit, got {own[0]}; take out {' and '.join(own)}")
    marks = [(start, stop) for word, start, stop in commands if word == MARK]
    if len(marks) > 1:
        raise InputError(f"the script must have one line `{MARK}` at most, got {len(marks)}")
    places = marks or [(stop, stop) for word, _, stop in commands if word in _MAKES_BOX]
    if not places:
        raise InputError(f"the script must have a line `{MARK}`, or one of {', '.join(_MAKES_BOX)}; it has none")
    lines = text.splitlines(keepends=True)
    start, stop = places[0]
    return "".join(lines[:start]), "".join(lines[stop:])


@checked
def run_script(lmp: Any, text: str, attach: Callable[[], object]) -> None:
    """Run a script and call `attach` at the place of the potential; all ranks call it together.

    Each part is a file for LAMMPS, so that loops work (``jump SELF``, ``label``) which do not reach across the place.
    """
    before, after = split_script(text)
    with tempfile.TemporaryDirectory(prefix="gapkit-") as folder:
        for name, part in (("before", before), ("after", after)):
            path = Path(folder) / name
            path.write_text(part if part.endswith("\n") else part + "\n")
            lmp.file(str(path))
            if name == "before":
                attach()


def _commands(text: str) -> list[tuple[str, int, int]]:
    """First word, first line and last line + 1 of every command; `&` and triple quotes join lines."""
    found = []
    lines = text.splitlines()
    start = 0
    while start < len(lines):
        stop = start + 1
        joined = lines[start]
        while stop < len(lines) and (joined.rstrip().endswith("&") or joined.count('"""') % 2):
            joined += "\n" + lines[stop]
            stop += 1
        words = re.match(r"\s*([A-Za-z_]\w*)", joined)
        if words:
            found.append((words[1], start, stop))
        start = stop
    return found

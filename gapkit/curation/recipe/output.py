"""Writing of a data set: everything into a new folder, then in place of the old one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ase import Atoms

from gapkit.exceptions import OutputError
from gapkit.io.atomic import check_output_folder, replacing_folder
from gapkit.options.checked import checked
from gapkit.structures import write_extxyz

CARD = "card.json"
MADE = {"train.extxyz", "test.extxyz", "left_out.extxyz", CARD, "card.md", "index.html"}


@checked
def check_folder(folder: Path, *inputs: Path) -> Path:
    """Check before any work that a data set can be written there; undo an interrupted replacement.

    Returns
    -------
    Path
        The folder itself, where `folder` is a link.

    Raises
    ------
    OutputError
        If it holds an input or anything that is not of a data set, or cannot be made.
    """
    target = check_output_folder(folder, *inputs)
    held = {path.name for path in target.iterdir()} if target.exists() else set()
    if held and (CARD not in held or held - MADE):
        strange = ", ".join(sorted(held - MADE)[:5]) or "no card of a data set"
        raise OutputError(
            f"cannot write {folder}: the folder would be replaced, but it holds {strange}; choose a new or empty one"
        )
    return target


def write_set(
    folder: Path, sets: Mapping[str, Sequence[Atoms]], texts: Callable[[dict[str, str]], Mapping[str, str | None]],
    inputs: Sequence[Path] = (),
) -> list[Path]:  # fmt: skip
    """Replace a folder as a whole by the files of frames that are not empty, and by texts.

    `texts` makes the text of each file, or None, from the SHA-256 of the files of frames.
    """
    folder = check_folder(folder, *inputs)
    with replacing_folder(folder) as new:
        digests = {}
        for name, frames in sets.items():
            if frames:
                with (new / name).open("w", encoding="utf-8", newline="\n") as file:
                    write_extxyz(file, frames)
                digests[name] = hashlib.sha256((new / name).read_bytes()).hexdigest()
        for name, words in texts(digests).items():
            if words is not None:
                (new / name).write_text(words, encoding="utf-8", newline="\n")
    return sorted(folder.iterdir())

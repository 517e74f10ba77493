"""Writing of a data set: everything into a new folder, then in place of the old one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ase import Atoms
from ase.io import write as write_frames

from gapkit.exceptions import InputError
from gapkit.io.atomic import put_back, replacing_folder
from gapkit.structures.frame_labels import results_of

CARD = "card.json"
MADE = {"train.extxyz", "test.extxyz", "left_out.extxyz", CARD, "card.md", "index.html"}


def check_folder(folder: Path) -> None:
    """Check before any work that a data set can be written there; undo an interrupted replacement.

    Raises
    ------
    InputError
        If it holds anything that is not of a data set, or cannot be made.
    """
    given, folder = folder, folder.resolve()  # a link stays, and what it points to is replaced
    parent = folder.parent
    if not folder.name:
        raise InputError(f"cannot write {given}: it is the root of all folders; choose another")
    if Path.cwd().is_relative_to(folder):
        raise InputError(f"cannot write {given}: the folder would be replaced, and you are in it; go to another one")
    if not parent.is_dir():
        raise InputError(f"cannot write {given}: the folder {parent.name} does not exist; create it or choose another")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {given}: the folder around it is not writable; choose another")
    put_back(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"cannot write {given}: it is a file; name a folder")
    held = {path.name for path in folder.iterdir()}
    if held and (CARD not in held or held - MADE):
        strange = ", ".join(sorted(held - MADE)[:5]) or "no card of a data set"
        raise InputError(
            f"cannot write {given}: the folder would be replaced, but it holds {strange}; choose a new or empty one"
        )


def write_set(
    folder: Path, sets: Mapping[str, Sequence[Atoms]], texts: Callable[[dict[str, str]], Mapping[str, str | None]]
) -> list[Path]:
    """Replace a folder as a whole by the files of frames that are not empty, and by texts.

    `texts` makes the text of each file, or None, from the SHA-256 of the files of frames.
    """
    check_folder(folder)
    folder = folder.resolve()
    with replacing_folder(folder) as new:
        digests = {}
        for name, frames in sets.items():
            if frames:
                with (new / name).open("w", encoding="utf-8", newline="\n") as file:
                    write_frames(file, [_writable(atoms) for atoms in frames], format="extxyz")
                digests[name] = hashlib.sha256((new / name).read_bytes()).hexdigest()
        for name, words in texts(digests).items():
            if words is not None:
                (new / name).write_text(words, encoding="utf-8", newline="\n")
    return sorted(folder.iterdir())


def _writable(atoms: Atoms) -> Atoms:
    """The same frame without objects in `info` and labels that are there twice: extended XYZ cannot hold them."""
    for held, where in ((atoms.info, "info"), (atoms.arrays, "arrays")):
        for name in set(results_of(atoms)) & set(held):
            held[f"{where}_{name}"] = held.pop(name)
    for name, value in list(atoms.info.items()):
        if not (isinstance(value, str | bool | int | float | list | tuple) or hasattr(value, "shape")):
            del atoms.info[name]
    return atoms

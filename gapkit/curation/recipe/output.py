"""Write a data set: everything into a new folder, which then takes the place of the old one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms
from ase.io import write as write_frames

from gapkit.curation.recipe.card import card, markdown
from gapkit.exceptions import InputError
from gapkit.structures.labels import results_of

if TYPE_CHECKING:
    from gapkit.curation.recipe.result import Curated

CARD = "card.json"
MADE = {"train.extxyz", "test.extxyz", "left_out.extxyz", CARD, "card.md", "index.html"}


def check_folder(folder: Path) -> None:
    """Check, before any work, that a data set can be written there, and put back one whose replacement was interrupted.

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
    old = _aside(folder)
    if old.is_dir() and not folder.exists():
        os.rename(old, folder)
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


def write(curated: Curated, folder: Path, page: str | None) -> list[Path]:
    """See `Curated.write`."""
    check_folder(folder)
    folder = folder.resolve()
    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir()
        digests = {}
        for name, frames in (("train", curated.train), ("test", curated.test), ("left_out", curated.left_out)):
            if frames:
                path = new / f"{name}.extxyz"
                with path.open("w", encoding="utf-8", newline="\n") as file:
                    write_frames(file, [_writable(atoms) for atoms in frames], format="extxyz")
                digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        content = card(curated, digests)
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for name, words in ((CARD, text), ("card.md", markdown(content)), ("index.html", page)):
            if words is not None:
                (new / name).write_text(words, encoding="utf-8", newline="\n")
        _swap(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return sorted(folder.iterdir())


def _swap(new: Path, folder: Path) -> None:
    """Two renames; killed in between, the next run puts the old folder back."""
    old = _aside(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    try:
        os.rename(new, folder)
    except BaseException:
        if old.exists() and not folder.exists():
            os.rename(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _writable(atoms: Atoms) -> Atoms:
    """Without what extended XYZ cannot hold, such as objects in `info` or labels that are there twice."""
    for held, where in ((atoms.info, "info"), (atoms.arrays, "arrays")):
        for name in set(results_of(atoms)) & set(held):
            held[f"{where}_{name}"] = held.pop(name)
    plain = (str, bool, int, float, list, tuple)
    for name in [
        name for name, value in atoms.info.items() if not (isinstance(value, plain) or hasattr(value, "shape"))
    ]:
        del atoms.info[name]
    return atoms

"""Sources of a recipe, and their reading."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gapkit.curation.recipe.labels import conflict, in_own_units
from gapkit.curation.recipe.ledger import Entry
from gapkit.curation.recipe.recipe import Source
from gapkit.exceptions import DataError, InputError
from gapkit.structures import read_frames, to_batch


@dataclass(frozen=True)
class SourceFile:
    """A file with the SHA-256 of its bytes, the number of its frames, and that of the frames read."""

    source: Source
    sha256: str
    n_frames: int
    n_read: int


def without_frame(error: object) -> str:
    """Message about a frame without its number."""
    return re.sub(r"^frame \d+( \(config_type .*?\))?: ", "", str(error))


def read_sources(sources: Sequence[Source], folder: Path) -> tuple[list[SourceFile], list[Entry]]:
    """All frames, with labels in gapkit's units."""
    files, entries = [], []
    for number, source in enumerate(sources):
        path = folder / source.file
        frames = read_frames(path)
        chosen = range(len(frames))[slice(*(int(part) if part else None for part in source.frames.split(":")))]
        if not chosen:
            raise InputError(
                f"`frames` of {source.file} must be some of its {len(frames)} frames, got {source.frames!r}, which are "
                "none"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(SourceFile(source, digest, len(frames), len(chosen)))
        for index in chosen:
            atoms, problem = frames[index], conflict(frames[index], source)
            kind = "conflicting_labels" if problem else ""
            if not problem:
                try:
                    to_batch(atoms, labels=False)  # a structure that is wrong makes its labels look wrong
                    atoms = in_own_units(atoms, source)
                except DataError as error:
                    kind, problem = "unusable", without_frame(error)
            entries.append(
                Entry(f"{source.label}:{index}", number, index, source.file, source.role, atoms, kind, problem)
            )
    return files, entries

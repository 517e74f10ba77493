"""The result of a recipe: frames, the decision about each of them, and measurements on the way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from gapkit.curation.coverage import Coverage
from gapkit.curation.findings import Finding
from gapkit.curation.influence import InfluenceReport
from gapkit.curation.pruning import Pruned
from gapkit.curation.recipe.card import card, markdown
from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, Entry, Ledger
from gapkit.curation.recipe.output import CARD, write_set
from gapkit.curation.recipe.recipe import Recipe
from gapkit.curation.recipe.sources import SourceFile
from gapkit.printing import printable
from gapkit.selection.duplicates import DuplicateGroup


@dataclass(frozen=True, eq=False)
class Curated:
    """A data set and its history: the ledger holds every frame with its place and the reason.

    Attributes
    ----------
    findings : tuple of Finding
        Of the checks; frames are counted through all sources.
    duplicates : tuple of DuplicateGroup
        Frames are counted through those that were compared.
    pruned : Pruned or None
        Result of the step "outliers".
    modelled : tuple of str
        Ids of the training frames of its last model, on which `influence` is, in this order.
    coverage : Coverage
        Of all sound frames by the training set.
    inputs : tuple of Path
        The files that were read, which `write` leaves alone.
    """

    recipe: Recipe
    files: tuple[SourceFile, ...] = field(repr=False)
    ledger: Ledger = field(repr=False)
    findings: tuple[Finding, ...] = field(repr=False)
    duplicates: tuple[DuplicateGroup, ...] = field(repr=False)
    pruned: Pruned | None = field(repr=False)
    modelled: tuple[str, ...] = field(repr=False)
    influence: InfluenceReport | None = field(repr=False)
    coverage: Coverage = field(repr=False)
    inputs: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def train(self) -> list[Atoms]:
        """Training frames, with labels in eV, eV/Å and eV/Å^3, `frame_id`, and the sigmas of the step "weights"."""
        return [_named(e) for e in self.ledger.of(TRAIN)]

    @property
    def test(self) -> list[Atoms]:
        """Test frames, likewise."""
        return [_named(e) for e in self.ledger.of(TEST)]

    @property
    def left_out(self) -> list[Atoms]:
        """All other frames, with the reason in `info["left_out"]`."""
        frames = []
        for entry in self.ledger.of(LEFT_OUT):
            atoms = _named(entry)
            atoms.info["left_out"] = f"{entry.step}: {entry.reason}"
            frames.append(atoms)
        return frames

    def card(self, digests: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Content of card.json in plain numbers and strings; `digests` are the SHA-256 of files of frames by name."""
        return card(self.recipe, self.files, self.ledger, self.coverage, self.pruned, digests or {})

    def write(self, folder: str | Path, page: str | None = None) -> list[Path]:
        """Write train.extxyz, test.extxyz, left_out.extxyz, card.json, card.md and, if given, index.html.

        The folder is replaced as a whole once everything is written: an older data set stays until then.

        Parameters
        ----------
        folder : path
            New, empty, or made by this function before.
        page : str or None
            Text of index.html, see `gapkit.report.curation_page`.

        Raises
        ------
        OutputError
            If the folder holds one of `inputs` or files that this function did not make, or cannot be written.
        """

        def texts(digests: dict[str, str]) -> dict[str, str | None]:
            content = self.card(digests)
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            return {CARD: text, "card.md": markdown(content), "index.html": page}

        sets = {"train.extxyz": self.train, "test.extxyz": self.test, "left_out.extxyz": self.left_out}
        return write_set(Path(folder), sets, texts, self.inputs)

    def __str__(self) -> str:
        width = max(10, *(len(name) for name, *_ in self.ledger.steps))
        lines = [f"{'step':<{width}} {'left out':>9} {'remain':>8}  what it did"]
        lines += [f"{name:<{width}} {out:9d} {left:8d}  {what}" for name, what, out, left in self.ledger.steps]
        counts = {printable(name): count for name, count in self.ledger.counts().items()}
        width = max(11, *map(len, counts))
        lines += ["", f"{'config type':<{width}} {'train':>7} {'test':>7} {'left out':>9}"]
        lines += [f"{name:<{width}} {c[TRAIN]:7d} {c[TEST]:7d} {c[LEFT_OUT]:9d}" for name, c in counts.items()]
        return "\n".join(lines)


def _named(entry: Entry) -> Atoms:
    atoms = entry.atoms.copy()
    atoms.calc = entry.atoms.calc
    atoms.info["frame_id"] = entry.id
    return atoms

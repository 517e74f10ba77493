"""What a recipe made: frames, the decision about each of them, and what was measured on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ase import Atoms

from gapkit.curation.checks import Finding
from gapkit.curation.coverage import Coverage
from gapkit.curation.influence import InfluenceReport
from gapkit.curation.pruning import Pruned
from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, Entry, Ledger
from gapkit.curation.recipe.recipe import Recipe
from gapkit.curation.recipe.sources import SourceFile
from gapkit.selection.duplicates import DuplicateGroup


@dataclass(frozen=True, eq=False)
class Curated:
    """A data set and its history.

    Attributes
    ----------
    recipe : Recipe
    files : tuple of SourceFile
    ledger : Ledger
        Every frame with its place and the reason.
    findings : tuple of Finding
        Of the checks; frames are counted through all sources.
    duplicates : tuple of DuplicateGroup
        Frames are counted through those that were compared.
    pruned : Pruned or None
        Of the step "outliers".
    modelled : tuple of str
        Ids of the frames that its last model was fitted to.
    influence : InfluenceReport or None
        Of that model, in this order.
    coverage : Coverage
        How the training set covers all sound frames.
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

    @property
    def train(self) -> list[Atoms]:
        """Training frames, with labels in eV, eV/Å and eV/Å^3, `frame_id`, and sigmas if they were asked for."""
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

    def write(self, folder: str | Path, page: str | None = None) -> list[Path]:
        """Write train.extxyz, test.extxyz, left_out.extxyz, card.json, card.md and, if given, index.html.

        The folder is replaced as a whole once everything is written: an older data set stays until then.

        Parameters
        ----------
        folder : path
            New, empty, or made by this function before.
        page : str or None
            From `gapkit.report.curation_page`.

        Returns
        -------
        list of Path

        Raises
        ------
        InputError
            If the folder holds files that this function did not make.
        """
        from gapkit.curation.recipe.output import write

        return write(self, Path(folder), page)

    def __str__(self) -> str:
        width = max(10, *(len(name) for name, *_ in self.ledger.steps))
        lines = [f"{'step':<{width}} {'left out':>9} {'remain':>8}  what it did"]
        lines += [f"{name:<{width}} {out:9d} {left:8d}  {what}" for name, what, out, left in self.ledger.steps]
        counts = self.ledger.counts()
        width = max(11, *map(len, counts))
        lines += ["", f"{'config type':<{width}} {'train':>7} {'test':>7} {'left out':>9}"]
        lines += [f"{name:<{width}} {c[TRAIN]:7d} {c[TEST]:7d} {c[LEFT_OUT]:9d}" for name, c in counts.items()]
        return "\n".join(lines)


def _named(entry: Entry) -> Atoms:
    atoms = entry.atoms.copy()
    atoms.calc = entry.atoms.calc
    atoms.info["frame_id"] = entry.id
    return atoms

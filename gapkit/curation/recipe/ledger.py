"""Places of all frames, and the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ase import Atoms

from gapkit.structures import AtomsBatch, to_batch

TRAIN, TEST, LEFT_OUT = "train", "test", "left out"


@dataclass(eq=False)
class Entry:
    """One frame of a source: its labels in eV, eV/Å and eV/Å^3 under ASE's names, its place and the reason."""

    id: str  # name of the source and the number of the frame in it, counted from 0
    source: int
    index: int
    file: str
    role: str
    atoms: Atoms
    # {"", "unusable", "conflicting_labels"}, reason why its labels cannot be read, in words in `message`; empty if they
    # can
    problem: str = ""
    message: str = ""
    place: str = ""  # {"", "train", "test", "left out"}, empty: not decided yet.  `step` decided, for the `reason`.
    step: str = ""
    reason: str = ""
    flags: list[str] = field(default_factory=list)  # findings without a decision
    is_free_atom: bool = False  # free atoms are always trained on

    @property
    def config_type(self) -> str:
        """Configuration type, "default" where absent."""
        return str(self.atoms.info.get("config_type", "default"))

    def decide(self, place: str, step: str, reason: str) -> None:
        """Set the place of the frame."""
        self.place, self.step, self.reason = place, step, reason


@dataclass(eq=False)
class Ledger:
    """All frames, and their number after every step."""

    entries: list[Entry]
    steps: list[tuple[str, str, int, int]] = field(default_factory=list)

    def open(self, *roles: str) -> list[Entry]:
        """Entries that are not left out, of some roles or of all."""
        return [e for e in self.entries if e.place != LEFT_OUT and (not roles or e.role in roles)]

    def of(self, place: str) -> list[Entry]:
        """Entries in a place."""
        return [e for e in self.entries if e.place == place]

    def close(self, step: str, what: str) -> None:
        """End a step: count the frames that it left out this time."""
        before = sum(out for name, _, out, _ in self.steps if name == step)
        self.steps.append((step, what, sum(e.step == step for e in self.of(LEFT_OUT)) - before, len(self.open())))

    def counts(self) -> dict[str, dict[str, int]]:
        """Frames by configuration type and place."""
        table = Counter((e.config_type, e.place) for e in self.entries)
        types = dict.fromkeys(e.config_type for e in self.entries)
        return {name: {place: table[name, place] for place in (TRAIN, TEST, LEFT_OUT)} for name in types}


def frames_of(entries: Sequence[Entry]) -> list[Atoms]:
    """The structures, not copied."""
    return [e.atoms for e in entries]


def batch_of(entries: Sequence[Entry]) -> AtomsBatch:
    """The structures and labels as a batch."""
    return to_batch(frames_of(entries), strict=False)

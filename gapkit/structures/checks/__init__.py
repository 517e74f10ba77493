"""Checks of training data: each finds faults of one kind, says them in words, and changes nothing.

Not here: checks that need descriptors or time order, which are in `gapkit.curation`.  They import batches, pair search
and units alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Something suspicious in the data.

    Attributes
    ----------
    kind : str
        One of "unread_labels", "two_energies", "energy_units", "force_units", "stress_units" (magnitudes),
        "energy_force_units", "energy_stress_units", "force_sign", "stress_sign" (labels against one another),
        "energy_zeros", "free_atom_zeros", "species_energies", "coincident_atoms", "close_atoms", "duplicates",
        "contradictory_duplicates", "energy_outliers", "net_force".
    frames : tuple of int
        The frames concerned, counted from 0; none where it is about all.
    message : str
        What was found, with units, and what to do.
    """

    kind: str
    frames: tuple[int, ...]
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" + (f" ({list_frames(self.frames)})" if self.frames else "")


def list_frames(frames: Iterable[int], shown: int = 8) -> str:
    """Write frame numbers for people, leaving out the tail of a long list."""
    numbers = list(frames)
    more = f" and {len(numbers) - shown} more" if len(numbers) > shown else ""
    return f"frame{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:shown]))}{more}"

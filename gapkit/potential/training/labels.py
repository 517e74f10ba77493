"""Labelled frames of a fit."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms

from gapkit.exceptions import DataError
from gapkit.structures import AtomsBatch, LabelKeys, to_batch


def labelled_batch(frames: Atoms | Sequence[Atoms], keys: LabelKeys | None) -> AtomsBatch:
    """A batch of frames of which at least one has a label; DataError if none has."""
    batch = to_batch(frames, keys=keys or LabelKeys())
    require_labels(any(has.any() for has in batch.all_labels.has.values()))
    return batch


def require_labels(found: bool) -> None:
    """Raise DataError where no training frame has any label."""
    if not found:
        raise DataError(
            "training frames must have energies or forces, found no label at all; check the names of the keys "
            "(`label_keys`, on the command line --energy-key and --forces-key)"
        )

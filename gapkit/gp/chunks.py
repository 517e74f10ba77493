"""Data in pieces: small frames together, large frames in compact parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray


def frame_chunks(batch: AtomsBatch, n_atoms: int) -> Iterator[range]:
    """Contiguous ranges of frames of about `n_atoms` atoms each."""
    start = 0
    while start < batch.n_frames:
        stop = max(start + 1, int(np.searchsorted(batch.offsets, batch.offsets[start] + n_atoms, side="right")) - 1)
        yield range(start, stop)
        start = stop


def frame_parts(batch: AtomsBatch, atoms_at_once: int) -> list[IntArray | None]:
    """Parts of a large frame of `atoms_at_once` atoms or fewer, ascending; [None]: all atoms together.

    The frame is cut in halves across its longest side, again and again, so that parts have few neighbours outside.
    """
    if batch.n_frames > 1 or batch.n_atoms <= atoms_at_once:
        return [None]
    places = batch.positions
    if batch.pbc[0].all():  # along the lattice vectors, wrapped, in Å
        cell = batch.cells[0]
        places = (np.linalg.solve(cell.T, places.T).T % 1.0) * np.linalg.norm(cell, axis=1)
    return list(_halves(np.arange(batch.n_atoms), places, atoms_at_once))


def _halves(atoms: IntArray, places: FloatArray, atoms_at_once: int) -> list[IntArray]:
    if len(atoms) <= atoms_at_once:
        return [np.sort(atoms)]
    along = places[atoms, int(np.argmax(np.ptp(places[atoms], axis=0)))]
    ordered = atoms[np.argsort(along, kind="stable")]
    n_parts = -(-len(atoms) // atoms_at_once)
    middle = len(atoms) * (n_parts // 2) // n_parts
    return _halves(ordered[:middle], places, atoms_at_once) + _halves(ordered[middle:], places, atoms_at_once)

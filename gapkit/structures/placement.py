"""Where atoms and cells may be, and atoms that are many cells away brought back."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from gapkit.exceptions import DataError
from gapkit.structures.arrays import SINGULAR_CELL
from gapkit.structures.frame_labels import Where
from gapkit.typing import FloatArray

# Å; the doubles next to it are 1e-4 Å apart, and positions farther out no longer say where an atom is.
FARTHEST = 5e11
# Å and Å^3/atom, far below those of any crystal under any pressure of a laboratory.
SHORTEST_VECTOR = 0.1
LEAST_VOLUME = 0.1
# Atoms farther than this many cells are brought back; closer ones stay where they are, so that a trajectory has no
# jumps as long as it lasts.
_CELLS = 1000


def check_structure(atoms: Atoms, where: Where) -> None:
    """Raise DataError where atoms or cell cannot be what was meant."""
    numbers, cell, pbc = atoms.numbers, atoms.cell.array, atoms.pbc
    if len(atoms) == 0:
        raise DataError(f"{where}: a frame must hold at least one atom, got none; remove this frame")
    if np.any((numbers < 1) | (numbers > 118)):
        raise DataError(
            f"{where}: `numbers` must be atomic numbers 1..118, got {sorted(set(numbers.tolist()))[:10]}; "
            "remove dummy atoms"
        )
    for name, values in (("positions", atoms.positions), ("cell", cell)):
        largest = np.abs(values).max()
        if not np.isfinite(largest):
            raise DataError(f"{where}: `{name}` must be finite (Å), got NaN or infinity; correct or remove this frame")
        if largest > FARTHEST:
            raise DataError(
                f"{where}: `{name}` must be within {FARTHEST:g} Å, where numbers carry 1e-4 Å, got {largest:.3g}; look "
                "for atoms that flew off, or wrap the positions before they lose their digits"
            )
    vectors = cell[pbc]
    if not _independent(vectors):
        raise DataError(
            f"{where}: `cell` must have independent, nonzero vectors along periodic directions (no volume otherwise), "
            f"got {cell.tolist()} with pbc {pbc.tolist()}; set the cell, or set pbc to False"
        )
    shortest = np.linalg.norm(vectors, axis=1).min(initial=np.inf)
    volume = abs(np.linalg.det(vectors)) / len(atoms) if len(vectors) == 3 else np.inf
    if shortest < SHORTEST_VECTOR or volume < LEAST_VOLUME:
        got = f"vectors of {shortest:.3g} Å" if shortest < SHORTEST_VECTOR else f"{volume:.3g} Å^3 per atom"
        raise DataError(
            f"{where}: `cell` must have periodic vectors of at least {SHORTEST_VECTOR} Å and {LEAST_VOLUME} Å^3 per "
            f"atom, got {got}; check that positions and cell are in Å"
        )


def near_cell(atoms: Atoms) -> FloatArray:
    """Positions (n_atoms, 3) in Å; atoms that are more than a thousand cells away are moved into the cell."""
    positions = atoms.positions
    largest = np.abs(positions).max()
    if largest <= _CELLS * SHORTEST_VECTOR:
        return positions
    vectors = atoms.cell.array[atoms.pbc]
    if largest <= _CELLS * np.linalg.norm(vectors, axis=1).min(initial=np.inf):
        return positions
    cells = np.floor(positions @ np.linalg.pinv(vectors))
    cells[(np.abs(cells) <= _CELLS).all(axis=1)] = 0.0
    # Products of large numbers must not round: the difference is all that remains of them.
    moved = positions.astype(np.longdouble) - cells.astype(np.longdouble) @ vectors.astype(np.longdouble)
    return moved.astype(np.float64)


def _independent(vectors: FloatArray) -> bool:
    """Whether the rows span as many dimensions as there are rows."""
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / np.where(lengths > 0.0, lengths, 1.0)[:, None]
    return bool(np.linalg.svd(units, compute_uv=False).min(initial=1.0) > SINGULAR_CELL)

"""From ASE atoms to batches: the only place that reads calculators, `info` and `arrays`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

from gapkit.exceptions import DataError, InputError
from gapkit.structures.arrays import SINGULAR_CELL, offsets_of
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.frame_labels import Where, frame_labels, results_of
from gapkit.structures.keys import LabelKeys
from gapkit.structures.labels import Labels
from gapkit.typing import FloatArray


def to_batch(
    frames: Atoms | Sequence[Atoms], *, keys: LabelKeys | None = None, labels: bool = True, strict: bool = True
) -> AtomsBatch:
    """Copy ASE atoms into a frozen batch, checking everything on the way.

    Parameters
    ----------
    frames : Atoms or sequence of Atoms
        Never changed, and no calculation is ever triggered.
    keys : LabelKeys, optional
        Where to look for labels.
    labels : bool
        False leaves labels out, whatever the frames hold.
    strict : bool
        A key of your own that no frame has is an error; False where some kinds of labels may be missing altogether, as
        in a test set.

    Raises
    ------
    InputError
        If `frames` is empty or holds something else than Atoms.
    DataError
        If a frame holds something unusable; the message names the frame, the key and the remedy.
    """
    atoms_list = _as_list(frames)
    keys = keys or LabelKeys()
    for index, atoms in enumerate(atoms_list):
        _check_structure(atoms, Where(index, atoms, keys.config_type))
    return AtomsBatch(
        offsets=offsets_of([len(atoms) for atoms in atoms_list]),
        numbers=np.concatenate([atoms.numbers for atoms in atoms_list]),
        positions=np.concatenate([atoms.positions for atoms in atoms_list]),
        cells=np.array([atoms.cell.array for atoms in atoms_list]),
        pbc=np.array([atoms.pbc for atoms in atoms_list]),
        labels=_read_labels(atoms_list, keys, strict) if labels else None,
    )


def _as_list(frames: Atoms | Sequence[Atoms]) -> list[Atoms]:
    if isinstance(frames, Atoms):
        return [frames]
    if isinstance(frames, (str, os.PathLike)):
        raise InputError(f"`frames` must be Atoms or a list of Atoms, got a path, {frames!r}; use read_frames first")
    if not isinstance(frames, Iterable):
        raise InputError(f"`frames` must be Atoms or a list of Atoms, got {type(frames).__name__}; pass ase.Atoms")
    atoms_list = list(frames)
    if not atoms_list:
        raise InputError("`frames` must hold at least one structure, got an empty list; pass ase.Atoms objects")
    for index, atoms in enumerate(atoms_list):
        if not isinstance(atoms, Atoms):
            raise InputError(f"`frames[{index}]` must be ase.Atoms, got {type(atoms).__name__}; convert or remove it")
    return atoms_list


def _check_structure(atoms: Atoms, where: Where) -> None:
    if len(atoms) == 0:
        raise DataError(f"{where}: a frame must hold at least one atom, got none; remove this frame")
    if np.any((atoms.numbers < 1) | (atoms.numbers > 118)):
        raise DataError(
            f"{where}: `numbers` must be atomic numbers 1..118, got {sorted(set(atoms.numbers.tolist()))}; "
            "remove dummy atoms"
        )
    for name, values in (("positions", atoms.positions), ("cell", atoms.cell.array)):
        if not np.isfinite(values).all():
            raise DataError(f"{where}: `{name}` must be finite (Å), got NaN or infinity; correct or remove this frame")
    if not _independent(atoms.cell.array[atoms.pbc]):
        raise DataError(
            f"{where}: `cell` must have independent, nonzero vectors along periodic directions (no volume otherwise), "
            f"got {atoms.cell.array.tolist()} with pbc {atoms.pbc.tolist()}; set the cell, or set pbc to False"
        )


def _independent(vectors: FloatArray) -> bool:
    """Whether the rows span as many dimensions as there are rows."""
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / np.where(lengths > 0.0, lengths, 1.0)[:, None]
    return bool(np.linalg.svd(units, compute_uv=False).min(initial=1.0) > SINGULAR_CELL)


def _read_labels(atoms_list: list[Atoms], keys: LabelKeys, strict: bool) -> Labels:
    found = [frame_labels(atoms, keys, index) for index, atoms in enumerate(atoms_list)]
    for name, key in keys.changed().items():
        if not strict or any(name in frame.found for frame in found):
            continue
        exist = sorted(
            {str(k) for atoms in atoms_list for k in (*atoms.info, *atoms.arrays, *results_of(atoms))}
            - {"numbers", "positions"}
        )
        raise InputError(
            f"`{name}` of LabelKeys must be a key of at least one frame, got {key!r}, found in none; "
            f"the keys that exist are {', '.join(exist) or 'none'}"
        )
    return Labels.join(found)

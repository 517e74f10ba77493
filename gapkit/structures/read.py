"""From ASE atoms to batches: the only place that reads calculators, `info` and `arrays`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.structures.arrays import offsets_of
from gapkit.structures.batch import AtomsBatch
from gapkit.structures.frame_labels import Where, frame_labels, results_of
from gapkit.structures.keys import LabelKeys
from gapkit.structures.labels import Labels
from gapkit.structures.placement import check_structure, near_cell


@checked
def to_batch(
    frames: Atoms | Sequence[Atoms], *, keys: LabelKeys | None = None, labels: bool = True, strict: bool = True
) -> AtomsBatch:
    """Copy ASE atoms into a frozen batch, checking everything on the way.

    Parameters
    ----------
    frames : Atoms or sequence of Atoms
        Never changed, and no calculation is ever triggered.  Atoms more than a thousand cells away are taken by their
        images in the cell.
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
        check_structure(atoms, Where(index, atoms, keys.config_type))
    return AtomsBatch(
        offsets=offsets_of([len(atoms) for atoms in atoms_list]),
        numbers=np.concatenate([atoms.numbers for atoms in atoms_list]),
        positions=np.concatenate([near_cell(atoms) for atoms in atoms_list]),
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

"""Frames to extended XYZ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from ase import Atoms
from ase.io import write

from gapkit.options.checked import checked
from gapkit.options.kinds import PathLike
from gapkit.structures.frame_labels import results_of


@checked
def write_extxyz(file: PathLike | TextIO, frames: Iterable[Atoms]) -> None:
    """Write frames, which change: results in `info` or `arrays` as well, and objects, cannot be held there.

    The former are written as `info_energy` or `arrays_forces` beside the calculator's results, the latter are lost.
    """
    write(file, [_writable(atoms) for atoms in frames], format="extxyz")


def _writable(atoms: Atoms) -> Atoms:
    for held, where in ((atoms.info, "info"), (atoms.arrays, "arrays")):
        for name in set(results_of(atoms)) & set(held):
            held[f"{where}_{name}"] = held.pop(name)
    for name, value in list(atoms.info.items()):
        if not (isinstance(value, str | bool | int | float | list | tuple) or hasattr(value, "shape")):
            del atoms.info[name]
    return atoms

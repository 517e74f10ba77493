"""Copper from EMT on disk, and recipes as users write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gapkit.curation.recipe import Curated, Recipe, curate
from tests.potential.models import label, make_frames


def copper(n: int, seed: int = 0, size: float = 0.1, *, name: str | None = None, per_atom: float = 0.0) -> list[Atoms]:
    """Strained, rattled cells of 4 atoms, all labels right; `per_atom` is added to their energies."""
    frames = make_frames(n, seed=seed, size=size)
    for atoms in frames:
        atoms.calc.results["energy"] += per_atom * len(atoms)
        if name is not None:
            atoms.info["config_type"] = name
    return frames


def free_atom(per_atom: float = 0.0) -> Atoms:
    atoms = label(Atoms("Cu", cell=[20.0] * 3, pbc=True))
    atoms.calc.results["energy"] += per_atom
    return atoms


def turned(atoms: Atoms, seed: int = 1) -> Atoms:
    """Rotated, moved and permuted, labels with it."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(atoms))
    new = atoms[order]
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    new.positions = (new.positions + rng.normal(size=3)) @ rotation
    new.set_cell(atoms.cell.array @ rotation)
    return label(new)


def moved(atoms: Atoms, size: float = 0.004, seed: int = 2) -> Atoms:
    """A little later: a near-twin, but no duplicate."""
    new = atoms.copy()
    new.positions += np.random.default_rng(seed).normal(scale=size, size=(len(atoms), 3))
    return label(new)


def plain(atoms: Atoms, **renamed: str) -> Atoms:
    """Labels in `info` and `arrays`, some under other names."""
    new = atoms.copy()
    for kind, value in atoms.calc.results.items():
        (new.arrays if kind == "forces" else new.info)[renamed.get(kind, kind)] = value
    return new


def scaled(atoms: Atoms, **factors: float) -> Atoms:
    """With some labels times a factor."""
    new = atoms.copy()
    results = {kind: value * factors.get(kind, 1.0) for kind, value in atoms.calc.results.items()}
    new.calc = SinglePointCalculator(new, **results)
    return new


def put(folder: Path, name: str, frames: Sequence[Atoms]) -> Path:
    path = folder / name
    write(path, list(frames))
    return path


def read(folder: Path, text: str, name: str = "r.yaml") -> Recipe:
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return Recipe.read(path)


def make(folder: Path, text: str) -> Curated:
    return curate(read(folder, text), folder)


def places(curated: Curated) -> dict[str, str]:
    """Place of every frame, and the step that left it out."""
    return {e.id: e.step if e.place == "left out" else e.place for e in curated.ledger.entries}

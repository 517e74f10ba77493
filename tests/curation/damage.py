"""Damage frames on purpose, to see how much of it the checks of a data set find.

What goes wrong in practice, one kind each: a calculation that did not converge ("energy"), one atom of a wrong force
("force"), the other sign convention ("stress"), a cell that is not that of the calculation ("cell"), and a frame that
is there twice in another orientation and order ("duplicate").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from scipy.spatial.transform import Rotation

from gapkit.curation.weights import copy_frame
from gapkit.exceptions import InputError
from gapkit.structures.frame_labels import results_of
from gapkit.typing import FloatArray

KINDS = ("energy", "force", "stress", "cell", "duplicate")
ENERGY = 0.2  # eV/atom
FACTOR = 3.0
STRAINS = 0.03, 0.05
LEAST_FORCE = 0.05  # eV/Å
LEAST_STRESS = 1e-3  # eV/Å^3


@dataclass(frozen=True)
class Damage:
    """What was done to a frame.

    Attributes
    ----------
    frame : int
        Of the damaged set; a duplicate is the copy at its end.
    kind : str
        One of `KINDS`.
    source : int
        The frame that a duplicate is a copy of; else the frame itself.
    detail : str
        What was done, in words.
    """

    frame: int
    kind: str
    source: int
    detail: str


def plant(
    frames: Sequence[Atoms], n: int, *, kinds: Sequence[str] = KINDS, seed: int = 0
) -> tuple[list[Atoms], list[Damage]]:
    """Damage `n` frames, as many of each kind as can be.

    Frames are drawn at random from those that the kind can damage: some atom must feel more than 0.05 eV/Å for "force",
    and the stress have a component of 0.001 eV/Å^3 (0.16 GPa) for "stress", without which nothing would change.

    Parameters
    ----------
    frames : sequence of Atoms
        With the labels of their calculators; they are not changed.
    n : int
        Frames to damage, duplicates included.
    kinds : sequence of str
        Of `KINDS`.
    seed : int

    Returns
    -------
    damaged : list of Atoms
        Duplicates are appended.
    done : list of Damage
        By frame.

    Raises
    ------
    InputError
        If a kind is unknown, or there are too few frames for it.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds or n < 0:
        raise InputError(f"`kinds` must be some of {', '.join(KINDS)} and `n` >= 0, got {list(kinds)} and {n}")
    rng = np.random.default_rng(seed)
    drawn: list[str] = []
    while len(drawn) < n:
        drawn += [kinds[k] for k in rng.permutation(len(kinds))]
    damaged, done, used = list(frames), [], set[int]()
    for kind in drawn[:n]:
        possible, damage = _KINDS[kind]
        free = [k for k in range(len(frames)) if k not in used and possible(frames[k])]
        if not free:
            raise InputError(f"no frame is left to be damaged by {kind!r}; ask for fewer than {n} of {len(frames)}")
        source = int(rng.choice(free))
        used.add(source)
        new, detail = damage(frames[source], rng)
        if kind == "duplicate":
            damaged.append(new)
        else:
            damaged[source] = new
        done.append(Damage(len(damaged) - 1 if kind == "duplicate" else source, kind, source, detail))
    return damaged, sorted(done, key=lambda d: d.frame)


def turned(atoms: Atoms, rotation: FloatArray, order: np.ndarray) -> Atoms:
    """The same structure, cell and labels rotated (3, 3), its atoms in another order."""
    results = dict(results_of(atoms))
    new = atoms[order]
    new.set_cell(atoms.cell.array @ rotation.T)
    new.positions = atoms.positions[order] @ rotation.T
    if "forces" in results:
        results["forces"] = np.asarray(results["forces"])[order] @ rotation.T
    if "stress" in results:
        results["stress"] = full_3x3_to_voigt_6_stress(rotation @ _full(results["stress"]) @ rotation.T)
    return copy_frame(new, **{name: results[name] for name in ("energy", "forces", "stress") if name in results})


def _full(stress: FloatArray) -> FloatArray:
    stress = np.asarray(stress, dtype=float)
    full: FloatArray = stress if stress.shape == (3, 3) else voigt_6_to_full_3x3_stress(stress)
    return full


def _energy(atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, str]:
    off = float(rng.choice([-1.0, 1.0])) * ENERGY
    return copy_frame(atoms, energy=results_of(atoms)["energy"] + off * len(atoms)), f"energy {off:+.2f} eV/atom"


def _force(atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, str]:
    forces = np.array(results_of(atoms)["forces"], dtype=float)
    lengths = np.linalg.norm(forces, axis=1)
    atom = int(rng.choice(np.flatnonzero(lengths > LEAST_FORCE)))
    forces[atom] *= FACTOR
    return copy_frame(atoms, forces=forces), f"atom {atom}: {FACTOR:g} times {lengths[atom]:.3f} eV/Å"


def _stress(atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, str]:
    stress = np.asarray(results_of(atoms)["stress"], dtype=float)
    return copy_frame(atoms, stress=-stress), f"sign of a stress of up to {np.abs(stress).max():.4f} eV/Å^3"


def _cell(atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, str]:
    axis, along = int(rng.integers(3)), bool(rng.integers(2))
    strain = float(rng.uniform(*STRAINS) * rng.choice([-1.0, 1.0]))
    new = copy_frame(atoms)
    cell = atoms.cell.array.copy()
    cell[axis] *= 1.0 + strain
    results = results_of(atoms)
    new.calc = None
    new.set_cell(cell, scale_atoms=along)
    words = "atoms along" if along else "atoms where they were"
    return copy_frame(new, **results), f"cell vector {axis} {strain:+.3f}, {words}"


def _duplicate(atoms: Atoms, rng: np.random.Generator) -> tuple[Atoms, str]:
    rotation = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    return turned(atoms, rotation, rng.permutation(len(atoms))), "rotated and permuted copy"


def _has_force(atoms: Atoms) -> bool:
    forces = results_of(atoms).get("forces")
    return forces is not None and float(np.linalg.norm(forces, axis=1).max()) > LEAST_FORCE


def _has_stress(atoms: Atoms) -> bool:
    stress = results_of(atoms).get("stress")
    return stress is not None and float(np.abs(stress).max()) > LEAST_STRESS


def _has_energy(atoms: Atoms) -> bool:
    return "energy" in results_of(atoms)


def _is_periodic(atoms: Atoms) -> bool:
    return bool(atoms.pbc.all())


_Possible = Callable[[Atoms], bool]
_Doing = Callable[[Atoms, np.random.Generator], tuple[Atoms, str]]
_KINDS: dict[str, tuple[_Possible, _Doing]] = {
    "energy": (_has_energy, _energy),
    "force": (_has_force, _force),
    "stress": (_has_stress, _stress),
    "cell": (_is_periodic, _cell),
    "duplicate": (lambda atoms: True, _duplicate),
}

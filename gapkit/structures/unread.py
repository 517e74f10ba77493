"""Entries of a frame that have the shape of a label which it lacks: likely the label under another name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from gapkit.structures.arrays import volumes_of
from gapkit.structures.keys import LabelKeys
from gapkit.targets import from_voigt

# What is known to be something else, by its name, and what a name says about the rest.
_OTHER = re.compile(
    r"^(gap|mace|ace|nep)_|(^|_)(pos|err|mag|rot|gap$)|coord|frac|vel|mom|spin|disp|dipol|polar|pole|charge|mass|born|"
    r"image|shift|std|sigma|uncert|novel|weight|mask|kinetic|ekin|cut|fermi|interact|bind|cohes|formation|atomiz|hull|"
    r"per_?atom|inertia|dielec|hess|cell|lattice|dimension|strain|deform|time|temperature|dist|energies",
    re.I,
)
_NAMES = {
    "energy": re.compile(r"energ|enthalp|toten|(^|_)e_?(tot|dft|ref|0)|(tot|dft|ref)_?e$|^[eu]0?$", re.I),
    "forces": re.compile(r"forc|grad|(^|_)f(_|$)", re.I),
    "virial": re.compile(r"stress|virial|press", re.I),
}
_NET = 0.05  # of the length of forces that add up to nothing but for rounding and egg boxes
_SAME_ENERGY = 1e-6  # eV/atom


@dataclass(frozen=True)
class Unread:
    """An entry `key` that may be the label `label` of `gapkit.targets`; `likely` by its name, else by its shape alone.

    Where both energies are there, that which is not read has the label "free_energy", and `differs` (eV/atom).
    """

    label: str
    key: str
    likely: bool = True
    differs: float = 0.0


def unread_entries(
    atoms: Atoms, results: Mapping[str, Any], keys: LabelKeys, values: Mapping[str, Any]
) -> tuple[Unread, ...]:
    """Candidates for each label that is neither switched off nor among the `values` found (by name of `LabelKeys`)."""
    missing = {name for name in ("energy", "forces") if values[name] is None and keys.of(name) is not None}
    if values["virial"] is None and values["stress"] is None and (keys.virial or keys.stress) is not None:
        missing.add("virial")
    found: list[Unread] = []
    if keys.energy == "energy" and values["energy"] is not None and "free_energy" in results:
        found += _other_energy(values["energy"], results["free_energy"], len(atoms))
    if not missing:
        return tuple(found)
    known = {*keys.given().values(), "numbers", "positions"}
    for store in (results, atoms.info, atoms.arrays):
        for key, value in store.items():
            if key in known or _OTHER.search(str(key)):
                continue
            known.add(key)
            named = [label for label, names in _NAMES.items() if names.search(str(key))]
            for label in _labels_like(value, len(atoms)):
                if label in missing and (label in named or (not named and _plausible(label, value, atoms))):
                    found.append(Unread(label, str(key), bool(named)))
                    break
    return tuple(found)


def _other_energy(energy: Any, other: Any, n_atoms: int) -> Iterator[Unread]:
    try:
        difference = abs(float(energy) - float(other)) / n_atoms
    except (TypeError, ValueError):
        return
    if difference > _SAME_ENERGY:
        yield Unread("free_energy", "free_energy", differs=difference)


def _labels_like(value: Any, n_atoms: int) -> Iterator[str]:
    """Labels whose shape a value has, the likelier first."""
    try:
        array: NDArray = np.asarray(value)
    except ValueError:  # ragged
        return
    if array.dtype.kind not in "fi" or not np.isfinite(array).all():
        return
    if array.shape in ((), (1,)):
        yield "energy"
    if array.shape in ((6,), (9,), (3, 3)):
        yield "virial"
    if array.shape == (n_atoms, 3):
        yield "forces"


def _plausible(label: str, given: Any, atoms: Atoms) -> bool:
    """Whether a value under a name that tells nothing can be a label."""
    value = np.asarray(given, dtype=float)
    if np.array_equal(value, np.round(value)):  # numbers of something
        return False
    if label == "energy":
        return True
    if label == "forces":
        net = np.linalg.norm(value.sum(axis=0))
        return bool(len(atoms) > 1 and net < _NET * np.linalg.norm(value))
    tensor = from_voigt(value) if value.shape == (6,) else value.reshape(3, 3)
    symmetric = np.abs(tensor - tensor.T).max() <= 1e-2 * np.abs(tensor).max()
    return bool(symmetric and np.isfinite(volumes_of(atoms.cell.array)))

"""Labels of a source in gapkit's units under ASE's names, and labels that contradict each other."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.curation.recipe.recipe import LABELS, Source
from gapkit.exceptions import DataError
from gapkit.structures import LabelKeys
from gapkit.structures.labels import frame_labels, results_of
from gapkit.targets import from_voigt, to_voigt
from gapkit.typing import FloatArray
from gapkit.units import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS

# Names by which labels commonly go: REF_energy, dft_forces.
_ALIAS = re.compile(
    r"(ref|reference|dft|qm|target|true|label|vasp|castep|qe|cp2k|aims|orca)[_-](energy|forces?|stress|virials?)", re.I
)
SIGMAS = ("energy_sigma", "virial_sigma", "force_sigma")
SAME_VIRIAL = 1e-2, 1e-6  # relative; eV


def label_keys(source: Source) -> LabelKeys:
    """Where the labels of a source are."""
    given = {name: getattr(source, f"{name}_key") for name in (*LABELS, "config_type")}
    return LabelKeys(**{name: key for name, key in given.items() if key is not None})


def conflict(atoms: Atoms, source: Source) -> str:
    """What is ambiguous about the labels of a frame; empty if nothing is."""
    for kind in LABELS:
        key = getattr(source, f"{kind}_key")
        found = _values(atoms, kind, key or kind)
        if key is not None and any(name == key for name, _ in found):
            continue
        names = [name for name, _ in found]
        if key is not None and names:
            other = ", ".join(map(repr, names))
            return f"has no {key!r}, but {other}; correct `{kind}_key`, or give all frames of the file one name"
        if names and kind not in names:
            return f"has no {kind!r}, but {', '.join(map(repr, names))}; name it with `{kind}_key`"
        if any(not np.allclose(value, found[0][1], rtol=1e-6) for _, value in found[1:]):
            different = " and ".join(dict.fromkeys(f"`{name}`" for name in names))
            where = "in results and `info`" if len(set(names)) == 1 else ""
            return f"has different values under {different} {where}".rstrip() + f"; name one with `{kind}_key`"
    return ""


def in_own_units(atoms: Atoms, source: Source) -> Atoms:
    """A copy with results in eV, eV/Å and eV/Å^3 on its calculator, sigmas likewise, and no other labels.

    Raises
    ------
    DataError
        If a label is not finite, has the wrong shape, is stale, or contradicts another.
    """
    keys = label_keys(source)
    energy_unit, forces_unit = ENERGY_UNITS[source.energy_unit], FORCE_UNITS[source.forces_unit]
    # one at a time, for they are in different units
    labels = frame_labels(atoms, replace(keys, stress=None), 0)
    by_virial = labels.virial * energy_unit
    by_stress = frame_labels(atoms, replace(keys, virial=None), 0).virial * STRESS_UNITS[source.stress_unit]
    virial = _same_virial(by_virial, by_stress)
    new = atoms.copy()
    new.calc = None
    others = {name for held in (new.info, new.arrays) for name in held if any(_is_alias(name, kind) for kind in LABELS)}
    used = {getattr(keys, kind) for kind in (*LABELS, "config_type")}
    for name in {*used, *others, *LABELS, *SIGMAS, "config_type"}:
        new.info.pop(name, None)
        new.arrays.pop(name, None)
    results: dict[str, Any] = {}
    if np.isfinite(labels.energy):
        results["energy"] = labels.energy * energy_unit
    known = np.isfinite(labels.forces[:, 0])
    if known.any():
        # the mask stays and says which zeros are no labels
        results["forces"] = np.where(known[:, None], labels.forces * forces_unit, 0.0)
    if np.isfinite(virial).all():
        if abs(np.linalg.det(new.cell.array)) > 0.0:
            results["stress"] = -to_voigt(virial) / new.get_volume()
        else:
            new.info["virial"] = virial
    for name, sigma, unit in (
        ("energy_sigma", labels.energy_sigma, energy_unit), ("virial_sigma", labels.virial_sigma, energy_unit),
    ):  # fmt: skip
        if np.isfinite(sigma):
            new.info[name] = sigma * unit
    if np.isfinite(labels.force_sigma).all():
        new.set_array("force_sigma", labels.force_sigma * forces_unit)
    if (kind := _config_type(labels.config_type, source)) is not None:
        new.info["config_type"] = kind
    if results:
        new.calc = SinglePointCalculator(new, **results)
    return new


def is_labelled(atoms: Atoms) -> bool:
    """Whether there is anything to learn from it."""
    return bool(results_of(atoms)) or "virial" in atoms.info


def _same_virial(by_virial: FloatArray, by_stress: FloatArray) -> FloatArray:
    if not np.isfinite(by_virial).all():
        return by_stress
    off = np.nan_to_num(np.abs(by_virial - by_stress)).max()
    relative, absolute = SAME_VIRIAL
    if off > relative * np.abs(by_virial).max() + absolute:
        raise DataError(
            f"frame 0: `virial` must equal -stress * volume in the units of the source, got a largest difference of "
            f"{off:.3g} eV; correct `energy_unit` or `stress_unit`, or remove one of the two labels"
        )
    return by_virial


def _config_type(own: str, source: Source) -> str | None:
    if own == "default":
        return source.config_type
    return own


def _values(atoms: Atoms, kind: str, key: str) -> list[tuple[str, FloatArray]]:
    """Names and values of everything that looks like a label of a kind, the key first."""
    shapes: dict[str, list[tuple[int, ...]]] = {
        "energy": [(), (1,)],
        "forces": [(len(atoms), 3)],
        "stress": [(6,), (9,), (3, 3)],
        "virial": [(6,), (9,), (3, 3)],
    }
    stores = (results_of(atoms), atoms.info, atoms.arrays)
    names = [key, kind, *sorted({str(name) for held in stores for name in held if _is_alias(name, kind)})]
    found = []
    for name in dict.fromkeys(names):
        for held in stores:
            if name in held:
                try:
                    value = np.asarray(held[name], dtype=float)
                except (TypeError, ValueError):
                    continue
                if value.shape in shapes[kind]:
                    found.append((name, _matrix(value) if kind in ("stress", "virial") else value.reshape(-1)))
    return found


def _is_alias(name: object, kind: str) -> bool:
    match = _ALIAS.fullmatch(str(name))
    return match is not None and match[2].lower().rstrip("s") == kind.rstrip("s")


def _matrix(value: FloatArray) -> FloatArray:
    return from_voigt(value) if value.shape == (6,) else value.reshape(3, 3)

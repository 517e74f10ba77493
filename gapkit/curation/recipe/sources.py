"""Sources of a recipe: their frames, with labels in gapkit's units under ASE's names and without contradictions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.curation.recipe.ledger import Entry
from gapkit.curation.recipe.recipe import LABELS, Source
from gapkit.exceptions import DataError, InputError
from gapkit.options.values import slice_of_frames
from gapkit.structures import LabelKeys, read_frames, to_batch
from gapkit.structures.frame_labels import frame_labels, results_of
from gapkit.structures.labels import labelled
from gapkit.targets import TARGETS, from_voigt, to_voigt
from gapkit.typing import FloatArray
from gapkit.units import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS

# Names by which labels commonly go: REF_energy, dft_forces.
_ALIAS = re.compile(
    r"(ref|reference|dft|qm|target|true|label|vasp|castep|qe|cp2k|aims|orca)[_-](energy|forces?|stress|virials?)", re.I
)
SAME_VIRIAL = 1e-2, 1e-6  # relative; eV


@dataclass(frozen=True)
class SourceFile:
    """A file with the SHA-256 of its bytes, the number of its frames, and that of the frames read."""

    source: Source
    sha256: str
    n_frames: int
    n_read: int


def without_frame(error: object) -> str:
    """Message about a frame without its number."""
    return re.sub(r"^frame \d+( \(config_type .*?\))?: ", "", str(error))


def read_sources(sources: Sequence[Source], folder: Path) -> tuple[list[SourceFile], list[Entry]]:
    """All frames, with labels in gapkit's units."""
    files, entries = [], []
    for number, source in enumerate(sources):
        path = folder / source.file
        frames = read_frames(path)
        chosen = range(len(frames))[slice_of_frames(source.frames)]
        if not chosen:
            raise InputError(
                f"`frames` of {source.file} must be some of its {len(frames)} frames, got {source.frames!r}, which are "
                "none"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(SourceFile(source, digest, len(frames), len(chosen)))
        for index in chosen:
            atoms, problem = frames[index], conflict(frames[index], source)
            kind = "conflicting_labels" if problem else ""
            if not problem:
                try:
                    to_batch(atoms, labels=False)  # a structure that is wrong makes its labels look wrong
                    atoms = in_own_units(atoms, source)
                except DataError as error:
                    kind, problem = "unusable", without_frame(error)
            entries.append(
                Entry(f"{source.label}:{index}", number, index, source.file, source.role, atoms, kind, problem)
            )
    return files, entries


def label_keys(source: Source) -> LabelKeys:
    """Names of the labels of a source."""
    given = {name: getattr(source, f"{name}_key") for name in (*LABELS, "config_type")}
    return LabelKeys(**{name: key for name, key in given.items() if key is not None})


def conflict(atoms: Atoms, source: Source) -> str:
    """Ambiguity of the labels of a frame in words; empty without one."""
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
    """Copy with results in eV, eV/Å and eV/Å^3 on its calculator, sigmas likewise, and no other labels."""
    keys = label_keys(source)
    units = {"eV": ENERGY_UNITS[source.energy_unit], "eV/Å": FORCE_UNITS[source.forces_unit]}
    factors = {name: units.get(target.unit, 1.0) for name, target in TARGETS.items()}
    # one at a time, for they are in different units
    labels = frame_labels(atoms, replace(keys, stress=None), 0)
    by_stress = frame_labels(atoms, replace(keys, virial=None), 0).values["virial"] * STRESS_UNITS[source.stress_unit]
    values = {name: value * factors[name] for name, value in labels.values.items()}
    values["virial"] = _same_virial(values["virial"], by_stress)
    new = atoms.copy()
    new.calc = None
    others = {name for held in (new.info, new.arrays) for name in held if any(_is_alias(name, kind) for kind in LABELS)}
    used = {keys.of(kind) for kind in (*LABELS, "config_type")}
    sigmas = {target.sigma for target in TARGETS.values()}
    for name in {*used, *others, *LABELS, *sigmas, "config_type"}:
        new.info.pop(name, None)
        new.arrays.pop(name, None)
    results: dict[str, Any] = {}
    if labelled(values["energy"]).any():
        results["energy"] = float(values["energy"][0])
    known = labelled(values["forces"])
    if known.any():
        # the mask stays and says which zeros are no labels
        results["forces"] = np.where(known[:, None], values["forces"], 0.0)
    if labelled(values["virial"]).any():
        if abs(np.linalg.det(new.cell.array)) > 0.0:
            results["stress"] = -to_voigt(values["virial"][0]) / new.get_volume()
        else:
            new.info["virial"] = values["virial"][0]
    for name, target in TARGETS.items():
        sigma = labels.sigmas[name] * factors[name]
        if np.isfinite(sigma).all() and target.per_atom:
            new.set_array(target.sigma, sigma)
        elif np.isfinite(sigma).all():
            new.info[target.sigma] = float(sigma[0])
    own = labels.config_type[0]
    if (kind := source.config_type if own == "default" else own) is not None:
        new.info["config_type"] = kind
    if results:
        new.calc = SinglePointCalculator(new, **results)
    return new


def is_labelled(atoms: Atoms) -> bool:
    """Whether a frame has an energy, forces, stress or virial."""
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


def _values(atoms: Atoms, kind: str, key: str) -> list[tuple[str, FloatArray]]:
    """Names and values of all candidates for a label of a kind, the key first."""
    target = next(target for target in TARGETS.values() if kind in (target.name, target.shown.name))
    tensor = len(target.shape) == 2
    own = (len(atoms), *target.shape) if target.per_atom else target.shape
    shapes = [(6,), (9,), (3, 3)] if tensor else [own] if target.per_atom else [own, (1, *own)]
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
                if value.shape in shapes:
                    matrix = from_voigt(value) if tensor and value.shape == (6,) else value
                    found.append((name, matrix.reshape(3, 3) if tensor else value.reshape(-1)))
    return found


def _is_alias(name: object, kind: str) -> bool:
    match = _ALIAS.fullmatch(str(name))
    return match is not None and match[2].lower().rstrip("s") == kind.rstrip("s")

"""Find and check the labels of one frame: shapes, finiteness, stress and virial conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.exceptions import DataError
from gapkit.structures.arrays import ASYMMETRY, is_symmetric, volumes_of
from gapkit.structures.keys import LabelKeys
from gapkit.structures.labels import FrameLabels
from gapkit.structures.unread import unread_entries
from gapkit.targets import TARGETS, Target, from_voigt
from gapkit.typing import BoolArray, FloatArray

_LARGEST = 1e100
_SAME_PLACE = 1e-6  # Å


@dataclass(frozen=True)
class Where:
    """The frame that an error message is about."""

    index: int
    atoms: Atoms
    config_key: str | None

    @property
    def config_type(self) -> str:
        """Configuration type, "default" where absent."""
        return "default" if self.config_key is None else str(self.atoms.info.get(self.config_key, "default"))

    def __str__(self) -> str:
        return f"frame {self.index} (config_type {self.config_type!r})"

    def bad_label(self, key: str, expected: str, got: object) -> DataError:
        """The error that tells what a label must be, and what it is."""
        return DataError(f"{self}: `{key}` must {expected}, got {got}; correct or remove this label")


def results_of(atoms: Atoms) -> Mapping[str, Any]:
    """Return the results stored on the calculator, possibly stale, without running it."""
    results = getattr(atoms.calc, "results", None)
    return results if isinstance(results, Mapping) else {}


def frame_labels(atoms: Atoms, keys: LabelKeys, index: int) -> FrameLabels:
    """Read and check every label of one frame."""
    where = Where(index, atoms, keys.config_type)
    raw = {"config_type": _stored(atoms, keys.config_type)}
    values, sigmas = {}, {}
    for target in TARGETS.values():
        for name in dict.fromkeys((target.name, target.shown.name)):
            raw[name] = _lookup(atoms, keys.of(name), name, where)
        for name in (target.sigma, target.mask):
            raw[name] = _stored(atoms, keys.of(name))
        read = _tensor if len(target.shape) == 2 else _value
        values[target.name] = read(target, raw, where)
        sigmas[target.name] = _sigma(target, raw[target.sigma], where)
    found = frozenset(name for name, value in raw.items() if value is not None)
    unread = unread_entries(atoms, results_of(atoms), keys, raw)
    return FrameLabels(values, sigmas, (where.config_type,), (unread,), found)


def _stored(atoms: Atoms, key: str | None) -> Any:
    value = atoms.info.get(key)
    return atoms.arrays.get(key) if value is None else value


def _lookup(atoms: Atoms, key: str | None, default: str, where: Where) -> Any:
    if key is None:
        return None
    sources: list[Callable[[], Any]] = [lambda: _result(atoms, key, where), lambda: _stored(atoms, key)]
    found = (source() for source in (sources if key == default else sources[::-1]))
    return next((value for value in found if value is not None), None)


def _result(atoms: Atoms, key: str, where: Where) -> Any:
    value = results_of(atoms).get(key)
    if value is None:
        return None
    check = getattr(atoms.calc, "check_state", None)
    changes = check(atoms) if check is not None else ["calculator"]
    if not changes or (changes == ["positions"] and _same_structure(atoms.calc.atoms, atoms)):
        return value
    if isinstance(atoms.calc, SinglePointCalculator):
        raise DataError(
            f"{where}: `{key}` must belong to the atoms as they are, but {', '.join(changes)} changed after it was "
            "computed; recompute it, or set atoms.calc = None to use the frame without it"
        )
    return None  # a live calculator with results of another structure: no label, and it is not run


def _same_structure(old: Atoms, new: Atoms) -> bool:
    """Whether positions differ by lattice vectors and a translation of all atoms, which leave every label as it is."""
    moved = new.positions - old.positions
    moved -= moved[0]
    if new.pbc.any():
        vectors = new.cell.array[new.pbc]
        moved -= np.rint(moved @ np.linalg.pinv(vectors)) @ vectors
    return bool(np.abs(moved).max() < _SAME_PLACE + 8.0 * np.spacing(np.abs(new.positions).max()))


def _array(value: Any, key: str, unit: str, shapes: list[tuple[int, ...]], where: Where) -> FloatArray:
    """Numbers of one of the shapes."""
    try:
        given = np.asarray(value)
        if given.dtype.kind in "bc":  # a key without a value reads as True
            raise TypeError
        array = given.astype(float)
    except (TypeError, ValueError) as error:
        raise where.bad_label(key, f"be numeric ({unit})", f"{value!r:.80}") from error
    if array.shape not in shapes:
        raise where.bad_label(key, f"have shape {' or '.join(map(str, shapes))}", array.shape)
    return array


def _check_finite(values: FloatArray, key: str, unit: str, where: Where) -> None:
    if bad := int(np.size(values) - np.isfinite(values).sum()):
        raise where.bad_label(key, f"be finite ({unit})", f"NaN or infinity in {bad} of {np.size(values)} values")
    if (largest := float(np.abs(values).max(initial=0.0))) > _LARGEST:
        raise where.bad_label(key, f"be at most {_LARGEST:g} {unit}, so that sums of squares exist", f"{largest:.3g}")


def _value(target: Target, raw: Mapping[str, Any], where: Where) -> FloatArray:
    """Scalars or vectors (n, *shape) of a frame or its atoms, NaN where absent or masked."""
    shape = (target.length(1, len(where.atoms)), *target.shape)
    values = np.full(shape, np.nan)
    kept = ~_mask(target, raw[target.mask], where) if target.per_atom else np.ones(1, dtype=bool)
    if (given := raw[target.name]) is not None:
        shapes = [shape] if target.per_atom else [target.shape, shape]
        array = _array(given, target.name, target.unit, shapes, where).reshape(shape)[kept]
        _check_finite(array, target.name, target.unit, where)
        values[kept] = array
    return values


def _mask(target: Target, value: Any, where: Where) -> BoolArray:
    n_atoms = len(where.atoms)
    mask = np.zeros(n_atoms, dtype=bool) if value is None else np.asarray(value)
    if mask.shape != (n_atoms,) or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise DataError(
            f"{where}: `{target.mask}` must be {n_atoms} booleans (True excludes the label of that atom), "
            f"got {mask.dtype} of shape {mask.shape}; correct or remove it"
        )
    return mask.astype(bool)


def _tensor(target: Target, raw: Mapping[str, Any], where: Where) -> FloatArray:
    """Symmetric tensor (1, 3, 3): the label itself, or what is shown of it times the volume; NaN where absent."""
    name, shown = target.name, target.shown
    own = None if raw[name] is None else _symmetric(raw[name], name, target.unit, where)
    if shown.name == name or raw[shown.name] is None:
        return np.full((1, 3, 3), np.nan) if own is None else own[None]
    volume = volumes_of(where.atoms.cell.array)
    if np.isnan(volume):
        raise DataError(
            f"{where}: `{shown.name}` must come with a three-dimensional cell ({name} = -{shown.name} * volume), got "
            f"one without volume; give `{name}` instead, or remove the {shown.name}"
        )
    converted = shown.sign * _symmetric(raw[shown.name], shown.name, shown.unit, where) * volume
    if own is None:
        return converted[None]
    difference = np.abs(converted - own).max()
    if difference > ASYMMETRY * max(np.abs(converted).max(), np.abs(own).max()) + 1e-6:
        raise DataError(
            f"{where}: `{name}` must equal -{shown.name} * volume, got a largest difference of {difference:.3g} eV; "
            f"remove one, or ignore it with LabelKeys({shown.name}=None)"
        )
    return own[None]


def _symmetric(value: Any, key: str, unit: str, where: Where) -> FloatArray:
    given = _array(value, key, unit, [(6,), (9,), (3, 3)], where)
    _check_finite(given, key, unit, where)
    tensor = from_voigt(given) if given.shape == (6,) else given.reshape(3, 3)
    if not is_symmetric(tensor):
        got = f"{tensor.tolist()}; the order of 6 values is xx, yy, zz, yz, xz, xy"
        raise where.bad_label(key, "be symmetric", got)
    return np.asarray(0.5 * (tensor + tensor.T))


def _sigma(target: Target, value: Any, where: Where) -> FloatArray:
    n = target.length(1, len(where.atoms))
    if value is None:
        return np.full(n, np.nan)
    sigma = _array(value, target.sigma, target.unit, [(), (1,), (n,)] if target.per_atom else [(), (1,)], where)
    if not np.isfinite(sigma).all() or np.any((sigma < 1.0 / _LARGEST) | (sigma > _LARGEST)):
        raise DataError(
            f"{where}: `{target.sigma}` must be finite and > 0 ({target.unit}), with a square that is too, got "
            f"{np.min(sigma):g}; correct or remove it"
        )
    return np.broadcast_to(sigma, (n,)).astype(float)

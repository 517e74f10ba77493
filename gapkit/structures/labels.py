"""Find and check the labels of one frame: shapes, finiteness, stress and virial conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.exceptions import DataError
from gapkit.structures.batch import SINGULAR_CELL
from gapkit.structures.keys import LabelKeys
from gapkit.targets import TARGETS, Target, from_voigt
from gapkit.typing import BoolArray, FloatArray

_ASYMMETRY = 1e-2


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


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """Labels of one frame by target, rows of one frame or of its atoms, NaN where absent.

    Attributes
    ----------
    values, sigmas : dict of str to array
        As in `Labels`.
    config_type : str
    found : frozenset of str
        Names of `LabelKeys` under which the frame holds something.
    """

    values: dict[str, FloatArray]
    sigmas: dict[str, FloatArray]
    config_type: str
    found: frozenset[str]


def results_of(atoms: Atoms) -> Mapping[str, Any]:
    """Return the results stored on the calculator, possibly stale, without running it."""
    results = getattr(atoms.calc, "results", None)
    return results if isinstance(results, Mapping) else {}


def frame_labels(atoms: Atoms, keys: LabelKeys, index: int) -> FrameLabels:
    """Read and check every label of one frame.

    Raises
    ------
    DataError
        If a label is not finite, has the wrong shape, is stale, or contradicts another.
    """
    where = Where(index, atoms, keys.config_type)
    raw: dict[str, Any] = {"config_type": _given(atoms, keys.config_type)}
    values, sigmas = {}, {}
    for target in TARGETS.values():
        labels = dict.fromkeys((target.name, target.shown.name))
        raw |= {name: _lookup(atoms, keys.of(name), name, where) for name in labels}
        raw |= {name: _given(atoms, keys.of(name)) for name in (target.sigma, target.mask)}
        values[target.name] = _value(target, raw, where)
        sigmas[target.name] = _sigma(target, raw[target.sigma], where)
    found = frozenset(name for name, value in raw.items() if value is not None)
    return FrameLabels(values, sigmas, where.config_type, found)


def _given(atoms: Atoms, key: str | None) -> Any:
    return None if key is None else _stored(atoms, key)


def _stored(atoms: Atoms, key: str) -> Any:
    value = atoms.info.get(key)
    return atoms.arrays.get(key) if value is None else value


def _lookup(atoms: Atoms, key: str | None, default: str, where: Where) -> Any:
    if key is None:
        return None
    sources = [lambda: _result(atoms, key, where), lambda: _stored(atoms, key)]
    for source in sources if key == default else sources[::-1]:
        value = source()
        if value is not None:
            return value
    return None


def _result(atoms: Atoms, key: str, where: Where) -> Any:
    value = results_of(atoms).get(key)
    if value is None:
        return None
    check = getattr(atoms.calc, "check_state", None)
    changes = check(atoms) if check is not None else ["calculator"]
    if not changes:
        return value
    if isinstance(atoms.calc, SinglePointCalculator):
        raise DataError(
            f"{where}: `{key}` must belong to the atoms as they are, but {', '.join(changes)} changed after it was "
            "computed; recompute it, or set atoms.calc = None to use the frame without it"
        )
    return None  # a live calculator with results of another structure: no label, and it is not run


def _numbers(value: Any, key: str, unit: str, where: Where) -> FloatArray:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: `{key}` must be numeric ({unit}), got {value!r}; correct or remove this label"
        ) from error


def _check_finite(values: FloatArray, key: str, unit: str, where: Where) -> None:
    bad = int(np.size(values) - np.isfinite(values).sum())
    if bad:
        raise DataError(
            f"{where}: `{key}` must be finite ({unit}), got NaN or infinity in {bad} of {np.size(values)} values; "
            "correct or remove this label"
        )


def _check_shape(values: FloatArray, shapes: list[tuple[int, ...]], key: str, where: Where) -> None:
    if values.shape not in shapes:
        raise DataError(
            f"{where}: `{key}` must have shape {' or '.join(map(str, shapes))}, got {values.shape}; "
            "correct or remove this label"
        )


def _value(target: Target, raw: dict[str, Any], where: Where) -> FloatArray:
    """Label (n, *shape) of a frame or its atoms, NaN where it is absent or masked."""
    if len(target.shape) == 2:
        return _tensor_of_two(target, raw, where)
    n = target.length(1, len(where.atoms))
    mask = _mask(target, raw[target.mask], where) if target.per_atom else np.zeros(n, dtype=bool)
    values = np.full((n, *target.shape), np.nan)
    if raw[target.name] is not None:
        given = _numbers(raw[target.name], target.name, target.unit, where)
        shape = (n, *target.shape)
        _check_shape(given, [shape] if target.per_atom else [target.shape, shape], target.name, where)
        given = given.reshape(shape)
        _check_finite(given[~mask], target.name, target.unit, where)
        values[~mask] = given[~mask]
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


def _tensor_of_two(target: Target, raw: dict[str, Any], where: Where) -> FloatArray:
    """Symmetric tensor (1, 3, 3), from the label itself or from what is shown of it, divided by the volume."""
    name, shown = target.name, target.shown
    own = None if raw[name] is None else _tensor(raw[name], name, target.unit, where)
    if shown.name == name or raw[shown.name] is None:
        return np.full((1, 3, 3), np.nan) if own is None else own[None]
    cell = where.atoms.cell.array
    volume = abs(np.linalg.det(cell))
    if volume <= SINGULAR_CELL * np.prod(np.linalg.norm(cell, axis=1)):
        raise DataError(
            f"{where}: `{shown.name}` must come with a three-dimensional cell ({name} = -{shown.name} * volume), got "
            f"one without volume; give `{name}` instead, or remove the {shown.name}"
        )
    converted = shown.sign * _tensor(raw[shown.name], shown.name, shown.unit, where) * volume
    if own is None:
        return converted[None]
    difference = np.abs(converted - own).max()
    if difference > _ASYMMETRY * max(np.abs(converted).max(), np.abs(own).max()) + 1e-6:
        raise DataError(
            f"{where}: `{name}` must equal -{shown.name} * volume, got a largest difference of {difference:.3g} eV; "
            f"remove one, or ignore it with LabelKeys({shown.name}=None)"
        )
    return own[None]


def _tensor(value: Any, key: str, unit: str, where: Where) -> FloatArray:
    given = _numbers(value, key, unit, where)
    _check_shape(given, [(6,), (9,), (3, 3)], key, where)
    _check_finite(given, key, unit, where)
    tensor = from_voigt(given) if given.shape == (6,) else given.reshape(3, 3)
    if np.abs(tensor - tensor.T).max() > _ASYMMETRY * np.abs(tensor).max() + 1e-12:
        raise DataError(
            f"{where}: `{key}` must be symmetric, got {tensor.tolist()}; the order of 6 values is "
            "xx, yy, zz, yz, xz, xy; correct or remove this label"
        )
    symmetric: FloatArray = 0.5 * (tensor + tensor.T)
    return symmetric


def _sigma(target: Target, value: Any, where: Where) -> FloatArray:
    n = target.length(1, len(where.atoms))
    if value is None:
        return np.full(n, np.nan)
    sigma = _numbers(value, target.sigma, target.unit, where)
    _check_shape(sigma, [(), (1,), (n,)] if target.per_atom else [(), (1,)], target.sigma, where)
    if not np.isfinite(sigma).all() or np.any(sigma <= 0):
        raise DataError(
            f"{where}: `{target.sigma}` must be finite and > 0 ({target.unit}), got {np.min(sigma)}; correct or remove "
            "it"
        )
    return np.broadcast_to(sigma, (n,)).astype(float)

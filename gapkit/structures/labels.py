"""Find and check the labels of one frame: shapes, finiteness, stress and virial conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.exceptions import DataError
from gapkit.structures.batch import SINGULAR_CELL
from gapkit.targets import from_voigt
from gapkit.typing import FloatArray

if TYPE_CHECKING:
    from gapkit.structures.read import LabelKeys

_UNITS = {"energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3", "virial": "eV"}
_SIGMA_UNITS = {"energy_sigma": "eV", "force_sigma": "eV/Å", "virial_sigma": "eV"}
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
    """Labels of one frame, NaN where absent; `found` names those that the frame holds."""

    energy: float
    forces: FloatArray
    virial: FloatArray
    energy_sigma: float
    force_sigma: FloatArray
    virial_sigma: float
    config_type: str
    found: frozenset[str] = field(default_factory=frozenset)


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
    raw: dict[str, Any] = {}
    for name, default in (("energy", "energy"), ("forces", "forces"), ("stress", "stress"), ("virial", "virial")):
        raw[name] = _lookup(atoms, getattr(keys, name), default, where)
    for name in ("energy_sigma", "force_sigma", "virial_sigma", "force_mask", "config_type"):
        key = getattr(keys, name)
        raw[name] = None if key is None else _stored(atoms, key)
    found = frozenset(name for name, value in raw.items() if value is not None)

    n_atoms = len(atoms)
    mask = _force_mask(raw["force_mask"], n_atoms, where)
    return FrameLabels(
        energy=_energy(raw["energy"], where),
        forces=_forces(raw["forces"], mask, where),
        virial=_virial(raw["stress"], raw["virial"], where),
        energy_sigma=float(_sigma(raw["energy_sigma"], "energy_sigma", 1, where)[0]),
        force_sigma=_sigma(raw["force_sigma"], "force_sigma", n_atoms, where),
        virial_sigma=float(_sigma(raw["virial_sigma"], "virial_sigma", 1, where)[0]),
        config_type=where.config_type,
        found=found,
    )


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


def _energy(value: Any, where: Where) -> float:
    if value is None:
        return float("nan")
    energy = _numbers(value, "energy", "eV", where)
    _check_shape(energy, [(), (1,)], "energy", where)
    _check_finite(energy, "energy", "eV", where)
    return float(energy.reshape(()))


def _force_mask(value: Any, n_atoms: int, where: Where) -> np.ndarray:
    if value is None:
        return np.zeros(n_atoms, dtype=bool)
    mask = np.asarray(value)
    if mask.shape != (n_atoms,) or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise DataError(
            f"{where}: `force_mask` must be {n_atoms} booleans (True excludes the force of that atom), "
            f"got {mask.dtype} of shape {mask.shape}; correct or remove it"
        )
    return mask.astype(bool)


def _forces(value: Any, mask: np.ndarray, where: Where) -> FloatArray:
    forces = np.full((len(mask), 3), np.nan)
    if value is None:
        return forces
    given = _numbers(value, "forces", "eV/Å", where)
    _check_shape(given, [(len(mask), 3)], "forces", where)
    _check_finite(given[~mask], "forces", "eV/Å", where)
    forces[~mask] = given[~mask]
    return forces


def _virial(stress: Any, virial: Any, where: Where) -> FloatArray:
    """Return the symmetric virial in eV from whichever of the two is given."""
    from_virial = None if virial is None else _tensor(virial, "virial", where)
    if stress is None:
        return np.full((3, 3), np.nan) if from_virial is None else from_virial
    cell = where.atoms.cell.array
    volume = abs(np.linalg.det(cell))
    if volume <= SINGULAR_CELL * np.prod(np.linalg.norm(cell, axis=1)):
        raise DataError(
            f"{where}: `stress` must come with a three-dimensional cell (virial = -stress * volume), got one without "
            "volume; give `virial` instead, or remove the stress"
        )
    from_stress = -_tensor(stress, "stress", where) * volume
    if from_virial is None:
        return from_stress
    scale = max(np.abs(from_stress).max(), np.abs(from_virial).max())
    if np.abs(from_stress - from_virial).max() > _ASYMMETRY * scale + 1e-6:
        raise DataError(
            f"{where}: `virial` must equal -stress * volume, got a largest difference of "
            f"{np.abs(from_stress - from_virial).max():.3g} eV; remove one, or ignore it with LabelKeys(stress=None)"
        )
    return from_virial


def _tensor(value: Any, key: str, where: Where) -> FloatArray:
    unit = _UNITS[key]
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


def _sigma(value: Any, key: str, length: int, where: Where) -> FloatArray:
    if value is None:
        return np.full(length, np.nan)
    sigma = _numbers(value, key, _SIGMA_UNITS[key], where)
    _check_shape(sigma, [(), (length,)] if length == 1 else [(), (1,), (length,)], key, where)
    if not np.isfinite(sigma).all() or np.any(sigma <= 0):
        raise DataError(
            f"{where}: `{key}` must be finite and > 0 ({_SIGMA_UNITS[key]}), got {np.min(sigma)}; correct or remove it"
        )
    return np.broadcast_to(sigma, (length,)).astype(float)

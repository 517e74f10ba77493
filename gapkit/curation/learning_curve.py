"""Test errors against the number of training frames, for several ways to choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from sklearn.base import clone

from gapkit.exceptions import DataError, InputError
from gapkit.potential import GAP
from gapkit.selection.select import Method, select
from gapkit.structures import to_batch
from gapkit.targets import to_voigt
from gapkit.typing import IntArray

Chooser = Callable[[Sequence[Atoms], int, int], Sequence[int] | IntArray]


@dataclass(frozen=True)
class CurvePoint:
    """One fit.

    Attributes
    ----------
    selector : str
    n_frames, seed : int
    n_atoms : int
        Of the training frames.
    energy_mae, energy_rmse : float or None
        eV/atom; None without labels.
    forces_mae, forces_rmse : float or None
        eV/Å.
    stress_mae, stress_rmse : float or None
        eV/Å^3.
    """

    selector: str
    n_frames: int
    seed: int
    n_atoms: int
    energy_mae: float | None
    energy_rmse: float | None
    forces_mae: float | None
    forces_rmse: float | None
    stress_mae: float | None
    stress_rmse: float | None


@dataclass(frozen=True)
class LearningCurve:
    """All fits; print it for means over seeds."""

    points: tuple[CurvePoint, ...]

    def mean(self, selector: str, n_frames: int, error: str) -> tuple[float, float]:
        """Mean and standard deviation over seeds of an error such as "forces_rmse"; NaN without labels.

        Raises
        ------
        InputError
            If there is no such fit or error.
        """
        if error not in list(CurvePoint.__dataclass_fields__)[4:]:
            raise InputError(f'`error` must be one such as "forces_rmse", got {error!r}')
        found = [getattr(p, error) for p in self.points if (p.selector, p.n_frames) == (selector, n_frames)]
        if not found:
            raise InputError(f"there is no fit to {n_frames} frames of {selector!r}")
        values = np.array([np.nan if value is None else value for value in found])
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"points": [asdict(point) for point in self.points]}

    def __str__(self) -> str:
        lines = [f"{'selector':16}{'frames':>7}{'energy meV/atom':>18}{'forces eV/Å':>18}{'stress meV/Å^3':>18}   RMSE"]
        for selector, n in dict.fromkeys((p.selector, p.n_frames) for p in self.points):
            cells = []
            for error, factor in (("energy_rmse", 1e3), ("forces_rmse", 1.0), ("stress_rmse", 1e3)):
                mean, std = self.mean(selector, n, error)
                cells.append(f"{factor * mean:.4g} ± {factor * std:.2g}".rjust(18))
            lines.append(f"{selector:16}{n:7d}{''.join(cells)}")
        return "\n".join(lines)


def learning_curve(
    model: GAP, frames: Sequence[Atoms], frames_test: Sequence[Atoms], sizes: Sequence[int], *,
    selectors: Sequence[Method] | Mapping[str, Chooser] = ("random", "v_optimal"), seeds: Sequence[int] = (0, 1),
    options: Mapping[str, Any] | None = None,
) -> LearningCurve:  # fmt: skip
    """Fit to selections of growing size and test on the same frames.

    Parameters
    ----------
    model : GAP
        Parameters of the fits; it is not changed.  Selectors that need a fitted model get it if it is fitted.
    frames, frames_test : list of Atoms
        Labelled.
    sizes : sequence of int
        Numbers of frames.  Selections of one seed are nested.
    selectors : sequence of str, or mapping of name to callable
        Methods of `select`, or functions of (frames, n, seed) that return n indices in order of preference.
    seeds : sequence of int
    options : mapping or None
        Further options of `select`, by name: per, quotas, descriptor, known, keys.

    Raises
    ------
    InputError
        If a size, selector or option is unusable.
    DataError
        If the test frames have no labels.
    """
    options = dict(options or {})
    unknown = set(options) - {"per", "quotas", "descriptor", "known", "keys"}
    if unknown or not sizes or not seeds or min(sizes) < 1 or max(sizes) > len(frames):
        raise InputError(
            f"`sizes` must be numbers of frames from 1 to {len(frames)} with at least one seed, `options` those of "
            f"`select`, got sizes {list(sizes)}, seeds {list(seeds)}, options {sorted(options)}"
        )
    fitted = model if hasattr(model, "model_") else None
    choosers: dict[str, Chooser]
    if isinstance(selectors, Mapping):
        choosers = dict(selectors)
    else:
        choosers = {method: _chooser(method, fitted, options) for method in selectors}
    nested = options.get("quotas") is None  # with quotas a small selection is no part of a large one
    points = []
    for name, choose in choosers.items():
        for seed in seeds:
            order = np.asarray(choose(frames, max(sizes), seed))
            for n in sorted(set(sizes)):
                chosen = order[:n] if nested or n == max(sizes) else np.asarray(choose(frames, n, seed))
                part = [frames[i] for i in chosen]
                errors = errors_of(clone(model).fit(part), frames_test)
                points.append(CurvePoint(name, n, seed, sum(map(len, part)), **errors))
    return LearningCurve(tuple(points))


def _chooser(name: Method, fitted: GAP | None, options: dict[str, Any]) -> Chooser:
    def choose(frames: Sequence[Atoms], n: int, seed: int) -> IntArray:
        return select(frames, n, name, model=fitted, random_state=seed, **options).indices

    return choose


def errors_of(model: GAP, frames: Sequence[Atoms]) -> dict[str, float | None]:
    """Mean absolute and root mean square errors by name, as in `CurvePoint`; None where there are no labels.

    Raises
    ------
    DataError
        If there are none at all.
    """
    batch = to_batch(frames, keys=model.label_keys, strict=False)
    labels = batch.labels
    assert labels is not None
    p = model.predict(frames)
    stress = labels.has_virial & np.isfinite(batch.volumes)
    virial = to_voigt(labels.virial)
    differences = {
        "energy": ((p.energy - labels.energy) / batch.n_atoms_per_frame)[labels.has_energy],
        "forces": (p.forces - labels.forces)[labels.has_forces],
        "stress": (p.stress + virial / batch.volumes[:, None])[stress],
    }
    if not any(d.size for d in differences.values()):
        raise DataError("`frames_test` must have energies, forces or stresses to compare with, found none")
    out: dict[str, float | None] = {}
    for kind, d in differences.items():
        out[f"{kind}_mae"] = float(np.abs(d).mean()) if d.size else None
        out[f"{kind}_rmse"] = float(np.sqrt(np.mean(d**2))) if d.size else None
    return out

"""Test errors against the number of training frames, for several ways to choose them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from gapkit.errors import Errors, evaluate
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, SeedNumber
from gapkit.potential import GAP
from gapkit.potential.checks import for_part
from gapkit.selection.select import Method, select
from gapkit.structures import to_batch
from gapkit.targets import shown_quantities
from gapkit.typing import IntArray

Chooser = Callable[[Sequence[Atoms], int, int], Sequence[int] | IntArray]


@dataclass(frozen=True)
class CurvePoint(Errors):
    """Test errors of one fit; `n_frames` and `n_atoms` are those of its training set."""

    selector: str = field(kw_only=True)
    seed: int = field(kw_only=True)


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
        if error not in (f"{name}_{kind}" for name in shown_quantities() for kind in ("mae", "rmse")):
            raise InputError(f'`error` must be one such as "forces_rmse", got {error!r}')
        found = [getattr(p, error) for p in self.points if (p.selector, p.n_frames) == (selector, n_frames)]
        if not found:
            raise InputError(f"there is no fit to {n_frames} frames of {selector!r}")
        values = np.array([np.nan if value is None else value for value in found])
        return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"points": [p.to_dict() | {"selector": p.selector, "seed": p.seed} for p in self.points]}

    def __str__(self) -> str:
        quantities = shown_quantities()
        headings = "".join(f"{name} {shown.printed_unit}".rjust(18) for name, shown in quantities.items())
        lines = [f"{'selector':16}{'frames':>7}{headings}   RMSE"]
        for selector, n in dict.fromkeys((p.selector, p.n_frames) for p in self.points):
            cells = []
            for name, shown in quantities.items():
                mean, std = (shown.printed_factor * value for value in self.mean(selector, n, f"{name}_rmse"))
                cells.append(f"{mean:.4g} ± {std:.2g}".rjust(18))
            lines.append(f"{selector:16}{n:7d}{''.join(cells)}")
        return "\n".join(lines)


@checked
def learning_curve(
    model: GAP, frames: Sequence[Atoms], frames_test: Sequence[Atoms], sizes: Sequence[Count], *,
    selectors: Sequence[Method] | Mapping[str, Chooser] = ("random", "v_optimal"), seeds: Sequence[SeedNumber] = (0, 1),
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
        Further options of `select`, by name: quotas, descriptor, known.

    Raises
    ------
    InputError
        If a size, selector or option is unusable.
    DataError
        If the test frames have no labels.
    """
    options = dict(options or {})
    unknown = set(options) - {"quotas", "descriptor", "known"}
    if unknown or not sizes or not seeds or min(sizes) < 1 or max(sizes) > len(frames):
        raise InputError(
            f"`sizes` must be numbers of frames from 1 to {len(frames)} with at least one seed, `options` those of "
            f"`select`, got sizes {list(sizes)}, seeds {list(seeds)}, options {sorted(options)}"
        )
    fitted = model if hasattr(model, "model_") else None
    choosers: Mapping[str, Chooser] = (
        selectors if isinstance(selectors, Mapping) else {name: _chooser(name, fitted, options) for name in selectors}
    )
    nested = options.get("quotas") is None  # with quotas a small selection is no part of a large one
    batch = to_batch(frames, keys=model.label_keys)
    points = []
    for name, choose in choosers.items():
        for seed in seeds:
            order = np.asarray(choose(frames, max(sizes), seed))
            for n in sorted(set(sizes)):
                chosen = order[:n] if nested or n == max(sizes) else np.asarray(choose(frames, n, seed))
                part = [frames[i] for i in chosen]
                errors = evaluate(for_part(model, batch, batch.select(chosen)).fit(part), frames_test).overall
                points.append(CurvePoint(n, sum(map(len, part)), errors.mae, errors.rmse, selector=name, seed=seed))
    return LearningCurve(tuple(points))


def _chooser(name: Method, fitted: GAP | None, options: dict[str, Any]) -> Chooser:
    def choose(frames: Sequence[Atoms], n: int, seed: int) -> IntArray:
        return select(frames, n, name, model=fitted, random_state=seed, **options).indices

    return choose

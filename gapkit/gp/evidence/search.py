"""Maximisation over log noise and log scales: what may move, and runs of L-BFGS-B."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from gapkit.exceptions import InputError
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.typing import FloatArray

_SCALED_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """Which hyperparameters may move, and how far."""

    fixed_noise: Collection[str] = ()  # kinds whose sigma is kept
    fixed_scales: Collection[int] = ()  # groups whose delta is kept
    # noise_bounds, scale_bounds: bounds of every sigma and of every delta
    noise_bounds: tuple[float, float] = (1e-6, 1e3)
    scale_bounds: tuple[float, float] = (1e-4, 1e4)
    # kinds whose sigma is `ratio` times that of another kind, throughout the search
    ties: Mapping[str, tuple[str, float]] = field(default_factory=dict)


class EvidenceSearch:
    """log p(y) over the log parameters (noise of each kind, then scale of each group) that are free to move."""

    def __init__(self, objective: EvidenceObjective, start: FloatArray, freedom: Freedom) -> None:
        kinds, groups = objective.kinds, range(objective.n_groups)
        self.objective, self.n_evaluations = objective, 0
        self.names = [f"noise of {kind}" for kind in kinds] + [f"scale {g}" for g in groups]
        leaders = [leader for leader, _ in freedom.ties.values()]
        for name, given, known in (
            ("fixed_noise", freedom.fixed_noise, kinds), ("fixed_scales", freedom.fixed_scales, groups),
            ("ties", freedom.ties, kinds), ("ties", leaders, [kind for kind in kinds if kind not in freedom.ties]),
        ):  # fmt: skip
            unknown = [key for key in given if key not in known]
            if unknown:
                raise InputError(f"`{name}` holds {unknown}, expected only {list(known)}")
        self._ties = [
            (kinds.index(kind), kinds.index(leader), np.log(ratio)) for kind, (leader, ratio) in freedom.ties.items()
        ]
        pairs = [freedom.noise_bounds] * len(kinds) + [freedom.scale_bounds] * len(groups)
        for name, (a, b) in zip(self.names, pairs, strict=True):
            if not 0 < a <= b < np.inf:
                raise InputError(f"bounds of the {name} must be 0 < lower <= upper, got ({a!r}, {b!r})")
        limits = np.log(np.array(pairs, dtype=np.float64)).reshape(-1, 2)
        fixed = [kind in freedom.fixed_noise for kind in kinds] + [g in freedom.fixed_scales for g in groups]
        limits[fixed] = start[fixed, None]
        for i, leader, log_ratio in self._ties:
            limits[i] = start[leader] + log_ratio
        self.lower, self.upper = limits.T.copy()

    def at_bounds(self, x: FloatArray) -> list[str]:
        """Names of the free parameters that ended at a bound."""
        limits = zip(self.names, x, self.lower, self.upper, strict=True)
        return [name for name, value, a, b in limits if a < b and value in (a, b)]

    def run(self, start: FloatArray, max_iterations: int, gradient_tolerance: float) -> OptimizeResult:
        """One start of L-BFGS-B: all log parameters `x`, `fun` = -log p(y), `success`, `message`."""
        free = self.lower < self.upper
        x = np.clip(start, self.lower, self.upper)
        # SciPy caps the gradient that it tests by the distance to the bounds: scaled, the tested number is small.
        unit = gradient_tolerance / _SCALED_TOLERANCE

        def objective(t: FloatArray) -> tuple[float, FloatArray]:
            x[free] = t
            value, gradient = self._evaluate(x)
            return -value / unit, -gradient[free] / unit

        if not free.any():
            return OptimizeResult(x=x, fun=-self._evaluate(x)[0], success=True, message="nothing to optimise")
        options = {"maxiter": max_iterations, "gtol": _SCALED_TOLERANCE, "ftol": 1e-7}
        bounds = np.column_stack([self.lower[free], self.upper[free]])
        found = minimize(objective, x[free], jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        x[free] = found.x
        self._apply_ties(x)
        found.update(x=x, fun=unit * float(found.fun))
        return found

    def _apply_ties(self, x: FloatArray) -> None:
        for i, leader, log_ratio in self._ties:
            x[i] = x[leader] + log_ratio

    def _evaluate(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Log p(y) and its gradient; tied parameters are set, and their gradient is their leader's."""
        self.n_evaluations += 1
        self._apply_ties(x)
        n_kinds = len(self.objective.kinds)
        values = np.exp(x)
        log_p, d_noise, d_scales = self.objective.evaluate(values[:n_kinds], values[n_kinds:])
        gradient = np.concatenate([d_noise, d_scales])
        for i, leader, _ in self._ties:
            gradient[leader] += gradient[i]
        return log_p, gradient

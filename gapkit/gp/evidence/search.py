"""The search behind the evidence: objective with log-normal priors, bounds, and runs of L-BFGS-B in log parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from gapkit.exceptions import InputError
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.typing import FloatArray

_SCALED_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LogNormalPrior:
    """Prior of a hyperparameter: log(value) ~ N(log(mean), width^2), so `mean` is the geometric mean (and median).

    Free noise evidence is known to inflate the energy sigma when force rows outnumber energies; a prior holds it.

    Parameters
    ----------
    mean : float
        In the unit of the hyperparameter, > 0.
    width : float, default=1.0
        Standard deviation of the natural logarithm, > 0: 0.7 is a factor of two.
    """

    mean: float
    width: float = 1.0

    def __post_init__(self) -> None:
        for name in ("mean", "width"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"`{name}` of a LogNormalPrior must be finite and > 0, got {value!r}")

    def log_density(self, log_value: float) -> tuple[float, float]:
        """Log density over log(value), up to its constant, and its slope."""
        t = (log_value - np.log(self.mean)) / self.width
        return -0.5 * t * t, -t / self.width


@dataclass
class SearchRun:
    """Where one start of the optimiser ended: log parameters, objective, and how."""

    x: FloatArray
    value: float
    converged: bool
    message: str
    history: list[float]


class EvidenceSearch:
    """The objective over log parameters (noise of each kind, then scale of each group), and runs of the optimiser."""

    def __init__(
        self,
        problem: EvidenceObjective,
        noise_priors: Mapping[str, LogNormalPrior],
        scale_priors: Mapping[int, LogNormalPrior],
        ties: Mapping[str, tuple[str, float]],
    ) -> None:
        self.problem = problem
        self.n_evaluations = 0
        self.names = [f"noise of {kind}" for kind in problem.kinds] + [f"scale {g}" for g in range(problem.n_groups)]
        self._check_names("noise_priors", noise_priors, problem.kinds)
        self._check_names("scale_priors", scale_priors, range(problem.n_groups))
        self.priors: list[LogNormalPrior | None] = [noise_priors.get(kind) for kind in problem.kinds]
        self.priors += [scale_priors.get(g) for g in range(problem.n_groups)]
        self._check_names("ties", ties, problem.kinds)
        self._check_names("ties", [leader for leader, _ in ties.values()], [k for k in problem.kinds if k not in ties])
        kinds = problem.kinds
        self.ties = [(kinds.index(kind), kinds.index(leader), np.log(ratio)) for kind, (leader, ratio) in ties.items()]

    @staticmethod
    def _check_names(name: str, given: Collection, known: Collection) -> None:
        unknown = [key for key in given if key not in known]
        if unknown:
            raise InputError(f"`{name}` holds {unknown}, expected only {list(known)}")

    def bounds(
        self,
        start: FloatArray,
        noise_bounds: tuple[float, float] | Mapping[str, tuple[float, float]],
        scale_bounds: tuple[float, float],
        fixed_noise: Collection[str],
        fixed_scales: Collection[int],
    ) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of all log parameters; equal where fixed."""
        self._check_names("fixed_noise", fixed_noise, self.problem.kinds)
        self._check_names("fixed_scales", fixed_scales, range(self.problem.n_groups))
        pairs = []
        for kind in self.problem.kinds:
            given = noise_bounds.get(kind, (1e-6, 1e3)) if isinstance(noise_bounds, Mapping) else noise_bounds
            pairs.append(given)
        pairs += [scale_bounds] * self.problem.n_groups
        for name, (a, b) in zip(self.names, pairs, strict=True):
            if not 0 < a <= b < np.inf:
                raise InputError(f"bounds of the {name} must be 0 < lower <= upper, got ({a!r}, {b!r})")
        limits = np.log(np.array(pairs, dtype=np.float64)).reshape(-1, 2)
        fixed = [kind in fixed_noise for kind in self.problem.kinds]
        fixed += [g in fixed_scales for g in range(self.problem.n_groups)]
        limits[fixed] = start[fixed, None]
        for i, leader, log_ratio in self.ties:
            limits[i] = start[leader] + log_ratio
        return limits[:, 0].copy(), limits[:, 1].copy()

    def apply_ties(self, x: FloatArray) -> None:
        """Set tied log parameters, in place."""
        for i, leader, log_ratio in self.ties:
            x[i] = x[leader] + log_ratio

    def __call__(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Negative objective and its gradient; that of a tied parameter is its leader's."""
        self.n_evaluations += 1
        n_kinds = len(self.problem.kinds)
        values = np.exp(x)
        objective, d_noise, d_scales = self.problem.evaluate(values[:n_kinds], values[n_kinds:])
        gradient = np.concatenate([d_noise, d_scales])
        for i, prior in enumerate(self.priors):
            if prior is not None:
                density, slope = prior.log_density(x[i])
                objective += density
                gradient[i] += slope
        for i, leader, _ in self.ties:
            gradient[leader] += gradient[i]
        return -objective, -gradient

    def run(
        self, start: FloatArray, lower: FloatArray, upper: FloatArray, max_iterations: int, gradient_tolerance: float
    ) -> SearchRun:
        """One start of L-BFGS-B over the free parameters."""
        free = lower < upper
        x = start.copy()
        history: list[float] = []
        # SciPy caps the gradient that it tests by the distance to the bounds: scaled, the tested number is small.
        unit = gradient_tolerance / _SCALED_TOLERANCE

        def objective(t: FloatArray) -> tuple[float, FloatArray]:
            x[free] = t
            self.apply_ties(x)
            value, gradient = self(x)
            return value / unit, gradient[free] / unit

        self.apply_ties(x)
        if not free.any():
            return SearchRun(x, -self(x)[0], True, "nothing to optimise", history)
        found = minimize(
            objective,
            start[free],
            jac=True,
            method="L-BFGS-B",
            bounds=np.column_stack([lower[free], upper[free]]),
            callback=lambda intermediate_result: history.append(-unit * float(intermediate_result.fun)),
            options={"maxiter": max_iterations, "gtol": _SCALED_TOLERANCE, "ftol": 1e-7},
        )
        x[free] = found.x
        self.apply_ties(x)
        return SearchRun(x, -unit * float(found.fun), bool(found.success), str(found.message), history)

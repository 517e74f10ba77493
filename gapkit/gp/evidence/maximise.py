"""Noise and kernel scales by maximum marginal likelihood (type-II), from the triangular factors alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import OptimizeResult, minimize

from gapkit.exceptions import ConvergenceWarning, InputError
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.solver import PriorBlock, check_problem
from gapkit.typing import FloatArray

_START_WIDTH = 1.0  # standard deviation, in log units, of the seeded starts about the given one
_SCALED_TOLERANCE = 1e-3
_AT_BOUND = 1e-6  # distance in log units from a bound


@dataclass(frozen=True, kw_only=True)
class Freedom:
    """Which hyperparameters may move, and how far."""

    fixed_noise: Collection[str] = ()  # kinds whose sigma is kept
    fixed_scales: Collection[int] = ()  # groups whose delta is kept
    noise_bounds: tuple[float, float] = (1e-6, 1e3)  # of every sigma
    scale_bounds: tuple[float, float] = (1e-4, 1e4)  # of every delta
    ties: Mapping[str, tuple[str, float]] = field(default_factory=dict)  # kind: another kind, and ratio to its sigma
    # kind: a sigma, and the number of further rows whose residuals it is
    shrinkage: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How long `maximise_evidence` looks."""

    n_starts: int = 2  # number of starts: the given values, then draws around them (log standard deviation 1)
    random_state: int | np.random.Generator | None = 0  # governs the draws
    max_iterations: int = 100  # for each start
    # a start has converged when the largest projected gradient in the log parameters is below this times the square
    # root of the number of rows, or the objective no longer changes by more than 1e-7 of itself
    tolerance: float = 1e-3
    ticked: Callable[[], object] | None = None  # called with every evaluation

    def __post_init__(self) -> None:
        if self.n_starts < 1:
            raise InputError(f"`n_starts` must be >= 1, got {self.n_starts}")


@dataclass(frozen=True)
class EvidenceResult:
    """What `maximise_evidence` found."""

    noise: dict[str, float]  # sigma of each kind, fixed ones included
    scales: tuple[float, ...]  # delta of each prior block, eV
    log_marginal_likelihood: float  # log p(y) at the optimum
    n_evaluations: int  # evaluations of log p(y) and its gradient over all starts
    converged: bool  # whether the best start met the tolerance of the optimiser
    message: str  # the optimiser's last word on that start, and the parameters at a bound
    # "lower" or "upper" bound by parameter, "noise of KIND" or "scale GROUP", for those that ended there
    at_bound: Mapping[str, str] = field(default_factory=dict)
    # sigma of each kind by configuration type, of those whose noise was found (`Noise(by_config_type=True)`)
    config_types: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class EvidenceSearch:
    """log p(y) over the log parameters (noise of each kind, then scale of each group) that are free to move."""

    def __init__(
        self, objective: EvidenceObjective, start: FloatArray, freedom: Freedom,
        ticked: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        self._ticked = ticked
        kinds, groups = objective.kinds, range(objective.n_groups)
        self.objective, self.n_evaluations = objective, 0
        self.names = [f"noise of {kind}" for kind in kinds] + [f"scale {g}" for g in groups]
        leaders = [leader for leader, _ in freedom.ties.values()]
        for name, given, known in (
            ("fixed_noise", freedom.fixed_noise, kinds), ("fixed_scales", freedom.fixed_scales, groups),
            ("ties", freedom.ties, kinds), ("ties", leaders, [kind for kind in kinds if kind not in freedom.ties]),
            ("shrinkage", freedom.shrinkage, [kind for kind in kinds if kind not in freedom.ties]),
        ):  # fmt: skip
            unknown = [key for key in given if key not in known]
            if unknown:
                raise InputError(f"`{name}` holds {unknown}, expected only {list(known)}")
        self._ties = [
            (kinds.index(kind), kinds.index(leader), np.log(ratio)) for kind, (leader, ratio) in freedom.ties.items()
        ]
        self._shrinkage = [(kinds.index(kind), np.log(sigma), n) for kind, (sigma, n) in freedom.shrinkage.items()]
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
        """Log p(y), and further rows where noise is shrunk, with its gradient.

        Tied parameters are set, and their gradient is their leader's.  n rows with residuals s, in the mean square, add
        -n (2 x + exp(-2 x)) / 2 with x = log(sigma / s): a scaled inverse chi-squared prior of sigma^2.
        """
        self.n_evaluations += 1
        if self._ticked is not None:
            self._ticked()
        self._apply_ties(x)
        n_kinds = len(self.objective.kinds)
        values = np.exp(x)
        log_p, d_noise, d_scales = self.objective.evaluate(values[:n_kinds], values[n_kinds:])
        gradient = np.concatenate([d_noise, d_scales])
        for i, leader, _ in self._ties:
            gradient[leader] += gradient[i]
        for i, log_sigma, n in self._shrinkage:
            off = x[i] - log_sigma
            log_p -= 0.5 * n * (2.0 * off + np.exp(-2.0 * off))
            gradient[i] -= n * (1.0 - np.exp(-2.0 * off))
        return log_p, gradient


def maximise_evidence(
    factors: Mapping[str, TriangularFactor], noise: Mapping[str, float], prior: Sequence[PriorBlock],
    scales: Sequence[float], *, groups: Sequence[int] | None = None, freedom: Freedom | None = None,
    settings: SearchSettings | None = None,
) -> EvidenceResult:  # fmt: skip
    """Maximise log p(y) over the log of noise and scales with L-BFGS-B and analytic gradients.

    Noise and scales are start values, which fixed parameters keep.  `groups` has for each block the index of the scale
    it shares; None: each has its own.  A ConvergenceWarning says that no start converged.
    Source: Rasmussen and Williams (2006), section 5.4.1; MacKay, Neural Computation 4, 415 (1992), for the traces.
    """
    check_problem(factors, noise, prior, scales)
    groups = list(range(len(prior))) if groups is None else list(groups)
    return maximise(EvidenceObjective(factors, prior, groups), noise, scales, groups, freedom, settings)


def maximise(
    objective: EvidenceObjective, noise: Mapping[str, float], scales: Sequence[float], groups: Sequence[int],
    freedom: Freedom | None = None, settings: SearchSettings | None = None,
) -> EvidenceResult:  # fmt: skip
    """The same with an objective, for several searches that share its matrices."""
    settings = SearchSettings() if settings is None else settings
    n_kinds = len(objective.kinds)
    of_group: dict[int, float] = {}
    for g, scale in zip(groups, scales, strict=True):
        if of_group.setdefault(g, float(scale)) != float(scale):
            raise InputError(f"`scales` of the blocks of group {g} must be equal, got {of_group[g]!r} and {scale!r}")
    start = np.log([noise[kind] for kind in objective.kinds] + [of_group[g] for g in sorted(of_group)])
    search = EvidenceSearch(objective, start, Freedom() if freedom is None else freedom, settings.ticked)
    rng = np.random.default_rng(settings.random_state)
    starts = [start] + [start + _START_WIDTH * rng.standard_normal(len(start)) for _ in range(settings.n_starts - 1)]
    tolerance = settings.tolerance * np.sqrt(objective.n_rows or 1)
    best = min((search.run(x, settings.max_iterations, tolerance) for x in starts), key=lambda run: run.fun)
    if not best.success:
        warnings.warn(
            f"evidence maximisation did not converge within {settings.max_iterations} iterations of each of "
            f"{settings.n_starts} starts ({best.message}); raise `max_iterations` or set the noise",
            ConvergenceWarning,
            stacklevel=3,
        )
    limits = zip(search.names, best.x, search.lower, search.upper, strict=True)
    at_bound = {
        name: "lower" if value <= a + _AT_BOUND else "upper"
        for name, value, a, b in limits
        if a < b and not a + _AT_BOUND < value < b - _AT_BOUND
    }
    values = np.exp(best.x)
    log_p, _, _ = objective.evaluate(values[:n_kinds], values[n_kinds:], eval_gradient=False)
    noise = {kind: float(v) for kind, v in zip(objective.kinds, values[:n_kinds], strict=True)}
    message = str(best.message) + (f"; at a bound: {', '.join(at_bound)}" if at_bound else "")
    of_block = tuple(float(values[n_kinds + g]) for g in groups)
    return EvidenceResult(noise, of_block, log_p, search.n_evaluations, bool(best.success), message, at_bound)

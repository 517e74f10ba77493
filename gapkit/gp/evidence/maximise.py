"""Noise and kernel scales by maximum marginal likelihood (type-II), from the triangular factors alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.exceptions import ConvergenceWarning, InputError
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.gp.evidence.search import EvidenceSearch, Freedom
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.solver import PriorBlock, check_problem
from gapkit.typing import FloatArray

_START_WIDTH = 1.0  # standard deviation, in log units, of the seeded starts about the given one


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How long `maximise_evidence` looks."""

    n_starts: int = 2  # number of starts: the given values, then draws around them (log standard deviation 1)
    random_state: int | np.random.Generator | None = 0  # governs the draws
    max_iterations: int = 100  # for each start
    # a start has converged when the largest projected gradient in the log parameters is below this times the square
    # root of the number of rows, or the objective no longer changes by more than 1e-7 of itself
    tolerance: float = 1e-3

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


def log_marginal_likelihood(
    factors: Mapping[str, TriangularFactor], noise: Mapping[str, float], prior: Sequence[PriorBlock],
    scales: Sequence[float],
) -> tuple[float, dict[str, float], FloatArray]:  # fmt: skip
    """Log p(y) of the training rows, its derivative by log sigma of each kind, and that by log delta of each block."""
    check_problem(factors, noise, prior, scales)
    objective = EvidenceObjective(factors, prior, range(len(prior)))
    sigma = np.array([noise[kind] for kind in objective.kinds], dtype=np.float64)
    log_p, d_noise, d_scales = objective.evaluate(sigma, np.asarray(scales, dtype=np.float64))
    return log_p, {kind: float(d) for kind, d in zip(objective.kinds, d_noise, strict=True)}, d_scales


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
    settings = SearchSettings() if settings is None else settings
    groups = list(range(len(prior))) if groups is None else list(groups)
    objective = EvidenceObjective(factors, prior, groups)
    n_kinds = len(objective.kinds)
    of_group: dict[int, float] = {}
    for g, scale in zip(groups, scales, strict=True):
        if of_group.setdefault(g, float(scale)) != float(scale):
            raise InputError(f"`scales` of the blocks of group {g} must be equal, got {of_group[g]!r} and {scale!r}")
    start = np.log([noise[kind] for kind in objective.kinds] + [of_group[g] for g in sorted(of_group)])
    search = EvidenceSearch(objective, start, Freedom() if freedom is None else freedom)
    rng = np.random.default_rng(settings.random_state)
    starts = [start] + [start + _START_WIDTH * rng.standard_normal(len(start)) for _ in range(settings.n_starts - 1)]
    tolerance = settings.tolerance * np.sqrt(sum(factor.n_rows for factor in factors.values()) or 1)
    best = min((search.run(x, settings.max_iterations, tolerance) for x in starts), key=lambda run: run.fun)
    if not best.success:
        warnings.warn(
            f"evidence maximisation did not converge within {settings.max_iterations} iterations of each of "
            f"{settings.n_starts} starts ({best.message}); raise `max_iterations` or set the noise",
            ConvergenceWarning,
            stacklevel=2,
        )
    at_bound = search.at_bounds(best.x)
    values = np.exp(best.x)
    log_p, _, _ = objective.evaluate(values[:n_kinds], values[n_kinds:], eval_gradient=False)
    return EvidenceResult(
        noise={kind: float(v) for kind, v in zip(objective.kinds, values[:n_kinds], strict=True)},
        scales=tuple(float(values[n_kinds + g]) for g in groups),
        log_marginal_likelihood=log_p,
        n_evaluations=search.n_evaluations,
        converged=bool(best.success),
        message=str(best.message) + (f"; at a bound: {', '.join(at_bound)}" if at_bound else ""),
    )

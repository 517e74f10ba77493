"""Noise and kernel scales by maximum marginal likelihood (type-II), from the triangular factors alone."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gapkit.exceptions import ConvergenceWarning, InputError
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.gp.evidence.search import EvidenceSearch, LogNormalPrior
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.solver import PriorBlock, check_problem
from gapkit.typing import FloatArray

_START_WIDTH = 1.0  # standard deviation, in log units, of the seeded starts about the given one
_REDUCTION_TOLERANCE = 1e-4  # sum of eigenvalues that a reduction may discard at the start
_REDUCTION_LIMIT = 0.01  # and at the optimum found; above, the optimisation goes on with all columns


@dataclass(frozen=True)
class EvidenceResult:
    """What `maximise_evidence` found.

    Attributes
    ----------
    noise : dict of kind to float
        sigma of each kind, fixed ones included.
    scales : tuple of float
        delta of each prior block, eV.
    log_marginal_likelihood : float
        log p(y) at the optimum, without the hyperparameters' priors.
    n_evaluations : int
        Evaluations of log p(y) and its gradient over all starts.
    converged : bool
        Whether the best start met the tolerance of the optimiser.
    message : str
        The optimiser's last word on that start, the parameters at a bound, and the columns used.
    history : tuple of float
        The objective (log p(y) plus log priors) at each iteration of that start.
    """

    noise: dict[str, float]
    scales: tuple[float, ...]
    log_marginal_likelihood: float
    n_evaluations: int
    converged: bool
    message: str
    history: tuple[float, ...] = field(repr=False)


def log_marginal_likelihood(
    factors: Mapping[str, TriangularFactor],
    noise: Mapping[str, float],
    prior: Sequence[PriorBlock],
    scales: Sequence[float],
    *,
    eval_gradient: bool = True,
) -> float | tuple[float, dict[str, float], FloatArray]:
    """The log marginal likelihood log p(y) of the training rows.

    Parameters
    ----------
    factors, noise, prior, scales
        As for `solve_weights`.
    eval_gradient : bool, default=True

    Returns
    -------
    log_p : float
        All constants included.
    d_log_noise : dict of kind to float
        d log p / d log sigma of each kind; only if `eval_gradient`.
    d_log_scales : array of shape (n_blocks,)
        d log p / d log delta of each block; only if `eval_gradient`.

    Raises
    ------
    InputError
        As `solve_weights`.
    """
    check_problem(factors, noise, prior, scales)
    problem = EvidenceObjective(factors, prior, range(len(prior)))
    sigma = np.array([noise[kind] for kind in problem.kinds], dtype=np.float64)
    log_p, d_noise, d_scales = problem.evaluate(
        sigma, np.asarray(scales, dtype=np.float64), eval_gradient=eval_gradient
    )
    if not eval_gradient:
        return log_p
    return log_p, {kind: float(d) for kind, d in zip(problem.kinds, d_noise, strict=True)}, d_scales


def maximise_evidence(
    factors: Mapping[str, TriangularFactor],
    noise: Mapping[str, float],
    prior: Sequence[PriorBlock],
    scales: Sequence[float],
    *,
    groups: Sequence[int] | None = None,
    fixed_noise: Collection[str] = (),
    fixed_scales: Collection[int] = (),
    noise_bounds: tuple[float, float] | Mapping[str, tuple[float, float]] = (1e-6, 1e3),
    scale_bounds: tuple[float, float] = (1e-4, 1e4),
    noise_priors: Mapping[str, LogNormalPrior] | None = None,
    scale_priors: Mapping[int, LogNormalPrior] | None = None,
    ties: Mapping[str, tuple[str, float]] | None = None,
    n_starts: int = 2,
    random_state: int | np.random.Generator | None = 0,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
    max_columns: int = 1500,
) -> EvidenceResult:
    """Maximise log p(y) (plus log priors) over the log of noise and scales with L-BFGS-B and analytic gradients.

    Parameters
    ----------
    factors, prior
        As for `solve_weights`.
    noise, scales
        Start values, which fixed parameters keep.
    groups : sequence of int, optional
        For each block the index of the scale it shares. Blocks of a group must start with the same scale. Default: each
        block has its own.
    fixed_noise : collection of kinds
        Kinds whose sigma is kept.
    fixed_scales : collection of int
        Groups whose delta is kept.
    noise_bounds, scale_bounds : pair of floats
        Bounds of sigma (all kinds, or by kind) and of delta.
    noise_priors, scale_priors : mapping of kind, or of group, to LogNormalPrior
    ties : mapping of kind to (kind, ratio), optional
        Kinds whose sigma is `ratio` times that of another kind, throughout the search.
    n_starts : int, default=2
        Number of starts: the given values, then draws around them (log standard deviation 1).
    random_state : int, Generator or None
        Governs the draws.
    max_iterations : int, default=100
        For each start.
    tolerance : float, default=1e-3
        A start has converged when the largest projected gradient in the log parameters is below this times the
        number of rows' square root, or the objective no longer changes by more than 1e-7 of itself.
    max_columns : int, default=1500
        With more columns than this, the search uses the leading eigenvectors of the whitened Gram matrix of each group:
        those discarded carry together less than 1e-4 (prior: 1 each) at the start. If they carry more than 0.01 at the
        optimum found, it is refined with all columns; the loss in log det A is at most that sum. Scales that the
        data do not determine (flat evidence) may end elsewhere than with all columns; determined ones move by < 1 %.

    Returns
    -------
    EvidenceResult

    Raises
    ------
    InputError
        If a name or index is unknown, start values of a group differ, or bounds are not ordered and > 0.

    Warns
    -----
    ConvergenceWarning
        If no start converged.

    References
    ----------
    Rasmussen and Williams (2006), section 5.4.1; MacKay, Neural Computation 4, 415 (1992), for the traces.
    """
    check_problem(factors, noise, prior, scales)
    groups = list(range(len(prior))) if groups is None else list(groups)
    if n_starts < 1:
        raise InputError(f"`n_starts` must be >= 1, got {n_starts}")
    problem = EvidenceObjective(factors, prior, groups)
    start = np.log([noise[kind] for kind in problem.kinds] + _group_scales(groups, scales))
    search = EvidenceSearch(problem, noise_priors or {}, scale_priors or {}, ties or {})
    lower, upper = search.bounds(start, noise_bounds, scale_bounds, fixed_noise, fixed_scales)
    rng = np.random.default_rng(random_state)
    starts = [np.clip(start, lower, upper)]
    for _ in range(n_starts - 1):
        starts.append(np.clip(start + _START_WIDTH * rng.standard_normal(len(start)), lower, upper))

    gradient_tolerance = tolerance * np.sqrt(sum(factor.n_rows for factor in factors.values()) or 1)
    n_kinds = len(problem.kinds)
    if problem.n_columns > max_columns:
        search.problem = problem.reduce(
            np.exp(starts[0][:n_kinds]), np.exp(starts[0][n_kinds:]), tolerance=_REDUCTION_TOLERANCE
        )
    best = max((search.run(x, lower, upper, max_iterations, gradient_tolerance) for x in starts), key=lambda r: r.value)
    if search.problem is not problem:
        lost = search.problem.discarded(np.exp(best.x[:n_kinds]), np.exp(best.x[n_kinds:]))
        if lost > _REDUCTION_LIMIT:
            search.problem = problem
            best = search.run(best.x, lower, upper, max_iterations, gradient_tolerance)

    message = best.message
    at_bound = [name for name, x, a, b in zip(search.names, best.x, lower, upper, strict=True) if a < b and x in (a, b)]
    if at_bound:
        message += f"; at a bound: {', '.join(at_bound)}"
    message += f"; {search.problem.n_columns} of {problem.n_columns} columns used"
    if not best.converged:
        warnings.warn(
            f"evidence maximisation did not converge within {max_iterations} iterations of each of {n_starts} starts "
            f"({best.message}); raise `max_iterations` or set the noise",
            ConvergenceWarning,
            stacklevel=2,
        )
    values = np.exp(best.x)
    log_p, _, _ = problem.evaluate(values[:n_kinds], values[n_kinds:], eval_gradient=False)
    return EvidenceResult(
        noise={kind: float(v) for kind, v in zip(problem.kinds, values[:n_kinds], strict=True)},
        scales=tuple(float(values[n_kinds + g]) for g in groups),
        log_marginal_likelihood=log_p,
        n_evaluations=search.n_evaluations,
        converged=best.converged,
        message=message,
        history=tuple(best.history),
    )


def _group_scales(groups: Sequence[int], scales: Sequence[float]) -> list[float]:
    """Start value of each group; its blocks must agree."""
    start: dict[int, float] = {}
    for g, scale in zip(groups, scales, strict=True):
        if start.setdefault(g, float(scale)) != float(scale):
            raise InputError(f"`scales` of the blocks of group {g} must be equal, got {start[g]!r} and {scale!r}")
    return [start[g] for g in sorted(start)]


__all__ = ["EvidenceResult", "LogNormalPrior", "log_marginal_likelihood", "maximise_evidence"]

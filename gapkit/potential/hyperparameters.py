"""Noise levels and kernel scales by evidence, with the energy noise kept in proportion to that of the forces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.gp.evidence import EvidenceResult, maximise_evidence
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import DEFAULT_NOISE, Noise
from gapkit.gp.solver import PriorBlock
from gapkit.potential.terms import Term

# Free evidence inflates the energy noise, because a local model explains many forces better than few total energies, while
# users want energy differences right.  The ratios keep both residuals at the proportion seen in converged potentials.
ENERGY_TO_FORCE = 0.01
ROUNDS = 3
AGREEMENT = 0.05


@dataclass(frozen=True)
class Hyperparameters:
    """Noise sigma by kind (eV/atom, eV/Å, eV/atom), delta of every prior block in eV, and how they were found."""

    noise: dict[str, float]
    scales: list[float]
    log_marginal_likelihood: float
    n_evaluations: int
    converged: bool
    message: str


def choose_hyperparameters(
    factors: Mapping[str, TriangularFactor],
    prior: Sequence[PriorBlock],
    term_of_block: Sequence[int],
    terms: Sequence[Term],
    noise: Noise,
    rng: np.random.Generator,
) -> Hyperparameters:
    """Maximise the evidence over everything that was not given.

    The force noise and the kernel scales are free; energy and virial noise follow the force noise at fixed ratios
    (they are free when there are no forces).  Since the ratios tie parameters, the search is repeated until they agree.
    """
    kernels = [term.resolved_kernel() for term in terms]
    used = sorted(set(term_of_block))
    groups = [used.index(term) for term in term_of_block]
    fixed_scales = [i for i, term in enumerate(used) if kernels[term].hyperparameter_delta.fixed]
    scales = [float(kernels[term].delta) for term in term_of_block]
    start = {kind: v for kind, v in noise.filled(DEFAULT_NOISE).as_dict().items() if kind in factors}
    tied = {"energy": ENERGY_TO_FORCE} if "forces" in factors else {}
    tied = {kind: ratio for kind, ratio in tied.items() if kind in factors and kind in noise.free}
    given = [kind for kind in factors if kind not in noise.free]
    n_evaluations = 0
    result: EvidenceResult | None = None
    for _ in range(ROUNDS):
        force = start.get("forces", np.nan)
        start.update({kind: ratio * force for kind, ratio in tied.items()})
        result = maximise_evidence(
            factors, start, prior, scales, groups=groups, fixed_noise=[*given, *tied], fixed_scales=fixed_scales,
            n_starts=1, random_state=rng,
        )  # fmt: skip
        n_evaluations += result.n_evaluations
        scales, start = list(result.scales), dict(result.noise)
        if not tied or abs(np.log(start["forces"] / force)) < AGREEMENT:
            break
    assert result is not None
    start.update({kind: ratio * start["forces"] for kind, ratio in tied.items()})
    return Hyperparameters(
        start, scales, result.log_marginal_likelihood, n_evaluations, result.converged, result.message
    )



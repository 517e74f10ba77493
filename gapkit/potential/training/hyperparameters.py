"""Noise levels and kernel scales by evidence, with the energy noise kept in proportion to that of the forces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from gapkit.gp.evidence.maximise import EvidenceResult, SearchSettings, maximise_evidence
from gapkit.gp.evidence.search import Freedom
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import DEFAULT_NOISE, Noise
from gapkit.gp.solver import PriorBlock
from gapkit.potential.term import Term

# Free evidence inflates the energy noise, because a local model explains many forces better than few total energies,
# while users want energy differences right.  Test errors changed little for ratios (Å per atom) of 0.01 to 0.06.
ENERGY_TO_FORCE = 0.03

# Largest gradient of the evidence at convergence, over the square root of the rows: the noise is then found to 1 %.
TOLERANCE = 0.05
MAX_ITERATIONS = 40
# Sparse points up to which the search has a second start: beyond, a single evaluation takes most of a second.
SEVERAL_STARTS_UP_TO = 1200


def choose_hyperparameters(
    factors: Mapping[str, TriangularFactor], prior: Sequence[PriorBlock], term_of_block: Sequence[int],
    terms: Sequence[Term], noise: Noise, rng: np.random.Generator,
) -> EvidenceResult:  # fmt: skip
    """Maximise the evidence over everything that was not given; it is NaN where all was.

    Force and virial noise and the kernel scales are free; the energy noise follows the force noise at a fixed ratio (it
    is free when there are no forces).
    """
    kernels = [term.resolved_kernel() for term in terms]
    used = sorted(set(term_of_block))
    groups = [used.index(term) for term in term_of_block]
    fixed_scales = [i for i, term in enumerate(used) if str(kernels[term].delta_bounds) == "fixed"]
    scales = [float(kernels[term].delta) for term in term_of_block]
    start = {kind: v for kind, v in noise.filled(DEFAULT_NOISE).as_dict().items() if kind in factors}
    tied = {"energy", "forces"} <= set(factors) and "energy" in noise.free
    given = [kind for kind in factors if kind not in noise.free]
    if len(given) == len(factors) and len(fixed_scales) == len(used):
        return EvidenceResult(start, tuple(scales), float("nan"), 0, True, "all were given")
    freedom = Freedom(
        fixed_noise=given, fixed_scales=fixed_scales, noise_bounds=(1e-5, 1e2),
        ties={"energy": ("forces", ENERGY_TO_FORCE)} if tied else {},
    )  # fmt: skip
    settings = SearchSettings(
        n_starts=2 if prior[-1].columns.stop <= SEVERAL_STARTS_UP_TO else 1, random_state=rng,
        max_iterations=MAX_ITERATIONS, tolerance=TOLERANCE,
    )  # fmt: skip
    result = maximise_evidence(factors, start, prior, scales, groups=groups, freedom=freedom, settings=settings)
    # The search works in logarithms, which round: what was given is returned as it was given.
    both = zip(scales, result.scales, groups, strict=True)
    found = tuple(delta if group in fixed_scales else new for delta, new, group in both)
    return replace(result, noise={**result.noise, **{kind: start[kind] for kind in given}}, scales=found)

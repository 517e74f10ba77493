"""A fit: sparse points, rows, hyperparameters, weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gapkit.descriptors import Descriptor
from gapkit.gp.basis import SparseBasis
from gapkit.gp.evidence.maximise import EvidenceResult, Freedom, SearchSettings, maximise_evidence
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.gp.factors import TriangularFactor, check_finite
from gapkit.gp.noise import DEFAULT_NOISE, Noise
from gapkit.gp.solver import PriorBlock
from gapkit.gp.tape import ArrayStore
from gapkit.kernels import GapKernel
from gapkit.parallel import limit_blas
from gapkit.potential.defaults import default_terms, plan_terms
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.term import Term, TermPlan, as_term
from gapkit.potential.training.checkpoint import Checkpoint
from gapkit.potential.training.estimate import SEVERAL_STARTS_UP_TO, Resources
from gapkit.potential.training.kept_rows import KeptRows
from gapkit.potential.training.plausibility import warn_of_hyperparameters
from gapkit.potential.training.rows import RowMaker
from gapkit.potential.training.source import LocalSource
from gapkit.potential.training.sparse_points import adapted, select_points
from gapkit.potential.training.types_of_noise import (
    in_order,
    kind_of,
    merged,
    ratios_of,
    search_by_type,
    sigmas_of,
)
from gapkit.structures import AtomsBatch
from gapkit.terms import KnownEnergy
from gapkit.typing import IntArray

# Free evidence inflates the energy noise, because a local model explains many forces better than few total energies,
# while users want energy differences right.  Test errors changed little for ratios (Å per atom) of 0.01 to 0.06.
ENERGY_TO_FORCE = 0.03

# Largest gradient of the evidence at convergence, over the square root of the rows: the noise is then found to 1 %.
TOLERANCE = 0.05
MAX_ITERATIONS = 40


@dataclass(frozen=True, eq=False)
class FitPlan:
    """The plan of every term, with engines of all features, and what else follows from the data."""

    of_terms: list[TermPlan]
    truncation: float  # part of a vector's length that may be left out
    types: tuple[str, ...] = ()  # configuration types whose noise is to be found

    @classmethod
    def of(
        cls, terms: Sequence[Term | Descriptor] | None, n_sparse: int | None, truncation: float, batch: AtomsBatch
    ) -> FitPlan:
        """The plan of a fit to a batch; terms of None are the default ones of the data."""
        listed = default_terms(batch) if terms is None else [as_term(item) for item in terms]
        return cls(plan_terms(listed, n_sparse, batch), truncation)

    @property
    def kernels(self) -> list[GapKernel]:
        """Kernel of every term."""
        return [plan.term.resolved_kernel() for plan in self.of_terms]

    def choose_points(
        self, batch: AtomsBatch, rng: np.random.Generator, resources: Resources
    ) -> tuple[SparseBasis, IntArray]:
        """Basis of adapted engines and sparse points, and the frames and atoms (2, M) that gave the points."""
        plans = [adapted(plan, batch, self.truncation) for plan in self.of_terms]
        points = select_points(plans, batch, rng)
        engines = [plan.engine for plan in plans]
        vectors = [[(block, chosen.x) for block, chosen in of_term] for of_term in points]
        with limit_blas(resources.n_jobs, sum(plan.n_sparse for plan in plans)):
            basis = SparseBasis.build(engines, self.kernels, vectors, tolerance=self.truncation)
        return basis, np.hstack([(chosen.frames, chosen.atoms) for of_term in points for _, chosen in of_term])


def fit_state(
    source: LocalSource, plan: FitPlan, known: KnownEnergy, noise: Noise, rng: np.random.Generator,
    resources: Resources, checkpoint: Checkpoint | None = None, store: ArrayStore | None = None,
) -> tuple[FittedState, EvidenceResult]:  # fmt: skip
    """State without calibration and metadata, and hyperparameters.

    With a store, frames and reflectors of the rows are kept.
    """
    terms, engines = zip(*((of_term.term, of_term.engine) for of_term in plan.of_terms), strict=True)
    stages = resources.stages
    chosen = None if checkpoint is None else checkpoint.selection(engines, plan.kernels, rng)
    if chosen is None:
        with stages.stage("select"):
            chosen = plan.choose_points(source.batch, rng, resources)
            stages.note(f"{chosen[0].n_columns:,} sparse points")
            if checkpoint is not None:
                checkpoint.keep_selection(*chosen, rng)
    elif checkpoint is not None:
        stages.say(f"fit: goes on from the checkpoint {checkpoint.path}, which has the sparse points")
    basis, origins = chosen
    factors: dict[str, TriangularFactor] = {}
    rows = None
    maker = RowMaker(basis, known, noise, plan.types)
    with stages.stage("rows", bar=False):
        if store is None:
            source.accumulate(maker, factors, resources, checkpoint)
        else:
            rows = KeptRows(store).with_frames(maker, source.batch, resources)
            factors = rows.model_factors()
        stages.note(f"{sum(factor.n_rows for factor in factors.values()):,} rows")
    factors = {key: factors[key] for key in in_order(factors)}  # as a model file has them
    check_finite(factors)
    with limit_blas(resources.n_jobs, basis.n_columns):
        with stages.stage("evidence", unit="evaluation") as bar:
            prior = basis.prior()
            found, of_triangles = choose_hyperparameters(
                factors, prior, basis.term_of_block, terms, noise, rng, bar.update
            )
            if plan.types:
                ratios = ratios_of(of_triangles, found.noise, plan.types)
                factors, noise = merged(factors, of_triangles, found.noise), noise.with_ratios(ratios)
                found = replace(found, config_types=sigmas_of(ratios, found.noise))
            stages.note(f"{found.n_evaluations} evaluations")
        names = [type(terms[term].descriptor).__name__ for term in sorted(set(basis.term_of_block))]
        warn_of_hyperparameters(found, factors, names, noise.free)
        with stages.stage("solve"):
            sparse, evidence = SparseModel.solve(basis, prior, factors, found.noise, found.scales)
    state = FittedState(
        terms,
        sparse,
        known,
        found.noise,
        noise,
        origins[0],
        origins[1],
        factors=factors,
        rows=rows,
        log_marginal_likelihood=evidence,
    )
    return state, found


def choose_hyperparameters(
    factors: Mapping[str, TriangularFactor], prior: Sequence[PriorBlock], term_of_block: Sequence[int],
    terms: Sequence[Term], noise: Noise, rng: np.random.Generator, ticked: Callable[[], object] | None = None,
) -> tuple[EvidenceResult, dict[str, float]]:  # fmt: skip
    """Maximise the evidence over everything that was not given (it is NaN where all was); also noise of each triangle.

    Force and virial noise and the kernel scales are free; the energy noise follows the force noise at a fixed ratio (it
    is free when there are no forces).
    """
    kernels = [term.resolved_kernel() for term in terms]
    used = sorted(set(term_of_block))
    groups = [used.index(term) for term in term_of_block]
    fixed_scales = [i for i, term in enumerate(used) if str(kernels[term].delta_bounds) == "fixed"]
    scales = [float(kernels[term].delta) for term in term_of_block]
    kinds = {kind_of(key) for key in factors}
    start = {kind: v for kind, v in noise.filled(DEFAULT_NOISE).as_dict().items() if kind in kinds}
    tied = {"energy", "forces"} <= kinds and "energy" in noise.free
    given = [kind for kind in start if kind not in noise.free]
    if len(given) == len(kinds) and len(fixed_scales) == len(used):
        return EvidenceResult(start, tuple(scales), float("nan"), 0, True, "all were given"), start
    freedom = Freedom(
        fixed_noise=given, fixed_scales=fixed_scales, noise_bounds=(1e-5, 1e2),
        ties={"energy": ("forces", ENERGY_TO_FORCE)} if tied else {},
    )  # fmt: skip
    settings = SearchSettings(
        n_starts=2 if prior[-1].columns.stop <= SEVERAL_STARTS_UP_TO else 1, random_state=rng,
        max_iterations=MAX_ITERATIONS, tolerance=TOLERANCE, ticked=ticked,
    )  # fmt: skip
    if kinds == set(factors):
        result = maximise_evidence(factors, start, prior, scales, groups=groups, freedom=freedom, settings=settings)
        of_triangles = result.noise
    else:
        objective = EvidenceObjective(factors, prior, groups)
        result, of_triangles = search_by_type(objective, start, scales, groups, freedom, settings)
    # The search works in logarithms, which round: what was given is returned as it was given.
    both = zip(scales, result.scales, groups, strict=True)
    scales = [delta if group in fixed_scales else new for delta, new, group in both]
    exact = {kind: start[kind] for kind in given}
    return replace(result, noise=result.noise | exact, scales=tuple(scales)), of_triangles | exact

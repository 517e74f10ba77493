"""A fit: sparse points, rows, hyperparameters, weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.descriptors import Descriptor
from gapkit.descriptors.base import Engine
from gapkit.gp.basis import SparseBasis
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import Noise
from gapkit.parallel import limit_blas
from gapkit.potential.defaults import default_terms, share_sparse_points
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.term import Term, as_term
from gapkit.potential.training.checkpoint import Checkpoint
from gapkit.potential.training.estimate import check_memory, estimate_fit, memory_for_rows
from gapkit.potential.training.hyperparameters import Hyperparameters, choose_hyperparameters
from gapkit.potential.training.row_maker import RowMaker
from gapkit.potential.training.source import LocalSource
from gapkit.potential.training.sparse_points import select_points, truncated
from gapkit.structures import AtomsBatch
from gapkit.terms import KnownEnergy
from gapkit.typing import IntArray


@dataclass(frozen=True)
class Resources:
    """Memory in GB (None: what is free), threads (None: all cores), and whether progress is shown."""

    memory_limit: float | None = None
    n_jobs: int | None = None
    progress: bool = False


@dataclass(frozen=True, eq=False)
class FitPlan:
    """Terms, their engines of all features, and their sparse points.

    Attributes
    ----------
    numbers : list of int
        Sparse points of every term over all its blocks.
    explicit : list of bool
        Whether the user gave the number.
    truncation : float
        Part of a vector's length that may be left out.
    """

    terms: list[Term]
    engines: list[Engine]
    numbers: list[int]
    explicit: list[bool]
    truncation: float

    @classmethod
    def of(
        cls, terms: Sequence[Term | Descriptor] | None, n_sparse: int | None, truncation: float, batch: AtomsBatch
    ) -> FitPlan:
        """The plan of a fit to a batch; terms of None are the default ones of the data."""
        listed = default_terms(batch) if terms is None else [as_term(item) for item in terms]
        engines = [term.descriptor.engine(term.descriptor.resolve_species(batch.species)) for term in listed]
        return cls(listed, engines, *share_sparse_points(listed, engines, n_sparse, batch), truncation)

    def choose_points(
        self, batch: AtomsBatch, rng: np.random.Generator, resources: Resources
    ) -> tuple[SparseBasis, IntArray]:
        """Basis of truncated engines and sparse points, and the frames (M,) that gave the points."""
        engines = [
            truncated(term, whole, batch, self.truncation) for term, whole in zip(self.terms, self.engines, strict=True)
        ]
        estimate = estimate_fit(batch, engines, self.numbers, resources.n_jobs)
        check_memory(estimate, resources.memory_limit, resources.progress)
        points = select_points(self.terms, engines, self.numbers, batch, rng, explicit=self.explicit)
        kernels = [term.resolved_kernel() for term in self.terms]
        vectors = [[(block, chosen.x) for block, chosen in of_term] for of_term in points]
        with limit_blas(resources.n_jobs, sum(self.numbers)):
            basis = SparseBasis.build(engines, kernels, vectors, tolerance=self.truncation)
        return basis, np.concatenate([chosen.frames for of_term in points for _, chosen in of_term])


def fit_state(
    source: LocalSource, plan: FitPlan, known: KnownEnergy, noise: Noise, rng: np.random.Generator,
    resources: Resources, checkpoint: Checkpoint | None = None,
) -> tuple[FittedState, Hyperparameters, dict[str, float]]:  # fmt: skip
    """Fit a plan to the frames of a source.

    Returns
    -------
    FittedState
        Without calibration and metadata.
    Hyperparameters
    dict of str to float
        Seconds of every step.
    """
    times = [time.perf_counter()]
    kernels = [term.resolved_kernel() for term in plan.terms]
    chosen = None if checkpoint is None else checkpoint.selection(plan.engines, kernels, rng)
    if chosen is None:
        chosen = plan.choose_points(source.batch, rng, resources)
        if checkpoint is not None:
            checkpoint.keep_selection(*chosen, rng)
    basis, origins = chosen
    times.append(time.perf_counter())
    factors: dict[str, TriangularFactor] = {}
    source.accumulate(
        RowMaker(basis, known, noise), factors, memory=memory_for_rows(basis.n_columns, resources.memory_limit),
        n_jobs=resources.n_jobs, progress=resources.progress, checkpoint=checkpoint,
    )  # fmt: skip
    times.append(time.perf_counter())
    with limit_blas(resources.n_jobs, basis.n_columns):
        prior = basis.prior()
        found = choose_hyperparameters(factors, prior, basis.term_of_block, plan.terms, noise, rng)
        times.append(time.perf_counter())
        sparse, evidence = SparseModel.solve(basis, prior, factors, found.noise, found.scales)
    times.append(time.perf_counter())
    state = FittedState(
        tuple(plan.terms), sparse, known, found.noise, noise, origins, factors, log_marginal_likelihood=evidence
    )
    steps = ("select", "rows", "evidence", "solve")
    return state, found, dict(zip(steps, np.diff(times).tolist(), strict=True))

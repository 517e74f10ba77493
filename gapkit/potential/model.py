"""The sparse Gaussian process of a potential: basis, posterior and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from gapkit.descriptors.base import Engine
from gapkit.exceptions import DataError, InputError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.factors import TriangularFactor, check_finite
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.posterior import Posterior, SandwichPosterior
from gapkit.gp.prediction import LinearPrediction, PredictionPlan, Uncertainty, Wanted, predict
from gapkit.gp.solver import PriorBlock, solve_weights
from gapkit.gp.variance.local import LocalVarianceForms
from gapkit.io.arrays import Array, Arrays, Schema, Triangle
from gapkit.io.npy import PackedTriangle
from gapkit.kernels.base import GapKernel
from gapkit.typing import BoolArray, FloatArray
from gapkit.workspace import WorkspacePool

WEIGHTS = Array(("M",))
MODEL: Schema = {
    "weights": WEIGHTS,
    "posterior": Triangle("M", definite=True, diagonal=True),
    "scales": Array(("blocks",), 0.0, above=True),
    "scores": Array(("configurations", "M")),
}
PRIOR: Schema = {"nugget": Array(("m",), 0.0), "prior": Triangle("m", definite=True, lower=True)}


@dataclass(frozen=True, eq=False)
class SparseModel:
    """Sum over instances and sparse points."""

    basis: SparseBasis
    posterior: Posterior  # with the scales delta of every block, eV
    weights: FloatArray  # (M,), of unit-scale kernel values, eV
    workspaces: WorkspacePool = field(default_factory=WorkspacePool, repr=False)

    def __post_init__(self) -> None:
        WEIGHTS.check(self.weights, "weights", {"M": self.basis.n_columns})

    @classmethod
    def solve(
        cls, basis: SparseBasis, prior: Sequence[PriorBlock], factors: Mapping[str, TriangularFactor],
        noise: Mapping[str, float], scales: Sequence[float],
    ) -> tuple[SparseModel, float]:  # fmt: skip
        """The model of training rows in triangular factors, and its log marginal likelihood.

        DataError where they have no finite solution.
        """
        check_finite(factors)
        solution = solve_weights(factors, noise, prior, scales)
        try:
            posterior = Posterior(solution.R, prior, list(scales))
            return cls(basis, posterior, solution.weights), solution.log_marginal_likelihood
        except InputError as error:
            raise DataError(
                f"the fit has no finite solution ({error}); look for labels or sigmas that are far too large or small"
            ) from error

    def solved(self, factors: Mapping[str, TriangularFactor], noise: Mapping[str, float]) -> tuple[SparseModel, float]:
        """The same for other factors or noise; what depends on the basis alone is kept."""
        posterior = self.posterior
        model, evidence = self.solve(self.basis, posterior.prior, factors, noise, posterior.scales or ())
        return replace(model, workspaces=self.workspaces), evidence

    @cached_property
    def _plans(self) -> tuple[PredictionPlan, PredictionPlan]:
        """In double and, as far as that is harmless, in single precision."""
        return tuple(PredictionPlan.of(self.basis, self.weights, single=single) for single in (False, True))  # type: ignore[return-value]

    @cached_property
    def _variances(self) -> LocalVarianceForms:
        return LocalVarianceForms(self.basis, self.posterior)

    def predict(
        self, applied: AppliedBasis, *, uncertainty: Uncertainty = "none",
        single: bool = False, centres: BoolArray | None = None, upstream: FloatArray | None = None,
        n_jobs: int | None = None,
    ) -> LinearPrediction:  # fmt: skip
        """Evaluate where the basis has been applied, with variances of local energies as far as `uncertainty` says.

        "none", their "total", its two "parts" as well, or no more than "unseen", the part of the prior that is left.

        `single`: small features in single precision; `centres` (n_atoms,) masks the atoms whose local energies count,
        `upstream` (n_atoms,) are factors of these in forces and virials.
        """
        variances = None if uncertainty == "none" else self._variances
        wanted = Wanted(variances, uncertainty, centres=centres, upstream=upstream)
        return predict(applied, self._plans[single], wanted, n_jobs=n_jobs, workspaces=self.workspaces)[0]

    def unseen(self, applied: AppliedBasis, *, n_jobs: int | None = None) -> FloatArray:
        """Part (n_atoms,) of the prior variance of the atomic terms that the sparse points leave, 0 to 1, and no more.

        NaN without such a term.
        """
        wanted = Wanted(self._variances, "unseen", energies=False)
        found = predict(applied, self._plans[False], wanted, n_jobs=n_jobs, workspaces=self.workspaces)[0].variance
        assert found is not None
        assert found.unseen is not None
        return found.unseen

    def to_arrays(self) -> dict[str, np.ndarray | PackedTriangle]:
        """Sparse points, weights and posterior triangle."""
        R, scales = self.posterior.R, np.array(self.posterior.scales, float)
        arrays: dict[str, np.ndarray | PackedTriangle] = {
            "weights": self.weights, "posterior": R if R.ndim == 1 else PackedTriangle(R), "scales": scales,
        }  # fmt: skip
        if isinstance(self.posterior, SandwichPosterior):
            arrays["scores"] = self.posterior.scores
        for i, own in enumerate(self.posterior.prior):
            if own.nugget is not None:
                arrays[f"nugget_{i}"] = own.nugget
            elif own.given:
                arrays[f"prior_{i}"] = PackedTriangle(own.L.T)
        return arrays | self.basis.to_arrays()

    @classmethod
    def from_arrays(
        cls, arrays: Arrays, blocks: list[list[list[int]]], engines: list[Engine], kernels: list[GapKernel]
    ) -> SparseModel:
        """The model whose `to_arrays` and `basis.species` are given; InputError where they don't fit together."""
        basis = SparseBasis.from_arrays(arrays, blocks, engines, kernels)
        own = arrays.of(MODEL, M=basis.n_columns, blocks=len(basis.blocks))
        prior = []
        for i, (block, found) in enumerate(zip(basis.blocks, basis.prior_later(), strict=True)):
            of_block = arrays.of(PRIOR, suffix=f"_{i}", m=len(block.points))
            if (nugget := of_block.optional("nugget")) is not None:
                found = PriorBlock(block.columns, partial(block.prior_factor, nugget), nugget)
            elif "prior" in of_block:
                found = PriorBlock(block.columns, of_block["prior"].T, given=True)
            prior.append(found)
        posterior = Posterior(own["posterior"], prior, own["scales"].tolist())
        if (scores := own.optional("scores")) is not None:
            posterior = posterior.with_scores(scores)
        return cls(basis, posterior, own["weights"])

"""The fitted state of a potential: all that prediction, error bars and updates need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from gapkit.descriptors.species import check_species
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.gp.basis import ORIGINS
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.noise import Noise
from gapkit.gp.prediction import Uncertainty
from gapkit.io.values import MapOf, Number
from gapkit.neighbours import NeighbourList, build_neighbour_list, warn_close
from gapkit.options.annotations import shown
from gapkit.potential.model import SparseModel
from gapkit.potential.predictions import Predictions
from gapkit.potential.term import Term
from gapkit.potential.training.kept_rows import KeptRows
from gapkit.potential.training.rows import RowMaker
from gapkit.structures import AtomsBatch, LabelKeys
from gapkit.targets import TARGETS
from gapkit.terms.known import KnownEnergy
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.calibration import Calibration
from gapkit.uncertainty.novelty import NoveltyDetector

NOISE = MapOf(Number(0.0, above=True), names=lambda: tuple(TARGETS))


@dataclass(frozen=True, eq=False)
class FittedState:
    """E = known energies + sum over instances and sparse points."""

    terms: tuple[Term, ...]  # descriptors, kernels and selectors of the sparse model
    sparse: SparseModel
    known: KnownEnergy  # all that is not learned, reference energies included
    noise: dict[str, float]  # sigma of each kind of target that was fitted: eV/atom, eV/Å, eV/atom
    given_noise: Noise  # as given to the fit; sigmas of rows are relative to it
    origins: IntArray  # training frame of every sparse point (M,); -1: none
    origin_atoms: IntArray  # central atom in that frame (M,); -1: unknown
    factors: dict[str, TriangularFactor] | None = None  # of the training rows of each kind; None: no update is possible
    rows: KeptRows | None = None  # training frames and reflectors of their rows; None: new points need the frames again
    calibration: Calibration | None = None
    detector: NoveltyDetector | None = None
    metadata: dict[str, Any] = field(default_factory=dict)  # times, digest of the training set, versions, report
    log_marginal_likelihood: float = float("nan")

    def __post_init__(self) -> None:
        NOISE.check(self.noise, "noise")
        for name in ("origins", "origin_atoms"):
            ORIGINS.check(getattr(self, name), name, {"M": self.sparse.basis.n_columns})
        if not isinstance(self.given_noise, Noise):
            raise InputError(f"`given_noise` must be a Noise, got {self.given_noise!r}")

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers known to the model, ascending."""
        return self.known.species

    @property
    def reach(self) -> float:
        """Longest edge that counts, Å."""
        return max(self.sparse.basis.reach, self.known.reach)

    @property
    def scales(self) -> list[float]:
        """Delta of each term, eV; NaN for a term without sparse points."""
        by_term = dict(zip(self.sparse.basis.term_of_block, self.sparse.posterior.scales or (), strict=True))
        return [by_term.get(i, float("nan")) for i in range(len(self.sparse.basis.terms))]

    @property
    def row_maker(self) -> RowMaker:
        """Maker of further training rows."""
        return RowMaker(self.sparse.basis, self.known, self.given_noise)

    def neighbours(self, batch: AtomsBatch, skin: float = 0.0) -> NeighbourList:
        """Neighbour list with the reach of the model; UnknownSpeciesError before anything is computed.

        DataError for atoms in one place, DataWarning for atoms closer than any bond.
        """
        check_species(batch.species, self.species)
        found = build_neighbour_list(batch, self.reach + skin)
        warn_close(found, batch)
        return found

    def apply(self, batch: AtomsBatch, neighbours: NeighbourList | None = None) -> AppliedBasis:
        """The sparse basis on a batch, for several evaluations that share its features."""
        near = self.neighbours(batch) if neighbours is None else neighbours
        return AppliedBasis.of(self.sparse.basis, batch, near, keep=True)

    def predict(
        self, batch: AtomsBatch, neighbours: NeighbourList, *, uncertainty: Uncertainty = "none",
        single: bool = False, centres: BoolArray | None = None, upstream: FloatArray | None = None,
        n_jobs: int | None = None,
    ) -> Predictions:  # fmt: skip
        """Evaluate on a batch with its neighbour list; keywords as for `SparseModel.predict`."""
        applied = AppliedBasis.of(self.sparse.basis, batch, neighbours)
        return self.evaluate(
            applied, uncertainty=uncertainty, single=single, centres=centres, upstream=upstream, n_jobs=n_jobs
        )

    def evaluate(
        self, applied: AppliedBasis, *, uncertainty: Uncertainty = "none", single: bool = False,
        centres: BoolArray | None = None, upstream: FloatArray | None = None, n_jobs: int | None = None,
    ) -> Predictions:  # fmt: skip
        """The same where the sparse basis has been applied already."""
        learned = self.sparse.predict(
            applied, uncertainty=uncertainty, single=single, centres=centres, upstream=upstream, n_jobs=n_jobs
        )
        known = self.known.evaluate(applied.batch, applied.neighbours, centres=centres, upstream=upstream)
        return Predictions.of(applied.batch, learned, known, self.detector)

    def factors_for(self, purpose: str) -> dict[str, TriangularFactor]:
        """The triangles of the training rows; NotFittedModelError where the model does not hold them."""
        if self.factors is None:
            raise NotFittedModelError(
                f"{purpose} needs the factors of the training rows, which this model does not hold; save the model "
                "with `factors=True`"
            )
        return self.factors

    def solved(
        self, factors: dict[str, TriangularFactor] | None = None, noise: Mapping[str, float] | None = None
    ) -> FittedState:
        """The state with the weights and posterior of other factors, or of other sigmas."""
        rows = self.rows if factors is None else None  # which are those of our own factors
        factors = self.factors_for("another solution") if factors is None else factors
        noise = dict(self.noise if noise is None else noise)
        sparse, evidence = self.sparse.solved(factors, noise)
        return replace(self, sparse=sparse, factors=factors, rows=rows, noise=noise, log_marginal_likelihood=evidence)


Self = TypeVar("Self", bound="Potential")


class Potential(Protocol):
    """An estimator with a fitted state, as committees and searches see it; `GAP` is one."""

    label_keys: LabelKeys | None
    n_jobs: int | None
    state_: FittedState

    def with_state(self: Self, state: FittedState) -> Self:
        """A copy with another state."""
        ...


def state_of(model: Potential) -> FittedState:
    """The state of a fitted potential; NotFittedModelError if it is not fitted, InputError if it is none."""
    state: FittedState | None = getattr(model, "state_", None)
    if state is None and not hasattr(model, "fit"):
        raise InputError(f"`model` must be a fitted GAP, got {shown(model)}; `load` reads the file of one")
    if state is None:
        raise NotFittedModelError("this GAP is not fitted yet; call `fit` with labelled frames, or `load` a model file")
    return state

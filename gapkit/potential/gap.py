"""The Gaussian approximation potential: a scikit-learn estimator over lists of `ase.Atoms`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from gapkit.descriptors import Descriptor
from gapkit.descriptors.base import Engine, check_species
from gapkit.exceptions import DataError, InputError, NotFittedModelError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import KINDS, Noise
from gapkit.gp.posterior import Posterior
from gapkit.gp.prediction import Uncertainty
from gapkit.gp.solver import solve_weights
from gapkit.parallel import limit_blas
from gapkit.potential import defaults
from gapkit.potential.checks import check_arguments, check_reach
from gapkit.potential.error_bars.standard_deviations import Std
from gapkit.potential.metadata import describe_fit, summarise, training_set
from gapkit.potential.model import SparseModel
from gapkit.potential.predictions import Predictions
from gapkit.potential.term import Term, as_term
from gapkit.potential.training.checkpoint import Checkpoint, fit_digest
from gapkit.potential.training.estimate import FitEstimate, check_memory, estimate_fit, memory_for_rows
from gapkit.potential.training.hyperparameters import choose_hyperparameters
from gapkit.potential.training.reference_energies import ReferenceEnergies
from gapkit.potential.training.source import LocalSource, open_source, require_labels
from gapkit.potential.training.sparse_points import select_points, truncated
from gapkit.potential.uncertain import Uncertain
from gapkit.structures import AtomsBatch, DataReport, LabelKeys, to_batch
from gapkit.terms.pairs import Baseline
from gapkit.typing import FloatArray


class GAP(Uncertain, BaseEstimator):
    """Sparse Gaussian process potential for energies, forces and virials.

    Parameters
    ----------
    terms : list of Term or Descriptor, or None
        Parts of the energy; None: a two-body and a SOAP term with cutoffs chosen from the data.
    n_sparse : int or None
        Sparse points shared by the atomic terms that do not name theirs; None: chosen from the data's size.
    truncation : float
        Part of a SOAP vector's length that may be left out where the training set never shows it (root mean square over
        the atoms): vectors, and with them fits and predictions, become several times shorter.  0: nothing is left out.
    noise : Noise or None
        Standard deviations of the labels; those left None are found by evidence.
    reference_energies : {"auto", "isolated", "least_squares"} or mapping of symbol to eV
        Energies of the free (or average) atoms.
    baseline : Baseline or None
        Subtracted before the fit and added back in prediction, for example ``ZBL()``.
    label_keys : LabelKeys or None
        Where the labels are found in `atoms.info` and `atoms.arrays`.
    random_state : int, RandomState or None
        Governs every draw; the same seed gives the same model.
    calibration : {"leave-one-out"} or None
        How `fit` learns to tell its own errors: from configurations of the training set, each left out of the model
        (up to 4,000 atoms); None: not at all, and standard deviations are epistemic only.
    memory_limit : float or None
        GB that a fit may use; None: what is free when it begins.  With less, fewer threads run and large frames are
        taken in parts; triangles of n_sparse^2 numbers are the least that it takes.
    n_jobs : int or None
        Threads; None: all cores.
    progress : bool
        Show an estimate of memory and time and progress bars on standard error.

    Attributes
    ----------
    model_ : SparseModel
        The fitted state.
    terms_ : list of Term
        The terms used.
    species_ : tuple of str
    reference_energies_ : dict of str to float
        eV.
    noise_ : Noise
        Noise used, per atom for energies and virials (eV), per component for forces (eV/Å).
    scales_ : list of float
        delta of each term, eV.
    n_sparse_ : int
        Sparse points of all terms, M.
    log_marginal_likelihood_ : float
    calibration_ : Calibration or None
        From epistemic standard deviations to error bars.
    novelty_detector_ : NoveltyDetector or None
        Thresholds beyond which a structure is unlike the training set.
    report_ : DataReport
        What the training data hold; None for a loaded model, whose `metadata_` has it in words.
    metadata_ : dict
        Times, digest of the training set, versions, report.

    Examples
    --------
    >>> model = GAP().fit(ase.io.read("train.extxyz", ":"))  # doctest: +SKIP
    >>> model.predict(frames).forces  # doctest: +SKIP
    """

    def __init__(
        self,
        terms: Sequence[Term | Descriptor] | None = None,
        *,
        n_sparse: int | None = None,
        truncation: float = 1e-7,
        noise: Noise | None = None,
        reference_energies: ReferenceEnergies = "auto",
        baseline: Baseline | None = None,
        label_keys: LabelKeys | None = None,
        random_state: int | np.random.RandomState | None = 0,
        calibration: Literal["leave-one-out"] | None = "leave-one-out",
        memory_limit: float | None = None,
        n_jobs: int | None = None,
        progress: bool = False,
    ) -> None:
        self.terms = terms
        self.n_sparse = n_sparse
        self.truncation = truncation
        self.noise = noise
        self.reference_energies = reference_energies
        self.baseline = baseline
        self.label_keys = label_keys
        self.random_state = random_state
        self.calibration = calibration
        self.memory_limit = memory_limit
        self.n_jobs = n_jobs
        self.progress = progress

    def fit(
        self, frames: Atoms | Sequence[Atoms] | Sequence[str | os.PathLike[str]], y: object = None, *,
        client: Any = None, checkpoint: str | os.PathLike[str] | None = None,
    ) -> GAP:  # fmt: skip
        """Fit to labelled frames.

        Parameters
        ----------
        frames : Atoms or list of Atoms; with `client` also list of paths
            With energies (eV), forces (eV/Å) or stresses (eV/Å^3); any may be absent on any frame.
        y : None
            Ignored; the labels are those of the frames.
        client : dask.distributed.Client or None
            Cluster whose workers make and fold the rows; they read files themselves.
        checkpoint : path or None
            File to which the state is written every few minutes, on Ctrl-C and on SIGTERM.  If it is there already, the
            fit goes on from it, to the same model as without interruption.  A fit that ends removes it.

        Raises
        ------
        DataError
            If a label is unusable, no frame has any, or a species has no energy.
        InputError
            If a parameter is out of range, more sparse points are asked for than there are environments, or the
            checkpoint is one of other data or parameters.
        """
        begin = time.perf_counter()
        check_arguments(self.terms, self.n_sparse, self.truncation, self.memory_limit, self.noise, self.label_keys)
        if self.calibration not in (None, "leave-one-out"):
            raise InputError(f'`calibration` must be "leave-one-out" or None, got {self.calibration!r}')
        source = open_source(frames, self._labelled, self.label_keys, client)
        batch = source.batch
        saved = None if checkpoint is None else Checkpoint(checkpoint, fit_digest(self, source))
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        report = source.describe()
        energies = source.reference_energies(self.reference_energies, report)
        terms, engines, numbers, explicit = self._plan(batch)
        check_reach(terms, engines, report.nearest_distance)
        chosen = None if saved is None else saved.selection(engines, [term.resolved_kernel() for term in terms], rng)
        if chosen is None:
            engines = [truncated(term, of, batch, self.truncation) for term, of in zip(terms, engines, strict=True)]
            check_memory(estimate_fit(batch, engines, numbers, self.n_jobs), self.memory_limit, self.progress)
            points = select_points(terms, engines, numbers, batch, rng, explicit=explicit)
            kernels = [term.resolved_kernel() for term in terms]
            vectors = [[(block, part.x) for block, part in of_term] for of_term in points]
            with limit_blas(self.n_jobs, sum(numbers)):
                basis = SparseBasis.build(engines, kernels, vectors, tolerance=self.truncation)
            origins = np.concatenate([part.frames for of_term in points for _, part in of_term])
            if saved is not None:
                saved.keep_selection(basis, origins, rng)
        else:
            basis, origins = chosen
        memory = memory_for_rows(basis.n_columns, self.memory_limit)
        selected = time.perf_counter()
        with limit_blas(self.n_jobs, sum(numbers)):
            # nothing reads this posterior but for its prior, and M x M zeros would take memory
            nothing = np.broadcast_to(0.0, (basis.n_columns, basis.n_columns))
            blank = Posterior(nothing, basis.prior(), None)
        start = SparseModel(basis, blank, np.zeros(basis.n_columns), energies, self.baseline)
        factors: dict[str, TriangularFactor] = {}
        self._accumulate(start, source, factors, memory, saved)
        accumulated = time.perf_counter()

        with limit_blas(self.n_jobs, basis.n_columns):
            self.evidence_ = choose_hyperparameters(
                factors, start.posterior.prior, basis.term_of_block, terms, self.noise or Noise(), rng
            )
            optimised = time.perf_counter()
            self._solve(start, factors, self.evidence_.noise, self.evidence_.scales)
        solved = time.perf_counter()
        self._origins, self.calibration_, self.novelty_detector_ = origins, None, None
        if self.calibration is not None:
            self._learn_uncertainty(batch, rng)
        done = time.perf_counter()
        self.terms_ = terms
        self.report_: DataReport | None = report
        times = {
            "select": selected - begin, "rows": accumulated - selected, "evidence": optimised - accumulated,
            "solve": solved - optimised, "calibrate": done - solved,
        }  # fmt: skip
        self.metadata_ = describe_fit(batch, report, times) | {"training_set": source.training_set()}
        if saved is not None:
            saved.remove()
        return self

    def partial_fit(self, frames: Atoms | Sequence[Atoms], y: object = None) -> GAP:
        """Add frames to a fitted model, as though they had been there from the start; fit it if it is not fitted.

        Sparse points, noise, kernel scales, reference energies, calibration and thresholds of novelty stay as they are.

        Raises
        ------
        UnknownSpeciesError
            If a frame holds a new species.
        NotFittedModelError
            If the model was loaded from a file that was saved without its factors.
        """
        if not hasattr(self, "model_"):
            return self.fit(frames)
        if self._factors is None:
            raise NotFittedModelError(
                "`partial_fit` needs the factors of the training rows, which this model file does not hold; save the "
                "model with `factors=True`"
            )
        batch = self._labelled(frames)
        check_species(batch.species, self.model_.species)
        factors = {kind: factor.copy() for kind, factor in self._factors.items()}
        self._accumulate(self.model_, LocalSource(batch), factors, memory_for_rows(self.n_sparse_, self.memory_limit))
        with limit_blas(self.n_jobs, self.n_sparse_):
            self._solve(self.model_, factors, self._noise, self.model_.posterior.scales or ())
        self.metadata_.setdefault("partial_fit", []).append(training_set(batch))
        return self

    def estimate(self, frames: Atoms | Sequence[Atoms]) -> FitEstimate:
        """Memory and time that `fit` would take with these frames."""
        batch = self._labelled(frames)
        _, engines, numbers, _ = self._plan(batch)
        return estimate_fit(batch, engines, numbers, self.n_jobs)

    def predict(
        self, frames: Atoms | Sequence[Atoms], return_std: bool | Literal["local"] = False, *, std: Std | None = None,
        interval: float | None = None,
    ) -> Predictions:  # fmt: skip
        """Energies, forces, stresses and local energies.

        Parameters
        ----------
        return_std : bool or "local"
            Also standard deviations of energies, forces and stresses, flags of extrapolation, and the local ones with
            their parts; "local": those of the local energies alone, for less than twice the price of a prediction.
        std : {"calibrated", "epistemic", "total"} or None
            What the standard deviations are, see `Predictions`; None: calibrated if the model is.
        interval : float or None
            Level, such as 0.9, at which half-widths of prediction intervals are wanted as well.

        Raises
        ------
        UnknownSpeciesError
            If a frame holds a species that was not in the training set; nothing is computed then.
        NotFittedModelError
            If calibrated ones are asked for and the model has no calibration.
        CalibrationError
            If there were too few configurations for an interval of this level.
        """
        self._check_fitted()
        if return_std not in (False, True, "local"):
            raise InputError(f'`return_std` must be False, True or "local", got {return_std!r}')
        if (std is not None or interval is not None) and return_std is not True:
            raise InputError("`std` and `interval` need `return_std=True`")
        batch = to_batch(frames, labels=False)
        neighbours = self.model_.neighbours(batch)
        uncertainty: Uncertainty = "none" if not return_std else "total" if return_std == "local" else "parts"
        p = self.model_.predict(batch, neighbours, uncertainty=uncertainty, n_jobs=self.n_jobs)
        return self._with_error_bars(p, batch, neighbours, std, interval) if return_std is True else p

    def score(self, frames: Atoms | Sequence[Atoms], y: object = None) -> float:
        """Coefficient of determination R^2 of the force components (of energies per atom where there are no forces).

        Raises
        ------
        DataError
            If the frames have neither.
        """
        self._check_fitted()
        batch = self._labelled(frames)
        labels = batch.labels
        assert labels is not None
        p = self.model_.predict(batch, self.model_.neighbours(batch), n_jobs=self.n_jobs)
        if labels.has_forces.any():
            return _r2(labels.forces[labels.has_forces], p.forces[labels.has_forces])
        if not labels.has_energy.any():
            raise DataError("`score` needs frames with forces or energies, found only stresses")
        per_atom = (
            np.stack([labels.energy, p.energy])[:, labels.has_energy] / batch.n_atoms_per_frame[labels.has_energy]
        )
        return _r2(per_atom[0], per_atom[1])

    def save(self, path: str | os.PathLike[str], *, factors: bool = False) -> None:
        """Write the model to one file; with `factors` also what `partial_fit` needs (three more M x M triangles).

        An older file at `path` stays intact until the new one is complete.
        """
        from gapkit.potential.files import save

        self._check_fitted()
        save(self, path, factors=factors)

    def to_quip(self, path: str | os.PathLike[str]) -> None:
        """Write the model for QUIP: a gap.xml, and the sparse points in files beside it.

        Raises
        ------
        InputError
            If a part of the model has no counterpart there; `gapkit.interop.quip` says which have.
        """
        self._check_fitted()
        import_module("gapkit.interop.quip").write(self, path)  # by name: interop stands on this module

    def summary(self) -> str:
        """The fitted model in words and units."""
        self._check_fitted()
        return summarise(self)

    def _labelled(self, frames: Atoms | Sequence[Atoms]) -> AtomsBatch:
        batch = to_batch(frames, keys=self.label_keys or LabelKeys())
        labels = batch.labels
        require_labels(
            labels is not None and bool(labels.has_energy.any() or labels.has_forces.any() or labels.has_virial.any())
        )
        return batch

    def _plan(self, batch: AtomsBatch) -> tuple[list[Term], list[Engine], list[int], list[bool]]:
        """Terms, their engines, sparse points of each and whether the user gave the number."""
        terms = defaults.default_terms(batch) if self.terms is None else [as_term(item) for item in self.terms]
        engines = [term.descriptor.engine(term.descriptor.resolve_species(batch.species)) for term in terms]
        numbers, explicit = defaults.share_sparse_points(terms, engines, self.n_sparse, batch)
        return terms, engines, numbers, explicit

    def _accumulate(
        self, model: SparseModel, source: LocalSource, factors: dict[str, TriangularFactor], memory: float | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        source.accumulate(
            model, self.noise or Noise(), factors, memory=memory, n_jobs=self.n_jobs, progress=self.progress,
            checkpoint=checkpoint,
        )  # fmt: skip

    def _solve(
        self, model: SparseModel, factors: dict[str, TriangularFactor], noise: dict[str, float], scales: Sequence[float]
    ) -> None:
        prior = model.posterior.prior
        solution = solve_weights(factors, noise, prior, scales)
        posterior = Posterior(solution.R, prior, list(scales))
        self._restore(
            SparseModel(model.basis, posterior, solution.weights, model.energies, model.baseline), noise, factors
        )
        self.log_marginal_likelihood_ = solution.log_marginal_likelihood

    def _restore(
        self, model: SparseModel, noise: dict[str, float], factors: dict[str, TriangularFactor] | None
    ) -> None:
        """Set everything that follows from a fitted state."""
        self.model_ = model
        self._noise = noise
        self._factors = factors
        given = self.noise or Noise()
        self.noise_ = Noise(**{kind: noise.get(kind) for kind in KINDS}, per_config_type=given.per_config_type)
        self.species_ = tuple(chemical_symbols[z] for z in model.species)
        self.reference_energies_ = {chemical_symbols[z]: e for z, e in sorted(model.energies.items())}
        by_term = dict(zip(model.basis.term_of_block, model.posterior.scales or (), strict=True))
        self.scales_ = [by_term.get(i, float("nan")) for i in range(len(model.basis.terms))]
        self.n_sparse_ = model.basis.n_columns

    def _check_fitted(self) -> None:
        if not hasattr(self, "model_"):
            raise NotFittedModelError(
                "this GAP is not fitted yet; call `fit` with labelled frames, or `load` a model file"
            )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")


def _r2(target: FloatArray, predicted: FloatArray) -> float:
    spread = float(((target - target.mean(axis=0)) ** 2).sum())
    return 1.0 - float(((target - predicted) ** 2).sum()) / spread if spread > 0 else float("nan")

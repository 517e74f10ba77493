"""The Gaussian approximation potential: a scikit-learn estimator over lists of `ase.Atoms`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from ase import Atoms
from sklearn.utils import check_random_state

from gapkit.descriptors import Descriptor
from gapkit.descriptors.base import check_species
from gapkit.exceptions import NotFittedModelError
from gapkit.gp.noise import Noise
from gapkit.parallel import limit_blas
from gapkit.potential.checks import check_parameters, check_reach
from gapkit.potential.error_bars.calibrate import learn_uncertainty
from gapkit.potential.files import read_state
from gapkit.potential.fitted import FittedPotential
from gapkit.potential.metadata import describe_fit, training_set
from gapkit.potential.state import FittedState
from gapkit.potential.term import Term
from gapkit.potential.training.checkpoint import Checkpoint, fit_digest
from gapkit.potential.training.estimate import FitEstimate, estimate_fit, memory_for_rows
from gapkit.potential.training.fit import FitPlan, Resources, fit_state
from gapkit.potential.training.labels import labelled_batch
from gapkit.potential.training.reference_energies import ReferenceEnergies
from gapkit.potential.training.source import open_source
from gapkit.structures import DataReport, LabelKeys
from gapkit.terms import EnergyTerm, KnownEnergy
from gapkit.terms.known import as_energy_terms


class GAP(FittedPotential):
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
        Energies of the free (or average) atoms, found from the labels less the calculators and models among
        `energy_terms`, which have a zero of energy of their own.
    energy_terms : EnergyTerm or sequence of EnergyTerm
        Energies that are not learned, subtracted before the fit and added back in prediction: ``ZBL()``,
        ``LennardJones(...)``, ``PairTables(...)``, ``CalculatorTerm("ase.calculators.emt.EMT")``, and for delta learning
        ``ModelTerm(another)``.
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
    state_ : FittedState
        All that was fitted; the attributes below are read from it.
    model_ : SparseModel
        Basis, posterior and weights.
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
        From epistemic standard deviations to error bars; None: there is none, and they are epistemic.
    novelty_detector_ : NoveltyDetector or None
        Thresholds beyond which a structure is unlike the training set.
    metadata_ : dict
        Times, digest of the training set, versions, report.
    report_ : DataReport or None
        What the training data hold; None for a loaded model, whose `metadata_` has it in words.
    evidence_ : Hyperparameters
        How `fit` chose noise and scales.

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
        energy_terms: EnergyTerm | Sequence[EnergyTerm] = (),
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
        self.energy_terms = energy_terms
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
        check_parameters(self.get_params(deep=False))
        source = open_source(frames, self.label_keys, client)
        batch = source.batch
        digest = fit_digest(self.get_params(deep=False), source.identity()) if checkpoint is not None else {}
        saved = None if checkpoint is None else Checkpoint(checkpoint, digest)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        report = source.describe()
        noise = self.noise or Noise()
        known = KnownEnergy(terms=as_energy_terms(self.energy_terms))
        known = replace(known, reference=source.reference_energies(self.reference_energies, report, known))
        plan = FitPlan.of(self.terms, self.n_sparse, self.truncation, batch)
        check_reach(plan.of_terms, report.nearest_distance)
        begun = time.perf_counter()
        resources = Resources(self.memory_limit, self.n_jobs, self.progress)
        state, self.evidence_, times = fit_state(source, plan, known, noise, rng, resources, saved)
        done = time.perf_counter()
        if self.calibration is not None:
            state = learn_uncertainty(state, batch, rng, self.n_jobs)
        times = {
            "select": begun - begin + times.pop("select"), **times, "calibrate": time.perf_counter() - done,
        }  # fmt: skip
        metadata = describe_fit(batch, report, times) | {"training_set": source.training_set()}
        self.state_ = replace(state, metadata=metadata)
        self.report_: DataReport | None = report
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
        if not hasattr(self, "state_"):
            return self.fit(frames)
        state = self.state_
        if state.factors is None:
            raise NotFittedModelError(
                "`partial_fit` needs the factors of the training rows, which this model file does not hold; save the "
                "model with `factors=True`"
            )
        batch = labelled_batch(frames, self.label_keys)
        check_species(batch.species, state.species)
        factors = {kind: factor.copy() for kind, factor in state.factors.items()}
        memory = memory_for_rows(self.n_sparse_, self.memory_limit)
        state.row_maker.fold(batch, factors, memory=memory, n_jobs=self.n_jobs, progress=self.progress)
        with limit_blas(self.n_jobs, self.n_sparse_):
            state = state.solved(factors)
        added = [*state.metadata.get("partial_fit", []), training_set(batch)]
        self.state_ = replace(state, metadata={**state.metadata, "partial_fit": added})
        return self

    def estimate(self, frames: Atoms | Sequence[Atoms]) -> FitEstimate:
        """Memory and time that `fit` would take with these frames."""
        batch = labelled_batch(frames, self.label_keys)
        plan = FitPlan.of(self.terms, self.n_sparse, self.truncation, batch)
        return estimate_fit(batch, plan.of_terms, self.n_jobs)

    @classmethod
    def from_state(cls, state: FittedState, **parameters: Any) -> GAP:
        """A fitted potential of a state; `parameters` are those of the estimator."""
        model = cls(**parameters)
        model.state_, model.report_ = state, None
        return model


def load(path: str | os.PathLike[str]) -> GAP:
    """Read a model that `GAP.save` wrote.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, edited, not a model file, or written by a newer version of gapkit.
    """
    state, parameters = read_state(path)
    return GAP.from_state(state, **parameters)

"""The Gaussian approximation potential: a scikit-learn estimator over lists of `ase.Atoms`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from ase import Atoms

from gapkit.descriptors import Descriptor
from gapkit.descriptors.species import Element
from gapkit.exceptions import InputError, ModelFileError
from gapkit.gp.noise import Noise
from gapkit.gp.tape import ArrayStore
from gapkit.options.checked import checked
from gapkit.options.fit import Truncation
from gapkit.options.kinds import Count, Jobs, PathLike, Positive, Seed
from gapkit.parallel import limit_blas
from gapkit.potential.checks import check_names, check_parameters, check_reach, check_separate, warn_of
from gapkit.potential.committee.draws import generator
from gapkit.potential.error_bars.learn import ATOMS_LEFT_OUT, learn_uncertainty
from gapkit.potential.files import MODEL, check_readable, read_state
from gapkit.potential.fitted import FittedPotential
from gapkit.potential.metadata import describe_fit
from gapkit.potential.state import FittedState, state_of
from gapkit.potential.term import Term
from gapkit.potential.training.checkpoint import Checkpoint, fit_digest, kept_by
from gapkit.potential.training.estimate import FitEstimate, Resources, announce, estimate_fit
from gapkit.potential.training.fit import FitPlan, fit_state
from gapkit.potential.training.new_points import NewPoints, Number, given_points
from gapkit.potential.training.reference_energies import ReferenceEnergies
from gapkit.potential.training.source import labelled_batch, open_source
from gapkit.potential.training.types_of_noise import kinds_by_type, said_of, types_of_noise
from gapkit.potential.training.update import Update
from gapkit.progress import Stages
from gapkit.sparse import SparseSelector
from gapkit.structures import AtomsBatch, DataReport, LabelKeys, describe, to_batch
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
        ``LennardJones(...)``, ``PairTables(...)``, ``CalculatorTerm("ase.calculators.emt.EMT")``, or another model,
        ``ModelTerm(model)`` (delta learning).
    label_keys : LabelKeys or None
        Where the labels are found in `atoms.info` and `atoms.arrays`.
    random_state : int, RandomState or None
        Governs every draw; the same seed gives the same model.
    calibration : {"leave-one-out"} or None
        How `fit` learns to tell its own errors: from configurations of the training set, each left out of the model,
        as many (up to 4,000 atoms) as take about a fifth of the time of the fit, together with kinds; None: not at
        all, and standard deviations are epistemic only.
    memory_limit : float or None
        GB that a fit may use; None: what is free when it begins.  With less, fewer threads run and large frames are
        taken in parts; triangles of n_sparse^2 numbers are the least that it takes.
    n_jobs : int or None
        Threads; None: all cores.
    progress : bool
        Show on standard error what the data hold, an estimate of memory and time, a line for every stage with its time,
        bars, and whether kernels are being compiled.

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
    sparse_points_ : ModelPoints
        Sparse points by term and species: vectors, weights, and frame and atom that each came from; print it.
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
    evidence_ : EvidenceResult
        How `fit` chose noise and scales.

    Examples
    --------
    >>> model = GAP().fit(ase.io.read("train.extxyz", ":"))  # doctest: +SKIP
    >>> model.predict(frames).forces  # doctest: +SKIP
    """

    def __init__(
        self, terms: Sequence[Term | Descriptor] | None = None, *, n_sparse: Count | None = None,
        truncation: Truncation = 1e-7, noise: Noise | None = None, reference_energies: ReferenceEnergies = "auto",
        energy_terms: EnergyTerm | Sequence[EnergyTerm] = (), label_keys: LabelKeys | None = None,
        random_state: Seed = 0, calibration: Literal["leave-one-out"] | None = "leave-one-out",
        memory_limit: Positive | None = None, n_jobs: Jobs | None = None, progress: bool = False,
    ) -> None:  # fmt: skip
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

    @checked
    def fit(
        self, frames: Atoms | Sequence[Atoms] | Sequence[PathLike], y: object = None, *, client: Any = None,
        checkpoint: PathLike | None = None, keep_rows: bool | PathLike = False,
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
            fit goes on from it, to the same model as without interruption.  It stays until `save` has written the
            model; a fit that is started again before that has all its rows.
        keep_rows : bool or path
            Keep the frames, and 8 bytes for every training row and sparse point, so that sparse points can be added for
            the price of their own columns: True in memory, a path in a file that is emptied first and belongs to this
            model in this process (model files do not hold it).  All features then count in double precision, which
            takes a fifth more time for the rows.  Not with `client` or `checkpoint`.

        Raises
        ------
        DataError
            If a label is unusable, no frame has any, or a species has no energy.
        Interrupted
            On Ctrl-C, in place of its base KeyboardInterrupt: says where it came and what the checkpoint keeps.
        InputError
            If a parameter is out of range or names what the data have not, or the checkpoint is one of other data or
            parameters.
        """
        check_parameters(self)
        check_readable(self.get_params(deep=False))
        if keep_rows is not False and (client is not None or checkpoint is not None):
            raise InputError("`keep_rows` must be False beside `client` or `checkpoint`; pass one of them alone")
        if keep_rows is not False and self.noise is not None and self.noise.by_config_type:
            raise InputError(
                "`keep_rows` must be False with `Noise(by_config_type=True)`; fit without it, and give what it finds "
                "(`noise_`) as `noise` to a fit that keeps rows"
            )
        resources = replace(self._resources, stages=Stages(show=self.progress))
        with resources.stages.interruptible(partial(kept_by, checkpoint)), limit_blas(self.n_jobs, 0):
            return self._fit(frames, client, checkpoint, keep_rows, resources)

    def _fit(self, frames: Any, client: Any, checkpoint: Any, keep_rows: Any, resources: Resources) -> GAP:
        stages = resources.stages
        with stages.stage("check"):
            source = open_source(frames, self.label_keys, client)
            report = source.describe()
        stages.say(str(report))
        warn_of(report)
        batch = source.batch
        digest = fit_digest(self.get_params(deep=False), source.identity()) if checkpoint is not None else {}
        saved = None if checkpoint is None else Checkpoint(checkpoint, digest)
        rng = generator(self.random_state)
        check_separate(report)
        check_names(self, (own.config_type for own in report.config_types))
        noise = self.noise or Noise()
        known = KnownEnergy(terms=as_energy_terms(self.energy_terms))
        known = replace(known, reference=source.reference_energies(self.reference_energies, report, known))
        plan = FitPlan.of(self.terms, self.n_sparse, self.truncation, batch)
        check_reach(plan.of_terms, report.nearest_distance)
        if noise.by_config_type:
            plan = replace(plan, types=types_of_noise(noise, report.config_types))
            stages.say(said_of(plan.types, report.config_types))
        announce(self._estimate(batch, plan), resources)
        store = None if keep_rows is False else ArrayStore(None if keep_rows is True else keep_rows)
        state, self.evidence_ = fit_state(source, plan, known, noise, rng, resources, saved, store)
        if self.calibration is not None:
            state = learn_uncertainty(state, batch, rng, self.n_jobs, stages)
        metadata = describe_fit(batch, report, stages.seconds) | {"training_set": source.training_set()}
        self.state_ = replace(state, metadata=metadata)
        self.report_: DataReport | None = report
        self._checkpoint = None if saved is None else saved.done()
        return self

    @checked
    @limit_blas(None, 0)
    def partial_fit(
        self, frames: Atoms | Sequence[Atoms], y: object = None, *, n_new: Number | None = None,
        selector: SparseSelector | None = None, reference_energies: Mapping[Element, float] | None = None,
        calibrate: bool = False, training_frames: Sequence[Atoms] | None = None,
    ) -> GAP:  # fmt: skip
        """Add frames to a fitted model, as though they had been there from the start; fit it if it is not fitted.

        Noise, kernel scales and reference energies of known species stay as they are, and without `n_new` the sparse
        points do.  With it the model is that of a fit with all frames and all points.

        Parameters
        ----------
        n_new : int, "novel" or None
            Sparse points to take from the environments of `frames`, those that the model knows least of first, over all
            terms; "novel": all whose novelty is above its threshold.  The thresholds stay, but the new environments are
            known from then on.  The price is that of the new columns of all rows if `fit` kept them (`keep_rows`), else
            that of making and folding all rows again.
        selector : SparseSelector or None
            Another choice of `n_new` points, those of the atomic terms.
        reference_energies : mapping of symbol to eV, or None
            Of species that the model does not know; None: from isolated atoms in `frames`, or by least squares.  Their
            atoms are flagged as unknown until the model is calibrated again.
        calibrate : bool
            Learn calibration and thresholds of novelty anew from all frames: the seconds that the last fit spent on it
            (``metadata_["seconds"]["calibrate"]``) and more with every sparse point, but never for more than 4,000
            atoms left out.
        training_frames : list of Atoms or None
            All frames of `fit` and of every `partial_fit`, in order; needed for `n_new` and `calibrate` where `fit` did
            not keep rows.

        Raises
        ------
        UnknownSpeciesError
            If a frame holds a new species and `n_new` is None.
        NotFittedModelError
            If the model was loaded from a file that was saved without its factors, and `n_new` is None.
        InputError
            If training frames are needed, or are not those that the model was fitted to.
        """
        if not hasattr(self, "state_"):
            return self.fit(frames)
        if n_new is None and self.state_.rows is None:
            self.state_.factors_for("`partial_fit`")  # before the frames are read
        batch = labelled_batch(frames, self.label_keys)
        update = Update(n_new, selector, reference_energies, calibrate, self.truncation)
        training = self._training(training_frames)
        self.state_ = update.apply(self.state_, batch, batch, training, generator(self.random_state), self._resources)
        return self

    @checked
    @limit_blas(None, 0)
    def extend(
        self, frames: Atoms | Sequence[Atoms] | Sequence[Mapping[str, Any]], *, n_new: Number = "novel",
        selector: SparseSelector | None = None, reference_energies: Mapping[Element, float] | None = None,
        calibrate: bool = False, training_frames: Sequence[Atoms] | None = None,
    ) -> GAP:  # fmt: skip
        """Add sparse points and no data: the model is that of a fit to the same frames with all points.

        Parameters
        ----------
        frames : list of Atoms, or list of mappings
            Structures, labelled or not, among whose environments points are chosen; or the points themselves, for every
            term a mapping of species ("Si", "O-Si") to vectors (m, d) as `Descriptor.transform` gives them.

        Other parameters are those of `partial_fit`.
        """
        state = state_of(self)
        items = [frames] if isinstance(frames, Atoms) else list(frames)
        found: AtomsBatch | NewPoints
        if items and isinstance(items[0], Mapping):
            found = given_points(state, items)
        else:
            found = to_batch(items, keys=self.label_keys or LabelKeys())
        update = Update(n_new, selector, reference_energies, calibrate, self.truncation)
        training = self._training(training_frames)
        self.state_ = update.apply(state, found, None, training, generator(self.random_state), self._resources)
        return self

    @property
    def _resources(self) -> Resources:
        return Resources(self.memory_limit, self.n_jobs, self.progress)

    def _training(self, frames: Sequence[Atoms] | None) -> AtomsBatch | None:
        return None if frames is None else labelled_batch(frames, self.label_keys)

    @checked
    def estimate(self, frames: Atoms | Sequence[Atoms]) -> FitEstimate:
        """Memory and time that `fit` would take with these frames."""
        batch = labelled_batch(frames, self.label_keys)
        plan = FitPlan.of(self.terms, self.n_sparse, self.truncation, batch)
        noise = self.noise or Noise()
        counts = describe(batch).config_types if noise.by_config_type else ()
        return self._estimate(batch, replace(plan, types=types_of_noise(noise, counts)))

    def _estimate(self, batch: AtomsBatch, plan: FitPlan) -> FitEstimate:
        return estimate_fit(
            batch, plan.of_terms, self.n_jobs, most_left_out=self._most_left_out,
            n_more=len(plan.types) * len(kinds_by_type(self.noise or Noise())),
        )  # fmt: skip

    @property
    def _most_left_out(self) -> int:
        return 0 if self.calibration is None else ATOMS_LEFT_OUT

    @classmethod
    def from_state(cls, state: FittedState, **parameters: Any) -> GAP:
        """A fitted potential of a state; `parameters` are those of the estimator."""
        model = cls(**parameters)
        model.state_, model.report_ = state, None
        return model


@checked
def load(path: PathLike) -> GAP:
    """Read a model that `GAP.save` wrote.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, edited, not a model file, or written by a newer version of gapkit.
    """
    state, parameters = read_state(path)
    try:
        model = GAP.from_state(state, **parameters)
        check_parameters(model)
    except (InputError, TypeError) as error:
        raise ModelFileError(f"`{path}` is not a sound model file: {error}; {MODEL.remedy}") from error
    return model

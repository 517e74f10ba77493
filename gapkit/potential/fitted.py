"""What a fitted potential can do: predictions, error bars, committees and files, all from its state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Generic, Literal, TypeVar

from ase import Atoms
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator

from gapkit.exceptions import InputError
from gapkit.gp.prediction import Uncertainty
from gapkit.gp.variance.targets import covariance_of
from gapkit.io.atomic import check_output
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Fraction, PathLike, Positive, Seed
from gapkit.potential.checks import check_parameters
from gapkit.potential.committee.committee import Committee
from gapkit.potential.committee.draws import sample_committee
from gapkit.potential.error_bars.calibrate import calibrate_on
from gapkit.potential.error_bars.differences import EnergyDifference, energy_difference
from gapkit.potential.error_bars.extrapolation import signs_of_extrapolation
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut, jackknife, leave_one_out
from gapkit.potential.error_bars.standard_deviations import Std, predict_with_error_bars
from gapkit.potential.files import write_state
from gapkit.potential.metadata import check_training_set
from gapkit.potential.points import ModelPoints
from gapkit.potential.predictions import Predictions, coefficient_of_determination
from gapkit.potential.state import FittedState, state_of
from gapkit.potential.summary import summarise
from gapkit.potential.training.checkpoint import Done
from gapkit.potential.training.source import labelled_batch
from gapkit.structures import AtomsBatch, LabelKeys, to_batch
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray
from gapkit.uncertainty.extrapolation import Extrapolation
from gapkit.uncertainty.novelty import FALSE_ALARM

# Modules that write other formats.  They are found by name: this layer knows nothing of them.
EXPORTERS = {"quip": "gapkit.interop.quip"}

T = TypeVar("T")
Self = TypeVar("Self", bound="FittedPotential")


class Attribute(Generic[T]):
    """A fitted attribute, read from the state; like any other it is not there before a fit."""

    def __init__(self, read: Callable[[FittedState], T]) -> None:
        self._read = read

    def __get__(self, model: FittedPotential | None, owner: type) -> T:
        if model is None:
            raise AttributeError(f"{owner.__name__} has its fitted attributes after `fit`")
        return self._read(model.state_)

    def __set__(self, model: FittedPotential, value: T) -> None:
        raise AttributeError("fitted attributes are read from `state_`; make a model of another state by `with_state`")


class FittedPotential(BaseEstimator):
    """Methods of a potential that need its fitted state alone; the base of `GAP`, which lists the attributes."""

    state_: FittedState
    label_keys: LabelKeys | None
    n_jobs: int | None
    _checkpoint: Done | None = None  # of the fit

    model_ = Attribute(lambda state: state.sparse)
    terms_ = Attribute(lambda state: list(state.terms))
    species_ = Attribute(lambda state: tuple(chemical_symbols[z] for z in state.species))
    reference_energies_ = Attribute(
        lambda state: {chemical_symbols[z]: energy for z, energy in sorted(state.known.reference.items())}
    )
    noise_ = Attribute(lambda state: state.given_noise.used(state.noise))
    scales_ = Attribute(lambda state: state.scales)
    sparse_points_ = Attribute(ModelPoints)
    n_sparse_ = Attribute(lambda state: state.sparse.basis.n_columns)
    log_marginal_likelihood_ = Attribute(lambda state: state.log_marginal_likelihood)
    calibration_ = Attribute(lambda state: state.calibration)
    novelty_detector_ = Attribute(lambda state: state.detector)
    metadata_ = Attribute(lambda state: state.metadata)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "state_")

    def with_state(self: Self, state: FittedState) -> Self:
        """A copy with another state."""
        model = copy.copy(self)
        model.state_, model._checkpoint = state, None
        return model

    @checked
    def predict(
        self, frames: Atoms | Sequence[Atoms], return_std: bool | Literal["local"] = False, *, std: Std | None = None,
        interval: Fraction | None = None,
    ) -> Predictions:  # fmt: skip
        """Energies, forces, stresses and local energies.

        Parameters
        ----------
        return_std : bool or "local"
            Also standard deviations of energies, forces and stresses, flags of extrapolation, and the local ones with
            their parts; "local": those of the local energies alone, epistemic, for less than twice the price of a
            prediction.
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
        state = state_of(self)
        if (std is not None or interval is not None) and return_std is not True:
            raise InputError("`std` and `interval` need `return_std=True`")
        batch = to_batch(frames, labels=False)
        neighbours = state.neighbours(batch)
        uncertainty: Uncertainty = "none" if not return_std else "total" if return_std == "local" else "parts"
        if return_std is True:
            return predict_with_error_bars(state, batch, neighbours, std, interval, n_jobs=self.n_jobs)
        return state.predict(batch, neighbours, uncertainty=uncertainty, n_jobs=self.n_jobs)

    @checked
    def score(self, frames: Atoms | Sequence[Atoms], y: object = None) -> float:
        """Coefficient of determination R^2 of the force components (of energies per atom where there are no forces).

        Raises
        ------
        DataError
            If the frames have neither.
        """
        state = state_of(self)
        batch = labelled_batch(frames, self.label_keys)
        return coefficient_of_determination(batch, state.predict(batch, state.neighbours(batch), n_jobs=self.n_jobs))

    @checked
    def calibrate(self: Self, frames: Atoms | Sequence[Atoms]) -> Self:
        """Calibrate standard deviations and intervals on labelled frames that the model was not fitted to.

        It replaces the calibration that `fit` made of the training set with configurations left out.  Use it when the
        structures to predict are of another kind than the training set.

        Raises
        ------
        CalibrationError
            If there are fewer than ten labelled configurations.
        """
        state = state_of(self)
        batch = labelled_batch(frames, self.label_keys)
        self.state_ = replace(state, calibration=calibrate_on(state, batch, self.n_jobs))
        return self

    @checked
    def leave_one_out(self, frames: Atoms | Sequence[Atoms]) -> LeaveOneOut:
        """Every training frame as a model without it, and without the sparse points that it gave, predicts it.

        Nothing is fitted again.  Noise, kernel scales and reference energies stay those of the whole set.

        Parameters
        ----------
        frames : list of Atoms
            All frames that were given to `fit`, in the same order.

        Raises
        ------
        InputError
            If they are not the training set.
        """
        return leave_one_out(state_of(self), self._training_batch(frames), n_jobs=self.n_jobs)

    @checked
    def jackknife(self: Self, frames: Atoms | Sequence[Atoms]) -> Self:
        """A copy whose epistemic covariances are those of the jackknife over the configurations of the training set.

        They take residuals as they are instead of as independent noise (see `gp.posterior.SandwichPosterior`); means
        are the same.  `predict(..., std="epistemic")`, `covariance` and `sample` of the copy use them.

        Parameters
        ----------
        frames : list of Atoms
            As for `leave_one_out`.
        """
        return self.with_state(jackknife(state_of(self), self._training_batch(frames), self.n_jobs))

    @checked
    def extrapolation(self, frames: Atoms | Sequence[Atoms], false_alarm: float = FALSE_ALARM) -> Extrapolation:
        """Signs of extrapolation of every atom: novelty, distance to the training set, and closest pairs.

        Parameters
        ----------
        false_alarm : float
            Part of the atoms of structures like the training set that may be flagged, up to 0.05.
        """
        state = state_of(self)
        applied = state.apply(to_batch(frames, labels=False))
        return signs_of_extrapolation(state, applied, false_alarm, n_jobs=self.n_jobs)

    @checked
    def is_extrapolating(self, frames: Atoms | Sequence[Atoms], false_alarm: float = FALSE_ALARM) -> BoolArray:
        """Whether any atom of a frame is unlike the training set, (n_frames,); see `extrapolation`."""
        return self.extrapolation(frames, false_alarm).frames

    @checked
    def sample(self: Self, n: Count, random_state: Seed = 0, *, inflation: Positive = 1.0) -> Committee[Self]:
        """`n` draws from the posterior of the weights, a committee whose members share their descriptors.

        Whatever is computed with every member has an error bar: ``model.sample(16).error_bar(elastic_constant)``.

        Parameters
        ----------
        inflation : float
            Factor of the deviations from the mean, such as ``model.calibration_.scales["forces"].b``: the posterior's
            own (1) order errors, they are too small.
        """
        return sample_committee(self, n, random_state, inflation)

    @checked
    def covariance(self, frames: Atoms | Sequence[Atoms], kinds: Sequence[str] = ("energy",)) -> FloatArray:
        """Epistemic covariances of all targets of some frames with each other.

        The variance of any combination w of targets, such as the difference of two energies, is ``w @ covariance @ w``.

        Parameters
        ----------
        kinds : sequence of {"energy", "forces", "virial"}
            Targets, kind after kind: n_frames total energies in eV; 3 n_atoms force components in eV/Å; 6 n_frames
            virials in eV, order xx, yy, zz, yz, xz, xy.

        Returns
        -------
        ndarray (n, n)
            Symmetric, positive semi-definite.
        """
        state = state_of(self)
        if len(kinds) == 0 or any(kind not in TARGETS for kind in kinds):
            raise InputError(f"`kinds` must name energy, forces or virial, got {list(kinds)}")
        applied = state.apply(to_batch(frames, labels=False))
        return covariance_of(applied, state.sparse.posterior, tuple(kinds))

    @checked
    def difference(
        self, frames_a: Atoms | Sequence[Atoms], frames_b: Atoms | Sequence[Atoms],
        coefficients: Sequence[float] | None = None,
    ) -> EnergyDifference:  # fmt: skip
        """Energy of one set of structures less that of another, with the calibrated error bar of the difference.

        Errors of similar structures cancel, so that the bar is narrower than those of the energies together: surface,
        vacancy, formation and strain energies.

        Parameters
        ----------
        frames_a, frames_b : Atoms or list of Atoms
            The difference is sum E(a) - sum coefficient E(b), in eV.
        coefficients : list of float, optional
            One for every frame of `frames_b`; by default those that leave no atom over, such as the ratio of the
            numbers of atoms for a slab and its crystal.

        Raises
        ------
        NotFittedModelError
            If the model has no calibration of energies.
        InputError
            If the coefficients are not one for each frame, or must be given.

        Examples
        --------
        >>> model.difference(slab, crystal)  # twice the surface energy times the area  # doctest: +SKIP
        """
        a, b = ([frames] if isinstance(frames, Atoms) else list(frames) for frames in (frames_a, frames_b))
        return energy_difference(state_of(self), a, b, coefficients, self.n_jobs)

    @checked
    def save(self, path: PathLike, *, factors: bool = False) -> None:
        """Write the model to one file; with `factors` also what `partial_fit` needs (three more M x M triangles).

        An older file at `path` stays intact until the new one is complete.  Then the checkpoint that `fit` left is
        removed.

        Raises
        ------
        OutputError
            If the file cannot be written, or is the checkpoint; this stays then, and so does an older file.
        """
        state, checkpoint = state_of(self), self._checkpoint
        check_parameters(self)
        if checkpoint is not None:
            check_output(path, checkpoint.path)
        write_state(path, state, self.get_params(deep=False), factors=factors)
        if checkpoint is not None:
            checkpoint.remove()
            self._checkpoint = None

    @checked
    def to_quip(self, path: PathLike) -> None:
        """Write the model for QUIP: a gap.xml, and the sparse points in files beside it.

        Raises
        ------
        InputError
            If a part of the model has no counterpart there; `gapkit.interop.quip` says which have.
        """
        state_of(self)
        import_module(EXPORTERS["quip"]).write(self, path)

    def summary(self) -> str:
        """The fitted model in words and units."""
        return summarise(state_of(self), self.get_params(deep=False))

    def _training_batch(self, frames: Atoms | Sequence[Atoms]) -> AtomsBatch:
        """Labelled frames; InputError unless they are the training set."""
        state = state_of(self)
        batch = labelled_batch(frames, self.label_keys)
        check_training_set(state.metadata, batch, "`leave_one_out`")
        return batch

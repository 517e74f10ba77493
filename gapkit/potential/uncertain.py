"""The part of a fitted potential that knows of its own errors."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
from ase import Atoms

from gapkit.exceptions import CalibrationError, CalibrationWarning, InputError, NotFittedModelError
from gapkit.gp.noise import Noise
from gapkit.gp.variance.targets import covariance_of
from gapkit.neighbours import NeighbourList
from gapkit.potential.committee.committee import Committee, sample_committee
from gapkit.potential.error_bars.calibrate import (
    ATOMS_LEFT_OUT,
    calibrate_left_out,
    calibrate_on,
    choose_frames,
    learn_novelty,
    leave_out,
)
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut
from gapkit.potential.error_bars.standard_deviations import STDS, Std, calibrated, epistemic, look_at
from gapkit.potential.metadata import training_set
from gapkit.potential.model import SparseModel
from gapkit.potential.predictions import Predictions
from gapkit.structures import AtomsBatch, to_batch
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.calibration import Calibration
from gapkit.uncertainty.novelty import FALSE_ALARM, Extrapolation, NoveltyDetector

if TYPE_CHECKING:
    from gapkit.potential.gap import GAP


class Uncertain:
    """Calibration, intervals, extrapolation and covariances; a base of `GAP`.

    Attributes
    ----------
    calibration_ : Calibration or None
        None: there is none, and standard deviations are epistemic.
    novelty_detector_ : NoveltyDetector or None
    """

    model_: SparseModel
    noise: Noise | None
    noise_: Noise
    n_jobs: int | None
    metadata_: dict
    calibration_: Calibration | None
    novelty_detector_: NoveltyDetector | None
    _origins: IntArray
    _noise: dict[str, float]

    def calibrate(self, frames: Atoms | Sequence[Atoms]) -> GAP:
        """Calibrate standard deviations and intervals on labelled frames that the model was not fitted to.

        It replaces the calibration that `fit` made of the training set with configurations left out.  Use it when the
        structures to predict are of another kind than the training set.

        Raises
        ------
        CalibrationError
            If there are fewer than ten labelled configurations.
        """
        self._check_fitted()
        batch = self._labelled(frames)
        neighbours = self.model_.neighbours(batch)
        predictions = self.model_.predict(batch, neighbours, uncertainty="parts", n_jobs=self.n_jobs)
        assert predictions.novelty is not None
        known = look_at(self.model_, self._detector(), batch, neighbours, predictions.novelty)
        self.calibration_ = calibrate_on(self.model_, batch, predictions, known)
        return cast("GAP", self)

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
        self._check_fitted()
        batch = self._labelled(frames)
        mine, given = self.metadata_.get("training_set"), training_set(batch)
        if mine is None or mine["sha256"] != given["sha256"]:
            raise InputError(
                "`leave_one_out` needs the frames that the model was fitted to, in the same order, got other ones; for "
                "new frames compare `predict` with their labels"
            )
        return leave_out(
            self.model_, batch, np.arange(batch.n_frames), self._noise, self.noise or Noise(), self._origins,
            self.n_jobs,
        )  # fmt: skip

    def jackknife(self, frames: Atoms | Sequence[Atoms]) -> GAP:
        """A copy whose epistemic covariances are those of the jackknife over the configurations of the training set.

        They take residuals as they are instead of as independent noise (see `gp.posterior.SandwichPosterior`); means
        are the same.  `predict(..., std="epistemic")`, `covariance` and `sample` of the copy use them.

        Parameters
        ----------
        frames : list of Atoms
            All frames that were given to `fit`, in the same order.
        """
        scores = self.leave_one_out(frames).scores
        state = self.model_
        posterior = state.posterior.with_scores(scores)
        model = copy.copy(cast("GAP", self))
        model._restore(
            SparseModel(state.basis, posterior, state.weights, state.energies, state.baseline), self._noise, None
        )
        model.calibration_ = None
        return model

    def extrapolation(self, frames: Atoms | Sequence[Atoms], false_alarm: float = FALSE_ALARM) -> Extrapolation:
        """What is new about the atoms of some frames, with numbers for each of three signs.

        Parameters
        ----------
        false_alarm : float
            Part of the atoms of structures like the training set that may be flagged, up to 0.05.
        """
        self._check_fitted()
        batch = to_batch(frames, labels=False)
        neighbours = self.model_.neighbours(batch)
        p = self.model_.predict(batch, neighbours, uncertainty="parts", n_jobs=self.n_jobs)
        assert p.novelty is not None
        return look_at(self.model_, self._detector(), batch, neighbours, p.novelty, false_alarm).extrapolation

    def is_extrapolating(self, frames: Atoms | Sequence[Atoms], false_alarm: float = FALSE_ALARM) -> BoolArray:
        """Whether any atom of a frame is unlike the training set, (n_frames,); see `extrapolation`."""
        return self.extrapolation(frames, false_alarm).frames

    def sample(
        self, n: int, random_state: int | np.random.RandomState | None = 0, *, inflation: float = 1.0
    ) -> Committee:
        """`n` draws from the posterior of the weights, a committee whose members share their descriptors.

        Whatever is computed with every member has an error bar: ``model.sample(16).error_bar(elastic_constant)``.

        Parameters
        ----------
        inflation : float
            Factor of the deviations from the mean, such as ``model.calibration_.scales["forces"].b``: the posterior's
            own (1) order errors, they are too small.
        """
        self._check_fitted()
        return sample_committee(cast("GAP", self), n, random_state, inflation)

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
        self._check_fitted()
        unknown = [kind for kind in kinds if kind not in ("energy", "forces", "virial")]
        if unknown or not kinds:
            raise InputError(f"`kinds` must name energy, forces or virial, got {list(kinds)}")
        batch = to_batch(frames, labels=False)
        self.model_.neighbours(batch)  # the species are known
        return covariance_of(self.model_.basis, self.model_.posterior, batch, self.model_.reach, tuple(kinds))

    def check_std(self, std: Std | None) -> Std:
        """The kind of standard deviations that is meant by `std`.

        Raises
        ------
        InputError
            If there is no such kind.
        NotFittedModelError
            If calibrated ones are asked for and the model has no calibration.
        """
        if std is not None and std not in STDS:
            raise InputError(f"`std` must be one of {', '.join(STDS)}, or None, got {std!r}")
        if std == "calibrated" and self.calibration_ is None:
            raise NotFittedModelError(
                'this model has no calibration; fit it with `calibration="leave-one-out"`, call `calibrate` with '
                'labelled frames, or ask for `std="epistemic"`'
            )
        return std or ("epistemic" if self.calibration_ is None else "calibrated")

    def _learn_uncertainty(self, batch: AtomsBatch, rng: np.random.Generator) -> None:
        """Thresholds and calibration from the training set."""
        try:
            frames = choose_frames(batch, ATOMS_LEFT_OUT, rng)
            found = leave_out(
                self.model_, batch, frames, self._noise, self.noise or Noise(), self._origins, self.n_jobs
            )
            self.novelty_detector_ = learn_novelty(self.model_, batch, frames, found.novelty, rng)
            self.calibration_ = calibrate_left_out(self.model_, self.novelty_detector_, batch, frames, found)
        except CalibrationError as error:
            warnings.warn(f"standard deviations are not calibrated: {error}", CalibrationWarning, stacklevel=3)

    def _with_error_bars(
        self, p: Predictions, batch: AtomsBatch, neighbours: NeighbourList, std: Std | None, interval: float | None
    ) -> Predictions:
        """Add standard deviations, and intervals at a level, to predictions with novelties."""
        kind = self.check_std(std)
        if interval is not None and kind != "calibrated":
            raise InputError(f"`interval` needs calibrated standard deviations, these are {kind}")
        known = None
        if self.novelty_detector_ is not None and p.novelty is not None:
            known = look_at(self.model_, self.novelty_detector_, batch, neighbours, p.novelty)
        if kind == "calibrated":
            assert self.calibration_ is not None
            assert known is not None
            bars = calibrated(self.model_, self.calibration_, batch, known, interval=interval, n_jobs=self.n_jobs)
        else:
            noise = self.noise_ if kind == "total" else None
            bars = epistemic(self.model_, batch, noise=noise, n_jobs=self.n_jobs)
        return replace(
            p, energy_std=bars.energy, forces_std=bars.forces, stress_std=bars.stress, std=kind,
            variances=bars.variances, extrapolating=None if known is None else known.extrapolation.atoms,
            energy_interval=bars.intervals.get("energy"), forces_interval=bars.intervals.get("forces"),
            stress_interval=bars.intervals.get("stress"),
        )  # fmt: skip

    def _detector(self) -> NoveltyDetector:
        if self.novelty_detector_ is None:
            raise NotFittedModelError(
                'this model has no thresholds of novelty; fit it with `calibration="leave-one-out"` (the default)'
            )
        return self.novelty_detector_

    if TYPE_CHECKING:  # of `GAP`

        def _check_fitted(self) -> None: ...

        def _labelled(self, frames: Atoms | Sequence[Atoms]) -> AtomsBatch: ...

"""Search over settings of descriptors, kernels and noise, by evidence or by leaving configurations out."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid, ParameterSampler
from sklearn.utils import check_random_state

from gapkit.exceptions import DataError, GapkitError, InputError, NotFittedModelError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Seed
from gapkit.potential.checks import check_names, check_parameters, for_part
from gapkit.potential.defaults import default_terms
from gapkit.potential.gap import GAP
from gapkit.potential.search.settings import Candidate, UnknownSettingError, score_candidate, table_of, with_settings
from gapkit.potential.training.reference_energies import reference_energies
from gapkit.progress import track
from gapkit.structures import AtomsBatch, LabelKeys, describe, to_batch
from gapkit.terms.known import KnownEnergy, as_energy_terms

Objective: TypeAlias = Literal["evidence", "loo_energy", "loo_forces", "loo_log_score"]
Grid: TypeAlias = Mapping[str, Any]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)


class SettingsSearch(BaseEstimator):
    """Fit a potential with each of many settings and keep the best.

    Nothing is fitted twice for a candidate: evidence comes with the fit, and frames are left out of the fitted model in
    closed form, for about half of the fit's time.  Where errors on held-out folds are wanted instead, scikit-learn's
    `GridSearchCV` takes a GAP as well.

    Parameters
    ----------
    estimator : GAP
        Settings that are not searched.  Terms of None are the default ones of the data.
    settings : mapping of str to sequence, or list of such mappings
        As `sklearn.model_selection.ParameterGrid` takes them, with names such as `terms__1__descriptor__cutoff`,
        `terms__1__kernel__zeta`, `terms__0__n_sparse`, `n_sparse` or `noise__forces`.  A kernel's `delta` is chosen by
        evidence within every candidate, and values of it matter only with ``delta_bounds="fixed"``; so is the noise
        that is not given.
    n_iter : int or None
        Draw as many candidates from the settings, which may then be distributions; None: all combinations.
    objective : {"evidence", "loo_energy", "loo_forces", "loo_log_score"}
        What is maximised, see Notes; all four are computed.
    n_frames : int or None
        Search on as many random frames; None: on all.
    refit : bool
        Fit the best candidate to all frames at the end.
    random_state : int, RandomState or None
        Governs the draws of candidates and frames, and the seed of candidates where the estimator has none.
    progress : bool
        Show a progress bar on standard error.

    Attributes
    ----------
    results_ : list of Candidate
        In the order of the grid; those done so far after a Ctrl-C.
    best_settings_ : dict of str to value
    best_objective_ : float
    best_estimator_ : GAP
        Fitted to all frames, with the estimator's own `calibration`; only if `refit`.

    Notes
    -----
    All candidates see the same labels less the same reference energies (those of all frames), so that their evidences
    are densities of the same numbers and can be compared.  Sparse points, and the noise and kernel scales that evidence
    chose, belong to the model: the evidence is that of the sparse model as it is, at its best noise and scales.

    Leaving out keeps noise, scales and reference energies of the whole set, and takes a frame's own sparse points away
    with it.  The log pseudo-likelihood weighs errors by the error bars that the model gives itself (noise included),
    and suffers less than evidence from a model that cannot be right, as no sparse local one is.  Components of a frame
    count as though they were independent.  Source: Rasmussen and Williams (2006), section 5.4.2.

    Examples
    --------
    >>> search = SettingsSearch(GAP(), {"terms__1__descriptor__cutoff": [4.5, 5.5]})  # doctest: +SKIP
    >>> print(search.fit(frames).report())  # doctest: +SKIP
    """

    def __init__(
        self, estimator: GAP, settings: Grid | Sequence[Grid], *, n_iter: Count | None = None,
        objective: Objective = "loo_log_score", n_frames: Count | None = None, refit: bool = True,
        random_state: Seed = 0, progress: bool = False,
    ) -> None:  # fmt: skip
        self.estimator = estimator
        self.settings = settings
        self.n_iter = n_iter
        self.objective = objective
        self.n_frames = n_frames
        self.refit = refit
        self.random_state = random_state
        self.progress = progress

    @checked
    def fit(self, frames: Atoms | Sequence[Atoms], y: object = None) -> SettingsSearch:
        """Try all candidates on labelled frames.

        A candidate that cannot be fitted is noted in `results_` and does not stop the others.

        Parameters
        ----------
        frames : Atoms or list of Atoms
            As for `GAP.fit`.
        y : None
            Ignored.

        Raises
        ------
        InputError
            If a setting is unknown, a parameter is out of range, or no candidate could be fitted.
        DataError
            If a label is unusable, or those of the objective are missing.
        """
        check_parameters(self)
        check_parameters(self.estimator)
        frames = [frames] if isinstance(frames, Atoms) else frames
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=3)
        batch = to_batch(frames, keys=self.estimator.label_keys or LabelKeys())
        check_names(self.estimator, batch.all_labels.config_type)
        # with terms that settings can name, and with a seed that all candidates share
        terms, seed = self.estimator.terms, self.estimator.random_state
        changes = {"terms": default_terms(batch) if terms is None else terms}
        estimator = with_settings(self.estimator, changes | {"random_state": seeds[0] if seed is None else seed})
        taken = KnownEnergy(terms=as_energy_terms(estimator.energy_terms)).energies_of_potentials(batch)
        energies = reference_energies(batch, estimator.reference_energies, describe(batch).isolated_atoms, taken)
        # One set of reference energies for all, also where some of the frames would give others.
        shared = {"reference_energies": {chemical_symbols[z]: e for z, e in energies.items()}}
        which = list(range(batch.n_frames))
        if self.n_frames is not None:
            if self.n_frames > batch.n_frames:
                raise InputError(f"`n_frames` must be at most the {batch.n_frames} frames given, got {self.n_frames}")
            which = sorted(np.random.default_rng(seeds[2]).choice(which, self.n_frames, replace=False).tolist())
        part = batch.select(which)
        base = with_settings(estimator, shared | {"calibration": None, "progress": False})
        base = for_part(base, batch, part)
        candidates = self._candidates(base, int(seeds[1]))
        for objective, has in (("loo_energy", part.all_labels.has_energy), ("loo_forces", part.all_labels.has_forces)):
            if self.objective == objective and not has.any():
                raise DataError(
                    f'`objective="{objective}"` needs frames with {objective[4:]}, found none among {part.n_frames}; '
                    'add labels or use "loo_log_score"'
                )
        self.results_: list[Candidate] = []
        self.__dict__.pop("best_estimator_", None)  # that of an earlier search
        some = [frames[i] for i in which]
        with track(len(candidates), "settings", "candidate", self.progress) as bar:
            for settings in candidates:
                self.results_.append(self._try(base, settings, some, part))
                bar.update()
        if all(one.objective is None for one in self.results_):
            raise InputError(
                f"`settings` must hold a candidate that can be fitted, got {len(candidates)} that cannot, the first "
                f"because: {self.results_[0].error}; the others are in `results_`"
            )
        if self.refit:
            self.best_estimator_ = with_settings(estimator, self.best_settings_).fit(frames)
        return self

    best_settings_ = property(lambda self: dict(self._done().settings), doc="Settings of the best candidate so far.")
    best_objective_ = property(lambda self: self._done().objective, doc="Objective of the best candidate so far.")

    def report(self) -> str:
        """A table of all candidates, the best first and those that failed last."""
        from rich.console import Console

        if not hasattr(self, "results_"):
            raise NotFittedModelError("this search has not run yet; call `fit` with labelled frames")
        text = io.StringIO()
        Console(file=text, width=120).print(table_of(self.results_, self.objective))
        return text.getvalue().rstrip("\n")

    def _done(self) -> Candidate:
        """The first of the best candidates."""
        done = [one for one in getattr(self, "results_", []) if one.objective is not None]
        if not done:
            raise NotFittedModelError("this search has no candidate yet; call `fit` with labelled frames")
        return max(done, key=lambda one: one.objective or 0.0)

    def _candidates(self, base: GAP, seed: int) -> list[dict[str, Any]]:
        """Settings of all candidates; raises InputError where a name is unknown."""
        try:
            sampler = partial(ParameterSampler, n_iter=self.n_iter, random_state=seed)
            found = list((ParameterGrid if self.n_iter is None else sampler)(self.settings))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"`settings` must map names to lists of values (or to distributions, with `n_iter`): {error}"
            ) from error
        for settings in found:
            if any(name.split("__")[0] == "label_keys" for name in settings):
                raise InputError("`settings` must not name `label_keys`: candidates are judged by the same labels")
            try:
                with_settings(base, settings)
            except UnknownSettingError:
                raise
            except GapkitError:
                continue  # a value that a term refuses: noted when its turn comes
        return found

    def _try(self, base: GAP, settings: dict[str, Any], frames: Sequence[Atoms], batch: AtomsBatch) -> Candidate:
        begin = time.perf_counter()
        objective = scores = n_sparse = error = None
        try:
            model = with_settings(base, settings).fit(frames)
            scores, n_sparse = score_candidate(model, batch, model.leave_one_out(frames)), model.n_sparse_
            objective = getattr(scores, self.objective)
            if not np.isfinite(objective):
                objective, error = None, f"the objective is {objective}"
        except GapkitError as reason:
            error = f"{type(reason).__name__}: {reason}"
        return Candidate(settings, objective, scores, n_sparse, time.perf_counter() - begin, error)

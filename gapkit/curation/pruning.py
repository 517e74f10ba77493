"""Pruning: a fit without bad labels.

`prune` leaves out labels that stand out of those of configurations alike (see `influence`), fits again and examines all
of them again, those left out included: bad labels hide each other, and good ones look bad next to them, only in the
first round.  A single wrong label goes alone; more than one throw suspicion on the structure, and all of it goes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from ase import Atoms

from gapkit.curation.influence import ALL, LEAST_OF_A_TYPE, examine, outlier_scores, training_batch
from gapkit.curation.weights import without_labels
from gapkit.errors.tables import rmse
from gapkit.exceptions import DataWarning, HyperparameterWarning
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Fraction, Positive
from gapkit.potential import GAP
from gapkit.potential.checks import for_part
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut
from gapkit.structures import LabelKeys
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray, IntArray

Check = Callable[[GAP], Mapping[str, float]]

SCORES_OF = {"energy": ("energy",), "forces": ("forces", "atom"), "virial": ("virial", "sign")}
SUSPECT = 0.4  # part of the threshold beyond which other labels are suspect when one stands out
RARE = 3.0  # times the threshold, for configurations of types of few


@dataclass(frozen=True)
class Outlier:
    """A configuration that stands out, its `outlier_scores`, and the kinds of its labels that were left out."""

    frame: int
    config_type: str
    kinds: tuple[str, ...]
    scores: dict[str, float]


@dataclass(frozen=True)
class Pruned:
    """A fit without outliers.

    Attributes
    ----------
    frames : list of Atoms
        Its training frames, the masked ones as copies without the labels that were left out.
    kept : ndarray of int
        Configurations that stay, masked ones included.
    dropped, masked, spared : tuple of Outlier
        Configurations that were left out altogether, that lost some labels, and that were kept since their type is
        rare or `max_fraction` was used up; the worst first.
    before, after : dict of str to float
        Root mean square errors of the labels kept, each configuration left out: energy_rmse (eV/atom), forces_rmse
        (eV/Å) and stress_rmse (eV/Å^3); and the numbers of `check` for the two models.
    """

    model: GAP = field(repr=False)
    frames: list[Atoms] = field(repr=False)
    kept: IntArray
    dropped: tuple[Outlier, ...]
    masked: tuple[Outlier, ...]
    spared: tuple[Outlier, ...]
    before: dict[str, float]
    after: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """All but the model and its frames, in plain numbers."""
        out = {name: [asdict(one) for one in getattr(self, name)] for name in ("dropped", "masked", "spared")}
        for name, rows in out.items():
            for row in rows:  # all labels of dropped ones, none of spared ones
                kinds = list(row.pop("kinds"))
                row.update({"kinds": kinds} if name == "masked" else {})
        return {"kept": self.kept.tolist(), **out, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        n_frames = len(self.kept) + len(self.dropped)
        lines = [f"dropped {len(self.dropped)} of {n_frames} frames, and labels of {len(self.masked)} others"]
        for out in (*self.dropped, *self.masked):
            what = f" without {' and '.join(out.kinds)}" if out in self.masked else ""
            scores = ", ".join(f"{kind} {z:.1f}" for kind, z in out.scores.items() if z > 3.0)
            lines.append(f"  frame {out.frame} ({out.config_type}){what}: {scores}")
        if self.spared:
            lines.append(f"{len(self.spared)} others stand out: {', '.join(str(s.frame) for s in self.spared)}")
        lines += [f"{'':16}{'before':>12}{'after':>12}"]
        lines += [f"{name:16}{self.before[name]:12.5g}{value:12.5g}" for name, value in self.after.items()]
        return "\n".join(lines)


@checked
def prune(
    model: GAP, frames: Sequence[Atoms], *, threshold: Positive = 6.0, max_fraction: Fraction = 0.1,
    max_rounds: Count = 4, whole_frames: bool = False, check: Check | None = None,
) -> Pruned:  # fmt: skip
    """Leave out the labels that do not fit to all others, and fit again.

    Energy (score "energy"), forces ("forces", "atom") and virial ("virial", "sign") of a configuration are judged one
    by one.  A single outlier is left out alone, all forces together: a calculation with one wrong force is not to be
    trusted with the others.  All of the configuration is left out if two of them stand out, or if the others are
    suspect too: their part of "all" is beyond 0.4 `threshold`, or beyond all of it where the other sign explains the
    virial.

    Parameters
    ----------
    model : GAP
        Fitted; it is not changed.
    frames : list of Atoms
        Its training set in the same order; not changed.
    threshold : float
        Limit of all `outlier_scores`; three times that for configurations of types of fewer than 8, compared with all
        others, where nothing tells a rare structure from a wrong label.
    max_fraction : float
        Largest part of the frames to lose labels, those of the highest z.
    max_rounds : int
        Fits at most; fewer if the same labels stand out twice.
    whole_frames : bool
        Leave out all labels of a configuration if any stands out.
    check : callable or None
        Maps a model to named numbers, such as `gapkit.validation.crystal_check(atoms)`, for the table before and after.

    Raises
    ------
    InputError
        If the frames are not the training set, or an option is out of range.
    """
    batch = training_batch(model, frames)
    labels, has = batch.all_labels, batch.labelled_frames
    inside = {kind: np.ones(batch.n_frames, bool) for kind in TARGETS}
    limits = threshold * np.where(_rare(labels.config_type), RARE, 1.0)
    now, used, scores = model, list(frames), {}
    for _ in range(max_rounds):
        scores = outlier_scores(examine(now, batch, inside))
        wrong = _wrong(scores, limits, whole_frames)
        worst = np.max(list(scores.values()), axis=0) / limits
        out = np.any(list(wrong.values()), axis=0)
        too_many = np.argsort(np.where(out, -worst, np.inf), kind="stable")[int(max_fraction * batch.n_frames) :]
        out[too_many] = False
        stays = {kind: ~(wrong[kind] & out) for kind in TARGETS}
        empty = out & ~np.any([stays[kind] & has[kind] for kind in TARGETS], axis=0)
        stays = {kind: stay & ~empty for kind, stay in stays.items()}
        if all(np.array_equal(stays[kind], inside[kind]) for kind in TARGETS):
            break
        inside = stays
        used = _left(frames, inside, model.label_keys)
        now = for_part(model, batch, batch.select(np.any(list(inside.values()), axis=0)))
        with warnings.catch_warnings():  # labels that are wrong, or left out here, are what this is about
            for category in (DataWarning, HyperparameterWarning):
                warnings.simplefilter("ignore", category)
            now.fit(used)
    kept, whole = np.any(list(inside.values()), axis=0), np.all(list(inside.values()), axis=0)
    stands_out = np.max(list(scores.values()), axis=0) > threshold
    outliers = [
        Outlier(
            i, labels.config_type[i], tuple(kind for kind in TARGETS if not inside[kind][i]),
            {name: float(z[i]) for name, z in scores.items()},
        )
        for i in np.flatnonzero(~whole | stands_out).tolist()
    ]  # fmt: skip
    outliers.sort(key=lambda out: -max(out.scores.values()))
    dropped, masked, spared = (
        tuple(out for out in outliers if group[out.frame]) for group in (~kept, kept & ~whole, whole)
    )
    before = _errors(model.leave_one_out(frames), inside)
    after = before if now is model else _errors(now.leave_one_out(used), None)
    if check is not None:
        before, after = {**before, **check(model)}, {**after, **check(now)}
    return Pruned(now, used, np.flatnonzero(kept), dropped, masked, spared, before, after)


def _rare(config_types: Sequence[str]) -> BoolArray:
    """Configurations (n_frames,) of types of few; none where most are, for lack of anything better to compare with."""
    _, of_frame, counts = np.unique(config_types, return_inverse=True, return_counts=True)
    rare = counts[of_frame] < LEAST_OF_A_TYPE
    return np.asarray(rare & (2 * rare.sum() < len(rare)))


def _wrong(scores: Mapping[str, FloatArray], threshold: FloatArray, whole_frames: bool) -> dict[str, BoolArray]:
    """Labels to leave out, by kind (n_frames,), for a threshold of each frame (n_frames,)."""
    bad = {kind: np.max([scores[name] for name in names], axis=0) > threshold for kind, names in SCORES_OF.items()}
    number = np.sum(list(bad.values()), axis=0)
    # "all" is the norm of the scores of the kinds: what is left of it without those of the label that stands out
    squares = sum(np.where(bad[kind], 0.0, np.maximum(scores[kind], 0.0)) ** 2 for kind in TARGETS)
    others = ALL * np.sqrt(squares)
    # no wrong structure has the virial of the other sign: this is explained
    explained = (number == 0) | (scores["sign"] > threshold)
    whole = (number > 1) | (others > np.where(explained, 1.0, SUSPECT) * threshold)
    whole |= whole_frames & (number > 0)
    return {kind: own | whole for kind, own in bad.items()}


def _left(frames: Sequence[Atoms], inside: Mapping[str, BoolArray], keys: LabelKeys | None) -> list[Atoms]:
    """Frames with labels inside, with these alone."""
    out = []
    for i, atoms in enumerate(frames):
        gone = [kind for kind in TARGETS if not inside[kind][i]]
        if len(gone) < len(TARGETS):
            out.append(without_labels(atoms, gone, keys=keys) if gone else atoms)
    return out


def _errors(found: LeaveOneOut, inside: Mapping[str, BoolArray] | None) -> dict[str, float]:
    """Root mean square errors of the labels inside (None: all)."""
    out = {}
    for kind, target in TARGETS.items():
        residuals = found.of(target)
        error = rmse(residuals.errors if inside is None else residuals.errors[inside[kind][residuals.frames]])
        if error is not None:
            out[f"{target.shown.name}_rmse"] = error
    return out

"""Robust fits: weights of frames by their residuals; nothing is left out (see `pruning` for that).

Iteratively reweighted least squares: with u^2 the mean squared residual of the labels of one kind of one configuration,
left out of the fit, over noise and posterior variance, labels get sigma / sqrt(w),

    Student t    w = (nu + 1) / (nu + u^2),        Huber    w = min(1, k / u)

(Lange, Little, Taylor, J. Am. Stat. Assoc. 84, 881 (1989), eq. 5; Huber, Ann. Math. Stat. 35, 73 (1964)).  Rows of a
configuration share their weight: they are wrong together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from ase import Atoms
from scipy.stats import chi2
from sklearn.base import clone

from gapkit.curation.weights import with_sigmas
from gapkit.gp.noise import Noise
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Positive
from gapkit.potential import GAP
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut
from gapkit.potential.training.source import labelled_batch
from gapkit.structures import AtomsBatch, LabelKeys
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray


@dataclass(frozen=True)
class RobustFit:
    """A fit with weights, and copies of its frames with the sigmas of the fit.

    `weights` holds w (n_frames,) by kind, NaN where there is no label, and `changes` the largest change of a logarithm
    of w in every iteration.
    """

    model: GAP = field(repr=False)
    frames: list[Atoms] = field(repr=False)
    weights: dict[str, FloatArray]
    changes: tuple[float, ...]


@checked
def robust_fit(
    model: GAP, frames: Sequence[Atoms], *, weights: Literal["student", "huber"] = "student",
    shape: Positive | None = None, max_iterations: Count = 5, tolerance: Positive = 0.1,
) -> RobustFit:  # fmt: skip
    """Fit with weights that fall with the residuals of a frame.

    Parameters
    ----------
    model : GAP
        Parameters of the fit; fitted or not, it is not changed.  Noise that it leaves to evidence is found in every
        iteration, and the weights are relative to it.
    weights : {"student", "huber"}
    shape : float or None
        Degrees of freedom nu of Student's t (None: 4), or k of Huber's function (None: 1.345).
    max_iterations : int
        Fits after the first, which has no weights.
    tolerance : float
        Change of the logarithms of all weights below which the iteration ends.

    Raises
    ------
    InputError
        If an option is out of range.
    """
    constant = shape if shape is not None else (4.0 if weights == "student" else 1.345)
    fitted: GAP = clone(model).fit(frames)
    current = list(frames)
    batch = labelled_batch(frames, fitted.label_keys)
    base = fitted.state_.row_maker.targets(batch).sigmas
    reference = (model.noise or Noise()).filled().as_dict()
    w = {kind: np.full(batch.n_frames, np.nan) for kind in TARGETS}
    changes: list[float] = []
    for _ in range(max_iterations):
        old = w
        u2 = _misfit(fitted.leave_one_out(current), batch, base, fitted.state_.noise)
        with np.errstate(invalid="ignore"):
            if weights == "student":
                w = {kind: (constant + 1.0) / (constant + x) for kind, x in u2.items()}
            else:
                w = {kind: np.minimum(1.0, constant / np.sqrt(np.maximum(x, 1e-300))) for kind, x in u2.items()}
        logs = [np.abs(np.log(w[kind] / np.nan_to_num(old[kind], nan=1.0))) for kind in w]
        changes.append(float(np.nanmax(np.concatenate(logs), initial=0.0)))
        current = [_reweighted(a, batch, base, reference, w, i, model.label_keys) for i, a in enumerate(frames)]
        fitted = clone(model).fit(current)
        if changes[-1] < tolerance:
            break
    return RobustFit(fitted, current, w, tuple(changes))


def _misfit(
    found: LeaveOneOut, batch: AtomsBatch, base: Mapping[str, FloatArray], noise: Mapping[str, float]
) -> dict[str, FloatArray]:
    """u^2 by target (n_frames,), scaled to the median of right labels; NaN without labels."""
    out = {}
    for kind, target in TARGETS.items():
        out[kind] = np.full(batch.n_frames, np.nan)
        residuals = found.of(target)
        if len(residuals.frames) == 0:
            continue
        factor = np.abs(target.shown.factor(batch.n_atoms_per_frame, batch.volumes))[residuals.frames]
        sigma = base[kind][residuals.rows] * factor * noise[kind]
        squares = (residuals.errors**2 / (sigma[:, None] ** 2 + residuals.variances)).sum(axis=1)
        rows = target.components * np.bincount(residuals.frames, minlength=batch.n_frames)
        has = rows > 0
        mean = np.bincount(residuals.frames, squares, batch.n_frames)[has] / rows[has]
        right = chi2.median(rows[has]) / rows[has]
        out[kind][has] = mean / max(float(np.median(mean / right)), 1e-300)
    return out


def _reweighted(
    atoms: Atoms, batch: AtomsBatch, base: Mapping[str, FloatArray], reference: Mapping[str, float],
    w: Mapping[str, FloatArray], i: int, keys: LabelKeys | None,
) -> Atoms:  # fmt: skip
    """Copy of frame i with sigmas over the roots of its weights."""
    sigmas = {
        kind: base[kind][target.span(batch.offsets, i, i + 1)] * reference[kind] / np.sqrt(w[kind][i])
        for kind, target in TARGETS.items()
        if np.isfinite(w[kind][i])
    }
    return with_sigmas(atoms, sigmas, keys=keys)

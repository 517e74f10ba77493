"""Bad labels: leave out the frames that hold them, or let every frame count as much as its residuals allow.

`prune` drops configurations that stand out of those alike (see `influence`), fits again and looks at all of them again,
the dropped ones included: bad frames hide each other, and good ones look bad next to them, only in the first round.

`robust_fit` drops nothing.  Iteratively reweighted least squares: with u^2 the mean squared residual of the labels of
one kind of one configuration, left out of the fit, over noise and posterior variance, labels get sigma / sqrt(w),

    Student t    w = (nu + 1) / (nu + u^2),        Huber    w = min(1, k / u)

(Lange, Little, Taylor, J. Am. Stat. Assoc. 84, 881 (1989), eq. 5; Huber, Ann. Math. Stat. 35, 73 (1964)).  Rows of a
configuration share their weight: they are wrong together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.units import GPa
from scipy.stats import chi2
from sklearn.base import clone

from gapkit.curation.influence import examine, outlier_scores, training_batch
from gapkit.curation.weights import with_sigmas
from gapkit.exceptions import InputError
from gapkit.gp.noise import KINDS, Noise
from gapkit.potential import GAP
from gapkit.potential.leave_one_out import COMPONENTS, LeaveOneOut
from gapkit.potential.linear_model import VOIGT
from gapkit.potential.training import make_targets
from gapkit.structures import AtomsBatch, LabelKeys
from gapkit.typing import FloatArray, IntArray

Check = Callable[[GAP], Mapping[str, float]]


@dataclass(frozen=True)
class Dropped:
    """A configuration that was left out, with its `outlier_scores`."""

    frame: int
    config_type: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Pruned:
    """A fit without outliers.

    Attributes
    ----------
    model : GAP
        Fitted to the frames kept.
    kept : ndarray of int
    dropped : tuple of Dropped
        The worst first.
    before, after : dict of str to float
        Root mean square errors of the kept frames, each left out: energy_rmse (eV/atom), forces_rmse (eV/Å) and
        stress_rmse (eV/Å^3); and what `check` said of the two models.
    """

    model: GAP = field(repr=False)
    kept: IntArray
    dropped: tuple[Dropped, ...]
    before: dict[str, float]
    after: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """All but the model, in plain numbers."""
        dropped = [{"frame": d.frame, "config_type": d.config_type, "scores": d.scores} for d in self.dropped]
        return {"kept": self.kept.tolist(), "dropped": dropped, "before": self.before, "after": self.after}

    def __str__(self) -> str:
        lines = [f"dropped {len(self.dropped)} of {len(self.kept) + len(self.dropped)} frames"]
        for d in self.dropped:
            scores = ", ".join(f"{kind} {z:.1f}" for kind, z in d.scores.items() if z > 3.0)
            lines.append(f"  frame {d.frame} ({d.config_type}): {scores}")
        lines += [f"{'':16}{'before':>12}{'after':>12}"]
        lines += [f"{name:16}{self.before[name]:12.5g}{value:12.5g}" for name, value in self.after.items()]
        return "\n".join(lines)


def prune(
    model: GAP, frames: Sequence[Atoms], *, threshold: float = 6.0, max_fraction: float = 0.1, max_rounds: int = 4,
    check: Check | None = None,
) -> Pruned:  # fmt: skip
    """Leave out the configurations whose labels do not fit to all others, and fit again.

    Parameters
    ----------
    model : GAP
        Fitted; it is not changed.
    frames : list of Atoms
        All frames that were given to `fit`, in the same order.
    threshold : float
        Any of the `outlier_scores` beyond which a configuration is left out.
    max_fraction : float
        Part of the frames that may be left out, those of the highest z.
    max_rounds : int
        Fits at most; fewer if the same configurations stand out twice.
    check : callable or None
        Maps a model to named numbers, such as `crystal_check(atoms)`; they are in the table before and after.

    Raises
    ------
    InputError
        If the frames are not the training set, or an option is out of range.
    """
    if not (threshold > 0 and 0 < max_fraction < 1 and max_rounds >= 1):
        raise InputError(
            f"`threshold` must be > 0, `max_fraction` between 0 and 1 and `max_rounds` >= 1, got {threshold}, "
            f"{max_fraction} and {max_rounds}"
        )
    batch = training_batch(model, frames)
    kept = np.ones(len(frames), bool)
    now, scores = model, {}
    for _ in range(max_rounds):
        scores = outlier_scores(examine(now, batch, kept))
        worst = np.max(list(scores.values()), axis=0)
        drop = np.flatnonzero(worst > threshold)
        drop = drop[np.argsort(-worst[drop], kind="stable")][: int(max_fraction * len(frames))]
        if np.array_equal(np.sort(drop), np.flatnonzero(~kept)):
            break
        kept = ~np.isin(np.arange(len(frames)), drop)
        now = clone(model).fit([atoms for atoms, keep in zip(frames, kept, strict=True) if keep])
    labels = batch.labels
    assert labels is not None
    dropped = [
        Dropped(i, labels.config_type[i], {k: float(z[i]) for k, z in scores.items()})
        for i in (int(j) for j in np.flatnonzero(~kept))
    ]
    keep = np.flatnonzero(kept)
    before = _errors(model.leave_one_out(frames), keep)
    after = before if now is model else _errors(now.leave_one_out([frames[int(i)] for i in keep]), None)
    if check is not None:
        before, after = {**before, **check(model)}, {**after, **check(now)}
    return Pruned(now, keep, tuple(sorted(dropped, key=lambda d: -max(d.scores.values()))), before, after)


@dataclass(frozen=True)
class RobustFit:
    """A fit with weights.

    Attributes
    ----------
    model : GAP
    frames : list of Atoms
        Copies with the sigmas that it was fitted with.
    weights : dict of str to ndarray (n_frames,)
        w by kind, for the labels of each frame; NaN where there is none.
    changes : tuple of float
        Largest change of a logarithm of w in every iteration.
    """

    model: GAP = field(repr=False)
    frames: list[Atoms] = field(repr=False)
    weights: dict[str, FloatArray]
    changes: tuple[float, ...]


def robust_fit(
    model: GAP, frames: Sequence[Atoms], *, weights: Literal["student", "huber"] = "student",
    shape: float | None = None, max_iterations: int = 5, tolerance: float = 0.1,
) -> RobustFit:  # fmt: skip
    """Fit with weights that do not let bad labels decide.

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
        It ends when no logarithm of a weight changes by more.

    Raises
    ------
    InputError
        If an option is out of range.
    """
    if weights not in ("student", "huber") or (shape is not None and not shape > 0) or max_iterations < 1:
        raise InputError(
            f'`weights` must be "student" or "huber", `shape` > 0 and `max_iterations` >= 1, got {weights!r}, {shape} '
            f"and {max_iterations}"
        )
    constant = shape if shape is not None else (4.0 if weights == "student" else 1.345)
    fitted: GAP = clone(model).fit(frames)
    current = list(frames)
    batch = fitted._labelled(frames)
    labels = batch.labels
    assert labels is not None
    base = make_targets(batch, labels, *fitted.model_.offsets(batch), model.noise or Noise()).sigmas
    reference = (model.noise or Noise()).filled().as_dict()
    w = {kind: np.full(batch.n_frames, np.nan) for kind in KINDS}
    changes: list[float] = []
    for _ in range(max_iterations):
        old = w
        u2 = _misfit(fitted.leave_one_out(current), batch, base, fitted._noise)
        with np.errstate(invalid="ignore"):
            w = {
                kind: (constant + 1.0) / (constant + x)
                if weights == "student"
                else np.minimum(1.0, constant / np.sqrt(np.maximum(x, 1e-300)))
                for kind, x in u2.items()
            }
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
    """u^2 by kind (n_frames,), in units in which its median is that of right labels; NaN without labels."""
    n_atoms = batch.n_atoms_per_frame
    parts = {
        "energy": (found.energy, base["energy"] / n_atoms),
        "forces": (found.forces, base["forces"][found.atoms]),
        "virial": (found.stress, base["virial"] / batch.volumes),
    }
    out = {}
    for kind, (residuals, relative) in parts.items():
        out[kind] = np.full(batch.n_frames, np.nan)
        if len(residuals.frames) == 0:
            continue
        sigma = (relative if kind == "forces" else relative[residuals.frames]) * noise[kind]
        squares = (residuals.errors**2 / (sigma[:, None] ** 2 + residuals.variances)).sum(axis=1)
        rows = COMPONENTS[kind] * np.bincount(residuals.frames, minlength=batch.n_frames)
        has = rows > 0
        mean = np.bincount(residuals.frames, squares, batch.n_frames)[has] / rows[has]
        right = chi2.median(rows[has]) / rows[has]
        out[kind][has] = mean / max(float(np.median(mean / right)), 1e-300)
    return out


def _reweighted(
    atoms: Atoms, batch: AtomsBatch, base: Mapping[str, FloatArray], reference: Mapping[str, float],
    w: Mapping[str, FloatArray], i: int, keys: LabelKeys | None,
) -> Atoms:  # fmt: skip
    """A copy of frame i with the sigmas that its weights ask for."""
    atoms_of = slice(int(batch.offsets[i]), int(batch.offsets[i + 1]))
    sigma: dict[str, Any] = {}
    for kind in KINDS:
        if np.isfinite(w[kind][i]):
            own = base[kind][atoms_of] if kind == "forces" else float(base[kind][i])
            sigma[kind] = own * reference[kind] / np.sqrt(w[kind][i])
    return with_sigmas(atoms, **sigma, keys=keys)


def _errors(found: LeaveOneOut, frames: IntArray | None) -> dict[str, float]:
    """Root mean square errors of some frames (None: all)."""
    out = {}
    for name in ("energy", "forces", "stress"):
        residuals = getattr(found, name)
        errors = residuals.errors if frames is None else residuals.errors[np.isin(residuals.frames, frames)]
        if len(errors):
            out[f"{name}_rmse"] = float(np.sqrt(np.mean(errors**2)))
    return out


def crystal_check(crystal: Atoms, *, strain: float = 0.02, displacement: float = 1e-3) -> Check:
    """Physical numbers of a crystal, for the tables of `prune`: they tell whether a potential is sound.

    By finite differences of `model.predict` at the volume where the energy is lowest within twice `strain`: volume per
    atom (Å^3), bulk modulus from the curvature of the energy, elastic constants from stresses with the atoms where the
    strain takes them (C11, C12, C44 are averages over the axes; GPa), and the lowest curvature of the energy along a
    displacement of the first atom (eV/Å^2).

    Parameters
    ----------
    crystal : Atoms
        Periodic in three directions, near its minimum.
    strain : float
        Largest linear strain of the volume scan; elastic constants use a fifth.
    displacement : float
        Å.
    """
    if not crystal.pbc.all() or not 0 < strain < 0.2:
        raise InputError(f"`crystal` must be periodic in three directions and `strain` between 0 and 0.2, got {strain}")

    def check(model: GAP) -> dict[str, float]:
        scan = np.linspace(-2 * strain, 2 * strain, 21)
        lowest = scan[int(np.argmin(model.predict([_strained(crystal, x * np.eye(3)) for x in scan]).energy))]
        steps = lowest + np.linspace(-strain / 4, strain / 4, 5)
        fit = np.polyfit(steps, model.predict([_strained(crystal, x * np.eye(3)) for x in steps]).energy, 2)
        minimum = float(np.clip(-fit[1] / (2 * fit[0]), steps[0], steps[-1])) if fit[0] > 0 else float(lowest)
        atoms = _strained(crystal, minimum * np.eye(3))
        # V = V0 (1 + x)^3: d2E/dx2 = 9 V B (1 + x)^-2 at the minimum
        bulk = 2 * fit[0] * (1 + minimum) ** 2 / (9 * atoms.get_volume()) / GPa
        h, columns = strain / 5, []
        for a, b in zip(*VOIGT, strict=True):
            e = np.zeros((3, 3))
            e[a, b] += 0.5 * h
            e[b, a] += 0.5 * h
            up, down = model.predict([_strained(atoms, e), _strained(atoms, -e)]).stress
            columns.append((up - down) / (2 * h))
        C = np.array(columns).T / GPa
        moved = []
        for sign in (1.0, -1.0):
            for axis in range(3):
                new = atoms.copy()
                new.positions[0, axis] += sign * displacement
                moved.append(new)
        forces = model.predict(moved).forces.reshape(6, len(atoms), 3)[:, 0]
        curvature = -(forces[:3] - forces[3:]) / (2 * displacement)
        off = (C[:3, :3].sum() - np.trace(C[:3, :3])) / 6
        return {
            "volume": atoms.get_volume() / len(atoms),
            "bulk_modulus": float(bulk),
            "C11": float(np.trace(C[:3, :3])) / 3,
            "C12": float(off),
            "C44": float(np.trace(C[3:, 3:])) / 3,
            "curvature": float(np.linalg.eigvalsh(0.5 * (curvature + curvature.T)).min()),
        }

    return check


def _strained(atoms: Atoms, strain: FloatArray) -> Atoms:
    new = atoms.copy()
    new.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return new

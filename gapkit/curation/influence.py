"""Influence of every training configuration on the fit, from one pass over the rows.

With R^T R the posterior precision, Phi~ = Lambda^-1/2 Phi the whitened rows of a configuration c, r~ its whitened
residual, W = R^-T Phi~^T, H~ = W^T W, I the rows that the fit had and C = H~_:I (1 - H~_II)^-1, the model without c has

    whitened residual   u = r~ + C r~_I,   of covariance V = 1 + H~ + C H~_I: if labels and model are right,
    weights             a_c = a - R^-1 W_:I u_I.

If the fit had all of them, V = (1 - H~)^-1 and u = V r~; if it had none, V = 1 + H~ and u = r~.

Sparse points of the configuration stay (`GAP.leave_one_out` takes them away as well, and costs more).

Sources: Cook, Technometrics 19, 15 (1977), eq. 5; Belsley, Kuh, Welsch, Regression Diagnostics (1980), eqs. 2.7 and
2.13; for blocks, Sundararajan and Keerthi, Neural Comput. 13, 1103 (2001); for errors of Student's t, Lange, Little,
Taylor, J. Am. Stat. Assoc. 84, 881 (1989).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from ase import Atoms
from scipy.linalg import solve_triangular

from gapkit.curation.findings import robust_scale
from gapkit.exceptions import InputError
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.variance.targets import target_rows
from gapkit.options.checked import checked
from gapkit.parallel import map_blocks
from gapkit.potential import GAP
from gapkit.potential.metadata import check_training_set
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState, state_of
from gapkit.potential.training.rows import TrainingTargets
from gapkit.potential.training.source import labelled_batch
from gapkit.structures import AtomsBatch
from gapkit.structures.checks.labels import rms_forces
from gapkit.targets import TARGETS
from gapkit.typing import BoolArray, FloatArray, IntArray

_SMALLEST = 1e-10  # eigenvalue of 1 - H~: a configuration that alone decides its own prediction has rounding there
LEAST_OF_A_TYPE, N_ALIKE = 8, 30  # least size of a type that is judged by its own; others in a comparison
CALM = 0.05  # eV/Å, forces below which structures are equally calm
SMALLEST_SPREAD = 0.15  # of (chi2 / n_rows)^(1/3): what is well below the assumed noise does not stand out
ALL = 6.0 / 7.0  # a norm of three numbers is larger by chance than any of them
# Degrees of freedom of the errors of virials, and the least of their mean squares over noise and posterior variance.
FREEDOM, SMALLEST_SQUARE = 4.0, 0.02
WELL = 9.0  # chi2 / n_rows, over what is usual, of labels that fit
_MEDIAN_CHI2_6, _MEDIAN_CHI2 = 0.891, 0.789  # medians of chi2 of six and three components, over their number


@dataclass(frozen=True)
class KindInfluence:
    """One kind of target of one configuration."""

    n_rows: int
    leverage: float  # trace of H~ over its rows, the number of parameters they decide; 0 for rows outside the fit
    chi2: float  # u^T V^-1 u: squared studentised residual of the model without the configuration; n_rows on average
    # forces: largest chi2 of an atom over that of the median atom, or that of noise alone if more; about 5 on average.
    # Else 0.
    contrast: float
    flipped: float | None  # virials: chi2 of the labels (less the known energies) with the other sign


@dataclass(frozen=True)
class FrameInfluence:
    """One configuration."""

    frame: int
    config_type: str
    n_atoms: int
    kinds: dict[str, KindInfluence]  # by target, as far as there are labels
    # Cook's distance: squared change of all whitened fitted values without it, over the effective parameters
    cook: float
    dfbetas: float  # largest change of a weight without it, in standard deviations of that weight
    column: int  # index of that weight
    force: float | None = None  # root mean square of its labelled force components, eV/Å

    @property
    def leverage(self) -> float:
        """Leverage of all rows."""
        return sum(kind.leverage for kind in self.kinds.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self) | {"leverage": self.leverage}


@dataclass(frozen=True)
class InfluenceReport:
    """All configurations in the order of the training set; `n_effective` parameters, the trace of H~ of all rows."""

    frames: tuple[FrameInfluence, ...]
    n_effective: float

    def ranked(self, by: Literal["cook", "dfbetas", "leverage"] = "cook") -> list[FrameInfluence]:
        """The most influential first."""
        if by not in ("cook", "dfbetas", "leverage"):
            raise InputError(f'`by` must be "cook", "dfbetas" or "leverage", got {by!r}')
        return sorted(self.frames, key=lambda frame: -getattr(frame, by))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, the most influential first."""
        return {"n_effective": self.n_effective, "frames": [frame.to_dict() for frame in self.ranked()]}

    def __str__(self) -> str:
        lines = [f"{'frame':>6} {'cook':>9} {'dfbetas':>8} {'leverage':>8}  chi2 / rows of {', '.join(TARGETS)}; type"]
        for f in self.ranked()[:20]:
            chi2 = (f"{f.kinds[k].chi2 / f.kinds[k].n_rows:8.2f}" if k in f.kinds else f"{'-':>8}" for k in TARGETS)
            lines.append(
                f"{f.frame:6d} {f.cook:9.3g} {f.dfbetas:8.2f} {f.leverage:8.2f}  {' '.join(chi2)}  {f.config_type}"
            )
        return "\n".join(lines)


@checked
def influence(model: GAP, frames: Atoms | Sequence[Atoms]) -> InfluenceReport:
    """Influence of each training configuration on the fit.

    Parameters
    ----------
    model : GAP
        Fitted.
    frames : list of Atoms
        The training set in its order; InputError for any other.
    """
    batch = training_batch(model, frames)
    found = examine(model, batch, {kind: np.ones(batch.n_frames, bool) for kind in TARGETS})
    return InfluenceReport(tuple(found), sum(frame.leverage for frame in found))


def training_batch(model: GAP, frames: Atoms | Sequence[Atoms]) -> AtomsBatch:
    """Training set as a batch; NotFittedModelError or InputError if the model was not fitted to these frames."""
    state = state_of(model)
    batch = labelled_batch(frames, model.label_keys)
    check_training_set(state.metadata, batch, "influence")
    return batch


def examine(model: GAP, batch: AtomsBatch, inside: Mapping[str, BoolArray]) -> list[FrameInfluence]:
    """Influence of frames, with masks (n_frames,) by target of the labels that are `inside` the fit.

    Other labels are judged all the same, without leverage.  The cost is one pass over the rows and, for each frame, the
    cube of the number of its rows.
    """
    state = model.state_
    labelled = state.row_maker.targets(batch)
    R = state.sparse.posterior.R
    inverse = solve_triangular(R, np.eye(len(R)))
    spread = np.linalg.norm(inverse, axis=1)
    forces = rms_forces(batch)
    # M less the trace of prior precision times posterior covariance
    n_effective = len(R) - _prior_norm(state.sparse, inverse)

    def one(frame: int) -> FrameInfluence:
        rows, residual, labels, kinds = frame_rows(state, batch, labelled, frame)
        white = solve_triangular(R, rows.T, trans="T")
        H = white.T @ white
        mine = np.array([inside[kind][frame] for kind in kinds], bool)
        values, vectors = np.linalg.eigh(H[np.ix_(mine, mine)])
        gain = H[:, mine] @ (vectors / np.maximum(1.0 - values, _SMALLEST)) @ vectors.T
        V = np.eye(len(H)) + H + gain @ H[mine]
        u = residual + gain @ residual[mine]
        found = {}
        for kind in dict.fromkeys(kinds.tolist()):
            own, target = kinds == kind, TARGETS[kind]
            chi2 = _squared(u[own], V[np.ix_(own, own)])
            contrast = _contrast(u[own], V[np.ix_(own, own)]) if target.shape == (3,) else 0.0
            flipped = _squared(u[own] - 2.0 * labels[own], V[np.ix_(own, own)]) if target.shown.sign < 0 else None
            leverage = float(np.diagonal(H)[own & mine].sum())
            found[kind] = KindInfluence(int(own.sum()), leverage, chi2, contrast, flipped)
        score = white[:, mine] @ u[mine]
        change = solve_triangular(R, score)
        moved = np.abs(change) / spread
        cook = max(float(score @ score) - _prior_norm(state.sparse, change), 0.0) / n_effective
        return FrameInfluence(
            frame, batch.all_labels.config_type[frame], int(batch.n_atoms_per_frame[frame]), found, cook,
            float(moved.max()), int(moved.argmax()), float(forces[frame]) if np.isfinite(forces[frame]) else None,
        )  # fmt: skip

    return map_blocks(one, range(batch.n_frames), model.n_jobs)


def frame_rows(
    state: FittedState, batch: AtomsBatch, labelled: TrainingTargets, frame: int
) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    """Whitened rows (n, M), residuals (n,) and labels (n,) of one frame, and the target of each row."""
    sparse, noise = state.sparse, state.noise
    part = batch.select([frame])
    spans = {kind: target.span(batch.offsets, frame, frame + 1) for kind, target in TARGETS.items()}
    has = {kind: labelled.has[kind][span] for kind, span in spans.items()}
    applied = AppliedBasis.of(sparse.basis, part, state.neighbours(part))
    made = target_rows(applied, [kind for kind, mask in has.items() if mask.any()], single=True)
    rows, residuals, kinds = [np.zeros((0, len(sparse.weights)))], [np.zeros(0)], [np.zeros(0, "U6")]
    labels = [np.zeros(0)]
    for kind, target in TARGETS.items():
        if not has[kind].any() or kind not in noise:  # the fit had no label of this kind
            continue
        sigmas = np.repeat(labelled.sigmas[kind][spans[kind]][has[kind]] * noise[kind], target.components)
        phi = made[kind][has[kind]].reshape(len(sigmas), -1)
        values = labelled.values[kind][spans[kind]][has[kind]].ravel()
        rows.append(phi / sigmas[:, None])
        labels.append(values / sigmas)
        residuals.append((values - phi @ sparse.weights) / sigmas)
        kinds.append(np.full(len(sigmas), kind))
    return np.concatenate(rows), np.concatenate(residuals), np.concatenate(labels), np.concatenate(kinds)


@checked
def outlier_scores(frames: Sequence[FrameInfluence]) -> dict[str, FloatArray]:
    """Robust outlier scores of configurations: "energy", "forces", "virial", "atom", "all" and "sign".

    Each is compared with those alike: up to 30 others of its type (of all types if it has fewer than 8), the nearest in
    root mean square force, as errors grow with temperature.

    z = (x - median) / spread of x = (chi2 / n_rows)^(1/3), which is nearly normal whatever the number of rows, with a
    standard deviation of sqrt(2 / (9 n_rows)) times its mean (Wilson and Hilferty, PNAS 17, 684 (1931)).  The spread
    is the median absolute deviation, and at least that; "atom": of the contrast.  "all" is the norm of the z > 0 of the
    three kinds, for errors of the structure.

    "sign" is the logarithm of the likelihood ratio of virials of the other sign and as they are, where the other sign
    fits.  Both are of Student's t with nu = 4 degrees of freedom and the scale s^2 = median(chi2 / 6) / 0.891 of those
    alike, since errors of a model have longer tails than noise:

        sign = (nu + 6) / 2 ln[(nu + chi2 / s^2) / (nu + flipped / s^2)]

    6, odds of 400 to 1, is beyond doubt.  All scores are (n_frames,), 0 where there is no label.
    """
    scores = {}
    for name in (*TARGETS, "atom"):
        kind = "forces" if name == "atom" else name
        scores[name] = np.zeros(len(frames))
        where, of, alike = _comparisons(frames, kind)
        x = np.cbrt([k.contrast if name == "atom" else k.chi2 / k.n_rows for k in of])
        for i, own, n_rows, others in zip(where, x, [k.n_rows for k in of], alike, strict=True):
            middle, deviation = robust_scale(x[others])
            noise = 0.0 if name == "atom" else np.sqrt(2.0 / (9.0 * n_rows)) * middle
            scores[name][i] = (own - middle) / max(deviation, noise, SMALLEST_SPREAD)
    scores["all"] = ALL * np.sqrt(sum(np.maximum(scores[name], 0.0) ** 2 for name in TARGETS))
    scores["sign"] = _signs(frames)
    return scores


def _signs(frames: Sequence[FrameInfluence]) -> FloatArray:
    """Logarithm of the likelihood ratio of virials of the other sign (n_frames,)."""
    out = np.zeros(len(frames))
    where, of, alike = _comparisons(frames, "virial")
    as_is = np.array([k.chi2 / 6.0 for k in of])
    flipped = np.array([np.inf if k.flipped is None else k.flipped / 6.0 for k in of])
    best = np.minimum(as_is, flipped)  # those of a wrong sign are not to be usual
    for i, own, other, others in zip(where, as_is, flipped, alike, strict=True):
        scale = max(float(np.median(best[others])) / _MEDIAN_CHI2_6, SMALLEST_SQUARE)
        if other <= WELL * scale:
            ratio = (FREEDOM + 6.0 * own / scale) / (FREEDOM + 6.0 * other / scale)
            out[i] = 0.5 * (FREEDOM + 6.0) * np.log(ratio)
    return out


def _comparisons(
    frames: Sequence[FrameInfluence], kind: str
) -> tuple[list[int], list[KindInfluence], Iterator[IntArray]]:
    """Frames with labels of a kind, their influence, and for each the positions among them of those alike."""
    where = [i for i, frame in enumerate(frames) if kind in frame.kinds]
    known = [frames[i] for i in where]
    return where, [frame.kinds[kind] for frame in known], _alike(known)


def _alike(frames: Sequence[FrameInfluence]) -> Iterator[IntArray]:
    """Positions of the others in each frame's comparison: of its type, and of forces like its own."""
    types = np.array([frame.config_type for frame in frames])
    heat = np.log(np.maximum([np.nan if frame.force is None else frame.force for frame in frames], CALM))
    members = {name: np.flatnonzero(types == name) for name in np.unique(types)}
    everyone = np.arange(len(frames))
    pools = {name: own if len(own) >= LEAST_OF_A_TYPE else everyone for name, own in members.items()}
    ranked = {name: pool[np.argsort(heat[pool], kind="stable")] for name, pool in pools.items()}  # NaN comes last
    for i, name in enumerate(types):
        others = ranked[name]
        n_known = int(np.isfinite(heat[others]).sum())
        if np.isfinite(heat[i]) and n_known > LEAST_OF_A_TYPE:
            at = int(np.searchsorted(heat[others[:n_known]], heat[i]))
            others = others[:n_known][max(at - N_ALIKE, 0) : at + N_ALIKE + 1]
            others = others[others != i]
            yield others[np.argsort(np.abs(heat[others] - heat[i]), kind="stable")[:N_ALIKE]]
        else:
            yield others[others != i] if len(others) > 1 else others


def _contrast(u: FloatArray, V: FloatArray) -> float:
    """Largest squared studentised residual of an atom over that of the frame's median atom."""
    by_atom = u.reshape(-1, 3)
    blocks = np.einsum("acad->acd", V.reshape(len(by_atom), 3, len(by_atom), 3))
    chi2 = np.einsum("ac,ac->a", by_atom, np.linalg.solve(blocks, by_atom[..., None])[..., 0])
    return float(chi2.max() / max(np.median(chi2) / _MEDIAN_CHI2, 1.0) / 3.0)


def _squared(u: FloatArray, V: FloatArray) -> float:
    """u^T V^-1 u."""
    return float(u @ np.linalg.solve(V, u))


def _prior_norm(sparse: SparseModel, change: FloatArray) -> float:
    """Squared prior norm of a change of the weights (M,), or its sum over changes (M, n)."""
    posterior = sparse.posterior
    return sum(
        float(np.sum((block.L.T @ change[block.columns]) ** 2)) / posterior.variance_scale(i)
        for i, block in enumerate(posterior.prior)
    )

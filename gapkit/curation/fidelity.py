"""Two levels of theory: one label and one sigma made of two labels for each frame.

The labels a and b of a target y are taken to be a = y + noise_a and b = y + bias + noise_b: the first level is the
reference and has no bias.  Comparing them gives the bias and, from differences alone, only the sum of the variances;
the two come apart with a third, independent opinion p (another level, or the predictions of a potential that has seen
neither label), or with their ratio as known.

    var_a = [var(a - b) + var(a - p) - var(b - p)] / 2        (Grubbs, J. Am. Stat. Assoc. 43, 243 (1948), eq. 6)
    y = (a / var_a + (b - bias) / var_b) / (1 / var_a + 1 / var_b)

Variances are robust ones, from median absolute deviations.  Where the levels differ by more than `threshold` standard
deviations, the sigma grows by the excess (Birge, Phys. Rev. 40, 207 (1932)): nobody knows which of them is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from gapkit.curation.weights import copy_frame, with_sigmas
from gapkit.exceptions import DataError, InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Positive
from gapkit.structures import AtomsBatch, LabelKeys, to_batch
from gapkit.targets import TARGETS, Target
from gapkit.typing import BoolArray, FloatArray, IntArray

LEAST = 5  # common frames for estimates of bias and noise
SMALLEST_SHARE = 0.02  # of the variance of the differences, as differences of estimates can be negative
_MAD = 1.4826


@dataclass(frozen=True)
class Level:
    """Noise of two levels for one kind of target, and bias of the second."""

    # sigma, other_sigma: eV/atom, eV/Å or eV/atom; energies and virials of a frame have sqrt(N) times that
    sigma: float
    other_sigma: float
    # energies: eV/atom of each species.  Virials: "isotropic", eV/atom on the diagonal.  Forces: empty, no bias.
    bias: dict[str, float]
    n: int  # common frames (forces: atoms)


@dataclass(frozen=True)
class Fidelities:
    """Frames with labels of two levels combined."""

    frames: list[Atoms]  # copies with combined labels and absolute sigmas
    levels: dict[str, Level]  # by kind
    # difference, less bias, in its standard deviations: (n_frames,), for forces (n_atoms,); NaN where one is absent
    disagreement: dict[str, FloatArray]

    def to_dict(self) -> dict[str, Any]:
        """Levels in plain numbers."""
        return {kind: asdict(level) for kind, level in self.levels.items()}


@dataclass(frozen=True, eq=False)
class _Labels:
    """Labels of one kind, scaled to equal noise: (n, c), NaN where absent; design (n, p) of the bias."""

    values: FloatArray
    has: BoolArray
    design: FloatArray

    @classmethod
    def of(cls, batch: AtomsBatch, target: Target) -> _Labels:
        labels = batch.all_labels
        root = _root(batch.n_atoms_per_frame, target)
        columns = {"energy": batch.compositions(batch.species), "virial": batch.n_atoms_per_frame[:, None]}
        no_bias = np.zeros((target.length(batch.n_frames, batch.n_atoms), 0))
        values = target.to_components(labels.values[target.name]) / root
        return cls(values, labels.has[target.name], columns.get(target.name, no_bias) / root)


def _root(n_atoms: IntArray, target: Target) -> FloatArray:
    """Noise of frames over the global sigma, (n_frames, 1), or 1."""
    return np.sqrt(n_atoms)[:, None] if target.grows else np.ones((1, 1))


@checked
def combine_fidelities(
    frames: Sequence[Atoms], others: Sequence[Atoms], *, third: Sequence[Atoms] | None = None, ratio: Positive = 1.0,
    threshold: Positive = 2.0, keys: LabelKeys | None = None,
) -> Fidelities:  # fmt: skip
    """Combine the labels of two levels of theory.

    Parameters
    ----------
    frames, others : list of Atoms
        The same structures in the same order with the labels of the reference and of the other level.  Either may lack
        labels: where only one is there, it is used alone (the other less its bias).
    third : list of Atoms or None
        The same structures with independent labels, for example predictions with each configuration left out.
    ratio : float
        Noise of the other level over that of the reference, where there is no `third`.
    threshold : float
        Standard deviations beyond which a difference makes the sigma grow.

    Raises
    ------
    InputError
        If the structures differ, or an option is out of range.
    DataError
        If no kind of label is there on at least 5 common frames.
    """
    first, second = (to_batch(f, keys=keys, strict=False) for f in (frames, others))
    batches = [first, second] if third is None else [first, second, to_batch(third, keys=keys, strict=False)]
    for batch in batches[1:]:
        same = np.array_equal(batch.offsets, first.offsets) and np.array_equal(batch.numbers, first.numbers)
        if not same or np.abs(batch.positions - first.positions).max() > 1e-3:
            raise InputError("the levels must label the same structures in the same order; the lists of frames differ")
    levels, values, sigmas, disagreement = {}, {}, {}, {}
    for kind, target in TARGETS.items():
        parts = [_Labels.of(batch, target) for batch in batches]
        both = parts[0].has & parts[1].has
        if both.sum() < LEAST:
            continue
        bias, names = _bias(parts[0], parts[1], both, first, kind)
        shift = (parts[0].design @ bias)[:, None] * _diagonal(kind)
        a, b = parts[0].values, parts[1].values - shift
        var_a, var_b = _variances(a, b, both, parts[2:], kind, first, ratio)
        levels[kind] = Level(float(np.sqrt(var_a)), float(np.sqrt(var_b)), names, int(both.sum()))
        weight = np.stack([parts[0].has / var_a, parts[1].has / var_b])
        total = weight.sum(axis=0)
        used = total > 0
        z = np.full(len(a), np.nan)
        z[both] = np.sqrt(((a - b)[both] ** 2).mean(axis=1) / (var_a + var_b))
        with np.errstate(divide="ignore", invalid="ignore"):
            mixed = np.where(weight[:1].T > 0, a, 0) * weight[:1].T + np.where(weight[1:].T > 0, b, 0) * weight[1:].T
            values[kind] = np.where(used[:, None], mixed / total[:, None], np.nan)
            sigmas[kind] = np.where(used, np.sqrt(1.0 / total) * np.fmax(1.0, z / threshold), np.nan)
        disagreement[kind] = z
    if not levels:
        raise DataError(f"no kind of label is there at both levels on at least {LEAST} frames; give more common frames")
    return Fidelities(_write(frames, first, values, sigmas, keys), levels, disagreement)


def _diagonal(kind: str) -> FloatArray:
    """Components with a bias."""
    return {"energy": np.ones(1), "virial": np.array([1.0, 1, 1, 0, 0, 0])}.get(kind, np.zeros(1))


def _bias(a: _Labels, b: _Labels, both: BoolArray, batch: AtomsBatch, kind: str) -> tuple[FloatArray, dict[str, float]]:
    """Bias of b by least absolute deviations (reweighted least squares), as coefficients and by name."""
    names = {"energy": [chemical_symbols[z] for z in batch.species], "virial": ["isotropic"]}.get(kind)
    if names is None:
        return np.zeros(0), {}
    on = _diagonal(kind) > 0
    y = (b.values - a.values)[both][:, on].mean(axis=1)
    X, w = a.design[both], np.ones(int(both.sum()))
    for _ in range(30):
        coefficients = np.linalg.lstsq(X * w[:, None], y * w, rcond=None)[0]
        residual = np.abs(y - X @ coefficients)
        w = 1.0 / np.sqrt(np.maximum(residual, 1e-3 * np.median(residual) + 1e-12))
    return coefficients, dict(zip(names, coefficients.tolist(), strict=True))


def _variances(
    a: FloatArray, b: FloatArray, both: BoolArray, third: list[_Labels], kind: str, batch: AtomsBatch, ratio: float
) -> tuple[float, float]:
    """Variances of the two levels."""
    total = max(_spread(a[both], b[both]), 1e-20)
    if not third or (both & third[0].has).sum() < LEAST:
        return total / (1.0 + ratio**2), total * ratio**2 / (1.0 + ratio**2)
    p = third[0]
    all_three = both & p.has
    apart = []
    for values in (a, b):  # the third has a bias of its own
        level = _Labels(values, all_three, p.design)
        coefficients, _ = _bias(level, p, all_three, batch, kind)
        apart.append(
            _spread(values[all_three], (p.values - (p.design @ coefficients)[:, None] * _diagonal(kind))[all_three])
        )
    share = np.clip(0.5 * (1.0 + (apart[0] - apart[1]) / total), SMALLEST_SHARE, 1.0 - SMALLEST_SHARE)
    return float(share * total), float((1.0 - share) * total)


def _spread(a: FloatArray, b: FloatArray) -> float:
    """Robust variance of the differences about zero."""
    return float((_MAD * np.median(np.abs(a - b))) ** 2)


def _write(
    frames: Sequence[Atoms], batch: AtomsBatch, values: dict[str, FloatArray], sigmas: dict[str, FloatArray],
    keys: LabelKeys | None,
) -> list[Atoms]:  # fmt: skip
    """Copies with labels under ASE's names (any others are removed) and absolute sigmas.

    Targets without a combination keep the labels of the reference, without a sigma.
    """
    keys, out = keys or LabelKeys(), []
    for kind, target in TARGETS.items():
        if kind not in values:
            given = _Labels.of(batch, target)
            values = {**values, kind: np.where(given.has[:, None], given.values, np.nan)}
    for i, atoms in enumerate(frames):
        new = atoms.copy()
        for key in (keys.energy, keys.forces, keys.stress, keys.virial, keys.force_mask):
            if key is not None:
                new.info.pop(key, None)
                new.arrays.pop(key, None)
        sigma: dict[str, Any] = {}
        results: dict[str, Any] = {}
        for kind, target in TARGETS.items():
            span, root = target.span(batch.offsets, i, i + 1), float(_root(np.array([len(atoms)]), target)[0, 0])
            own = values[kind][span] * root
            known = np.isfinite(own[:, 0])
            if not known.any():
                continue
            if kind in sigmas:
                sigma[kind] = np.where(known, sigmas[kind][span] * root, 1.0)
            if kind == "virial":
                new.info["virial"] = own[0]
            else:
                results[kind] = np.nan_to_num(own) if target.per_atom else float(own[0, 0])
            if not known.all():
                new.set_array("force_mask", ~known)
        out.append(with_sigmas(copy_frame(new, **results), sigma))
    return out

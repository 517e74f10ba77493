"""Two labels for each frame, from two levels of theory: one label and one sigma made of both.

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

from gapkit.curation.weights import copy_frame, with_sigmas
from gapkit.exceptions import DataError, InputError
from gapkit.structures import AtomsBatch, LabelKeys, to_batch
from gapkit.targets import TARGETS, to_voigt
from gapkit.typing import BoolArray, FloatArray

# Frames that both levels have, below which nothing can be said of bias and noise.
LEAST = 5
# Least share of the variance of the differences that each level has: differences of estimates can be negative.
SMALLEST_SHARE = 0.02
_MAD = 1.4826


@dataclass(frozen=True)
class Level:
    """Noise of two levels for one kind of target, and bias of the second.

    Attributes
    ----------
    sigma, other_sigma : float
        eV/atom, eV/Å or eV/atom: of energies and virials, times the square root of N for the whole frame.
    bias : dict of str to float
        Energies: eV/atom of each species.  Virials: "isotropic", eV/atom on the diagonal.  Forces: empty, no bias.
    n : int
        Frames (forces: atoms) that both levels have.
    """

    sigma: float
    other_sigma: float
    bias: dict[str, float]
    n: int


@dataclass(frozen=True)
class Fidelities:
    """Frames with labels of two levels combined.

    Attributes
    ----------
    frames : list of Atoms
        Copies with combined labels and absolute sigmas.
    levels : dict of str to Level
        By kind.
    disagreement : dict of str to ndarray
        Difference, less bias, in its standard deviations: (n_frames,), for forces (n_atoms,); NaN where one is absent.
    """

    frames: list[Atoms]
    levels: dict[str, Level]
    disagreement: dict[str, FloatArray]

    def to_dict(self) -> dict[str, Any]:
        """What was found, in plain numbers."""
        return {kind: asdict(level) for kind, level in self.levels.items()}


@dataclass(frozen=True, eq=False)
class _Labels:
    """One kind of a batch, scaled so that all have the same noise: (n, c), NaN where absent."""

    values: FloatArray
    has: BoolArray
    design: FloatArray  # (n, p), of the bias, for each of the diagonal's or single components


def combine_fidelities(
    frames: Sequence[Atoms], others: Sequence[Atoms], *, third: Sequence[Atoms] | None = None, ratio: float = 1.0,
    threshold: float = 2.0, keys: LabelKeys | None = None,
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
    if not (ratio > 0 and threshold > 0):
        raise InputError(f"`ratio` and `threshold` must be > 0, got {ratio} and {threshold}")
    first, second = (to_batch(f, keys=keys, strict=False) for f in (frames, others))
    batches = [first, second] if third is None else [first, second, to_batch(third, keys=keys, strict=False)]
    for batch in batches[1:]:
        same = np.array_equal(batch.offsets, first.offsets) and np.array_equal(batch.numbers, first.numbers)
        if not same or np.abs(batch.positions - first.positions).max() > 1e-3:
            raise InputError("the levels must label the same structures in the same order; the lists of frames differ")
    levels, values, sigmas, disagreement = {}, {}, {}, {}
    for kind in TARGETS:
        parts = [_labels(batch, kind) for batch in batches]
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


def _labels(batch: AtomsBatch, kind: str) -> _Labels:
    labels = batch.labels
    n_atoms = batch.n_atoms_per_frame
    root = np.sqrt(n_atoms)[:, None]
    if labels is None:
        n = batch.n_atoms if kind == "forces" else batch.n_frames
        return _Labels(np.full((n, {"energy": 1, "forces": 3, "virial": 6}[kind]), np.nan), np.zeros(n, bool), root)
    if kind == "energy":
        return _Labels(labels.energy[:, None] / root, labels.has_energy, batch.compositions(batch.species) / root)
    if kind == "forces":
        return _Labels(labels.forces, labels.has_forces, np.zeros((batch.n_atoms, 0)))
    virial = to_voigt(labels.virial) / root
    return _Labels(virial, labels.has_virial, n_atoms[:, None] / root)


def _diagonal(kind: str) -> FloatArray:
    return {"energy": np.ones(1), "forces": np.zeros(3), "virial": np.array([1.0, 1, 1, 0, 0, 0])}[kind]


def _bias(a: _Labels, b: _Labels, both: BoolArray, batch: AtomsBatch, kind: str) -> tuple[FloatArray, dict[str, float]]:
    """Bias of b by least absolute deviations (reweighted least squares), and in words."""
    from ase.data import chemical_symbols

    names = {"energy": [chemical_symbols[z] for z in batch.species], "forces": [], "virial": ["isotropic"]}[kind]
    if not names:
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

    Kinds that were not combined are those of the reference, without a sigma.
    """
    keys, out = keys or LabelKeys(), []
    for kind in TARGETS:
        if kind not in values:
            given = _labels(batch, kind)
            values = {**values, kind: np.where(given.has[:, None], given.values, np.nan)}
    for i, atoms in enumerate(frames):
        root, own = np.sqrt(len(atoms)), slice(int(batch.offsets[i]), int(batch.offsets[i + 1]))
        new = atoms.copy()
        for key in (keys.energy, keys.forces, keys.stress, keys.virial, keys.force_mask):
            if key is not None:
                new.info.pop(key, None)
                new.arrays.pop(key, None)
        sigma: dict[str, Any] = {}
        results: dict[str, Any] = {}
        energy, forces, virial = values["energy"][i, 0], values["forces"][own], values["virial"][i]
        if np.isfinite(energy):
            results["energy"] = float(energy * root)
            sigma["energy"] = sigmas["energy"][i] * root if "energy" in sigmas else None
        known = np.isfinite(forces[:, 0])
        if known.any():
            results["forces"] = np.nan_to_num(forces)
            sigma["forces"] = np.where(known, sigmas["forces"][own], 1.0) if "forces" in sigmas else None
            if not known.all():
                new.set_array("force_mask", ~known)
        if np.isfinite(virial[0]):
            new.info["virial"] = virial * root
            sigma["virial"] = sigmas["virial"][i] * root if "virial" in sigmas else None
        out.append(with_sigmas(copy_frame(new, **results), **sigma))
    return out

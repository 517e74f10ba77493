"""Weights of training frames: absolute sigmas of labels by type, distance from the hull, or energy.

All functions return copies of the frames with `energy_sigma`, `virial_sigma` (eV, whole frame) and `force_sigma` (eV/Å)
set; `GAP.fit` prefers them to its own noise.  Sigmas of a `Noise` are per atom for energies and virials: a frame of N
atoms gets sigma * sqrt(N).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from gapkit.exceptions import DataError, InputError
from gapkit.gp.noise import DEFAULT_NOISE, Noise
from gapkit.options.checked import checked
from gapkit.options.kinds import NotNegative, Positive
from gapkit.structures import LabelKeys, to_batch
from gapkit.structures.frame_labels import results_of
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray

SAME_COMPOSITION = 1e-6  # differences of fractions


def copy_frame(atoms: Atoms, **labels: ArrayLike | None) -> Atoms:
    """Deep copy of a frame with its results, those in `labels` replaced (None: removed).

    Results of a live calculator for another structure are left behind: they are no labels, and would become some.
    """
    new = atoms.copy()
    changes = getattr(atoms.calc, "check_state", lambda _: True)
    current = isinstance(atoms.calc, SinglePointCalculator) or not changes(atoms)
    results = {**(results_of(atoms) if current else {}), **labels}
    results = {k: np.array(v) if np.ndim(v) else v for k, v in results.items() if v is not None}
    new.calc = SinglePointCalculator(new, **results) if results else None
    return new


def without_labels(atoms: Atoms, kinds: Iterable[str], *, keys: LabelKeys | None = None) -> Atoms:
    """Copy of a frame without the labels of some targets, and what is shown of them."""
    keys = keys or LabelKeys()
    names = (name for kind in kinds for name in (TARGETS[kind].shown.name, kind))
    gone = [key for name in names if (key := keys.of(name)) is not None]
    new = copy_frame(atoms, **dict.fromkeys(gone))
    for name in gone:
        new.info.pop(name, None)
        new.arrays.pop(name, None)
    return new


def with_sigmas(atoms: Atoms, sigmas: Mapping[str, ArrayLike], *, keys: LabelKeys | None = None) -> Atoms:
    """Copy of a frame with absolute sigmas by target: eV of the whole frame, or eV/Å, one or (n_atoms,)."""
    keys = keys or LabelKeys()
    new = copy_frame(atoms)
    for kind, value in sigmas.items():
        key, sigma = keys.of(TARGETS[kind].sigma), np.asarray(value, dtype=float)
        if key is None or not np.isfinite(sigma).all() or np.any(sigma <= 0):
            raise InputError(f"sigmas must be finite and > 0, with a name in `keys`, got {value!r} under {key!r}")
        new.info.pop(key, None)
        if TARGETS[kind].per_atom:
            new.set_array(key, np.broadcast_to(sigma, (len(atoms),)).copy())
        else:
            new.info[key] = float(sigma.reshape(()))
    return new


@checked
def noise_sigmas(
    frames: Sequence[Atoms], noise: Noise, factors: ArrayLike = 1.0, *, keys: LabelKeys | None = None
) -> list[Atoms]:
    """Copies with the sigmas of `noise` (its types included) times a factor for each frame (n_frames,).

    Targets without noise get the factor times the reference `DEFAULT_NOISE`: a model that finds its noise by evidence
    then keeps these proportions.
    """
    factors = np.broadcast_to(np.asarray(factors, dtype=float), (len(frames),))
    filled, key = noise.filled(), (keys or LabelKeys()).config_type
    unknown = set(noise.per_config_type) - {str(atoms.info.get(key, "default")) for atoms in frames}
    if unknown:
        raise InputError(f"`per_config_type` names {sorted(unknown)}, which no frame is of")
    out = []
    for atoms, factor in zip(frames, factors, strict=True):
        own = noise.per_config_type.get(str(atoms.info.get(key, "default")), Noise()).filled(filled).as_dict()
        sigmas = {
            kind: factor * sigma * np.sqrt(len(atoms) if TARGETS[kind].grows else 1) for kind, sigma in own.items()
        }
        out.append(with_sigmas(atoms, sigmas, keys=keys))
    return out


@checked
def hull_distances(frames: Sequence[Atoms], *, keys: LabelKeys | None = None) -> FloatArray:
    """Energies above the convex hull of the frames themselves, eV/atom, (n_frames,); NaN without an energy.

    The hull at a composition is the lowest energy per atom of a mixture of frames; for one species it is the lowest
    energy.  Elemental references cancel.

    Raises
    ------
    DataError
        If no frame has an energy.
    """
    batch = to_batch(frames, keys=keys)
    labels = batch.labels
    if labels is None or not labels.has_energy.any():
        raise DataError("the convex hull needs frames with energies, found none; name their key with `keys`")
    per_atom = labels.energy / batch.n_atoms_per_frame
    fractions = batch.compositions(batch.species) / batch.n_atoms_per_frame[:, None]
    cells, member = np.unique(np.round(fractions / SAME_COMPOSITION), axis=0, return_inverse=True)
    member = member.ravel()
    lowest = np.full(len(cells), np.inf)
    np.minimum.at(lowest, member[labels.has_energy], per_atom[labels.has_energy])
    known = np.isfinite(lowest)
    vertices, energies = cells[known] * SAME_COMPOSITION, lowest[known]
    hull = lowest.copy()
    # simplex finds the lower hull exactly, at any number of species; rounding of the fractions needs slack
    slack, shift = 2.0 * SAME_COMPOSITION, energies.min()
    for i, target in enumerate(cells * SAME_COMPOSITION) if len(batch.species) > 1 else ():
        found = linprog(
            energies - shift, A_ub=np.concatenate([vertices.T, -vertices.T]), A_eq=np.ones((1, len(energies))),
            b_ub=np.concatenate([target + slack, slack - target]), b_eq=[1.0],
        )  # fmt: skip
        hull[i] = min(hull[i], found.fun + shift) if found.success else hull[i]
    return np.maximum(per_atom - hull[member], 0.0)


@checked
def hull_distance_sigmas(
    frames: Sequence[Atoms], noise: Noise = DEFAULT_NOISE, *, scale: Positive = 0.1, power: NotNegative = 1.0,
    largest: Positive = 30.0, keys: LabelKeys | None = None,
) -> list[Atoms]:  # fmt: skip
    """Sigmas that grow with the energy above the convex hull: (1 + d / scale)^power times those of `noise`.

    Parameters
    ----------
    noise : Noise
        Sigmas on the hull.
    scale : float
        eV/atom.
    power : float
        1: sigmas in proportion to the distance from far above, as the energy weights of Lysogorskiy et al., npj
        Comput. Mater. 7, 97 (2021), eq. 31.
    largest : float
        Largest factor.  Frames without an energy get the median factor of the others.
    """
    if not (scale > 0 and power >= 0 and largest >= 1):
        raise InputError(f"`scale` > 0 eV/atom, `power` >= 0, `largest` >= 1, got {scale}, {power}, {largest}")
    factors = np.minimum((1.0 + hull_distances(frames, keys=keys) / scale) ** power, largest)
    return noise_sigmas(frames, noise, np.where(np.isnan(factors), np.nanmedian(factors), factors), keys=keys)


@checked
def energy_window_sigmas(
    frames: Sequence[Atoms], windows: Mapping[Positive, Positive], noise: Noise = DEFAULT_NOISE, *,
    beyond: Positive = 30.0, keys: LabelKeys | None = None,
) -> list[Atoms]:  # fmt: skip
    """Sigmas in steps of the energy above the convex hull.

    Parameters
    ----------
    windows : mapping of float to float
        Factor of the sigmas of `noise` by the upper end of a window, eV/atom: ``{0.1: 1.0, 1.0: 3.0}``.
    beyond : float
        Factor above the last window; frames without an energy get factor 1.
    """
    ends = np.array(sorted(windows), dtype=float)
    values = np.array([*(windows[end] for end in sorted(windows)), beyond], dtype=float)
    if len(ends) == 0 or ends[0] <= 0 or not np.isfinite(values).all() or np.any(values <= 0):
        raise InputError(f"`windows` must map energies > 0 eV/atom to factors > 0, got {dict(windows)!r}")
    distances = hull_distances(frames, keys=keys)
    factors = values[np.searchsorted(ends, np.nan_to_num(distances))]
    return noise_sigmas(frames, noise, np.where(np.isnan(distances), 1.0, factors), keys=keys)

"""Leakage: near-twins of training frames in a test set, which say nothing about prediction.

Two independent snapshots of one ensemble have a distance d0 that hardly varies, for it is a mean over many atoms and
axes; snapshots with correlation c have d = d0 sqrt(1 - c). The ensemble decides d0: a liquid has ten times that of a
cold crystal. Hence the criterion is d over a scale of the training frame: the median distance to its nearest
independent frames or, where its ensemble has too few others, the distance among its own atoms, if that is less. The
threshold of this ratio is a small quantile of its own distribution among independent training frames, the tail
extrapolated as in `gapkit.uncertainty.novelty`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from gapkit.descriptors.base import Descriptor
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Fraction
from gapkit.selection.fingerprints import (
    Fingerprints,
    FingerprintSpace,
    Frames,
    as_batch,
    close_pairs,
    lower_bounds,
    match_distance,
    nearest_atoms,
)  # fmt: skip
from gapkit.typing import FloatArray
from gapkit.uncertainty.tail import Tail

FALSE_ALARM = 1e-3  # part of independent test frames called twins
SAME = 0.02  # distance, in standard deviations, of identical frames, whatever their surroundings
INDEPENDENT = 0.5  # least ratio of independent training frames (correlation 0.75), which set the threshold
N_NEAREST, N_TRIED = 5, 10  # neighbours that make the scale, out of those with the least lower bounds
MIN_RATIOS = 20
MIN_ATOMS = 8  # from which atoms of one frame stand for a sample
LOWEST, HIGHEST = 0.2, 0.6  # ratios between which the threshold stays: correlations of 0.96 and 0.64


@dataclass(frozen=True)
class Leak:
    """A test frame and its near-twin in the training set, that of the least distance over threshold.

    Both are counted from 0. `distance` and `threshold` are root mean squares over atoms, in standard deviations.
    """

    test_frame: int
    train_frame: int
    distance: float
    threshold: float


@checked
def find_leakage(
    train: Frames, test: Frames, *, descriptor: Descriptor | None = None, false_alarm: Fraction = FALSE_ALARM
) -> list[Leak]:
    """Find test frames that are near-twins of training frames, up to symmetry and repetition of the cell.

    Parameters
    ----------
    train, test : sequence of Atoms, or AtomsBatch
        An empty `test` leaks nothing.
    descriptor : Descriptor, optional
        None: the default SOAP of the training set.
    false_alarm : float
        Part of independent test frames that may be called twins.

    Returns
    -------
    leaks : list of Leak
        One for each test frame with a twin, in their order.
    """
    nearest: dict[int, Leak] = {}
    for leak in find_twins(train, test, descriptor=descriptor, false_alarm=false_alarm):
        nearest.setdefault(leak.test_frame, leak)
    return [nearest[i] for i in sorted(nearest)]


def find_twins(
    train: Frames, test: Frames, *, descriptor: Descriptor | None = None, false_alarm: float = FALSE_ALARM
) -> list[Leak]:
    """All near-twins, the furthest below their threshold first; parameters and errors are those of `find_leakage`."""
    if not false_alarm < 0.5:
        raise InputError(f"`false_alarm` must be > 0 and < 0.5, got {false_alarm!r}; 0.001 is usual")
    if len(test) == 0:
        return []
    known, new = as_batch(train, "train"), as_batch(test, "test")
    space = FingerprintSpace.of(known, descriptor, new.species)
    ours, theirs = space(known), space(new)
    limits = thresholds(ours, false_alarm)
    pairs = close_pairs(theirs, ours, np.zeros(theirs.n_frames), limits, supercells=True)
    leaks = [Leak(i, j, distance, float(limits[j])) for i, j, distance in pairs]
    return sorted(leaks, key=lambda leak: (leak.distance / leak.threshold, leak.test_frame, leak.train_frame))


def near_twins(prints: Fingerprints, false_alarm: float = FALSE_ALARM) -> list[tuple[int, int, float]]:
    """Pairs (i < j, distance) of frames of one set within the threshold of either."""
    limits = thresholds(prints, false_alarm)
    return sorted(close_pairs(prints, prints, limits, limits, supercells=True, distinct=True))


def thresholds(prints: Fingerprints, false_alarm: float = FALSE_ALARM) -> FloatArray:
    """Largest distance (n_frames,) of a twin of each frame.

    Frames with the same set of species share the ratio; a frame without comparison takes their usual scale.
    """
    nearest, scale = nearest_distances(prints)
    limits = np.full(prints.n_frames, SAME)
    kinds = prints.compositions > 0
    everywhere = ratio_threshold(nearest / scale, false_alarm)
    for kind in np.unique(kinds, axis=0):
        own = (kinds == kind).all(axis=1)
        ratios = (nearest / scale)[own]
        ratio = ratio_threshold(ratios, false_alarm) if np.isfinite(ratios).sum() >= MIN_RATIOS else everywhere
        known = own & np.isfinite(scale)
        limits[known] = np.maximum(ratio * scale[known], SAME)
        if known.any():
            limits[own & ~known] = max(ratio * float(np.median(scale[known])), SAME)
    return limits


def ratio_threshold(ratios: FloatArray, false_alarm: float) -> float:
    """Quantile `false_alarm` of the ratios of independent frames; a half where too few are known."""
    independent = ratios[np.isfinite(ratios) & (ratios >= INDEPENDENT)]
    if len(independent) < MIN_RATIOS:
        return INDEPENDENT
    return float(np.clip(1.0 / Tail.of(1.0 / independent).threshold(false_alarm), LOWEST, HIGHEST))


def nearest_distances(prints: Fingerprints) -> tuple[FloatArray, FloatArray]:
    """Distance (n_frames,) to the nearest frame that is not identical, and the scale of each frame; or NaN."""
    found: list[list[float]] = [[] for _ in range(prints.n_frames)]
    cache: dict[tuple[int, int], float] = {}
    for rows, columns, bounds in lower_bounds(prints, prints, supercells=True):
        for i, bound in zip(rows.tolist(), bounds, strict=True):
            tried = 0
            # the closest by the bound; frames that turn out to be the same do not count
            for j in columns[np.argsort(bound, kind="stable")].tolist():
                if j == i:
                    continue
                pair = (min(i, j), max(i, j))
                if pair not in cache:
                    cache[pair] = _distance(prints, i, j)
                if cache[pair] >= SAME:
                    found[i].append(cache[pair])
                    tried += 1
                if tried == N_TRIED:
                    break
    nearest, scale = np.full(prints.n_frames, np.nan), np.full(prints.n_frames, np.nan)
    for frame, distances in enumerate(found):
        if distances:
            nearest[frame] = min(distances)
            scale[frame] = np.median(sorted(distances)[:N_NEAREST])
        if (alone := self_distance(prints, frame)) >= SAME:  # equivalent atoms of a crystal are no sample of anything
            scale[frame] = np.fmin(scale[frame], alone)
    return nearest, scale


def _distance(prints: Fingerprints, i: int, j: int) -> float:
    """Distance of two frames; for cells of different sizes the bound by nearest atoms, 5 % less and much faster."""
    if (prints.compositions[i] == prints.compositions[j]).all():
        return match_distance(prints, i, prints, j)
    return float(nearest_atoms([x[None] for x in prints.of_frame(i)], prints.of_frame(j))[0])


def self_distance(prints: Fingerprints, frame: int) -> float:
    """Root mean square over atoms of the distance to the nearest other atom of the frame and species; NaN with few.

    Atoms of a thermal frame are nearly independent samples: this is about the distance of an independent snapshot.
    """
    squares = []
    for x in prints.of_frame(frame):
        if len(x) > 1:
            distances = cdist(x, x, "sqeuclidean")
            np.fill_diagonal(distances, np.inf)
            squares.append(distances.min(axis=1))
    known = np.concatenate([*squares, np.zeros(0)])
    return float(np.sqrt(known.mean())) if len(known) >= MIN_ATOMS else float("nan")

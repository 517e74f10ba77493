"""Splits into training and test frames without leakage: near-twins stay together in any case."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
from ase import Atoms
from sklearn.cluster import KMeans

from gapkit.curation.leakage import find_leakage, near_twins
from gapkit.descriptors.base import Descriptor
from gapkit.exceptions import DataError
from gapkit.options.checked import checked
from gapkit.options.kinds import Fraction, SeedNumber
from gapkit.selection.duplicates import components
from gapkit.selection.fingerprints import FingerprintSpace
from gapkit.structures import AtomsBatch, to_batch
from gapkit.typing import IntArray

By = Literal["config_type", "trajectory", "time_block", "similarity"]

Links = list[tuple[int, int]]


@checked
def split(
    frames: Sequence[Atoms], test_fraction: Fraction = 0.1, by: By = "config_type", *,
    random_state: SeedNumber | None = None, descriptor: Descriptor | None = None,
) -> tuple[list[Atoms], list[Atoms]]:  # fmt: skip
    """Divide frames into a training and a test set without near-twins between them.

    Parameters
    ----------
    frames : sequence of Atoms
        In the order of their making; they are not copied.
    test_fraction : float
        Part of the test frames, met only about: groups are kept whole.
    by : {"config_type", "trajectory", "time_block", "similarity"}
        Groups besides near-twins. "config_type": none, the test set has its part of every configuration type.
        "trajectory": runs of frames of the same atoms and configuration type (or of the same `info["trajectory"]`).
        "time_block": contiguous blocks of such runs. "similarity": clusters of similar frames, for test frames unlike
        the training frames. All but the last are stratified by configuration type.
    random_state : int, optional
        Seed. None: 0.
    descriptor : Descriptor, optional
        For the distances between frames; None: the default SOAP of the training set.

    Returns
    -------
    train, test : list of Atoms
        In their original order; `find_leakage(train, test)` finds nothing.

    Raises
    ------
    InputError
        If an option is out of range.
    DataError
        If all frames belong together.
    """
    train, test = split_indices(frames, test_fraction, by, random_state=random_state, descriptor=descriptor)
    return [frames[k] for k in train], [frames[k] for k in test]


def split_indices(
    frames: Sequence[Atoms], test_fraction: float = 0.1, by: By = "config_type", *, random_state: int | None = None,
    descriptor: Descriptor | None = None,
) -> tuple[IntArray, IntArray]:  # fmt: skip
    """Indices of the training and of the test frames of `split`, ascending."""
    batch = to_batch(frames, strict=False)
    seed = 0 if random_state is None else random_state
    prints = FingerprintSpace.of(batch, descriptor)(batch)
    links: Links = [pair[:2] for pair in near_twins(prints)]
    types = np.unique(batch.all_labels.config_type, return_inverse=True)[1]
    if by == "similarity":
        # k-means knows a seed, and gives whole regions of the space away
        links += _chains(_clusters(prints.of_frames(), int(np.ceil(2.0 / test_fraction)), seed))
        types = np.zeros(batch.n_frames, np.int64)
    elif by == "trajectory":
        links += _chains(_trajectories(frames, batch))
    elif by == "time_block":
        links += _chains(_blocks(_trajectories(frames, batch), test_fraction))
    while True:
        groups = components(batch.n_frames, links)
        if groups.max() == 0:
            raise DataError(
                f"`frames` must hold at least two groups that have no near-twins of each other (by={by!r}), got one "
                f"of all {batch.n_frames} frames; add independent frames, or choose another `by`"
            )
        is_test = _choose(groups, types, test_fraction, np.random.default_rng(seed))
        train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
        # The threshold is that of the training set, which is no longer that of all frames: tie what is left over.
        # Every round joins groups, so there is an end.
        leaks = find_leakage(batch.select(train), batch.select(test), descriptor=descriptor)
        if not leaks:
            return train, test
        links += [(int(test[leak.test_frame]), int(train[leak.train_frame])) for leak in leaks]


def _clusters(points: np.ndarray, n_clusters: int, seed: int) -> IntArray:
    # fewer different points than clusters would leave some empty
    n_clusters = min(n_clusters, len(np.unique(points.round(6), axis=0)))
    return np.asarray(KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(points), np.int64)


def _trajectories(frames: Sequence[Atoms], batch: AtomsBatch) -> IntArray:
    """Number (n_frames,) of the trajectory of each frame."""
    names = [atoms.info.get("trajectory") for atoms in frames]
    if all(name is not None for name in names):
        return np.unique([str(name) for name in names], return_inverse=True)[1].astype(np.int64)
    runs = list(zip(batch.all_labels.config_type, names, (atoms.numbers.tobytes() for atoms in frames), strict=True))
    return np.cumsum([0, *(a != b for a, b in pairwise(runs))])


def _blocks(trajectories: IntArray, test_fraction: float) -> IntArray:
    """Number (n_frames,) of the contiguous block of each frame: twice as many as make one test set."""
    blocks, n_known = np.zeros(len(trajectories), np.int64), 0
    for trajectory in np.unique(trajectories):
        own = np.flatnonzero(trajectories == trajectory)
        n_blocks = min(int(np.ceil(2.0 / test_fraction)), len(own))
        blocks[own] = n_known + np.arange(len(own)) * n_blocks // len(own)
        n_known += n_blocks
    return blocks


def _chains(labels: IntArray) -> Links:
    """Links between all frames of the same label."""
    groups = (np.flatnonzero(labels == label).tolist() for label in np.unique(labels))
    return [pair for group in groups for pair in pairwise(group)]


def _choose(groups: IntArray, types: IntArray, test_fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Mask (n_frames,) of the test frames: whole groups at random, of each type its part of the frames."""
    sizes = np.bincount(groups)
    is_test = np.zeros(len(sizes), bool)
    # a group of several types counts as its most frequent one
    counts = np.zeros((len(sizes), int(types.max()) + 1), np.int64)
    np.add.at(counts, (groups, types), 1)
    kind = counts.argmax(axis=1)
    missing = 0.0
    for own_type in np.unique(kind):
        own = rng.permutation(np.flatnonzero(kind == own_type))
        # what one type falls short of, the next may make up for
        wanted = test_fraction * sizes[own].sum() + missing
        for group in own:
            if sizes[group] <= wanted + 0.5 and is_test[own].sum() != len(own) - 1:
                is_test[group] = True
                wanted -= sizes[group]
        missing = float(np.clip(wanted, -1.0, 1.0))
    if not is_test.any():
        smallest = np.flatnonzero(sizes == sizes.min())
        is_test[rng.choice(smallest)] = True
    return is_test[groups]

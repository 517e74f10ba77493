from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from gapkit import SOAP
from gapkit.curation import splits
from gapkit.curation.leakage import find_leakage
from gapkit.curation.splits import split, split_indices
from gapkit.exceptions import DataError, InputError
from gapkit.selection.fingerprints import FingerprintSpace
from tests.curation.test_leakage import snapshots, twin

SMALL = SOAP(4.0, 4, 3, 0.5)
KINDS = ["config_type", "trajectory", "time_block", "similarity"]


@pytest.fixture(scope="module")
def frames():
    """Four trajectories of two configuration types, every second frame with a twin at the far end."""
    found = []
    for trajectory, size in enumerate((0.06, 0.06, 0.2, 0.2)):
        for atoms in snapshots(10, size, trajectory):
            atoms.info.update(config_type="cold" if size < 0.1 else "hot", trajectory=trajectory)
            found.append(atoms)
    return found + [twin(atoms) for atoms in found[::4]]


@pytest.mark.parametrize("by", KINDS)
def test_nothing_leaks(frames, by):
    train, test = split(frames, 0.25, by, descriptor=SMALL, random_state=1)
    assert len(train) + len(test) == len(frames)
    assert {id(a) for a in train} | {id(a) for a in test} == {id(a) for a in frames}
    assert 0.1 < len(test) / len(frames) < 0.45
    assert find_leakage(train, test, descriptor=SMALL) == []
    sides = dict.fromkeys(split_indices(frames, 0.25, by, descriptor=SMALL, random_state=1)[1].tolist(), "test")
    assert all(sides.get(40 + k) == sides.get(4 * k) for k in range(10))


def test_twins_are_together_from_the_start(frames, monkeypatch):
    # without the repairs that follow
    monkeypatch.setattr(splits, "find_leakage", lambda *args, **options: [])
    for seed in range(3):
        test = set(split_indices(frames, 0.4, descriptor=SMALL, random_state=seed)[1].tolist())
        assert all((40 + k in test) == (4 * k in test) for k in range(10))


def test_what_the_new_threshold_ties_is_repaired(frames, monkeypatch):
    monkeypatch.setattr(splits, "near_twins", lambda prints: [])
    train, test = split(frames, 0.4, descriptor=SMALL)
    assert test
    assert find_leakage(train, test, descriptor=SMALL) == []


def test_a_random_split_of_these_does_leak(frames):
    order = np.random.default_rng(0).permutation(len(frames))
    assert find_leakage([frames[k] for k in order[12:]], [frames[k] for k in order[:12]], descriptor=SMALL)


def test_seeds(frames):
    first, again, other = (split_indices(frames, 0.2, descriptor=SMALL, random_state=s)[1].tolist() for s in (3, 3, 4))
    assert first == again
    assert first != other


def test_stratified(frames):
    _, test = split(frames, 0.2, descriptor=SMALL)
    counts = Counter(atoms.info["config_type"] for atoms in test)
    assert abs(counts["cold"] - 5) <= 2
    assert abs(counts["hot"] - 5) <= 2


def test_trajectories_stay_whole(frames):
    train, test = split(frames[:40], 0.25, "trajectory", descriptor=SMALL)
    both = {a.info["trajectory"] for a in train} & {a.info["trajectory"] for a in test}
    assert not both
    nameless = [atoms.copy() for atoms in frames[:20] + frames[20:40]]
    for atoms in nameless:
        del atoms.info["trajectory"]
    _, chosen = split_indices(nameless, 0.5, "trajectory", descriptor=SMALL)
    assert chosen.tolist() in (list(range(20)), list(range(20, 40)))


def test_blocks_are_contiguous(frames):
    _, test = split_indices(frames[:40], 0.4, "time_block", descriptor=SMALL)
    # ten frames in five blocks of two
    assert all(bool(k ^ 1 in test) for k in test)


def test_similarity_takes_the_test_frames_further_away(frames):
    def distance(by):
        train, test = split(frames[:40], 0.4, by, descriptor=SMALL)
        space = FingerprintSpace.of(frames[:40], SMALL)
        return cdist(space(test).of_frames(), space(train).of_frames()).min(axis=1).mean()

    assert distance("similarity") > 1.2 * distance("config_type")


def test_errors(frames):
    with pytest.raises(InputError, match="test_fraction"):
        split(frames, 1.0)
    with pytest.raises(InputError, match="`by` must be one of"):
        split(frames, 0.1, "random")
    with pytest.raises(DataError, match="two groups"):
        split([frames[0]] * 5, 0.2, descriptor=SMALL)

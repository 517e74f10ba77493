from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit import SOAP
from gapkit.curation.leakage import find_leakage, near_twins, ratio_threshold
from gapkit.exceptions import InputError
from gapkit.selection.fingerprints import FingerprintSpace
from tests.selection.test_fingerprints import turned

SMALL = SOAP(4.0, 4, 3, 0.5)


def snapshots(n, size, seed):
    """Rattled copper of 16 atoms: independent frames of one ensemble."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
        atoms.positions += rng.normal(scale=size, size=(16, 3))
        frames.append(atoms)
    return frames


def twin(atoms, size=0.01):
    """A little later."""
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(9).normal(scale=size, size=(len(atoms), 3))
    return atoms


@pytest.fixture(scope="module")
def train():
    return [*snapshots(25, 0.05, 0), *snapshots(25, 0.25, 1)]


def test_independent_frames_do_not_leak(train):
    assert find_leakage(train, [*snapshots(20, 0.05, 2), *snapshots(20, 0.25, 3)], descriptor=SMALL) == []


def test_planted_twins_are_found_in_cold_and_hot_frames(train):
    test = [*snapshots(3, 0.05, 2), twin(train[7]), *snapshots(3, 0.25, 3), turned(twin(train[40], 0.05))]
    leaks = find_leakage(train, test, descriptor=SMALL)
    assert [(leak.test_frame, leak.train_frame) for leak in leaks] == [(3, 7), (7, 40)]
    assert all(leak.distance < leak.threshold for leak in leaks)
    # one threshold for both would miss the one or accuse all cold frames
    assert leaks[1].threshold > 2.0 * leaks[0].threshold


def test_a_repeated_cell_leaks(train):
    (leak,) = find_leakage(train, [train[3].repeat((2, 1, 1))], descriptor=SMALL)
    assert leak.train_frame == 3
    assert leak.distance < 1e-3


def test_twins_within_the_training_set_do_not_hide_others(train):
    more = [*train, *(twin(atoms, 0.004) for atoms in train[:10])]
    assert [leak.train_frame for leak in find_leakage(more, [twin(train[12])], descriptor=SMALL)] == [12]


def test_copies_in_the_training_set_do_not_hide_others(train):
    more = [*train, *(turned(train[12], seed) for seed in range(6))]
    assert len(find_leakage(more, [twin(train[12])], descriptor=SMALL)) == 1


def test_few_frames_of_an_ensemble_are_no_twins(train):
    few = [*snapshots(2, 0.05, 0), *train[25:]]
    assert find_leakage(few, snapshots(5, 0.05, 4), descriptor=SMALL) == []


def test_other_compositions_and_species_are_no_twins(train):
    gold, mixed = train[0].copy(), train[0].copy()
    gold.numbers[:] = 79
    mixed.numbers[0] = 79
    assert find_leakage(train, [gold, mixed], descriptor=SMALL) == []


def test_strained_crystals_that_are_equal_by_symmetry():
    def strained(axis, strain):
        atoms = bulk("Cu", cubic=True)
        deformation = np.eye(3)
        deformation[axis, axis] += strain
        atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
        return atoms

    train = [*snapshots(20, 0.1, 0), *(strained(0, s) for s in np.linspace(-0.06, 0.06, 5))]
    (leak,) = find_leakage(train, [strained(2, 0.03), strained(1, 0.12)], descriptor=SMALL)
    assert (leak.test_frame, leak.train_frame) == (0, 23)


def test_near_twins_of_one_set(train):
    prints = FingerprintSpace.of(train, SMALL)([*train, twin(train[7])])
    assert [(i, j) for i, j, _ in near_twins(prints)] == [(7, 50)]


def test_ratio_threshold_follows_the_data():
    rng = np.random.default_rng(0)
    narrow, wide = 1.0 - 0.1 * rng.random(300), 1.0 - 0.4 * rng.random(300)
    assert ratio_threshold(wide, 1e-3) < ratio_threshold(narrow, 1e-3)
    assert ratio_threshold(wide, 1e-4) < ratio_threshold(wide, 1e-2)
    # training twins do not count as independent
    assert ratio_threshold(np.append(narrow, np.full(50, 0.01)), 1e-3) == ratio_threshold(narrow, 1e-3)


def test_edges(train):
    assert find_leakage(train, []) == []
    with pytest.raises(InputError, match="false_alarm"):
        find_leakage(train, train, false_alarm=0.0)

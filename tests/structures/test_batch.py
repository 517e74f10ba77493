"""Batches: layout, selection, joining, immutability."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.exceptions import InputError
from gapkit.structures import AtomsBatch, Labels, concatenate, to_batch
from gapkit.targets import TARGETS


def labelled():
    frames = [molecule("H2O"), bulk("Si"), molecule("CH4")]
    for k, atoms in enumerate(frames):
        atoms.info["config_type"] = f"type {k}"
        atoms.calc = SinglePointCalculator(atoms, energy=-float(k), forces=np.full((len(atoms), 3), float(k)))
    return frames


def same(left: AtomsBatch, right: AtomsBatch):
    for name in ("offsets", "numbers", "positions", "cells", "pbc"):
        assert np.array_equal(getattr(left, name), getattr(right, name)), name
    assert (left.labels is None) == (right.labels is None)
    if left.labels is not None:
        assert left.labels.config_type == right.labels.config_type
        for target in TARGETS.values():
            for name in (target.name, target.has, target.sigma):
                values = getattr(left.labels, name), getattr(right.labels, name)
                assert np.array_equal(*values, equal_nan=values[0].dtype != bool), name


def test_layout():
    batch = to_batch(labelled())
    assert (len(batch), batch.n_frames, batch.n_atoms) == (3, 3, 10)
    assert batch.offsets.tolist() == [0, 3, 5, 10]
    assert batch.n_atoms_per_frame.tolist() == [3, 2, 5]
    assert batch.frame_of_atom.tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]
    assert batch.species == (1, 6, 8, 14)
    assert batch.compositions((1, 8, 14)).tolist() == [[2, 1, 0], [0, 0, 2], [4, 0, 0]]
    assert np.isnan(batch.volumes[[0, 2]]).all()
    assert batch.volumes[1] == pytest.approx(5.43**3 / 4)


def test_select_takes_frames_in_the_given_order():
    frames = labelled()
    batch = to_batch(frames)
    same(batch.select([2, 0]), to_batch([frames[2], frames[0]]))
    same(batch.select([-1, 1, 1]), to_batch([frames[2], frames[1], frames[1]]))
    same(batch.select([True, False, True]), to_batch([frames[0], frames[2]]))
    same(batch.select(1), to_batch(frames[1]))
    assert len(batch.select([])) == 0


@pytest.mark.parametrize(
    ("indices", "message"), [([3], "must lie in 0..2"), ([True], "as a mask"), ([0.5], "1D array of integers")]
)
def test_select_refuses(indices, message):
    with pytest.raises(InputError, match=message):
        to_batch(labelled()).select(indices)


def test_concatenate_is_the_inverse_of_select():
    batch = to_batch(labelled())
    same(concatenate([batch.select([0]), batch.select([1, 2])]), batch)


def test_concatenate_fills_missing_labels_with_absence():
    joined = concatenate([to_batch(labelled()), to_batch(bulk("Cu"), labels=False)])
    assert joined.labels.has_energy.tolist() == [True, True, True, False]
    assert np.isnan(joined.labels.energy[3])
    assert np.isnan(joined.labels.forces[-1]).all()
    assert joined.labels.config_type[-1] == "default"
    assert concatenate([to_batch(bulk("Cu"), labels=False)] * 2).labels is None
    with pytest.raises(InputError, match="at least one AtomsBatch"):
        concatenate([])


def test_batches_cannot_be_changed_and_leave_their_sources_alone():
    frames = labelled()
    batch = to_batch(frames)
    for array in (batch.positions, batch.cells, batch.frame_of_atom, batch.volumes, batch.labels.energy):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
    before = batch.positions.copy()
    frames[0].positions += 1.0  # the caller's atoms stay writeable ...
    assert np.array_equal(batch.positions, before)  # ... and separate
    own = np.zeros((1, 3))
    AtomsBatch([0, 1], [1], own, np.zeros((1, 3, 3)), np.zeros((1, 3), dtype=bool))
    own[0] = 1.0


def test_pickle_keeps_everything():
    batch = to_batch(labelled())
    same(pickle.loads(pickle.dumps(batch)), batch)


def test_inconsistent_arrays_are_refused():
    cells, pbc = np.zeros((1, 3, 3)), np.zeros((1, 3), dtype=bool)
    with pytest.raises(InputError, match=r"`positions` must have shape \(2, 3\), got \(1, 3\)"):
        AtomsBatch([0, 2], [1, 1], np.zeros((1, 3)), cells, pbc)
    with pytest.raises(InputError, match="`offsets` must rise"):
        AtomsBatch([0, 1], [1, 1], np.zeros((2, 3)), cells, pbc)
    with pytest.raises(InputError, match="`labels` must be for 1 frames and 2 atoms, got 2 and 2"):
        AtomsBatch([0, 2], [1, 1], np.zeros((2, 3)), cells, pbc, Labels.empty(2, 2))


def test_volume_of_a_flat_cell_is_nan():
    flat = Atoms("H", cell=[[3, 0, 0], [0, 3, 0], [3, 3, 0]], pbc=False)
    assert np.isnan(to_batch(flat).volumes[0])

"""Filtering and moving neighbour lists."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from gapkit.exceptions import InputError
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.structures import to_batch

ARRAYS = ("offsets", "indices", "shifts", "vectors", "distances")


def frames():
    atoms = bulk("GaAs", "zincblende", a=5.6) * (2, 2, 1)
    atoms.rattle(0.05, seed=0)
    return [atoms, molecule("H2O")]


def assert_same(left: NeighbourList, right: NeighbourList):
    assert left.cutoff == right.cutoff
    for name in ARRAYS:
        assert np.array_equal(getattr(left, name), getattr(right, name)), name


def test_within_equals_a_list_built_with_the_smaller_cutoff():
    batch = to_batch(frames())
    long, short = build_neighbour_list(batch, 6.0), build_neighbour_list(batch, 4.0)
    assert 0 < short.n_edges < long.n_edges
    assert_same(long.within(4.0), short)


def test_within_refuses_a_larger_cutoff():
    with pytest.raises(InputError, match=r"must be <= 4 Å.*build a longer list"):
        build_neighbour_list(to_batch(frames()), 4.0).within(4.5)
    with pytest.raises(InputError, match="finite number > 0"):
        build_neighbour_list(to_batch(frames()), 4.0).within(0.0)


def test_moved_without_movement_changes_no_bit():
    batch = to_batch(frames())
    found = build_neighbour_list(batch, 5.0)
    assert_same(found.moved(batch), found)


def test_skin_list_moved_and_filtered_equals_a_new_list():
    old = frames()
    new = [atoms.copy() for atoms in old]
    for atoms in new:
        atoms.rattle(0.05, seed=5)
    new[0].set_cell(new[0].cell.array @ (np.eye(3) + 0.01), scale_atoms=True)
    skinned = build_neighbour_list(to_batch(old), 6.0)
    assert_same(skinned.moved(to_batch(new)).within(4.5), build_neighbour_list(to_batch(new), 4.5))


def test_moved_follows_the_definition_of_the_vectors():
    atoms = frames()[0]
    found = build_neighbour_list(to_batch(atoms), 5.0)
    atoms.positions += np.random.default_rng(2).normal(size=atoms.positions.shape)
    moved = found.moved(to_batch(atoms))
    vectors = atoms.positions[found.indices] + found.shifts @ atoms.cell.array - atoms.positions[found.centres]
    assert np.allclose(moved.vectors, vectors, atol=1e-13)
    assert np.allclose(moved.distances, np.linalg.norm(vectors, axis=1), atol=1e-13)


def test_moved_lets_nan_through():
    atoms = molecule("H2O")
    found = build_neighbour_list(to_batch(atoms), 5.0)
    batch = to_batch(atoms)
    positions = batch.positions.copy()
    positions[0] = np.nan
    moved = found.moved(type(batch)(batch.offsets, batch.numbers, positions, batch.cells, batch.pbc))
    assert np.isnan(moved.distances).sum() == 4


def test_moved_refuses_another_number_of_atoms():
    found = build_neighbour_list(to_batch(frames()), 4.0)
    with pytest.raises(InputError, match="`batch` must hold the 11 atoms of this list, got 3"):
        found.moved(to_batch(molecule("H2O")))


def test_arrays_are_typed_and_read_only():
    found = build_neighbour_list(to_batch(frames()), 4.0)
    types = (np.int64, np.int64, np.int32, np.float64, np.float64)
    for name, dtype in zip(ARRAYS, types, strict=True):
        array = getattr(found, name)
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        found.cutoff = 3.0
    assert found.n_atoms == 11
    assert np.array_equal(np.bincount(found.centres, minlength=11), np.diff(found.offsets))

"""Neighbour lists against ASE's, for every mix of boundary conditions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import primitive_neighbor_list

from gapkit.exceptions import InputError
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch

CELLS = {
    "cubic": np.eye(3) * 4.0,
    "triclinic": np.array([[4.0, 0, 0], [1.5, 5, 0], [2, -1, 6]]),
    "left-handed": np.array([[0, 4.0, 0], [4.0, 0, 0], [0, 0, 5.0]]),
}


def edges(neighbours):
    shifts = map(tuple, neighbours.shifts.tolist())
    return sorted(zip(neighbours.centres.tolist(), neighbours.indices.tolist(), shifts, strict=True))


def ase_edges(atoms, cutoff):
    i, j, shifts = primitive_neighbor_list("ijS", atoms.pbc, atoms.cell.array, atoms.positions, cutoff)
    return sorted(zip(i.tolist(), j.tolist(), map(tuple, shifts.tolist()), strict=True))


@pytest.mark.parametrize("spread", [1.0, 2.5], ids=["inside", "outside the cell"])
@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_equals_ase_for_any_boundaries(cell, pbc, spread):
    fractional = np.random.default_rng(0).random((10, 3)) * spread - (spread - 1) / 2
    atoms = Atoms("H10", positions=fractional @ cell, cell=cell, pbc=pbc)
    found = build_neighbour_list(to_batch(atoms), 4.5)
    assert edges(found) == ase_edges(atoms, 4.5)
    assert found.n_edges > 0


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si"),
        bulk("Cu") * (1, 1, 2),
        molecule("CH3CH2OH"),
        fcc111("Al", (2, 2, 3), vacuum=None),
        fcc111("Al", (2, 2, 3), vacuum=8.0),
        Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]], cell=[0, 0, 3], pbc=[False, False, True]),
    ],
    ids=["Si", "Cu", "ethanol", "slab without vector", "slab", "wire"],
)
def test_equals_ase_for_usual_structures(atoms):
    found = build_neighbour_list(to_batch(atoms), 6.0)
    assert edges(found) == ase_edges(atoms, 6.0)


def test_one_atom_sees_its_images_but_not_itself():
    found = build_neighbour_list(to_batch(Atoms("Po", cell=[3, 3, 3], pbc=True)), 3.1)
    assert found.n_edges == 6
    assert np.allclose(found.distances, 3.0)
    alone = build_neighbour_list(to_batch(Atoms("Po")), 3.1)
    assert alone.n_edges == 0
    assert alone.offsets.tolist() == [0, 0]
    assert alone.vectors.shape == (0, 3)


def test_cutoff_is_strict():
    batch = to_batch(Atoms("H2", positions=[[0, 0, 0], [0, 0, 2.0]]))
    assert build_neighbour_list(batch, 2.0).n_edges == 0
    assert build_neighbour_list(batch, np.nextafter(2.0, 3.0)).n_edges == 2


def test_batch_joins_frames_and_keeps_them_apart():
    frames = [molecule("H2O"), Atoms("H"), bulk("NaCl", "rocksalt", a=5.6)]
    joined = build_neighbour_list(to_batch(frames), 4.0)
    start, expected = 0, []
    for atoms in frames:
        expected += [(i + start, j + start, shift) for i, j, shift in ase_edges(atoms, 4.0)]
        start += len(atoms)
    assert edges(joined) == sorted(expected)


def test_vectors_and_distances_follow_their_definition():
    atoms = bulk("NaCl", "rocksalt", a=5.6) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    found = build_neighbour_list(to_batch(atoms), 5.0)
    vectors = atoms.positions[found.indices] + found.shifts @ atoms.cell.array - atoms.positions[found.centres]
    assert np.allclose(found.vectors, vectors, atol=1e-13)
    assert np.allclose(found.distances, np.linalg.norm(vectors, axis=1), atol=1e-13)


def test_order_is_by_species_then_index_then_shift():
    atoms = Atoms("ClNaClNa", positions=[[0, 0, 0], [2.8, 0, 0], [0, 2.8, 0], [2.8, 2.8, 0]], cell=[5, 5, 5], pbc=True)
    found = build_neighbour_list(to_batch(atoms), 6.0)
    numbers = atoms.numbers[found.indices]
    rows = list(zip(found.centres, numbers, found.indices, map(tuple, found.shifts.tolist()), strict=True))
    assert rows == sorted(rows)
    assert len(rows) > 20


@pytest.mark.parametrize("cutoff", [0.0, -1.0, np.nan, np.inf, True, "5", None, [5.0]])
def test_cutoff_must_be_a_positive_number(cutoff):
    with pytest.raises(InputError, match="`cutoff` must be"):
        build_neighbour_list(to_batch(bulk("Si")), cutoff)


@pytest.mark.parametrize("pbc", [True, [True, True, False]])
def test_cutoff_larger_than_sense_is_refused(pbc):
    with pytest.raises(InputError, match=r"at most 5000 neighbours per atom.*frame 1.*smaller cutoff"):
        build_neighbour_list(to_batch([Atoms("H"), Atoms("Cu", cell=[2.5, 2.5, 2.5], pbc=pbc)]), 120.0)


def test_large_cutoff_is_fine_for_few_atoms():
    assert build_neighbour_list(to_batch(molecule("H2O")), 1000.0).n_edges == 6


@pytest.mark.parametrize("extent", [1e5, 3e5])
def test_thin_long_structures_do_not_crash_the_search(extent):
    # vesin 0.6.2 dies of SIGFPE for these when called without the widening in `find_pairs`.
    positions = [[0, 0, 0], [0.5, 0, 0], [extent, 0, 0], [extent, 0.5, 0]]
    found = build_neighbour_list(to_batch(Atoms("H4", positions=positions)), 1.0)
    assert edges(found) == [(0, 1, (0, 0, 0)), (1, 0, (0, 0, 0)), (2, 3, (0, 0, 0)), (3, 2, (0, 0, 0))]


def test_atoms_that_flew_off_are_named():
    with pytest.raises(InputError, match=r"`positions` and `cell` must be of a size.*flew off"):
        build_neighbour_list(to_batch(Atoms("H2", positions=[[0, 0, 0], [1e11, 0, 0]])), 5.0)

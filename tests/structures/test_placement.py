"""Where atoms and cells may be: limits, the same for whoever asks, and atoms that are far away."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit.curation.checks import check
from gapkit.exceptions import DataError, DataWarning, InputError
from gapkit.neighbours import build_neighbour_list, warn_close
from gapkit.structures import describe, to_batch


def cubic(rattled=0.1):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(rattled, seed=1)
    return atoms


def test_atoms_far_away_are_brought_back_and_the_callers_stay():
    near = cubic()
    far = near.copy()
    # by a power of two of cells, so that the sum keeps more digits than the test asks for
    far.positions[3] += 2.0**33 * far.cell.array[0] - 2.0**20 * far.cell.array[1]
    moved = far.positions.copy()
    batch = to_batch(far)
    assert np.array_equal(far.positions, moved)
    sound = build_neighbour_list(to_batch(near), 5.0)
    found = build_neighbour_list(batch, 5.0)
    spacing = np.spacing(np.abs(far.positions).max())
    np.testing.assert_allclose(np.sort(found.distances), np.sort(sound.distances), atol=2 * spacing)
    np.testing.assert_allclose(batch.positions[3], near.positions[3] % near.cell[0, 0], atol=2 * spacing)


def test_atoms_nearby_stay_where_they_are():
    atoms = cubic()
    atoms.positions[0] += 900.0 * atoms.cell.array[0]
    assert np.array_equal(to_batch(atoms).positions, atoms.positions)


def test_open_directions_are_not_wrapped():
    atoms = cubic()
    atoms.pbc = [True, False, False]
    atoms.positions[0] += [5e5 * atoms.cell[0, 0], 1e6, 0.0]
    found = to_batch(atoms).positions[0]
    assert 0 <= found[0] < atoms.cell[0, 0]
    assert found[1] == atoms.positions[0, 1]


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("H2", positions=[[0, 0, 0], [1e12, 0, 0]]), "`positions` must be within 5e.11 Å.*got 1e.12"),
        (Atoms("H", cell=[3, 3, 1e300], pbc=True), "`cell` must be within"),
        (Atoms("H", cell=[1e-3] * 3, pbc=True), "periodic vectors of at least 0.1 Å.*got vectors of 0.001 Å"),
        (Atoms("H", cell=[5, 5, 1e-9], pbc=True), "got vectors of 1e-09 Å"),
        (Atoms("H", cell=[5, 5, 1e-9], pbc=[False, False, True]), "got vectors of 1e-09 Å"),
        (Atoms("H9", positions=np.eye(9, 3), cell=[0.5] * 3, pbc=True), r"got 0.0139 Å\^3 per atom"),
    ],
)
def test_places_that_cannot_be_meant(atoms, message):
    with pytest.raises(DataError, match=rf"^frame 1 \(config_type 'default'\): .*{message}"):
        to_batch([Atoms("H"), atoms])


def skewed(tilt):
    return Atoms("Si", cell=[[3, 0, 0], [tilt, 3, 0], [0, 0, 3]], pbc=True)


@pytest.mark.parametrize("use", [lambda batch: build_neighbour_list(batch, 5.0), describe], ids=["list", "report"])
@pytest.mark.parametrize("tilt", [1e7, 1e9])
def test_cells_too_skewed_to_search_are_told_at_once(use, tilt):
    with pytest.raises(InputError, match=r"frame 1: `positions` and `cell` must be of a size.*minkowski_reduce"):
        use(to_batch([Atoms("H"), skewed(tilt)]))


def test_skewed_cells_are_searched():
    square, tilted = (build_neighbour_list(to_batch(skewed(tilt)), 5.0) for tilt in (0.0, 3000.0))
    np.testing.assert_allclose(np.sort(tilted.distances), np.sort(square.distances), atol=1e-9)


def test_frames_keep_their_numbers_when_some_are_selected():
    batch = to_batch([Atoms("H")] * 3 + [Atoms("H2")])
    part = batch.select([1, 2, 3]).select([2])
    assert part.frames.tolist() == [3]
    with pytest.raises(
        DataError, match=r"frame 3: atoms must be at least 0.001 Å apart, got 0 Å between atoms 0 and 1"
    ):
        build_neighbour_list(part, 5.0)


def test_atoms_that_come_together_later():
    batch = to_batch(cubic())
    neighbours = build_neighbour_list(batch, 5.0)
    atoms = cubic()
    atoms.positions[5] = atoms.positions[2] + [1e-4, 0.0, 0.0]
    with pytest.raises(DataError, match=r"between atoms (2 and 5|5 and 2); remove one of the two"):
        neighbours.moved(to_batch(atoms))


def test_reports_and_curation_name_them_and_go_on():
    frames = [cubic(), cubic(), cubic(0.2)]
    frames[1].positions[5] = frames[1].positions[2]
    (fault,) = (fault for fault in describe(to_batch(frames)).warnings if fault.kind == "coincident_atoms")
    assert fault.frames == (1,)
    found = [finding for finding in check(frames) if finding.kind == "coincident_atoms"]
    assert [(finding.frame, finding.severity) for finding in found] == [(1, "error")]


def test_close_atoms_are_a_warning():
    batch = to_batch([cubic(), Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.3]])])
    with pytest.warns(DataWarning, match=r"close_atoms: atoms closer than 0.5 Å, the closest 0.300 Å.*\(frame 1\)"):
        warn_close(build_neighbour_list(batch, 5.0), batch)
    warn_close(build_neighbour_list(to_batch(cubic()), 5.0), to_batch(cubic()))  # says nothing

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

from gapkit import SOAP
from gapkit.exceptions import InputError
from gapkit.selection.duplicates import components, find_duplicates
from tests.potential.models import label, make_frames
from tests.selection.test_fingerprints import turned

SMALL = SOAP(4.0, 4, 3, 0.5)


def test_independent_frames_are_none():
    assert find_duplicates(make_frames(20, n_gold=2), descriptor=SMALL) == []


def test_exact_after_wrapping():
    frames = make_frames(8)
    shifted = frames[3].copy()
    shifted.positions += np.array([[1, 0, -2], [0, 0, 0], [3, 1, 0], [-1, 0, 0]]) @ frames[3].cell.array
    nearly = frames[5].copy()
    nearly.positions[0, 0] += 1e-3
    (group,) = find_duplicates([*frames, shifted, nearly], symmetry=False)
    assert (group.kind, group.frames) == ("exact", (3, 8))
    assert max(group.distances) < 1e-8


def test_at_the_face_of_the_cell():
    atoms = make_frames(1)[0]
    atoms.calc = None
    atoms.set_scaled_positions([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    other = atoms.copy()
    other.positions[0] -= 1e-9
    other.wrap(eps=0.0)
    assert np.abs(other.positions - atoms.positions).max() > 1.0
    (group,) = find_duplicates([atoms, other], symmetry=False)
    assert group.frames == (0, 1)


def test_symmetry_is_found_and_can_be_left_out():
    frames = make_frames(10, n_gold=2)
    frames.append(label(turned(frames[4])))
    (group,) = find_duplicates(frames, descriptor=SMALL)
    assert (group.kind, group.frames) == ("symmetry", (4, 10))
    assert group.distances[1] < 1e-3
    assert find_duplicates(frames, symmetry=False) == []


def test_energies_must_agree():
    frames = make_frames(10)
    other = label(turned(frames[4]))
    other.calc.results["energy"] += 0.1
    assert find_duplicates([*frames, other], descriptor=SMALL) == []
    assert len(find_duplicates([*frames, other], descriptor=SMALL, energy_tolerance=None)) == 1


def test_supercells_only_when_asked_for():
    frames = make_frames(10)
    frames.append(label(frames[2].repeat((1, 2, 1))))
    assert find_duplicates(frames, descriptor=SMALL) == []
    (group,) = find_duplicates(frames, descriptor=SMALL, supercells=True)
    assert (group.kind, group.frames) == ("supercell", (2, 10))


def test_molecules():
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(8):
        atoms = molecule("CH3CH2OH")
        atoms.positions += rng.normal(scale=0.1, size=(9, 3))
        frames.append(atoms)
    moved = turned(frames[1])
    moved.set_cell(None)
    (group,) = find_duplicates([*frames, moved], descriptor=SMALL)
    assert group.frames == (1, 8)


def test_components():
    assert components(5, [(3, 1), (1, 4)]).tolist() == [0, 1, 2, 1, 1]
    assert components(2, []).tolist() == [0, 1]


def test_options():
    with pytest.raises(InputError, match="tolerance"):
        find_duplicates(make_frames(2), tolerance=0.0)
    with pytest.raises(InputError, match="supercells"):
        find_duplicates(make_frames(2), symmetry=False, supercells=True)

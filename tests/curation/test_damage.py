from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.stress import voigt_6_to_full_3x3_stress
from scipy.spatial.transform import Rotation

from gapkit.curation.weights import copy_frame
from gapkit.exceptions import InputError
from tests.curation.damage import KINDS, plant, turned
from tests.potential.models import label, make_frames


@pytest.fixture(scope="module")
def frames():
    return make_frames(30, seed=0)


def results(atoms):
    return atoms.calc.results


def test_every_kind_does_what_it_says(frames):
    before = [(atoms.positions.copy(), {k: np.copy(v) for k, v in results(atoms).items()}) for atoms in frames]
    damaged, done = plant(frames, 10, seed=1)
    assert sorted(d.kind for d in done) == sorted(2 * KINDS)
    assert [d.frame for d in done] == sorted(d.frame for d in done)
    assert len(damaged) == 32
    touched = {d.frame for d in done}
    assert all(damaged[i] is frames[i] for i in range(30) if i not in touched)
    for d in done:
        new, old = damaged[d.frame], frames[d.source]
        n = len(old)
        energy = (results(new)["energy"] - results(old)["energy"]) / n
        same = {k: np.allclose(results(new)[k], results(old)[k]) for k in ("energy", "forces", "stress")}
        if d.kind == "energy":
            assert abs(energy) == pytest.approx(0.2)
            assert same == {"energy": False, "forces": True, "stress": True}
        elif d.kind == "force":
            off = results(new)["forces"] - results(old)["forces"]
            (atom,) = np.flatnonzero(np.abs(off).max(axis=1))
            np.testing.assert_allclose(off[atom], 2.0 * results(old)["forces"][atom])
        elif d.kind == "stress":
            np.testing.assert_array_equal(results(new)["stress"], -results(old)["stress"])
        elif d.kind == "cell":
            assert all(same.values())
            strain = np.linalg.norm(new.cell.array, axis=1) / np.linalg.norm(old.cell.array, axis=1) - 1.0
            assert sorted(np.abs(strain) > 1e-12) == [False, False, True]
            assert 0.03 <= np.abs(strain).max() <= 0.05
        else:
            assert d.frame >= 30
            assert d.source < 30
            assert energy == pytest.approx(0.0)
    for atoms, (positions, labels) in zip(frames, before, strict=True):
        np.testing.assert_array_equal(atoms.positions, positions)
        assert all(np.array_equal(results(atoms)[k], v) for k, v in labels.items())


def test_half_of_the_wrong_cells_take_their_atoms_along(frames):
    along = 0
    for seed in range(12):
        damaged, (d,) = plant(frames, 1, kinds=["cell"], seed=seed)
        new, old = damaged[d.frame], frames[d.frame]
        moved = not np.allclose(new.positions, old.positions)
        assert moved == np.allclose(new.get_scaled_positions(wrap=False), old.get_scaled_positions(wrap=False))
        assert ("along" in d.detail) == moved
        along += moved
    assert 2 < along < 10


def test_turned_labels_are_those_of_the_turned_structure(frames):
    rotation = Rotation.from_euler("xyz", [0.3, -1.0, 2.0]).as_matrix()
    new = turned(frames[4], rotation, np.array([2, 0, 3, 1]))
    expected = results(label(new))
    for name in ("energy", "forces"):
        np.testing.assert_allclose(results(new)[name], expected[name], atol=1e-8)
    np.testing.assert_allclose(
        voigt_6_to_full_3x3_stress(results(new)["stress"]), voigt_6_to_full_3x3_stress(expected["stress"]), atol=1e-8
    )
    full = copy_frame(frames[4], stress=voigt_6_to_full_3x3_stress(results(frames[4])["stress"]))
    again = turned(full, rotation, np.arange(4))
    np.testing.assert_allclose(results(again)["stress"], results(new)["stress"], atol=1e-12)


def test_same_seed_same_damage(frames):
    assert plant(frames, 5, seed=3)[1] == plant(frames, 5, seed=3)[1]
    assert plant(frames, 5, seed=3)[1] != plant(frames, 5, seed=4)[1]


def test_only_what_can_be_damaged_is():
    calm = [label(bulk("Cu", cubic=True)) for _ in range(10)]
    frames = calm + make_frames(2)
    done = plant(frames, 2, kinds=["force"])[1]
    assert [d.frame for d in done] == [10, 11]
    with pytest.raises(InputError, match="no frame is left"):
        plant(frames, 3, kinds=["force"])
    with pytest.raises(InputError, match="no frame is left"):
        plant([label(atoms, "energy") for atoms in frames], 1, kinds=["stress"])
    with pytest.raises(InputError, match="`kinds`"):
        plant(frames, 1, kinds=["typing error"])

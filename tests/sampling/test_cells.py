"""Strains fill the plane of their invariants; volumes are those asked for."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit.exceptions import InputError
from gapkit.sampling import strain_invariants, strains, volume_scan


def applied(made: Atoms, start: Atoms) -> np.ndarray:
    """The strain, from the cells alone."""
    return np.linalg.solve(start.cell.array, made.cell.array) - np.eye(3)


def test_invariants() -> None:
    assert strain_invariants(0.02 * np.eye(3)) == pytest.approx((0.06, 0.0))
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 0.03
    assert strain_invariants(shear) == pytest.approx((0.0, 0.03**2))
    assert strain_invariants(np.diag([0.03, 0.0, 0.0])) == pytest.approx((0.03, 0.03**2 / 3))


def test_invariants_cover_their_plane() -> None:
    start, n, largest = bulk("Si"), 64, 0.05
    found = np.array([strain_invariants(applied(made, start)) for made in strains(start, largest, n)])
    i1, j2 = found[:, 0] / (6 * largest) + 0.5, found[:, 1] / largest**2
    # A Sobol net: one point in each of 64 bins along either axis, and in each of 8 x 8 cells.
    for values in (i1, j2):
        assert np.bincount(np.floor(n * values).astype(int), minlength=n).tolist() == [1] * n
    counts = np.histogram2d(i1, j2, bins=8, range=[(0, 1), (0, 1)])[0]
    assert (counts == 1).all()


def test_the_deviator_points_everywhere() -> None:
    start = bulk("Si")
    tensors = np.array([applied(made, start) for made in strains(start, 0.05, 256)])
    deviators = tensors - np.trace(tensors, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    j2 = 0.5 * np.sum(deviators**2, axis=(1, 2))
    a, b = np.triu_indices(3, 1)
    shears = deviators[:, a, b]
    # Isotropic in five dimensions, of which three are shears with e_xy^2 + e_xz^2 + e_yz^2.
    np.testing.assert_allclose((shears**2 / j2[:, None]).mean(axis=0), 0.2, rtol=0.15)


@pytest.mark.parametrize("kind", ["hydrostatic", "deviatoric", "shear"])
def test_kinds(kind: str) -> None:
    start = bulk("Si")
    for made in strains(start, 0.05, 16, kind=kind):
        strain = applied(made, start)
        i1, j2 = strain_invariants(strain)
        off_diagonal = np.abs(strain - np.diag(np.diag(strain))).max()
        assert (abs(i1) > 1e-9) == (kind == "hydrostatic")
        assert (j2 > 1e-9) == (kind != "hydrostatic")
        assert (off_diagonal > 1e-9) == (kind == "shear")
        assert (np.abs(np.diag(strain)).max() > 1e-9) == (kind != "shear")
        assert j2 <= 0.05**2 + 1e-12


def test_atoms_move_with_the_cell_and_nothing_turns() -> None:
    start = bulk("Si", cubic=True)
    start.positions += 0.1
    for made in strains(start, 0.1, 4):
        np.testing.assert_allclose(made.get_scaled_positions(), start.get_scaled_positions(), atol=1e-12)
        strain = applied(made, start)
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        details = made.info["sampling"]["details"]
        np.testing.assert_allclose(details["strain"], strain, atol=1e-12)
        assert (details["I1"], details["J2"]) == pytest.approx(strain_invariants(strain))


def test_largest_strain_leaves_a_cell() -> None:
    start = bulk("Si")
    assert min(np.linalg.eigvalsh(np.eye(3) + applied(m, start)).min() for m in strains(start, 0.39, 256)) > 0.1


def test_volumes() -> None:
    start = bulk("Si", cubic=True)
    made = volume_scan(start, [0.8, 1.0, 1.3])
    np.testing.assert_allclose([m.get_volume() / start.get_volume() for m in made], [0.8, 1.0, 1.3])
    for m in made:
        np.testing.assert_allclose(m.get_scaled_positions(), start.get_scaled_positions(), atol=1e-12)
        np.testing.assert_allclose(m.cell.angles(), 90.0)


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"`largest` must be a strain below 0.4, got 5"):
        strains(bulk("Si"), 5.0, 2)
    with pytest.raises(InputError, match="`kind` must be one of"):
        strains(bulk("Si"), 0.05, 2, kind="volumetric")
    with pytest.raises(InputError, match="must be periodic"):
        strains(Atoms("H2", [(0, 0, 0), (1, 0, 0)]), 0.05, 2)
    with pytest.raises(InputError, match=r"periodic in all three directions"):
        volume_scan(Atoms("Cu", cell=[3, 3, 9], pbc=[True, True, False]), [1.0])
    with pytest.raises(InputError, match=r"`factors\[1\]` must be a number > 0, got -1"):
        volume_scan(bulk("Si"), [1.0, -1.0])
    with pytest.raises(InputError, match="at least one factor"):
        volume_scan(bulk("Si"), [])

"""Vacancies, interstitials, slabs and stacking faults: counts, places and distances."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit.exceptions import InputError
from gapkit.sampling import find_voids, interstitials, stacking_faults, surfaces, vacancies
from gapkit.sampling.distances import pairs_within


def brute_force_radius(atoms: Atoms, points: np.ndarray) -> np.ndarray:
    shifts = np.array(np.meshgrid(*[range(-3, 4)] * 3)).reshape(3, -1).T @ atoms.cell.array
    images = (atoms.positions[None] + shifts[:, None]).reshape(-1, 3)
    return np.array([np.linalg.norm(images - point, axis=1).min() for point in points])


def test_vacancies() -> None:
    start = bulk("Cu", cubic=True)
    made = vacancies(start, 2, 6)  # all there are
    assert len({tuple(m.info["sampling"]["details"]["removed"]) for m in made}) == 6
    for m in made:
        removed = m.info["sampling"]["details"]["removed"]
        assert len(m) == 2
        np.testing.assert_array_equal(m.positions, np.delete(start.positions, removed, axis=0))
        np.testing.assert_array_equal(m.cell, start.cell)


def test_vacancies_of_one_species() -> None:
    start = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    for m in vacancies(start, 1, 4, symbol="Cl"):
        assert m.symbols.formula.count() == {"Na": 4, "Cl": 3}


def test_vacancies_bad_input() -> None:
    start = bulk("Cu", cubic=True)
    with pytest.raises(InputError, match=r"`n` must be at most 4, .* got 5"):
        vacancies(start, 1, 5)
    with pytest.raises(InputError, match="`n_vacancies` must leave an atom"):
        vacancies(start, 4, 1)
    with pytest.raises(InputError, match="of 4 with 0 that may go"):
        vacancies(start, 1, 1, symbol="Au")


def test_interstitials_of_fcc_are_octahedral_then_tetrahedral() -> None:
    start = bulk("Cu", a=3.6, cubic=True)
    voids = find_voids(start)
    assert np.allclose([v.radius for v in voids], [1.8] * 4 + [0.25 * np.sqrt(3) * 3.6] * 8)
    octahedral, tetrahedral, again = interstitials(start, "H", 3)
    for made, radius in ((octahedral, 1.8), (tetrahedral, 0.25 * np.sqrt(3) * 3.6), (again, 1.8)):
        assert made.symbols.formula.count() == {"Cu": 4, "H": 1}
        np.testing.assert_array_equal(made.positions[:4], start.positions)
        assert made.get_distances(4, range(4), mic=True).min() == pytest.approx(radius)
        assert made.info["sampling"]["details"]["distance"] == pytest.approx(radius)
    assert not np.allclose(octahedral.positions[4], again.positions[4])


def test_primitive_cells_and_diamond() -> None:
    a = 5.43
    assert [v.radius for v in find_voids(bulk("Cu", a=3.6))] == pytest.approx([1.8, 1.5588, 1.5588], abs=1e-4)
    # The tetrahedral void of diamond; the hexagonal one is a saddle of the distance.
    largest = find_voids(bulk("Si", a=a))[0]
    assert largest.radius == pytest.approx(np.sqrt(3) / 4 * a)


@pytest.mark.parametrize("cell", [[6, 6, 6], [[6, 0, 0], [5, 4, 0], [1, 7, 5]], [3, 4, 15]])
def test_no_point_is_further_from_atoms_than_the_largest_void(cell: list) -> None:
    rng = np.random.default_rng(4)
    atoms = Atoms("Cu6", cell=cell, pbc=True)
    atoms.set_scaled_positions(3.0 * rng.random((6, 3)))  # not all in the cell
    reduced = atoms.copy()
    reduced.set_cell(atoms.cell.minkowski_reduce()[0])
    voids = find_voids(atoms)
    radii = [v.radius for v in voids]
    assert radii == sorted(radii, reverse=True)
    centres = np.array([v.centre for v in voids])
    reduced.wrap()
    np.testing.assert_allclose(brute_force_radius(reduced, Atoms(positions=centres, cell=reduced.cell,
                               pbc=True).get_positions(wrap=True)), radii, rtol=1e-9)  # fmt: skip
    points = rng.random((4000, 3)) @ reduced.cell.array
    furthest = brute_force_radius(reduced, points).max()
    assert 0.9 * radii[0] < furthest <= radii[0] + 1e-9


def test_interstitials_bad_input() -> None:
    start = bulk("Cu", a=3.6, cubic=True)
    with pytest.raises(InputError, match=r"`n` must be at most 4, the number of voids with a radius of at least 1.7 Å"):
        interstitials(start, "H", 5, minimum_distance=1.7)
    with pytest.raises(InputError, match="`symbol` must be a chemical symbol such as Si, got 'Hx'"):
        interstitials(start, "Hx", 1)
    with pytest.raises(InputError, match="periodic in all three"):
        interstitials(Atoms("Cu4", np.random.default_rng(0).normal(size=(4, 3))), "H", 1)


def test_surfaces() -> None:
    made = surfaces(bulk("Cu", a=3.6, cubic=True), [(1, 0, 0), (1, 1, 1)], [2, 3], 7.0)
    assert [m.info["sampling"]["details"] for m in made] == [
        {"miller_index": list(plane), "layers": layers} for plane in ((1, 0, 0), (1, 1, 1)) for layers in (2, 3)
    ]
    spacings = []
    for m, layers in zip(made, (2, 3, 2, 3), strict=True):
        z = np.unique(np.round(m.positions[:, 2], 6))
        assert (z[0], m.cell[2, 2] - z[-1]) == pytest.approx((7.0, 7.0))
        assert m.pbc.all()
        assert len(m) % layers == 0
        spacings.append(np.diff(z).mean())
    assert spacings == pytest.approx([1.8, 1.8, 3.6 / np.sqrt(3), 3.6 / np.sqrt(3)])


def nearest_planes(atoms: Atoms, cutoff: float) -> int:
    return len(pairs_within(atoms, cutoff)[0])


def test_stacking_faults_of_fcc() -> None:
    start = bulk("Cu", a=3.6)
    none, first, second, whole = stacking_faults(start, [(0, 0), (1 / 3, 1 / 3), (2 / 3, 2 / 3), (1, 1)])
    nearest = 3.6 / np.sqrt(2)
    # The intrinsic fault keeps the number of nearest neighbours; atoms on top of one another come closer than that.
    counts = [nearest_planes(m, nearest + 0.01) for m in (none, first, second, whole)]
    closest = [pairs_within(m, 4.0)[2].min() for m in (first, second)]
    assert counts[0] == counts[3]
    fault, atop = (1, 2) if closest[0] > closest[1] else (2, 1)
    assert counts[fault] == counts[0]
    assert min(closest) == pytest.approx(3.6 / np.sqrt(3))
    assert counts[atop] == counts[0] - 2  # of three bonds across the plane one is left, shorter than the others
    # An hcp-like layer has a third-neighbour distance that fcc lacks: c of ideal hcp.
    distances = pairs_within((none, first, second)[fault], 4.3)[2]
    assert np.isclose(distances, nearest * np.sqrt(8 / 3), atol=1e-3).any()
    assert not np.isclose(pairs_within(none, 4.3)[2], nearest * np.sqrt(8 / 3), atol=1e-3).any()
    moved = np.abs(first.positions - none.positions).max(axis=1) > 1e-9
    assert moved.sum() == first.info["sampling"]["details"]["n_moved"] == len(none) / 2
    assert none.positions[moved, 2].min() > none.positions[~moved, 2].max()


def test_shuffle_and_glide_sets_of_diamond() -> None:
    start = bulk("Si", a=5.43)
    (at_rest,) = stacking_faults(start, [(0, 0)])
    z = at_rest.positions[:, 2]
    for gap, spacing in (("widest", 5.43 * np.sqrt(3) / 4), ("narrowest", 5.43 * np.sqrt(3) / 12)):
        (made,) = stacking_faults(start, [(0.25, 0)], gap=gap)
        moved = np.abs(made.positions - at_rest.positions).max(axis=1) > 1e-9
        assert z[moved].min() - z[~moved].max() == pytest.approx(spacing)


def test_slabs_bad_input() -> None:
    start = bulk("Cu", cubic=True)
    with pytest.raises(InputError, match="three Miller indices"):
        surfaces(start, [(1, 1)], 2)
    with pytest.raises(InputError, match="are not all zero"):
        surfaces(start, [(0, 0, 0)], 2)
    with pytest.raises(InputError, match="at least one entry each"):
        surfaces(start, [], 2)
    with pytest.raises(InputError, match=r"shape \(n, 2\), got shape \(1, 3\)"):
        stacking_faults(start, [(0, 0, 1)])
    with pytest.raises(InputError, match="`gap` must be"):
        stacking_faults(start, [(0, 0)], gap="shuffle")
    with pytest.raises(InputError, match="`layers` must be a whole number >= 2"):
        stacking_faults(start, [(0, 0)], layers=1)

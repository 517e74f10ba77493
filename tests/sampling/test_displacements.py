"""Thermal and random displacements: variances, equipartition, and distances that hold."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.units import kB

from gapkit.exceptions import DataWarning, InputError
from gapkit.sampling import (
    finite_difference_hessian,
    monte_carlo_rattle,
    rattle,
    thermal_isotropic,
    thermal_modes,
)
from gapkit.sampling.distances import shortest_distance
from gapkit.sampling.rattling import acceptance
from gapkit.sampling.thermal import internal_basis


def displacements(structures: list[Atoms], atoms: Atoms) -> np.ndarray:
    return np.array([made.positions - atoms.positions for made in structures])


def emt_copper() -> Atoms:
    return bulk("Cu", a=3.59, cubic=True)  # the lattice constant of EMT


@pytest.fixture(scope="module")
def hessian() -> np.ndarray:
    return finite_difference_hessian(emt_copper(), EMT())


def test_isotropic_variance() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    u = displacements(thermal_isotropic(atoms, 600.0, {"Na": 2.0, "Cl": 8.0}, 1000), atoms)
    for symbol, k in (("Na", 2.0), ("Cl", 8.0)):
        of_species = u[:, atoms.symbols == symbol]
        # 4000 draws of each component: the relative error of a variance is sqrt(2 / 4000) = 2.2 %.
        np.testing.assert_allclose(of_species.var(axis=(0, 1)), kB * 600.0 / k, rtol=0.1)
        assert np.abs(of_species.mean(axis=(0, 1))).max() < 5 * np.sqrt(kB * 600.0 / k / 4000)


def test_variance_grows_with_temperature_only() -> None:
    atoms = bulk("Cu")
    hot, cold = (displacements(thermal_isotropic(atoms, t, 3.0, 5), atoms) for t in (400.0, 100.0))
    np.testing.assert_allclose(hot, 2.0 * cold)


def test_hessian_gives_the_energy_of_small_displacements(hessian: np.ndarray) -> None:
    atoms = emt_copper()
    atoms.calc = EMT()
    at_rest = atoms.get_potential_energy()
    u = np.random.default_rng(0).normal(scale=1e-3, size=12)
    moved = atoms.copy()
    moved.positions += u.reshape(-1, 3)
    moved.calc = EMT()
    assert moved.get_potential_energy() - at_rest == pytest.approx(0.5 * u @ hessian @ u, rel=2e-2)
    np.testing.assert_allclose(hessian @ np.tile(np.eye(3), (4, 1)), 0.0, atol=1e-3)  # translations


def test_equipartition_of_emt_modes(hessian: np.ndarray) -> None:
    atoms, n, temperature = emt_copper(), 2000, 50.0
    u = displacements(thermal_modes(atoms, EMT(), temperature, n), atoms).reshape(n, 12)
    curvatures, vectors = np.linalg.eigh(hessian)
    energies = 0.5 * curvatures[3:] * (u @ vectors[:, 3:]) ** 2  # the first three are translations
    # A mode energy has a relative spread of sqrt(2): 3.2 % on the mean.
    np.testing.assert_allclose(energies.mean(axis=0), 0.5 * kB * temperature, rtol=0.15)
    assert energies.sum(axis=1).mean() == pytest.approx(4.5 * kB * temperature, rel=0.05)
    np.testing.assert_allclose(u.reshape(n, 4, 3).mean(axis=1), 0.0, atol=1e-12)


def test_equipartition_of_the_emt_energy_itself() -> None:
    atoms, temperature = emt_copper(), 20.0
    energies, emt = [], EMT()
    for made in [atoms, *thermal_modes(atoms, emt, temperature, 200)]:
        made.calc = emt
        energies.append(made.get_potential_energy())
    assert np.mean(energies[1:]) - energies[0] == pytest.approx(4.5 * kB * temperature, rel=0.1)


@pytest.mark.parametrize(
    ("atoms", "n_rigid"),
    [
        (bulk("Cu", cubic=True), 3),
        (molecule("H2O"), 6),
        (molecule("CO2"), 5),
        (Atoms("Cu3", [(0, 0, 0), (1, 1, 1), (0, 1, 2.5)], cell=[0, 0, 4], pbc=[False, False, True]), 4),
        (Atoms("Cu2", [(0, 0, 0), (1, 1, 1)], cell=[3, 3, 9], pbc=[True, True, False]), 3),
    ],
)
def test_rigid_motions(atoms: Atoms, n_rigid: int) -> None:
    basis = internal_basis(atoms)
    assert basis.shape == (3 * len(atoms), 3 * len(atoms) - n_rigid)
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)


def test_molecules_neither_drift_nor_turn() -> None:
    atoms = molecule("H2O")
    u = displacements(thermal_modes(atoms, np.eye(9), 300.0, 50), atoms)
    assert np.abs(u).max() > 0.1
    np.testing.assert_allclose(u.sum(axis=1), 0.0, atol=1e-10)
    arms = atoms.positions - atoms.positions.mean(axis=0)
    np.testing.assert_allclose(np.cross(arms, u).sum(axis=1), 0.0, atol=1e-10)


def test_soft_and_imaginary_modes_are_held_at_the_floor() -> None:
    atoms = Atoms("Cu2", [(0, 0, 0), (2, 0, 0)], cell=[4, 4, 4], pbc=True)
    relative = np.kron([[1, -1], [-1, 1]], np.eye(3)) / 2
    hessian = relative @ np.kron(np.eye(2), np.diag([4.0, 0.001, -2.0]))
    with pytest.warns(DataWarning, match="1 of 3 modes are imaginary .* and 1 have been raised"):
        structures = thermal_modes(atoms, hessian, 300.0, 3000, floor=0.5)
    u = displacements(structures, atoms)
    variance = ((u[:, 0] - u[:, 1]) ** 2).mean(axis=0) / 2
    np.testing.assert_allclose(variance, kB * 300.0 / np.array([4.0, 0.5, 2.0]), rtol=0.15)
    assert structures[0].info["sampling"]["details"] == {"n_modes": 3, "n_raised": 1, "n_imaginary": 1}


def test_rattle_is_gaussian_where_atoms_are_far_apart() -> None:
    atoms = bulk("Cu", cubic=True) * 2
    u = displacements(rattle(atoms, 0.05, 100, 1.0), atoms)
    np.testing.assert_allclose(u.std(axis=(0, 1)), 0.05, rtol=0.05)


def test_rattle_keeps_the_minimum_distance() -> None:
    atoms = bulk("Cu") * (2, 2, 3)
    free, kept = rattle(atoms, 0.3, 20), rattle(atoms, 0.3, 20, 2.0)
    assert min(shortest_distance(made, 3.0) for made in free) < 1.7
    assert 2.0 <= min(shortest_distance(made, 3.0) for made in kept) < 2.1
    np.testing.assert_allclose(displacements(kept, atoms).std(), 0.3, rtol=0.25)


def test_monte_carlo_rattle_moves_far_and_keeps_the_minimum_distance() -> None:
    atoms = bulk("Cu", cubic=True) * 2
    structures = monte_carlo_rattle(atoms, 0.1, 12, 5, 2.0)
    assert all(2.0 <= shortest_distance(made, 3.0) < 2.4 for made in structures)
    moved = displacements(structures, atoms).std()
    assert 0.15 < moved < 0.1 * np.sqrt(12)
    assert all(0.5 < made.info["sampling"]["details"]["acceptance"] < 1.0 for made in structures)


def test_monte_carlo_rattle_of_free_atoms_is_a_random_walk() -> None:
    atoms = Atoms("Cu60", positions=np.arange(60)[:, None] * [20.0, 0.0, 0.0])
    u = displacements(monte_carlo_rattle(atoms, 0.1, 9, 10, 2.0), atoms)
    np.testing.assert_allclose(u.std(), 0.3, rtol=0.08)


def test_acceptance_is_smooth_above_and_zero_below() -> None:
    d = np.array([1.999, 2.0, 2.2, 2.6, np.inf])
    np.testing.assert_allclose(acceptance(d, 2.0, 0.1), [0.0, 0.0023, 0.5, 1.0, 1.0], atol=1e-4)


def test_images_count() -> None:
    atoms = Atoms("Cu", cell=[1.5, 9, 9], pbc=True)
    for call in (lambda: rattle(atoms, 0.1, 1, 2.0), lambda: monte_carlo_rattle(atoms, 0.1, 2, 1, 2.0)):
        with pytest.raises(InputError, match=r"at most the shortest distance of `atoms`, 1\.5 Å"):
            call()


def test_bad_input() -> None:
    atoms = bulk("Cu", cubic=True)
    with pytest.raises(InputError, match=r"`sigma` must leave atoms 2.5 Å apart"):
        rattle(atoms, 3.0, 1, 2.5)
    for wrong in (0.0, -1.0, np.nan, "hot"):
        with pytest.raises(InputError, match="`temperature` must be a "):
            thermal_isotropic(atoms, wrong, 1.0, 1)
    with pytest.raises(InputError, match=r"got none for \['Cu'\]"):
        thermal_isotropic(atoms, 300.0, {"Au": 1.0}, 1)
    with pytest.raises(InputError, match=r"shape \(12, 12\)"):
        thermal_modes(atoms, np.eye(4), 300.0, 1)
    with pytest.raises(InputError, match="must be symmetric"):
        thermal_modes(atoms, np.triu(np.ones((12, 12))), 300.0, 1)
    with pytest.raises(InputError, match="an ASE calculator, or an array of numbers, got 'EMT'"):
        thermal_modes(atoms, "EMT", 300.0, 1)
    with pytest.raises(InputError, match="rigid motion only"):
        thermal_modes(Atoms("Cu"), np.eye(3), 300.0, 1)


def test_a_minimum_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thermal_modes(emt_copper(), EMT(), 300.0, 1)

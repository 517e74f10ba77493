"""Thermal displacements of a classical harmonic solid, with or without the shape of its modes, and its Hessian."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.units import kB
from numpy.typing import ArrayLike
from scipy.linalg import null_space

from gapkit.descriptors.species import Element
from gapkit.exceptions import DataWarning, InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Positive, SeedNumber
from gapkit.sampling.provenance import Made, clean_copy, sampler, streams
from gapkit.typing import FloatArray

# Singular values of unit-sized rigid motions below this are those of a rotation that moves no atom (linear molecules).
_NO_MOTION = 1e-6


@sampler()
def thermal_isotropic(
    atoms: Atoms,
    temperature: Positive,
    k_eff: Positive | Mapping[Element, Positive],
    n: Count,
    *,
    random_state: SeedNumber = 0,
) -> Made:
    """Displace every atom as in an Einstein crystal: each component is Gaussian with variance kB T / k_eff.

    Parameters
    ----------
    atoms : Atoms
        At, or near, a minimum of the energy.
    temperature : float, K
    k_eff : float or {symbol: float}, eV/Å^2
        Force constant of one atom, for all species or for each.

    Raises
    ------
    InputError
        If an argument is out of range, or `k_eff` lacks a species.

    Notes
    -----
    Equipartition: <k u^2 / 2> = kB T / 2 for each component u; zero-point motion is left out.
    """
    sigma = np.sqrt(kB * temperature / _force_constants(atoms, k_eff))[:, None]
    for rng in streams(random_state, "thermal_isotropic", n):
        moved = atoms.copy()
        moved.positions += sigma * rng.normal(size=(len(atoms), 3))
        yield moved


@sampler()
def thermal_modes(
    atoms: Atoms, calculator_or_hessian: BaseCalculator | ArrayLike, temperature: Positive, n: Count, *,
    floor: Positive = 0.1, step: Positive = 0.01, random_state: SeedNumber = 0,
) -> Made:  # fmt: skip
    """Displace atoms along the modes of the Hessian, each with kB T / 2 of potential energy on average.

    Rigid translations are projected out; so are rotations, of a molecule about all axes and of a wire about its own.

    Parameters
    ----------
    atoms : Atoms
        At a minimum of the energy.
    calculator_or_hessian : ase calculator, or array (3 n_atoms, 3 n_atoms) in eV/Å^2
        Default Hessian of a calculator: `finite_difference_hessian`.
    temperature : float, K
    floor : float, eV/Å^2
        A mode of curvature c is displaced as one of curvature max(|c|, floor): soft modes are held back, and imaginary
        ones are explored as far as the size of their curvature says. Both are warned of.
    step : float, Å
        Step of the differences.

    Returns
    -------
    structures : list of Atoms, length n
        `info["sampling"]["details"]` holds the numbers of modes, of raised and of imaginary ones.

    Raises
    ------
    InputError
        If the Hessian has another shape or is not symmetric, or there is nothing but rigid motion.

    Warns
    -----
    DataWarning
        If modes are imaginary or softer than `floor`.

    Notes
    -----
    The classical density of positions, exp(-u H u / 2 kB T), knows no masses: the modes are those of H, and
    u = sum_k sqrt(kB T / c_k) xi_k e_k with standard normal xi_k.
    """
    basis = internal_basis(atoms)
    if basis.shape[1] == 0:
        raise InputError(f"`atoms` must be able to vibrate, got {len(atoms)} atom(s) with rigid motion only; add atoms")
    if isinstance(calculator_or_hessian, BaseCalculator):
        hessian = finite_difference_hessian(atoms, calculator_or_hessian, step=step)
    else:
        hessian = _checked_hessian(calculator_or_hessian, 3 * len(atoms))
    curvatures, vectors = np.linalg.eigh(basis.T @ hessian @ basis)
    n_raised, n_imaginary = int(np.sum(np.abs(curvatures) < floor)), int(np.sum(curvatures < 0.0))
    if n_raised or n_imaginary:
        warnings.warn(
            f"{n_imaginary} of {len(curvatures)} modes are imaginary (lowest curvature {curvatures[0]:.3g} eV/Å^2) and "
            f"{n_raised} have been raised to `floor` = {floor:g} eV/Å^2; relax `atoms` if it is meant to be a minimum",
            DataWarning,
            stacklevel=3,
        )
    amplitudes = basis @ (vectors * np.sqrt(kB * temperature / np.maximum(np.abs(curvatures), floor)))
    details = {"n_modes": len(curvatures), "n_raised": n_raised, "n_imaginary": n_imaginary}
    for rng in streams(random_state, "thermal_modes", n):
        moved = atoms.copy()
        moved.positions += (amplitudes @ rng.normal(size=len(curvatures))).reshape(-1, 3)
        yield moved, details


def _force_constants(atoms: Atoms, k_eff: float | Mapping[str, float]) -> FloatArray:
    """(n_atoms,) in eV/Å^2."""
    if not isinstance(k_eff, Mapping):
        return np.full(len(atoms), k_eff)
    missing = sorted(set(atoms.symbols) - set(k_eff))
    if missing:
        raise InputError(f"`k_eff` must hold a force constant for every species, got none for {missing}; add them")
    return np.array([k_eff[symbol] for symbol in atoms.symbols])


def _checked_hessian(values: Any, size: int) -> FloatArray:
    try:
        hessian = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"`calculator_or_hessian` must be an ase calculator or a matrix, got {type(values).__name__}"
        ) from error
    if hessian.shape != (size, size) or not np.isfinite(hessian).all():
        raise InputError(
            f"`calculator_or_hessian` must be an ase calculator or a finite matrix of shape {(size, size)} in eV/Å^2, "
            f"got shape {hessian.shape}; order it as atom 0 x, y, z, atom 1 x, ..."
        )
    asymmetry = float(np.abs(hessian - hessian.T).max())
    if asymmetry > 1e-3 * float(np.abs(hessian).max()):
        raise InputError(
            f"`calculator_or_hessian` must be symmetric, got entries that differ by {asymmetry:.3g} eV/Å^2 from their "
            "transposes; symmetrise it if that is noise"
        )
    return 0.5 * (hessian + hessian.T)


@checked
def finite_difference_hessian(atoms: Atoms, calculator: BaseCalculator, *, step: Positive = 0.01) -> FloatArray:
    """Second derivatives of the energy in eV/Å^2, (3 n_atoms, 3 n_atoms), ordered as atom 0 x, y, z, atom 1 x, ...

    They are central differences of forces at 6 n_atoms displacements by `step`, in Å, symmetrised.
    """
    moved = clean_copy(atoms)
    start = moved.positions.copy()
    moved.calc = calculator
    hessian = np.empty((start.size, start.size))
    for component in range(start.size):
        forces = []
        for sign in (1.0, -1.0):
            positions = start.copy()
            positions.flat[component] += sign * step
            moved.positions = positions
            forces.append(np.array(moved.get_forces()).ravel())
        hessian[component] = (forces[1] - forces[0]) / (2.0 * step)
    return 0.5 * (hessian + hessian.T)


def internal_basis(atoms: Atoms) -> FloatArray:
    """Orthonormal basis (3 n_atoms, n_internal) of the displacements that are not rigid.

    It is orthogonal to the translations and, as far as periodicity leaves them free, to the rotations: all three of a
    molecule (two of a linear one), the one about its axis of a wire, none of a slab or a crystal.
    """
    n_atoms = len(atoms)
    motions = [np.tile(axis, (n_atoms, 1)) / np.sqrt(n_atoms) for axis in np.eye(3)]
    centred = atoms.positions - atoms.positions.mean(axis=0)
    size = max(float(np.linalg.norm(centred)), 1.0)
    motions += [np.cross(axis, centred) / size for axis in _free_axes(atoms)]
    rigid = np.array([motion.ravel() for motion in motions])
    return null_space(rigid, rcond=_NO_MOTION)


def _free_axes(atoms: Atoms) -> FloatArray:
    """(n, 3) axes about which the structure can turn without meeting its images differently."""
    periodic = atoms.cell.array[atoms.pbc]
    if len(periodic) == 0:
        return np.eye(3)
    if len(periodic) == 1:
        return periodic / np.linalg.norm(periodic)
    return np.empty((0, 3))

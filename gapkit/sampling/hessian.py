"""The Hessian of a calculator, and the space of internal motions."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from scipy.linalg import null_space

from gapkit.sampling.inputs import check_number
from gapkit.sampling.provenance import clean_copy
from gapkit.typing import FloatArray

# Singular values of unit-sized rigid motions below this are those of a rotation that moves no atom (linear molecules).
_NO_MOTION = 1e-6


def finite_difference_hessian(atoms: Atoms, calculator: BaseCalculator, *, step: float = 0.01) -> FloatArray:
    """Second derivatives of the energy by central differences of forces, 6 n_atoms of them, symmetrised.

    Parameters
    ----------
    atoms : Atoms
    calculator : ase calculator
    step : float, Å

    Returns
    -------
    hessian : (3 n_atoms, 3 n_atoms) float, eV/Å^2
        Ordered as atom 0 x, y, z, atom 1 x, ...
    """
    step = check_number("step", step, "Å")
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

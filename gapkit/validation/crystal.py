"""Elastic constants and stability of a crystal, for tables before and after."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.units import GPa

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Positive
from gapkit.potential import GAP
from gapkit.targets import VOIGT
from gapkit.typing import FloatArray


@checked
def crystal_check(
    crystal: Atoms, *, strain: Positive = 0.02, displacement: Positive = 1e-3
) -> Callable[[GAP], dict[str, float]]:
    """Physical numbers of a crystal, for the tables of `gapkit.curation.prune`: a check that a potential is sound.

    By finite differences of `model.predict` at the volume where the energy is lowest within twice `strain`: volume per
    atom (Å^3), bulk modulus from the curvature of the energy, elastic constants from stresses with the atoms where the
    strain takes them (C11, C12, C44 are averages over the axes; GPa), and the lowest curvature of the energy along a
    displacement of the first atom (eV/Å^2).
    The crystal is periodic in three directions and near its minimum.  `strain` is the largest linear one of the volume
    scan, of which elastic constants use a fifth; `displacement` is in Å.
    """
    if not crystal.pbc.all() or not 0 < strain < 0.2:
        raise InputError(f"`crystal` must be periodic in three directions and `strain` between 0 and 0.2, got {strain}")

    def check(model: GAP) -> dict[str, float]:
        scan = np.linspace(-2 * strain, 2 * strain, 21)
        lowest = scan[int(np.argmin(model.predict([strained(crystal, x * np.eye(3)) for x in scan]).energy))]
        steps = lowest + np.linspace(-strain / 4, strain / 4, 5)
        fit = np.polyfit(steps, model.predict([strained(crystal, x * np.eye(3)) for x in steps]).energy, 2)
        minimum = float(np.clip(-fit[1] / (2 * fit[0]), steps[0], steps[-1])) if fit[0] > 0 else float(lowest)
        atoms = strained(crystal, minimum * np.eye(3))
        # V = V0 (1 + x)^3: d2E/dx2 = 9 V B (1 + x)^-2 at the minimum
        bulk = 2 * fit[0] * (1 + minimum) ** 2 / (9 * atoms.get_volume()) / GPa
        h, columns = strain / 5, []
        for a, b in zip(*VOIGT, strict=True):
            e = np.zeros((3, 3))
            e[a, b] += 0.5 * h
            e[b, a] += 0.5 * h
            up, down = model.predict([strained(atoms, e), strained(atoms, -e)]).stress
            columns.append((up - down) / (2 * h))
        C = np.array(columns).T / GPa
        moved = [atoms.copy() for _ in range(6)]
        for k, new in enumerate(moved):
            new.positions[0, k % 3] += displacement if k < 3 else -displacement
        forces = model.predict(moved).forces.reshape(6, len(atoms), 3)[:, 0]
        curvature = -(forces[:3] - forces[3:]) / (2 * displacement)
        return {
            "volume": atoms.get_volume() / len(atoms),
            "bulk_modulus": float(bulk),
            "C11": float(np.trace(C[:3, :3])) / 3,
            "C12": float((C[:3, :3].sum() - np.trace(C[:3, :3])) / 6),
            "C44": float(np.trace(C[3:, 3:])) / 3,
            "curvature": float(np.linalg.eigvalsh(0.5 * (curvature + curvature.T)).min()),
        }

    return check


def strained(atoms: Atoms, strain: FloatArray) -> Atoms:
    """Copy under a strain (3, 3), at fixed fractional coordinates."""
    new = atoms.copy()
    new.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return new

"""Strained cells: a design that fills the plane of the strain invariants, and a scan of the volume."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from scipy.special import ndtri
from scipy.stats import qmc

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Positive, SeedNumber
from gapkit.sampling.inputs import check_periodic
from gapkit.sampling.provenance import Made, generator, sampler
from gapkit.typing import FloatArray

StrainKind = Literal["mixed", "hydrostatic", "deviatoric", "shear"]

_LARGEST = 0.4  # beyond it, a strain of both kinds together could turn the cell inside out


@checked
def strain_invariants(strain: FloatArray) -> tuple[float, float]:
    """Return I1 = tr(e) and J2 = s:s / 2, s = e - I1/3 the deviator, of a (3, 3) strain tensor e."""
    i1 = float(np.trace(strain))
    deviator = strain - i1 / 3.0 * np.eye(3)
    return i1, 0.5 * float(np.sum(deviator**2))


@sampler()
def strains(
    atoms: Atoms, largest: Positive, n: Count, *, kind: StrainKind = "mixed", random_state: SeedNumber = 0
) -> Made:
    """Strain the cell homogeneously, with invariants spread evenly over their range.

    A scrambled Sobol sequence is uniform in I1 over [-3 largest, 3 largest] and in J2 over [0, largest^2], and in the
    direction of the deviator over the unit sphere of its five dimensions.

    Parameters
    ----------
    atoms : Atoms
        Periodic; atoms move with the cell.
    largest : float
        Largest |I1| / 3, the mean normal strain, and largest sqrt(J2), which is e_xy for a pure shear; below 0.4.
    kind : {"mixed", "hydrostatic", "deviatoric", "shear"}
        "hydrostatic" has J2 = 0. "deviatoric" (normal strains) and "shear" (off-diagonal ones, in the axes of the
        positions) have I1 = 0. "mixed" has all six components.

    Returns
    -------
    structures : list of Atoms, length n
        `info["sampling"]["details"]` holds the strain, I1 and J2.

    Raises
    ------
    InputError
        If an argument is out of range, or nothing is periodic.

    Notes
    -----
    Sequence: Sobol, USSR Comput. Math. Math. Phys. 7, 86 (1967), scrambled after Owen, as in `scipy.stats.qmc`.
    """
    if largest >= _LARGEST:
        raise InputError(f"`largest` must be a strain below {_LARGEST:g}, got {largest:g}; 0.05 is 5 %")
    if not atoms.pbc.any():
        raise InputError("`atoms` must be periodic to be strained, got pbc False in all directions; set cell and pbc")
    for strain in _design(largest, n, kind, generator(random_state, "strains", 0)):
        i1, j2 = strain_invariants(strain)
        yield _deformed(atoms, np.eye(3) + strain), {"strain": strain, "I1": i1, "J2": j2}


@sampler()
def volume_scan(atoms: Atoms, factors: Sequence[Positive]) -> Made:
    """Scale the volume, not the length, of a fully periodic structure by each factor; fractional coordinates stay."""
    check_periodic("atoms", atoms, "a scan of the volume")
    if len(factors) == 0:
        raise InputError("`factors` must hold at least one factor of the volume, got none; try [0.9, 1.0, 1.1]")
    for factor in factors:
        yield _deformed(atoms, factor ** (1 / 3) * np.eye(3))


def _design(largest: float, n: int, kind: StrainKind, rng: np.random.Generator) -> FloatArray:
    """(n, 3, 3) strain tensors."""
    # The balance of the sequence holds for powers of two; of those, the first n.
    points = qmc.Sobol(7, scramble=True, seed=rng).random_base2(max(1, int(np.ceil(np.log2(n)))))[:n]
    i1 = 3.0 * largest * (2.0 * points[:, 0] - 1.0)
    j2 = largest**2 * points[:, 1]
    direction = ndtri(np.clip(points[:, 2:], 1e-12, 1.0 - 1e-12))
    if kind == "hydrostatic":
        j2 = np.zeros(n)
    elif kind == "deviatoric":
        i1, direction[:, 2:] = np.zeros(n), 0.0
    elif kind == "shear":
        i1, direction[:, :2] = np.zeros(n), 0.0
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    # Tensors t_q with t_q : t_q' = 2 delta_qq', so that sum_q c_q t_q has J2 = |c|^2.
    basis = np.zeros((5, 3, 3))
    basis[0] = np.diag([1.0, -1.0, 0.0])
    basis[1] = np.diag([-1.0, -1.0, 2.0]) / np.sqrt(3.0)
    for q, (a, b) in enumerate([(1, 2), (0, 2), (0, 1)], start=2):
        basis[q, a, b] = basis[q, b, a] = 1.0
    deviators = np.einsum("i,iq,qab->iab", np.sqrt(j2), direction, basis)
    return deviators + i1[:, None, None] / 3.0 * np.eye(3)


def _deformed(start: Atoms, deformation: FloatArray) -> Atoms:
    moved = start.copy()
    # Row vectors; a strain is symmetric, so there is no rotation in it.
    moved.set_cell(start.cell.array @ deformation)
    moved.positions = start.positions @ deformation
    return moved

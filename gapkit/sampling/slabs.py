"""Slabs: surfaces of a crystal, and stacking faults along a plane of one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.build import surface
from numpy.typing import ArrayLike

from gapkit.exceptions import InputError
from gapkit.sampling.inputs import check_count, check_periodic
from gapkit.sampling.provenance import Made, clean_copy, sampler
from gapkit.typing import FloatArray

_SAME_PLANE = 1e-2  # Å, between atoms of one atomic plane
_SAME_GAP = 1e-2  # Å, between spacings that count as equal


@sampler()
def surfaces(
    bulk: Atoms, miller_indices: Sequence[Sequence[int]], layers: int | Sequence[int], vacuum: float = 10.0
) -> Made:
    """Cut slabs out of a crystal, one for each plane and number of layers.

    Parameters
    ----------
    bulk : Atoms
        Periodic; Miller indices refer to its own cell, so pass the conventional cell for the usual ones.
    miller_indices : sequence of three integers each
    layers : int or sequence of int
        Repeats of the crystal along the normal, not atomic planes.
    vacuum : float, Å
        On either side; the slabs stay periodic in all directions, with z along the normal.

    Returns
    -------
    structures : list of Atoms
        For each plane, each number of layers in turn.

    Raises
    ------
    InputError
        If a plane is not three integers, of which one is not zero, or another argument is out of range.
    """
    check_periodic("bulk", bulk, "cutting surfaces")
    planes = [_checked_plane(plane) for plane in miller_indices]
    counts = [check_count("layers", count) for count in (layers if isinstance(layers, Sequence) else [layers])]
    if not planes or not counts:
        raise InputError("`miller_indices` and `layers` must hold at least one entry each, got none")
    for plane, count in product(planes, counts):
        slab = clean_copy(surface(bulk, plane, count, vacuum, periodic=True))
        yield slab, {"miller_index": plane, "layers": count}


@sampler()
def stacking_faults(
    bulk: Atoms, displacements: ArrayLike, *, miller_index: Sequence[int] = (1, 1, 1), layers: int = 6,
    vacuum: float = 10.0, gap: Literal["widest", "narrowest"] = "widest",
) -> Made:  # fmt: skip
    """Shift the upper half of a slab in its plane: points of the generalised stacking fault surface.

    Parameters
    ----------
    bulk : Atoms
        Periodic, such as fcc or diamond. The primitive cell of either has (1, 1, 1) for its close-packed planes too,
        and gives slabs of the smallest area.
    displacements : (n, 2) float
        Fractions of the slab's two in-plane cell vectors. For (1, 1, 1) of a primitive fcc cell, (1/3, 1/3) and
        (2/3, 2/3) are the intrinsic fault and atop stacking, in the order that the handedness of the cell decides.
    layers : int
        As in `surfaces`, at least 2.
    vacuum : float, Å
        On either side of the slab, so that the shift makes no second fault.
    gap : {"widest", "narrowest"}
        Spacing of atomic planes of the cut, of those nearest the middle: in diamond (1, 1, 1), "widest" is the shuffle
        set and "narrowest" the glide set. In fcc all spacings are equal.

    Returns
    -------
    structures : list of Atoms, length n
        `info["sampling"]["details"]` holds the displacement and the number of atoms moved.

    Raises
    ------
    InputError
        If the displacements have another shape, or the slab is a single plane.

    Notes
    -----
    Vitek, Philos. Mag. 18, 773 (1968).
    """
    shifts = np.atleast_2d(np.asarray(displacements, dtype=float))
    if shifts.ndim != 2 or shifts.shape[1] != 2 or len(shifts) == 0 or not np.isfinite(shifts).all():
        raise InputError(
            f"`displacements` must be finite fractions of the two in-plane cell vectors, shape (n, 2), got shape "
            f"{shifts.shape}"
        )
    if gap not in ("widest", "narrowest"):
        raise InputError(f"`gap` must be 'widest' or 'narrowest', got {gap!r}")
    slab = clean_copy(surfaces(bulk, [miller_index], check_count("layers", layers, 2), vacuum)[0])
    upper = slab.positions[:, 2] > _cut(slab.positions[:, 2], gap)
    for shift in shifts:
        moved = slab.copy()
        moved.positions[upper] += shift @ slab.cell.array[:2]
        yield moved, {"displacement": shift, "n_moved": int(upper.sum())}


def _cut(heights: FloatArray, gap: str) -> float:
    """Height, in Å, of the cut between two atomic planes."""
    ordered = np.sort(heights)
    spacings = np.diff(ordered)
    middles = 0.5 * (ordered[1:] + ordered[:-1])[spacings > _SAME_PLANE]
    spacings = spacings[spacings > _SAME_PLANE]
    if len(spacings) == 0:
        raise InputError("`layers` must give a slab of at least two atomic planes, got one; use more layers")
    wanted = spacings.max() if gap == "widest" else spacings.min()
    middles = middles[np.abs(spacings - wanted) < _SAME_GAP]
    return float(middles[np.argmin(np.abs(middles - 0.5 * (ordered[0] + ordered[-1])))])


def _checked_plane(plane: Sequence[int]) -> tuple[int, int, int]:
    try:
        h, k, l = (operator.index(index) for index in plane)
    except (TypeError, ValueError) as error:
        raise InputError(f"`miller_indices` must be three integers for each plane, got {plane!r}") from error
    if h == k == l == 0:
        raise InputError("`miller_indices` must not all be zero, got (0, 0, 0)")
    return h, k, l

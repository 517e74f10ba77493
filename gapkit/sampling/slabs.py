"""Slabs: surfaces of a crystal, and stacking faults along a plane of one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from ase import Atoms
from ase.build import surface
from numpy.typing import ArrayLike

from gapkit.exceptions import InputError
from gapkit.options.annotations import check_of
from gapkit.options.kinds import Count, Positive
from gapkit.options.values import whole_from
from gapkit.sampling.inputs import check_periodic
from gapkit.sampling.provenance import Made, clean_copy, sampler
from gapkit.typing import FloatArray

_SAME_PLANE = 1e-2  # Å, between atoms of one atomic plane
_SAME_GAP = 1e-2  # Å, between spacings that count as equal


def _plane(value: Any) -> tuple[int, int, int]:
    with suppress(ValueError):
        if any(plane := check_of(tuple[int, int, int])(value)) and max(map(abs, plane)) < 100:
            return plane
    raise ValueError("three Miller indices, integers below 100 that are not all zero")


Plane: TypeAlias = Annotated[Sequence[int], _plane]


@sampler()
def surfaces(
    bulk: Atoms, miller_indices: Sequence[Plane], layers: Count | Sequence[Count], vacuum: Positive = 10.0
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
    planes, counts = miller_indices, layers if isinstance(layers, Sequence) else [layers]
    if len(planes) == 0 or len(counts) == 0:
        raise InputError("`miller_indices` and `layers` must hold at least one entry each, got none")
    for plane, count in product(planes, counts):
        slab = clean_copy(surface(bulk, plane, count, vacuum, periodic=True))
        yield slab, {"miller_index": plane, "layers": count}


@sampler()
def stacking_faults(
    bulk: Atoms, displacements: ArrayLike, *, miller_index: Plane = (1, 1, 1),
    layers: Annotated[int, whole_from(2)] = 6, vacuum: Positive = 10.0, gap: Literal["widest", "narrowest"] = "widest",
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
    slab = clean_copy(surfaces(bulk, [miller_index], layers, vacuum)[0])
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

"""The voids of a crystal: centres of empty spheres that touch four or more atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from scipy.spatial import KDTree, Voronoi

from gapkit.typing import FloatArray, IntArray

_TOUCHING = 1e-3  # of the radius
_SAME = 1e-3  # Å


@dataclass(frozen=True)
class Void:
    """An empty sphere.

    Attributes
    ----------
    centre : (3,) float, Å
    radius : float, Å
        Distance to the nearest atoms.
    kind : tuple
        Rounded radius and atomic numbers of the touching atoms: equal for voids that symmetry relates.
    """

    centre: FloatArray
    radius: float
    kind: tuple[float, tuple[int, ...]]


def find_voids(atoms: Atoms) -> list[Void]:
    """Voids of a crystal, periodic in all directions: each once per cell, by radius, then fractional coordinates.

    Every local maximum of the distance to the nearest atom is a vertex of the Voronoi diagram, the dual of the Delaunay
    triangulation (Okabe et al., Spatial Tessellations, 2nd ed., 2000).
    """
    positions, numbers = _with_images(atoms)
    vertices = Voronoi(positions).vertices
    fractional = np.linalg.solve(atoms.cell.array.T, vertices.T).T
    inside = np.all((fractional > -1e-6) & (fractional < 1.0 + 1e-6), axis=1)
    wrapped = fractional[inside] % 1.0
    wrapped[wrapped > 1.0 - 1e-6] = 0.0
    centres = wrapped @ atoms.cell.array
    tree = KDTree(positions)
    radii = tree.query(centres)[0]
    touching = tree.query_ball_point(centres, radii * (1.0 + _TOUCHING))
    found: list[Void] = []
    kept = np.empty((0, 3))
    for at in np.lexsort((*np.round(wrapped, 6).T[::-1], -np.round(radii, 6))):
        # A vertex that touches fewer atoms comes of the rounding of nearly flat simplices.
        if len(touching[at]) < 4 or _seen(wrapped[at], kept, atoms.cell.array):
            continue
        kept = np.vstack([kept, wrapped[at]])
        kind = (round(float(radii[at]), 3), tuple(sorted(numbers[touching[at]].tolist())))
        found.append(Void(centres[at], float(radii[at]), kind))
    return found


def inequivalent_first(voids: list[Void]) -> list[Void]:
    """Reorder: one void of every kind, the largest first, before the second of any kind."""
    kinds = [void.kind for void in voids]
    turns = [kinds[:at].count(kind) for at, kind in enumerate(kinds)]
    return [voids[at] for at in np.argsort(turns, kind="stable")]


def _seen(fractional: FloatArray, kept: FloatArray, cell: FloatArray) -> bool:
    apart = kept - fractional
    return bool(np.any(np.linalg.norm((apart - np.round(apart)) @ cell, axis=1) < _SAME))


def _with_images(atoms: Atoms) -> tuple[FloatArray, IntArray]:
    """All images that could touch a void with its centre in the cell."""
    cell = atoms.cell.array
    # No point is further from a lattice point than this (Babai's nearest plane: half the root of the sum of squares of
    # the orthogonalised, hence shorter, basis vectors); so no void is larger.
    largest = 0.5 * float(np.linalg.norm(np.asarray(atoms.cell.minkowski_reduce()[0])))
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    margin = 1.01 * largest / heights
    fractional = atoms.get_scaled_positions(wrap=True)
    reach = [np.arange(-int(np.ceil(m)), int(np.ceil(m)) + 1) for m in margin]
    shifts = np.array(np.meshgrid(*reach, indexing="ij")).reshape(3, -1).T
    images = (fractional[None, :, :] + shifts[:, None, :]).reshape(-1, 3)
    numbers = np.tile(atoms.numbers, len(shifts))
    near = np.all((images >= -margin) & (images <= 1.0 + margin), axis=1)
    return images[near] @ cell, numbers[near].astype(np.int64)

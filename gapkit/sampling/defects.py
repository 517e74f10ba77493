"""Point defects: vacancies, and interstitials in voids, the centres of empty spheres."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np
from ase import Atoms
from scipy.spatial import KDTree, Voronoi

from gapkit.descriptors.species import Element
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, NotNegative, SeedNumber
from gapkit.sampling.inputs import check_periodic, sites_of
from gapkit.sampling.provenance import Made, sampler, streams
from gapkit.typing import FloatArray, IntArray

_TOUCHING = 1e-3  # of the radius
_SAME = 1e-3  # Å


@sampler()
def vacancies(
    atoms: Atoms, n_vacancies: Count, n: Count, *, symbol: Element | None = None, random_state: SeedNumber = 0
) -> Made:
    """Leave out atoms at random; no two structures lack the same set.

    Parameters
    ----------
    n_vacancies : int
        Atoms that each structure lacks.
    symbol : str, optional
        Species of these atoms; default: any.

    Returns
    -------
    structures : list of Atoms, length n
        `info["sampling"]["details"]["removed"]` holds the indices that are missing. Sets that symmetry relates count
        as different: all single vacancies of an unrattled element crystal are alike.

    Raises
    ------
    InputError
        If there are fewer than n different sets, or if nothing would be left.
    """
    sites = sites_of(atoms, symbol)
    if n_vacancies >= len(atoms) or n_vacancies > len(sites):
        raise InputError(
            f"`n_vacancies` must leave an atom, of {len(atoms)} with {len(sites)} that may go, got {n_vacancies}; "
            "use a larger supercell"
        )
    if n > comb(len(sites), n_vacancies):
        raise InputError(
            f"`n` must be at most {comb(len(sites), n_vacancies)}, the number of sets of {n_vacancies} out of "
            f"{len(sites)} atoms, got {n}; use a larger supercell or fewer structures"
        )
    seen: set[tuple[int, ...]] = set()
    for rng in streams(random_state, "vacancies", n):
        removed: tuple[int, ...] = ()
        while not removed or removed in seen:
            removed = tuple(sorted(rng.choice(sites, n_vacancies, replace=False).tolist()))
        seen.add(removed)
        yield atoms[np.setdiff1d(np.arange(len(atoms)), removed)], {"removed": removed}


@sampler()
def interstitials(atoms: Atoms, symbol: Element, n: Count, *, minimum_distance: NotNegative = 1.0) -> Made:
    """Put one atom into one of the largest voids, a different one in each structure.

    Voids of different size or surroundings come first, from the largest down, then further ones of the same kinds: two
    structures of an fcc crystal hold an octahedral and a tetrahedral interstitial.

    Parameters
    ----------
    atoms : Atoms
        Periodic in all directions. Vacuum in the cell counts as a void.
    symbol : str
        Species of the interstitial.
    minimum_distance : float, Å
        Least radius of a void.

    Returns
    -------
    structures : list of Atoms, length n
        The interstitial is the last atom; `info["sampling"]["details"]` holds its distance to the nearest others.

    Raises
    ------
    InputError
        If there are fewer than n voids of that size.
    """
    check_periodic("atoms", atoms, "finding voids")
    voids = [void for void in inequivalent_first(find_voids(atoms)) if void.radius >= minimum_distance]
    if n > len(voids):
        raise InputError(
            f"`n` must be at most {len(voids)}, the number of voids with a radius of at least {minimum_distance:g} Å, "
            f"got {n}; use a larger supercell, fewer structures or a smaller `minimum_distance`"
        )
    for void in voids[:n]:
        yield atoms + Atoms(symbol, positions=[void.centre]), {"distance": void.radius}


@dataclass(frozen=True)
class Void:
    """An empty sphere: `centre` (3,) and `radius`, the distance to the nearest atoms, in Å.

    `kind` holds the rounded radius and the atomic numbers of these atoms: equal for voids that symmetry relates.
    """

    centre: FloatArray
    radius: float
    kind: tuple[float, tuple[int, ...]]


@checked
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

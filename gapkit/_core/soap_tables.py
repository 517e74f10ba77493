"""Input of the SOAP kernels: edges of all atoms, and tables that do not depend on the atoms."""

from __future__ import annotations

from typing import Any, NamedTuple

TILE = 8  # neighbours that are worked on at once


class Edges(NamedTuple):
    """Edges of all atoms: those of atom i are offsets[i] .. offsets[i + 1] - 1; channel -1 is left out."""

    offsets: Any  # (n_atoms + 1,)
    vectors: Any  # (n_edges, 3)
    distances: Any  # (n_edges,)
    channels: Any  # (n_edges,), neighbour species
    weights: Any  # (n_edges,), cutoff function
    slopes: Any  # (n_edges,), its derivative


class Tables(NamedTuple):
    """Radial functions, harmonics, mixing and pairs of columns."""

    l_max: int
    n_max: int
    n_stride: int  # n_max rounded up to a multiple of four
    cutoff: float
    nodes: Any  # (n_nodes, 3, width): radial functions l * n_stride + n, their slopes and curvatures per spacing
    spacing: float
    harmonics: Any  # (4, l_max + 1, l_max + 1): recurrence in l, and the two coefficients of the gradient
    diagonal: Any  # (l_max + 1,): where the recurrence of each m starts
    centre: Any  # (n_max,): density of the central atom
    mixing: Any  # (l_max + 1, channels, columns); (0, 0, 0): columns are channels
    unmixing: Any  # (l_max + 1, columns, channels), its transpose
    first: Any  # (n,): column a < n makes pairs with first[a] <= b < last[a]; first is a multiple of four
    last: Any  # (n,)
    kept: Any  # (l_max + 1, n): those with b < kept[l, a] are features
    lowest: Any  # (columns / 4,): the columns that a group of four columns is paired with, from either side
    highest: Any  # (columns / 4,)
    factors: Any  # (l_max + 1, n, columns): factor of each pair, zero for those that are none
    kept_factors: Any  # the same, zero for those that are not kept
    normalise: bool

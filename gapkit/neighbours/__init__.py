"""Neighbour lists: CSR edges for a whole batch, built by vesin, moved along with the atoms by a Numba kernel."""

from gapkit.neighbours.build import build_neighbour_list
from gapkit.neighbours.lists import NeighbourList

__all__ = ["NeighbourList", "build_neighbour_list"]

"""Neighbour lists: edges of a whole batch in compressed rows, found by vesin, moved along with the atoms.

Which edges a descriptor or a term uses is not decided here.  It may import `structures` and what is below it, and no
ASE.
"""

from gapkit.neighbours.lists import NeighbourList, build_neighbour_list, warn_close

__all__ = ["NeighbourList", "build_neighbour_list", "warn_close"]

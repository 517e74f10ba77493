"""Edge vectors of a fixed neighbour topology for new positions and cells."""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit


@jit
def edge_vectors(offsets, indices, shifts, positions, cells, frame_of_atom, vectors, distances):
    """Fill `vectors` (n_edges, 3) with r_j + S . cell - r_i and `distances` (n_edges,) with their lengths, in Å.

    The edges of centre i are offsets[i] .. offsets[i + 1] - 1; shifts S (n_edges, 3) are int32.
    """
    for i in range(offsets.shape[0] - 1):
        cell = cells[frame_of_atom[i]]
        c00, c01, c02 = cell[0, 0], cell[0, 1], cell[0, 2]
        c10, c11, c12 = cell[1, 0], cell[1, 1], cell[1, 2]
        c20, c21, c22 = cell[2, 0], cell[2, 1], cell[2, 2]
        x0, y0, z0 = positions[i, 0], positions[i, 1], positions[i, 2]
        for e in range(offsets[i], offsets[i + 1]):
            j = indices[e]
            # int32 -> float once per component, so that no integer product can overflow
            s0, s1, s2 = float(shifts[e, 0]), float(shifts[e, 1]), float(shifts[e, 2])
            x = positions[j, 0] - x0 + s0 * c00 + s1 * c10 + s2 * c20
            y = positions[j, 1] - y0 + s0 * c01 + s1 * c11 + s2 * c21
            z = positions[j, 2] - z0 + s0 * c02 + s1 * c12 + s2 * c22
            vectors[e, 0] = x
            vectors[e, 1] = y
            vectors[e, 2] = z
            distances[e] = np.sqrt(x * x + y * y + z * z)

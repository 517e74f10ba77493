"""A function of one variable as polynomials on equal pieces of its range."""

from __future__ import annotations

from gapkit._core.jit import jit


@jit
def local_polynomials(x, low, width, table, values, slopes):
    """Values and slopes (n,) at x (n,) of sum_k table[i, k] t^k, t in -1 .. 1 on the i-th piece from `low` on.

    The first and the last piece go on where x leaves the range.
    """
    n_pieces, n = table.shape
    for i in range(x.shape[0]):
        place = (x[i] - low) / width
        piece = min(max(int(place), 0), n_pieces - 1)
        t = 2.0 * (place - piece) - 1.0
        value = table[piece, n - 1]
        slope = 0.0
        for k in range(n - 2, -1, -1):
            slope = slope * t + value
            value = value * t + table[piece, k]
        values[i] = value
        slopes[i] = slope * (2.0 / width)

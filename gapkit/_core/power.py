"""Powers of (q + c): value and slope of the dot-product kernel in one pass over the (N, M) block.

Memory bandwidth limits a kernel evaluation, so each element is read once and each output written once.  Columns are
taken in pieces that fit the first-level cache: the loop over the exponent is the outer one, that over columns
vectorises.
"""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit
from gapkit._core.simd import add, fill8, fma, load8, mul, store, total8

_PIECE = 512


@jit
def integer_power(q, offset, scale, zeta, value, slope):
    """Write k = scale * (q + offset)^zeta into `value` and dk/dq, unless `slope` has no rows, into `slope`.

    zeta is an integer >= 1; either output may be `q` itself.
    """
    n_rows, n_cols = q.shape
    with_slope = slope.shape[0] > 0
    base = np.empty(_PIECE)  # a copy of the piece: `q` may be an output, and overlapping arrays do not vectorise
    power = np.empty(_PIECE)
    for i in range(n_rows):
        for start in range(0, n_cols, _PIECE):
            width = min(_PIECE, n_cols - start)
            for j in range(width):
                base[j] = q[i, start + j] + offset
                power[j] = scale
            for _ in range(zeta - 1):
                for j in range(width):
                    power[j] *= base[j]
            for j in range(width):
                value[i, start + j] = power[j] * base[j]
            if with_slope:
                for j in range(width):
                    slope[i, start + j] = power[j] * zeta


@jit
def real_power_and_slope(q, offset, scale, zeta, value, slope):
    """Write k and dk/dq for any real zeta > 0, with q + offset clipped at zero from below (the slope is zero there)."""
    n_rows, n_cols = q.shape
    for i in range(n_rows):
        for j in range(n_cols):
            base = q[i, j] + offset
            if base <= 0.0:
                value[i, j] = 0.0
                slope[i, j] = 0.0
            else:
                k = scale * base**zeta
                value[i, j] = k
                slope[i, j] = zeta * k / base


@jit
def contract_power(q, offset, scale, zeta, weights, energies, values, column):
    """Add sum_s w_s k_s, k = scale (q + offset)^zeta, to `energies` (n,) and replace q (n, m) by w_s dk_s/dq.

    `values` (n, M), where it has rows, gets k in the columns column .. column + m - 1.
    """
    n_cols = q.shape[1]
    whole = n_cols // 8 * 8
    stride = values.shape[1]
    with_values = values.shape[0] > 0
    for i in range(q.shape[0]):
        total = fill8(0.0)
        row = i * n_cols
        for j in range(0, whole, 8):
            base = add(load8(q, row + j), offset)
            power = fill8(scale)
            for _ in range(zeta - 1):
                power = mul(power, base)
            if with_values:
                store(values, i * stride + column + j, mul(power, base))
            power = mul(load8(weights, j), power)
            total = fma(power, base, total)
            store(q, row + j, mul(float(zeta), power))
        energy = total8(total)
        # a sum and a store in one loop would be added up in an order that depends on where the arrays lie
        for j in range(whole, n_cols):
            value = scale
            for _ in range(zeta):
                value *= q[i, j] + offset
            energy += weights[j] * value
        for j in range(whole, n_cols):
            power_j = scale
            for _ in range(zeta - 1):
                power_j *= q[i, j] + offset
            if with_values:
                values[i, column + j] = power_j * (q[i, j] + offset)
            q[i, j] = zeta * weights[j] * power_j
        energies[i] += energy

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


@jit
def contract_remainder(rest, lead, lead_points, offset, scale, zeta, weights, energies, lead_slopes, values, column):
    """As `contract_power` with q = a + b, less what is linear in b: k - scale (a^zeta + zeta a^(zeta - 1) b).

    a = lead . lead_points + offset, of lead (n, p) and lead_points (p, m), b = rest (n, m), which w_s dk_s/db replaces.
    Sums of w_s dk_s/da times lead_points are added to `lead_slopes` (n, p); p is 4, zeta at least 2.  `values` are
    whole: scale q^zeta.  Sums by recurrence over the exponent, all terms of one sign where a and b are:

        (a + b)^n - a^n = b T_n,  T_n+1 = (a + b) T_n + a^n;    that less n a^(n - 1) b = b^2 S_n, S_n+1 = (a + b) S_n +
        n a^(n - 1).
    """
    n_cols = rest.shape[1]
    whole = n_cols // 8 * 8
    stride = values.shape[1]
    with_values = values.shape[0] > 0
    for i in range(rest.shape[0]):
        total = s0 = s1 = s2 = s3 = fill8(0.0)
        g0, g1, g2, g3 = lead[i, 0], lead[i, 1], lead[i, 2], lead[i, 3]
        row = i * n_cols
        for j in range(0, whole, 8):
            h0 = load8(lead_points, j)
            h1 = load8(lead_points, n_cols + j)
            h2 = load8(lead_points, 2 * n_cols + j)
            h3 = load8(lead_points, 3 * n_cols + j)
            a = fma(g3, h3, fma(g2, h2, fma(g1, h1, fma(g0, h0, fill8(offset)))))
            b = load8(rest, row + j)
            q = add(a, b)
            power = fill8(1.0)  # a^(n - 1) for n = 1, and so on
            t = fill8(1.0)
            s = before = t_before = fill8(0.0)
            for n in range(1, zeta):
                before = s
                t_before = t
                s = fma(q, s, mul(float(n), power))
                power = mul(power, a)
                t = fma(q, t, power)
            if with_values:
                store(values, i * stride + column + j, mul(scale, fma(b, t, mul(power, a))))
            w = mul(scale, load8(weights, j))
            squares = mul(b, b)
            total = fma(w, mul(squares, s), total)
            w = mul(float(zeta), w)
            store(rest, row + j, mul(w, mul(b, t_before)))
            w = mul(w, mul(squares, before))
            s0 = fma(w, h0, s0)
            s1 = fma(w, h1, s1)
            s2 = fma(w, h2, s2)
            s3 = fma(w, h3, s3)
        energy = total8(total)
        d0 = total8(s0)
        d1 = total8(s1)
        d2 = total8(s2)
        d3 = total8(s3)
        for j in range(whole, n_cols):
            h0, h1, h2, h3 = lead_points[0, j], lead_points[1, j], lead_points[2, j], lead_points[3, j]
            a_j = g0 * h0 + g1 * h1 + g2 * h2 + g3 * h3 + offset
            b_j = rest[i, j]
            power_j = t_j = 1.0
            s_j = before_j = t_before_j = 0.0
            for n in range(1, zeta):
                before_j = s_j
                t_before_j = t_j
                s_j = (a_j + b_j) * s_j + n * power_j
                power_j *= a_j
                t_j = (a_j + b_j) * t_j + power_j
            if with_values:
                values[i, column + j] = scale * (b_j * t_j + power_j * a_j)
            w_j = scale * weights[j]
            energy += w_j * (b_j * b_j * s_j)
            rest[i, j] = zeta * w_j * (b_j * t_before_j)
            w_j *= zeta * (b_j * b_j * before_j)
            d0 += w_j * h0
            d1 += w_j * h1
            d2 += w_j * h2
            d3 += w_j * h3
        energies[i] += energy
        lead_slopes[i, 0] += d0
        lead_slopes[i, 1] += d1
        lead_slopes[i, 2] += d2
        lead_slopes[i, 3] += d3

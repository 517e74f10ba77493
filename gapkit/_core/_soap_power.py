"""The power spectrum of SOAP from the columns of the density, with its pullback and its change along every edge.

Helpers of `soap`, whose notation they use.
"""

from __future__ import annotations

from gapkit._core.jit import jit
from gapkit._core.simd import add, fill4, fill8, fma, load4, load8, mul, store, sub, total4


@jit
def column_products(l, a, start, stop, c, p):
    """p[i, b] = sum_m c[m, a + i] c[m, b] for i = 0 .. 3 and b from start to stop."""
    stride = c.shape[1]
    for b in range(start // 4 * 4, stop, 4):
        p0 = p1 = p2 = p3 = fill4(0.0)
        for lm in range(l * l, (l + 1) * (l + 1)):
            row = load4(c, lm * stride + b)
            p0 = fma(c[lm, a], row, p0)
            p1 = fma(c[lm, a + 1], row, p1)
            p2 = fma(c[lm, a + 2], row, p2)
            p3 = fma(c[lm, a + 3], row, p3)
        store(p, b, p0)
        store(p, stride + b, p1)
        store(p, 2 * stride + b, p2)
        store(p, 3 * stride + b, p3)


@jit
def power_spectrum(tables, c, p, x):
    """Kept part x (d + 4,) of the power spectrum of the columns c (lm, columns); returns the squared length of all.

    Pairs are taken by fours; the surplus of a column is overwritten by the next one.
    """
    begin = tables.first
    beyond = tables.last
    kept_of = tables.kept
    pair_factors = tables.factors
    stride = c.shape[1]
    n_columns = begin.shape[0]
    square = fill4(0.0)
    index = 0
    for l in range(tables.l_max + 1):
        for group in range(0, n_columns, 4):
            end = min(group + 4, n_columns)
            column_products(l, group, begin[group], beyond[end - 1], c, p)
            for a in range(group, end):
                start = begin[a]
                kept = kept_of[l, a]
                row = (a - group) * stride
                factors = (l * n_columns + a) * stride
                for b in range(start, beyond[a], 4):
                    value = mul(load4(pair_factors, factors + b), load4(p, row + b))
                    square = fma(value, value, square)
                    if b < kept:
                        store(x, index + b - start, value)
                index += max(kept - start, 0)
    return total4(square)


@jit
def power_pullback(tables, c, gx, dot, length, p, g, gc):
    """Gradient gc (lm, columns) with respect to c, given that with respect to the kept part of the unit vector, gx.

    gx is (d + 4,), `dot` its inner product with the unit vector (0: no normalisation).  g (columns, columns) is
    workspace, zero at all places that no pair uses.  Rows are taken by fours; the surplus of a degree is overwritten
    by the next one.
    """
    begin = tables.first
    beyond = tables.last
    kept_of = tables.kept
    lowest = tables.lowest
    highest = tables.highest
    pair_factors = tables.factors
    kept_factors = tables.kept_factors
    stride = c.shape[1]
    n_columns = begin.shape[0]
    inverse = 1.0 / length
    along = -dot * inverse * inverse
    index = 0
    for l in range(tables.l_max + 1):
        for group in range(0, n_columns, 4):
            end = min(group + 4, n_columns)
            if dot != 0.0:
                column_products(l, group, begin[group], beyond[end - 1], c, p)
            for a in range(group, end):
                start = begin[a]
                stop = beyond[a]
                kept = kept_of[l, a]
                row = (a - group) * stride
                factors = (l * n_columns + a) * stride
                for b in range(start, stop, 4):
                    value = fill4(0.0)
                    if b < kept:
                        kept_factor = mul(inverse, load4(kept_factors, factors + b))
                        value = mul(kept_factor, load4(gx, index + b - start))
                    if dot != 0.0:
                        factor = load4(pair_factors, factors + b)
                        value = fma(mul(along, mul(factor, factor)), load4(p, row + b), value)
                    store(g, a * stride + b, value)
                index += max(kept - start, 0)
                for b in range(start, stop):
                    g[b, a] = g[a, b]
                if start <= a < stop:
                    g[a, a] *= 2.0
        for column in range(0, stride, 4):
            for lm in range(l * l, (l + 1) * (l + 1), 4):
                g0 = g1 = g2 = g3 = fill4(0.0)
                for b in range(lowest[column // 4], highest[column // 4]):
                    row = load4(g, b * stride + column)
                    g0 = fma(c[lm, b], row, g0)
                    g1 = fma(c[lm + 1, b], row, g1)
                    g2 = fma(c[lm + 2, b], row, g2)
                    g3 = fma(c[lm + 3, b], row, g3)
                at = lm * stride + column
                store(gc, at, g0)
                store(gc, at + stride, g1)
                store(gc, at + 2 * stride, g2)
                store(gc, at + 3 * stride, g3)


@jit
def coefficient_changes(tables, l, u, inverse, y, rt, change):
    """Derivatives change (3, m, n_stride, TILE) of the coefficients of degree l of a tile's channels, by neighbour."""
    size = tables.l_max + 1
    along_y = 8 * size * size
    slopes = 8 * rt.shape[1]
    f = load8(inverse, 0)
    for m in range(2 * l + 1):
        lm = 8 * (l * l + m)
        value = load8(y, lm)
        along = mul(load8(y, along_y + lm), load8(u, 0))
        along = fma(load8(y, 2 * along_y + lm), load8(u, 8), along)
        along = fma(load8(y, 3 * along_y + lm), load8(u, 16), along)
        for axis in range(3):
            direction = load8(u, 8 * axis)
            tangent = mul(f, sub(load8(y, (1 + axis) * along_y + lm), mul(along, direction)))
            normal = mul(value, direction)
            for n in range(tables.n_max):
                at = 8 * (l * tables.n_stride + n)
                out = 8 * ((axis * change.shape[1] + m) * tables.n_stride + n)
                store(change, out, fma(tangent, load8(rt, at), mul(normal, load8(rt, slopes + at))))


@jit
def mix_changes(tables, l, channel, change, dc):
    """Changes dc (3, m, columns, TILE) of the columns for changes (3, m, n_stride, TILE) of one species' channels."""
    mixing = tables.mixing
    stride = dc.shape[2]
    mixed = mixing.shape[0] > 0
    start = channel * tables.n_stride
    first = channel * tables.n_max
    for axis in range(3):
        for m in range(2 * l + 1):
            row = axis * dc.shape[1] + m
            source = 8 * (axis * change.shape[1] + m) * tables.n_stride
            if mixed:
                for a in range(stride):
                    total = fill8(0.0)
                    for n in range(tables.n_max):
                        total = fma(mixing[l, start + n, a], load8(change, source + 8 * n), total)
                    store(dc, 8 * (row * stride + a), total)
            else:
                for n in range(tables.n_max):
                    store(dc, 8 * (row * stride + first + n), load8(change, source + 8 * n))


@jit
def power_changes(tables, l, axis, c, dc, low, high, scale, index, out):
    """Changes out (d, TILE) of the pairs of degree l, from `index` on, where the columns low .. high - 1 change by dc.

    Returns the index of the next degree.
    """
    begin = tables.first
    kept_of = tables.kept
    kept_factors = tables.kept_factors
    stride = c.shape[1]
    columns = 8 * stride
    block = axis * dc.shape[1] * columns
    for a in range(begin.shape[0]):
        start = begin[a]
        kept = kept_of[l, a]
        own = low <= a < high
        for b in range(start, kept, 4):
            t0 = t1 = t2 = t3 = fill8(0.0)
            if own:
                for m in range(2 * l + 1):
                    lm = l * l + m
                    d = load8(dc, block + m * columns + 8 * a)
                    t0 = fma(c[lm, b], d, t0)
                    t1 = fma(c[lm, b + 1], d, t1)
                    t2 = fma(c[lm, b + 2], d, t2)
                    t3 = fma(c[lm, b + 3], d, t3)
            if b < high and b + 4 > low:
                for m in range(2 * l + 1):
                    f = fill8(c[l * l + m, a])
                    row = block + m * columns + 8 * b
                    t0 = fma(f, load8(dc, row), t0)
                    t1 = fma(f, load8(dc, row + 8), t1)
                    t2 = fma(f, load8(dc, row + 16), t2)
                    t3 = fma(f, load8(dc, row + 24), t3)
            at = 8 * (index + b - start)
            store(out, at, mul(scale * kept_factors[l, a, b], t0))
            store(out, at + 8, mul(scale * kept_factors[l, a, b + 1], t1))
            store(out, at + 16, mul(scale * kept_factors[l, a, b + 2], t2))
            store(out, at + 24, mul(scale * kept_factors[l, a, b + 3], t3))
        index += max(kept - start, 0)
    return index


@jit
def change_of_length(l, axis, dc, gc, total):
    """Add the inner product of the changes of degree l with gc (lm, columns) to `total`, for each neighbour."""
    stride = dc.shape[2]
    one = total
    two = fill8(0.0)
    for m in range(2 * l + 1):
        row = 8 * (axis * dc.shape[1] + m) * stride
        for a in range(0, stride, 2):
            one = fma(gc[l * l + m, a], load8(dc, row + 8 * a), one)
            two = fma(gc[l * l + m, a + 1], load8(dc, row + 8 * a + 8), two)
    return add(one, two)

"""SOAP in one fused kernel family: values, pullback (reverse mode) and Jacobian rows (for training).

Neighbours are taken in tiles of `TILE` of one species.  Harmonics and the last step of the pullback work on all
neighbours of a tile at once, everything else on four channels at once (`simd`).

Notation: a *channel* is a radial function of a neighbour species, n + s * n_stride with n_stride a multiple of four;
lm is l * l + l + m; an edge is (centre, neighbour).  The density coefficients of an atom are mixed (or copied) into
columns, of which pairs (a, b) with first[a] <= b < last[a] make the power spectrum; those with b < kept[l, a] are
kept, l slowest. Coefficients have three rows more than there are lm, so that rows can be taken by fours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gapkit._core.jit import jit
from gapkit._core.simd import add, fill4, fill8, fma, load4, load8, mul, store, sub, total4, transpose8

TILE = 8


class Edges(NamedTuple):
    """Edges of all atoms: those of atom i are offsets[i] .. offsets[i + 1] - 1; channel -1 is left out."""

    offsets: Any  # (n_atoms + 1,)
    vectors: Any  # (n_edges, 3)
    distances: Any  # (n_edges,)
    channels: Any  # (n_edges,), neighbour species
    weights: Any  # (n_edges,), cutoff function
    slopes: Any  # (n_edges,), its derivative


class Tables(NamedTuple):
    """What does not depend on the atoms."""

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


@jit
def _gather(start, stop, cutoff, edges, tile, u, inverse):
    """Fill `tile` with up to TILE edges of one channel and u (3, TILE) with their directions, padding along z.

    Returns (count, channel, next edge).
    """
    edge_vectors = edges.vectors
    edge_distances = edges.distances
    species_of = edges.channels
    edge = start
    count = 0
    channel = -1
    while edge < stop and count < TILE:
        if species_of[edge] < 0 or edge_distances[edge] >= cutoff:
            edge += 1
            continue
        if count == 0:
            channel = species_of[edge]
        elif species_of[edge] != channel:
            break
        tile[count] = edge
        inverse[count] = 1.0 / edge_distances[edge]
        for axis in range(3):
            u[axis, count] = edge_vectors[edge, axis] * inverse[count]
        count += 1
        edge += 1
    for t in range(count, TILE):
        inverse[t] = 0.0
        u[0, t] = 0.0
        u[1, t] = 0.0
        u[2, t] = 1.0
    return count, channel, edge


@jit
def _legendre(tables, u, q, c, s):
    """Normalised Legendre polynomials without their sin^m factor, q (l, m, TILE), and (x + iy)^m = c + is."""
    harmonics = tables.harmonics
    diagonal = tables.diagonal
    size = tables.l_max + 1
    x = load8(u, 0)
    y = load8(u, 8)
    z = load8(u, 16)
    real = fill8(1.0)
    imaginary = fill8(0.0)
    for m in range(size):
        store(c, 8 * m, real)
        store(s, 8 * m, imaginary)
        turned = sub(mul(x, real), mul(y, imaginary))
        imaginary = fma(x, imaginary, mul(y, real))
        real = turned
        before = fill8(0.0)
        current = fill8(diagonal[m])
        store(q, 8 * (m * size + m), current)
        for l in range(m + 1, size):
            following = sub(mul(mul(harmonics[0, l, m], z), current), mul(harmonics[1, l, m], before))
            before = current
            current = following
            store(q, 8 * (l * size + m), current)


@jit
def _harmonics(tables, q, c, s, y):
    """Real spherical harmonics y[0] (lm, TILE)."""
    size = tables.l_max + 1
    for l in range(size):
        zero = l * l + l
        store(y, 8 * zero, load8(q, 8 * l * size))
        for m in range(1, l + 1):
            value = load8(q, 8 * (l * size + m))
            store(y, 8 * (zero + m), mul(value, load8(c, 8 * m)))
            store(y, 8 * (zero - m), mul(value, load8(s, 8 * m)))


@jit
def _harmonic_gradients(tables, u, q, c, s, y):
    """Gradients y[1:] (3, lm, TILE) of the solid harmonics at the unit vectors; their radial part remains.

    For the polynomials without norm: dQ_l^m/dx = -x Q_{l-1}^{m+1}, dQ_l^m/dz = (l + m) Q_{l-1}^m.
    """
    harmonics = tables.harmonics
    size = tables.l_max + 1
    along = 8 * size * size
    ux = load8(u, 0)
    uy = load8(u, 8)
    nothing = fill8(0.0)
    for l in range(size):
        zero = l * l + l
        side = nothing
        up = nothing
        if l > 0:
            up = mul(harmonics[3, l, 0], load8(q, 8 * (l - 1) * size))
        if l > 1:
            side = mul(-harmonics[2, l, 0], load8(q, 8 * ((l - 1) * size + 1)))
        store(y, along + 8 * zero, mul(side, ux))
        store(y, 2 * along + 8 * zero, mul(side, uy))
        store(y, 3 * along + 8 * zero, up)
        for m in range(1, l + 1):
            plus = 8 * (zero + m)
            minus = 8 * (zero - m)
            f = mul(float(m), load8(q, 8 * (l * size + m)))
            side = nothing
            up = nothing
            if m < l:
                up = mul(harmonics[3, l, m], load8(q, 8 * ((l - 1) * size + m)))
            if m < l - 1:
                side = mul(-harmonics[2, l, m], load8(q, 8 * ((l - 1) * size + m + 1)))
            cm = load8(c, 8 * m)
            sm = load8(s, 8 * m)
            fc = mul(f, load8(c, 8 * (m - 1)))
            fs = mul(f, load8(s, 8 * (m - 1)))
            side_x = mul(side, ux)
            side_y = mul(side, uy)
            store(y, along + plus, fma(side_x, cm, fc))
            store(y, 2 * along + plus, sub(mul(side_y, cm), fs))
            store(y, 3 * along + plus, mul(up, cm))
            store(y, along + minus, fma(side_x, sm, fs))
            store(y, 2 * along + minus, fma(side_y, sm, fc))
            store(y, 3 * along + minus, mul(up, sm))


@jit
def _hermite(p):
    """Quintic Hermite weights at 0 <= p <= 1 between two nodes.

    Those of value, slope and curvature at the left node, and of slope and curvature at the right one; the value at the
    right one has what that at the left leaves of 1.
    """
    p2 = p * p
    p3 = p2 * p
    p4 = p3 * p
    p5 = p4 * p
    b0 = 1.0 - 10.0 * p3 + 15.0 * p4 - 6.0 * p5
    b1 = p - 6.0 * p3 + 8.0 * p4 - 3.0 * p5
    b2 = 0.5 * p2 - 1.5 * p3 + 1.5 * p4 - 0.5 * p5
    e1 = -4.0 * p3 + 7.0 * p4 - 3.0 * p5
    e2 = 0.5 * p3 - p4 + 0.5 * p5
    return b0, b1, b2, e1, e2


@jit
def _radial(tables, count, tile, edges, r):
    """Radial functions r[0] (TILE, l * n_stride + n) times the cutoff, by quintic Hermite interpolation."""
    nodes = tables.nodes
    edge_distances = edges.distances
    edge_weights = edges.weights
    width = nodes.shape[2]
    last = nodes.shape[0] - 2
    for t in range(count):
        edge = tile[t]
        scaled = edge_distances[edge] / tables.spacing
        node = min(int(scaled), last)
        p = scaled - node
        b0, b1, b2, e1, e2 = _hermite(p)
        e0 = 1.0 - b0
        w = edge_weights[edge]
        left = node * 3 * width
        out = t * width
        for i in range(0, width, 4):
            at = left + i
            value = fma(b2, load4(nodes, at + 2 * width), mul(b1, load4(nodes, at + width)))
            value = fma(b0, load4(nodes, at), value)
            right = fma(e2, load4(nodes, at + 5 * width), mul(e1, load4(nodes, at + 4 * width)))
            right = fma(e0, load4(nodes, at + 3 * width), right)
            store(r, out + i, mul(w, add(value, right)))
    for t in range(count, TILE):
        for i in range(0, width, 4):
            store(r, t * width + i, fill4(0.0))


@jit
def _radial_and_slopes(tables, count, tile, edges, r):
    """Radial functions r[0] (TILE, l * n_stride + n) times the cutoff, and their derivatives r[1]."""
    nodes = tables.nodes
    edge_distances = edges.distances
    edge_weights = edges.weights
    edge_slopes = edges.slopes
    width = nodes.shape[2]
    last = nodes.shape[0] - 2
    slopes = TILE * width
    for t in range(count):
        edge = tile[t]
        scaled = edge_distances[edge] / tables.spacing
        node = min(int(scaled), last)
        p = scaled - node
        p2 = p * p
        p3 = p2 * p
        p4 = p3 * p
        b0, b1, b2, e1, e2 = _hermite(p)
        f = 1.0 / tables.spacing
        d0 = f * (-30.0 * p2 + 60.0 * p3 - 30.0 * p4)
        d1 = f * (1.0 - 18.0 * p2 + 32.0 * p3 - 15.0 * p4)
        d2 = f * (p - 4.5 * p2 + 6.0 * p3 - 2.5 * p4)
        g1 = f * (-12.0 * p2 + 28.0 * p3 - 15.0 * p4)
        g2 = f * (1.5 * p2 - 4.0 * p3 + 2.5 * p4)
        w = edge_weights[edge]
        dw = edge_slopes[edge]
        left = node * 3 * width
        out = t * width
        for i in range(0, width, 4):
            at = left + i
            l0 = load4(nodes, at)
            l1 = load4(nodes, at + width)
            l2 = load4(nodes, at + 2 * width)
            r0 = load4(nodes, at + 3 * width)
            r1 = load4(nodes, at + 4 * width)
            r2 = load4(nodes, at + 5 * width)
            step = sub(l0, r0)
            value = fma(b0, step, r0)
            value = add(fma(b1, l1, fma(b2, l2, value)), fma(e1, r1, mul(e2, r2)))
            slope = add(fma(d1, l1, fma(d2, l2, mul(d0, step))), fma(g1, r1, mul(g2, r2)))
            store(r, out + i, mul(w, value))
            store(r, slopes + out + i, fma(dw, value, mul(w, slope)))
    for t in range(count, TILE):
        for i in range(0, width, 4):
            store(r, t * width + i, fill4(0.0))
            store(r, slopes + t * width + i, fill4(0.0))


@jit
def _expand(tables, channel, y, r, density):
    """Add a tile's density to the coefficients (lm, channels)."""
    nodes = tables.nodes
    size = tables.l_max + 1
    width = nodes.shape[2]
    stride = density.shape[1]
    for l in range(size):
        for n in range(0, tables.n_stride, 4):
            i = l * tables.n_stride + n
            r0 = load4(r, i)
            r1 = load4(r, width + i)
            r2 = load4(r, 2 * width + i)
            r3 = load4(r, 3 * width + i)
            r4 = load4(r, 4 * width + i)
            r5 = load4(r, 5 * width + i)
            r6 = load4(r, 6 * width + i)
            r7 = load4(r, 7 * width + i)
            column = channel * tables.n_stride + n
            for lm in range(l * l, (l + 1) * (l + 1)):
                at = lm * stride + column
                one = fma(y[0, lm, 0], r0, load4(density, at))
                two = mul(y[0, lm, 1], r1)
                one = fma(y[0, lm, 2], r2, one)
                two = fma(y[0, lm, 3], r3, two)
                one = fma(y[0, lm, 4], r4, one)
                two = fma(y[0, lm, 5], r5, two)
                one = fma(y[0, lm, 6], r6, one)
                two = fma(y[0, lm, 7], r7, two)
                store(density, at, add(one, two))


@jit
def _mix(tables, density, c):
    """Columns c (lm, columns) of channels (lm, channels), zero beyond the last column."""
    mixing = tables.mixing
    stride = c.shape[1]
    if mixing.shape[0] > 0:
        for l in range(tables.l_max + 1):
            start = l * density.shape[1] * stride
            for lm in range(l * l, (l + 1) * (l + 1)):
                for a in range(0, stride, 4):
                    total = fill4(0.0)
                    for channel in range(density.shape[1]):
                        total = fma(density[lm, channel], load4(mixing, start + channel * stride + a), total)
                    store(c, lm * stride + a, total)
    elif tables.n_max == tables.n_stride:
        for i in range(0, density.size, 4):
            store(c, i, load4(density, i))
    else:
        for lm in range(density.shape[0]):
            a = 0
            for start in range(0, density.shape[1], tables.n_stride):
                for n in range(tables.n_max):
                    c[lm, a] = density[lm, start + n]
                    a += 1
            for b in range(a, stride):
                c[lm, b] = 0.0


@jit
def _unmix(tables, gc, g_density):
    """Gradient with respect to channels (lm, channels) of a gradient with respect to columns gc (lm, columns)."""
    mixing = tables.mixing
    unmixing = tables.unmixing
    stride = gc.shape[1]
    width = g_density.shape[1]
    if mixing.shape[0] > 0:
        for l in range(tables.l_max + 1):
            start = l * stride * width
            for lm in range(l * l, (l + 1) * (l + 1)):
                for channel in range(0, width, 4):
                    total = fill4(0.0)
                    for a in range(stride):
                        total = fma(gc[lm, a], load4(unmixing, start + a * width + channel), total)
                    store(g_density, lm * width + channel, total)
    elif tables.n_max == tables.n_stride:
        for i in range(0, g_density.size, 4):
            store(g_density, i, load4(gc, i))
    else:
        for lm in range(g_density.shape[0]):
            a = 0
            for start in range(0, width, tables.n_stride):
                for n in range(tables.n_max):
                    g_density[lm, start + n] = gc[lm, a]
                    a += 1


@jit
def _products(l, a, start, stop, c, p):
    """p[i, b] = sum_m c[m, a + i] c[m, b] for i = 0 .. 3 and b from start to stop."""
    stride = c.shape[1]
    for b in range(start // 4 * 4, stop, 4):
        p0 = fill4(0.0)
        p1 = fill4(0.0)
        p2 = fill4(0.0)
        p3 = fill4(0.0)
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
def _power_spectrum(tables, c, p, x):
    """Kept part x (d + 4,) of the power spectrum of the columns c (lm, columns); returns the squared length of all.

    Pairs are taken by fours; what is written beyond the last pair of a column is overwritten by the next column.
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
            _products(l, group, begin[group], beyond[end - 1], c, p)
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
def _power_pullback(tables, c, gx, dot, length, p, g, gc):
    """Gradient gc (lm, columns) with respect to c, given that with respect to the kept part of the unit vector, gx.

    gx is (d + 4,), `dot` its inner product with the unit vector (0: no normalisation).  g (columns, columns) is
    workspace, zero at all places that no pair uses.  Rows are taken by fours: those beyond a degree are overwritten
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
                _products(l, group, begin[group], beyond[end - 1], c, p)
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
                g0 = fill4(0.0)
                g1 = fill4(0.0)
                g2 = fill4(0.0)
                g3 = fill4(0.0)
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
def _transpose(r, rt):
    """Neighbours innermost: rt (2, l * n_stride + n, TILE)."""
    width = r.shape[2]
    for k in range(2):
        for i in range(0, width - 7, 8):
            transpose8(r, k * TILE * width + i, width, rt, (k * width + i) * TILE, TILE)
        for i in range(width // 8 * 8, width):
            for t in range(TILE):
                rt[k, i, t] = r[k, t, i]


@jit
def _contract(tables, channel, g, rt, y, total):
    """Radial part and gradient of the solid part, total (4, TILE), of the derivative along every edge of a tile."""
    size = tables.l_max + 1
    along = 8 * size * size
    slopes = 8 * rt.shape[1]
    first = channel * tables.n_stride
    t0 = fill8(0.0)
    t1 = fill8(0.0)
    t2 = fill8(0.0)
    t3 = fill8(0.0)
    for l in range(size):
        row = 8 * l * tables.n_stride
        zero = l * l + l
        angular = fill8(0.0)
        radial = fill8(0.0)
        for n in range(tables.n_max):
            f = g[zero, first + n]
            angular = fma(f, load8(rt, row + 8 * n), angular)
            radial = fma(f, load8(rt, slopes + row + 8 * n), radial)
        t0 = fma(radial, load8(y, 8 * zero), t0)
        t1 = fma(angular, load8(y, along + 8 * zero), t1)
        t2 = fma(angular, load8(y, 2 * along + 8 * zero), t2)
        t3 = fma(angular, load8(y, 3 * along + 8 * zero), t3)
        for m in range(1, l + 1):
            # + m and - m together: they share the radial functions
            angular = fill8(0.0)
            radial = fill8(0.0)
            angular_minus = fill8(0.0)
            radial_minus = fill8(0.0)
            for n in range(tables.n_max):
                f = g[zero + m, first + n]
                h = g[zero - m, first + n]
                function = load8(rt, row + 8 * n)
                slope = load8(rt, slopes + row + 8 * n)
                angular = fma(f, function, angular)
                radial = fma(f, slope, radial)
                angular_minus = fma(h, function, angular_minus)
                radial_minus = fma(h, slope, radial_minus)
            plus = 8 * (zero + m)
            minus = 8 * (zero - m)
            t0 = fma(radial, load8(y, plus), fma(radial_minus, load8(y, minus), t0))
            t1 = fma(angular, load8(y, along + plus), fma(angular_minus, load8(y, along + minus), t1))
            t2 = fma(angular, load8(y, 2 * along + plus), fma(angular_minus, load8(y, 2 * along + minus), t2))
            t3 = fma(angular, load8(y, 3 * along + plus), fma(angular_minus, load8(y, 3 * along + minus), t3))
    store(total, 0, t0)
    store(total, 8, t1)
    store(total, 16, t2)
    store(total, 24, t3)


@jit
def _edge_gradients(total, u, inverse):
    """From radial and solid parts to Cartesian gradients, total[1:] (3, TILE), in place."""
    x = load8(u, 0)
    y = load8(u, 8)
    z = load8(u, 16)
    gx = load8(total, 8)
    gy = load8(total, 16)
    gz = load8(total, 24)
    f = load8(inverse, 0)
    along = mul(f, fma(gx, x, fma(gy, y, mul(gz, z))))
    radial = sub(load8(total, 0), along)
    store(total, 8, fma(radial, x, mul(f, gx)))
    store(total, 16, fma(radial, y, mul(f, gy)))
    store(total, 24, fma(radial, z, mul(f, gz)))


@jit
def _coefficient_changes(tables, l, u, inverse, y, rt, change):
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
def _mix_changes(tables, l, channel, change, dc):
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
def _power_changes(tables, l, axis, c, dc, low, high, scale, index, out):
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
            t0 = fill8(0.0)
            t1 = fill8(0.0)
            t2 = fill8(0.0)
            t3 = fill8(0.0)
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
def _along(l, axis, dc, gc, total):
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


@jit
def _workspace(tables, n_kinds):
    """Harmonics (with gradients where n_kinds = 2), radial functions and what leads to them."""
    nodes = tables.nodes
    size = tables.l_max + 1
    tile = np.empty(TILE, np.int64)
    u = np.empty((3, TILE))
    inverse = np.empty(TILE)
    q = np.zeros((size, size, TILE))
    c = np.empty((size, TILE))
    s = np.empty((size, TILE))
    y = np.empty((3 * n_kinds - 2, size * size, TILE))
    r = np.empty((n_kinds, TILE, nodes.shape[2]))
    return tile, u, inverse, q, c, s, y, r


@jit
def soap_values(tables, n_channels, centres, channel, edges, coefficients, x, lengths):
    """Columns of coefficients (n, lm, columns), power spectra x (n, d) and their lengths (n,) before normalisation.

    `n_channels` is that of the density; `channel` the species of the centres (-1: none) for their own density.
    """
    centre_density = tables.centre
    edge_offsets = edges.offsets
    tile, u, inverse, q, c, s, y, r = _workspace(tables, 1)
    density = np.empty(((tables.l_max + 1) ** 2, n_channels))
    p = np.empty((4, coefficients.shape[2]))
    spectrum = np.empty(x.shape[1] + 4)
    for i in range(centres.shape[0]):
        atom = centres[i]
        density[:, :] = 0.0
        if channel >= 0:
            for n in range(tables.n_max):
                density[0, channel * tables.n_stride + n] = centre_density[n]
        edge = edge_offsets[atom]
        stop = edge_offsets[atom + 1]
        while edge < stop:
            count, species, edge = _gather(edge, stop, tables.cutoff, edges, tile, u, inverse)
            if count == 0:
                break
            _legendre(tables, u, q, c, s)
            _harmonics(tables, q, c, s, y)
            _radial(tables, count, tile, edges, r)
            _expand(tables, species, y, r, density)
        _mix(tables, density, coefficients[i])
        length = np.sqrt(_power_spectrum(tables, coefficients[i], p, spectrum))
        lengths[i] = length if tables.normalise else 1.0
        scale = 1.0 / lengths[i] if lengths[i] != 0.0 else 1.0
        for k in range(x.shape[1]):
            x[i, k] = scale * spectrum[k]


@jit
def soap_pullback(tables, n_channels, centres, edges, coefficients, x, lengths, gx, edge_gradients):
    """Add dE/d(edge vector) to edge_gradients (n_edges, 3), given dE/dx in gx (n, d)."""
    edge_offsets = edges.offsets
    tile, u, inverse, q, c, s, y, r = _workspace(tables, 2)
    n_columns = coefficients.shape[2]
    rt = np.empty((2, r.shape[2], TILE))
    g = np.zeros((n_columns, n_columns))
    gc = np.empty((coefficients.shape[1], n_columns))
    g_density = np.empty(((tables.l_max + 1) ** 2, n_channels))
    p = np.empty((4, n_columns))
    padded = np.zeros(x.shape[1] + 4)
    total = np.empty((4, TILE))
    for i in range(centres.shape[0]):
        if lengths[i] == 0.0:
            continue
        atom = centres[i]
        dot = 0.0
        for j in range(x.shape[1]):
            padded[j] = gx[i, j]
        # On its own: beside a store, LLVM picks the order of the sum by where the arrays lie.
        for j in range(x.shape[1]):
            dot += x[i, j] * gx[i, j]
        if not tables.normalise:
            dot = 0.0
        _power_pullback(tables, coefficients[i], padded, dot, lengths[i], p, g, gc)
        _unmix(tables, gc, g_density)
        edge = edge_offsets[atom]
        stop = edge_offsets[atom + 1]
        while edge < stop:
            count, species, edge = _gather(edge, stop, tables.cutoff, edges, tile, u, inverse)
            if count == 0:
                break
            _legendre(tables, u, q, c, s)
            _harmonics(tables, q, c, s, y)
            _harmonic_gradients(tables, u, q, c, s, y)
            _radial_and_slopes(tables, count, tile, edges, r)
            _transpose(r, rt)
            _contract(tables, species, g_density, rt, y, total)
            _edge_gradients(total, u, inverse)
            for t in range(count):
                for axis in range(3):
                    edge_gradients[tile[t], axis] += total[1 + axis, t]


@jit
def soap_jacobian(tables, n_channels, centres, edges, coefficients, x, lengths, dx):
    """dx/d(edge vector) for all edges within the cutoff of `centres`, in edge order, into dx (n_legs + TILE, 3, d).

    What is left in the last TILE rows has no meaning.  Returns the number of legs.
    """
    mixing = tables.mixing
    edge_offsets = edges.offsets
    tile, u, inverse, q, c, s, y, r = _workspace(tables, 2)
    d = x.shape[1]
    n_columns = coefficients.shape[2]
    rt = np.empty((2, r.shape[2], TILE))
    change = np.empty((3, 2 * tables.l_max + 1, tables.n_stride, TILE))
    dc = np.zeros((3, 2 * tables.l_max + 1, n_columns, TILE))
    out = np.empty((3, d + 8, TILE))
    p = np.empty((4, n_columns))
    g = np.zeros((n_columns, n_columns))
    gc = np.zeros(coefficients.shape[1:])
    nothing = np.zeros(d + 4)
    last_species = -1
    leg = 0
    for i in range(centres.shape[0]):
        atom = centres[i]
        edge = edge_offsets[atom]
        stop = edge_offsets[atom + 1]
        scale = 1.0 / lengths[i] if lengths[i] > 0.0 else 0.0
        normalise = tables.normalise and lengths[i] > 0.0
        if normalise:
            # minus the gradient of the length itself
            _power_pullback(tables, coefficients[i], nothing, lengths[i], lengths[i], p, g, gc)
        while edge < stop:
            count, species, edge = _gather(edge, stop, tables.cutoff, edges, tile, u, inverse)
            if count == 0:
                break
            _legendre(tables, u, q, c, s)
            _harmonics(tables, q, c, s, y)
            _harmonic_gradients(tables, u, q, c, s, y)
            _radial_and_slopes(tables, count, tile, edges, r)
            _transpose(r, rt)
            low = species * tables.n_max
            high = low + tables.n_max
            if mixing.shape[0] > 0:
                low = 0
                high = n_columns
            elif species != last_species:
                dc[:, :, :, :] = 0.0
                last_species = species
            along0 = fill8(0.0)
            along1 = fill8(0.0)
            along2 = fill8(0.0)
            index = 0
            for l in range(tables.l_max + 1):
                _coefficient_changes(tables, l, u, inverse, y, rt, change)
                _mix_changes(tables, l, species, change, dc)
                following = index
                for axis in range(3):
                    following = _power_changes(tables, l, axis, coefficients[i], dc, low, high, scale, index, out[axis])
                index = following
                if normalise:
                    along0 = _along(l, 0, dc, gc, along0)
                    along1 = _along(l, 1, dc, gc, along1)
                    along2 = _along(l, 2, dc, gc, along2)
            along0 = mul(scale, along0)
            along1 = mul(scale, along1)
            along2 = mul(scale, along2)
            for k in range(d):
                store(out, 8 * k, fma(x[i, k], along0, load8(out, 8 * k)))
                at = 8 * (d + 8 + k)
                store(out, at, fma(x[i, k], along1, load8(out, at)))
                at = 8 * (2 * (d + 8) + k)
                store(out, at, fma(x[i, k], along2, load8(out, at)))
            for axis in range(3):
                for k in range(0, d - 7, 8):
                    transpose8(out, 8 * (axis * (d + 8) + k), 8, dx, (3 * leg + axis) * d + k, 3 * d)
                for k in range(d // 8 * 8, d):
                    for t in range(count):
                        dx[leg + t, axis, k] = out[axis, k, t]
            leg += count
    return leg

"""Density coefficients of SOAP: harmonics and radial functions of a tile of neighbours, their sum, and its columns.

Helpers of `soap`, whose notation they use.
"""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit
from gapkit._core.simd import add, fill4, fill8, fma, load4, load8, mul, store, sub
from gapkit._core.soap_tables import TILE


@jit
def gather_tile(start, stop, cutoff, edges, tile, u, inverse):
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
def legendre_polynomials(tables, u, q, c, s):
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
def spherical_harmonics(tables, q, c, s, y):
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
def solid_harmonic_gradients(tables, u, q, c, s, y):
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
        side = up = nothing
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
            side = up = nothing
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
def hermite(p):
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
def radial_functions(tables, count, tile, edges, r):
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
        b0, b1, b2, e1, e2 = hermite(p)
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
def radial_functions_and_slopes(tables, count, tile, edges, r):
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
        b0, b1, b2, e1, e2 = hermite(p)
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
def add_density(tables, channel, y, r, density):
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
def mix_channels(tables, density, c):
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
def unmix_gradient(tables, gc, g_density):
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
def tile_arrays(tables, n_kinds):
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

"""SOAP in one fused kernel family: values, pullback (reverse mode) and Jacobian rows (for training).

Neighbours are taken in tiles of `TILE`, so that radial functions and spherical harmonics vectorise over neighbours; the
expansion vectorises over the radial index.  `n_shape` and `l_shape` are tuples whose *lengths* are n_max and l_max + 1:
a tuple's length is part of its type, so that LLVM sees loop counts as constants.

Notation: K = n_species * n_max channels, A = s * n_max + n; lm = l * l + l + m; an edge is (centre, neighbour).
Power spectra are kept with l slowest, which keeps every inner loop contiguous; the public order is a permutation of it.
All jitted helpers live in this file because Numba's on-disk cache does not see edits across files.
"""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit

TILE = 8


@jit
def _gather(start, stop, cutoff, distances, channels, tile):
    """Fill `tile` with up to TILE edges of one channel; return (count, channel, next edge)."""
    edge = start
    count = 0
    channel = -1
    while edge < stop and count < TILE:
        if channels[edge] < 0 or distances[edge] >= cutoff:
            edge += 1
            continue
        if count == 0:
            channel = channels[edge]
        elif channels[edge] != channel:
            break
        tile[count] = edge
        count += 1
        edge += 1
    return count, channel, edge


@jit
def _directions(count, tile, vectors, distances, u):
    """Unit vectors of a tile, u (3, TILE); padding points along z."""
    for t in range(TILE):
        u[0, t] = 0.0
        u[1, t] = 0.0
        u[2, t] = 1.0
    for t in range(count):
        inverse = 1.0 / distances[tile[t]]
        for axis in range(3):
            u[axis, t] = vectors[tile[t], axis] * inverse


@jit
def _legendre(l_shape, u, q, c, s):
    """Associated Legendre polynomials without their sin^m factor, q (l, m, TILE), and (x + iy)^m = c + is.

    Entries with m > l stay as they were: zero, which ends the recurrences of the gradient.
    """
    size = len(l_shape)
    for t in range(TILE):
        c[0, t] = 1.0
        s[0, t] = 0.0
        q[0, 0, t] = 1.0
    for m in range(1, size):
        for t in range(TILE):
            c[m, t] = u[0, t] * c[m - 1, t] - u[1, t] * s[m - 1, t]
            s[m, t] = u[0, t] * s[m - 1, t] + u[1, t] * c[m - 1, t]
    for l in range(1, size):
        for m in range(l - 1):
            f1 = (2.0 * l - 1.0) / (l - m)
            f2 = (l + m - 1.0) / (l - m)
            for t in range(TILE):
                q[l, m, t] = f1 * u[2, t] * q[l - 1, m, t] - f2 * q[l - 2, m, t]
        for t in range(TILE):
            q[l, l - 1, t] = (2.0 * l - 1.0) * u[2, t] * q[l - 1, l - 1, t]
            q[l, l, t] = (2.0 * l - 1.0) * q[l - 1, l - 1, t]


@jit
def _harmonics(l_shape, count, norms, q, c, s, y):
    """Real spherical harmonics y[0] (lm, TILE), zero on padding."""
    size = len(l_shape)
    for l in range(size):
        zero = l * l + l
        for t in range(TILE):
            y[0, zero, t] = norms[l, 0] * q[l, 0, t]
        for m in range(1, l + 1):
            norm = norms[l, m]
            for t in range(TILE):
                y[0, zero + m, t] = norm * q[l, m, t] * c[m, t]
                y[0, zero - m, t] = norm * q[l, m, t] * s[m, t]
    for lm in range(size * size):
        for t in range(count, TILE):
            y[0, lm, t] = 0.0


@jit
def _harmonic_gradients(l_shape, norms, u, q, c, s, y):
    """Gradients y[1:] (3, lm, TILE) of the solid harmonics at the unit vectors; their radial part remains."""
    size = len(l_shape)
    for t in range(TILE):
        y[1, 0, t] = 0.0
        y[2, 0, t] = 0.0
        y[3, 0, t] = 0.0
    for l in range(1, size):
        # dQ_l^m/dx = -x Q_{l-1}^{m+1}, dQ_l^m/dz = (l + m) Q_{l-1}^m
        zero = l * l + l
        norm = norms[l, 0]
        for t in range(TILE):
            y[1, zero, t] = -norm * u[0, t] * q[l - 1, 1, t]
            y[2, zero, t] = -norm * u[1, t] * q[l - 1, 1, t]
            y[3, zero, t] = norm * l * q[l - 1, 0, t]
        for m in range(1, l + 1):
            norm = norms[l, m]
            plus = zero + m
            minus = zero - m
            for t in range(TILE):
                f = norm * m * q[l, m, t]
                side = norm * q[l - 1, m + 1, t]
                up = norm * (l + m) * q[l - 1, m, t]
                y[1, plus, t] = f * c[m - 1, t] - u[0, t] * side * c[m, t]
                y[2, plus, t] = -f * s[m - 1, t] - u[1, t] * side * c[m, t]
                y[3, plus, t] = up * c[m, t]
                y[1, minus, t] = f * s[m - 1, t] - u[0, t] * side * s[m, t]
                y[2, minus, t] = f * c[m - 1, t] - u[1, t] * side * s[m, t]
                y[3, minus, t] = up * s[m, t]


@jit
def _radial(n_shape, l_shape, count, tile, distances, weights, slopes, table, spacing, r, gradient):
    """Radial functions r[0] (TILE, l * n) times the cutoff, by quintic Hermite interpolation; r[1] their slopes."""
    width = len(n_shape) * len(l_shape)
    for t in range(count):
        edge = tile[t]
        scaled = distances[edge] / spacing
        node = min(int(scaled), table.shape[0] - 2)
        p = scaled - node
        p2 = p * p
        p3 = p2 * p
        p4 = p3 * p
        p5 = p4 * p
        w = weights[edge]
        b0 = w * (1.0 - 10.0 * p3 + 15.0 * p4 - 6.0 * p5)
        b1 = w * (p - 6.0 * p3 + 8.0 * p4 - 3.0 * p5)
        b2 = w * (0.5 * p2 - 1.5 * p3 + 1.5 * p4 - 0.5 * p5)
        e0 = w - b0
        e1 = w * (-4.0 * p3 + 7.0 * p4 - 3.0 * p5)
        e2 = w * (0.5 * p3 - p4 + 0.5 * p5)
        left = table[node]
        right = table[node + 1]
        for i in range(width):
            r[0, t, i] = (
                b0 * left[0, i]
                + b1 * left[1, i]
                + b2 * left[2, i]
                + e0 * right[0, i]
                + e1 * right[1, i]
                + e2 * right[2, i]
            )
        if gradient:
            f = w / spacing
            d0 = f * (-30.0 * p2 + 60.0 * p3 - 30.0 * p4)
            d1 = f * (1.0 - 18.0 * p2 + 32.0 * p3 - 15.0 * p4)
            d2 = f * (p - 4.5 * p2 + 6.0 * p3 - 2.5 * p4)
            g1 = f * (-12.0 * p2 + 28.0 * p3 - 15.0 * p4)
            g2 = f * (1.5 * p2 - 4.0 * p3 + 2.5 * p4)
            ratio = slopes[edge] / w if w != 0.0 else 0.0
            for i in range(width):
                r[1, t, i] = (
                    ratio * r[0, t, i]
                    + d0 * (left[0, i] - right[0, i])
                    + d1 * left[1, i]
                    + d2 * left[2, i]
                    + g1 * right[1, i]
                    + g2 * right[2, i]
                )


@jit
def _transpose(width, count, r, rt):
    """Neighbours innermost: rt (2, l * n, TILE), zero on padding."""
    for k in range(2):
        for i in range(width):
            for t in range(count):
                rt[k, i, t] = r[k, t, i]
            for t in range(count, TILE):
                rt[k, i, t] = 0.0


@jit
def _expand(n_shape, l_shape, count, channel, y, r, c):
    """Add a tile's density to the coefficients c (lm, K)."""
    n_max = len(n_shape)
    size = len(l_shape)
    first = channel * n_max
    for t in range(count, TILE):
        r[0, t] = 0.0
    for l in range(size):
        for lm in range(l * l, (l + 1) * (l + 1)):
            for n in range(n_max):
                total = 0.0
                for t in range(TILE):
                    total += y[0, lm, t] * r[0, t, l * n_max + n]
                c[lm, first + n] += total


@jit
def _power_spectrum(n_shape, l_shape, c, factors, p, x):
    """Power spectrum x[l * pairs + A (A + 1) / 2 + B], A >= B, of the coefficients c (lm, K); p (K, K) is workspace."""
    n_max = len(n_shape)
    size = len(l_shape)
    k = c.shape[1]
    index = 0
    for l in range(size):
        p[:, :] = 0.0
        for lm in range(l * l, (l + 1) * (l + 1)):
            for a in range(k):
                f = c[lm, a]
                for block in range(a // n_max + 1):
                    for n in range(n_max):
                        p[a, block * n_max + n] += f * c[lm, block * n_max + n]
        for a in range(k):
            for b in range(a + 1):
                x[index + b] = factors[l, 1] * p[a, b]
            index += a + 1
            x[index - 1] = factors[l, 0] * p[a, a]


@jit
def _power_pullback(n_shape, l_shape, c, factors, gx, x, dot, inverse, g, gc):
    """Gradient gc (lm, K) with respect to c, of a function whose gradient with respect to the unit vector x is gx."""
    n_max = len(n_shape)
    size = len(l_shape)
    k = c.shape[1]
    index = 0
    gc[:, :] = 0.0
    for l in range(size):
        for a in range(k):
            for b in range(a + 1):
                g[a, b] = (gx[index + b] - dot * x[index + b]) * inverse * factors[l, 1]
            index += a + 1
            g[a, a] = 2.0 * (gx[index - 1] - dot * x[index - 1]) * inverse * factors[l, 0]
        for a in range(k):
            for b in range(a):
                g[b, a] = g[a, b]
        for lm in range(l * l, (l + 1) * (l + 1)):
            for b in range(k):
                f = c[lm, b]
                for block in range(k // n_max):
                    for n in range(n_max):
                        gc[lm, block * n_max + n] += f * g[b, block * n_max + n]


@jit
def _power_jacobian(n_shape, l, k, channel, w, factors, start, out):
    """Change of the power spectrum of degree l when one channel changes; w (n, K) = sum_m dc[lm, n] c[lm, K]."""
    n_max = len(n_shape)
    first = channel * n_max
    last = first + n_max
    for n in range(n_max):
        a = first + n
        index = start + a * (a + 1) // 2
        for b in range(first):
            out[index + b] = factors[l, 1] * w[n, b]
        for b in range(n):
            out[index + first + b] = factors[l, 1] * (w[n, first + b] + w[b, a])
        out[index + a] = 2.0 * factors[l, 0] * w[n, a]
    for a in range(last, k):
        index = start + a * (a + 1) // 2
        for n in range(n_max):
            out[index + first + n] = factors[l, 1] * w[n, a]


@jit
def soap_values(
    n_shape, l_shape, centres, centre_channel, centre_density, offsets, vectors, distances, channels, weights, cutoff,
    table, spacing, norms, factors, normalise, coefficients, x, lengths,
):  # fmt: skip
    """Coefficients (n, lm, K), power spectra x (n, d) and their lengths (n,) before normalisation."""
    n_max = len(n_shape)
    size = len(l_shape)
    width = n_max * size
    n_channels = coefficients.shape[2]
    tile = np.empty(TILE, np.int64)
    u = np.empty((3, TILE))
    q = np.zeros((size, size + 1, TILE))
    c = np.empty((size, TILE))
    s = np.empty((size, TILE))
    y = np.empty((1, size * size, TILE))
    r = np.empty((1, TILE, width))
    p = np.empty((n_channels, n_channels))
    for i in range(centres.shape[0]):
        atom = centres[i]
        density = coefficients[i]
        density[:, :] = 0.0
        if centre_channel >= 0:
            for n in range(n_max):
                density[0, centre_channel * n_max + n] = centre_density[n]
        edge = offsets[atom]
        while edge < offsets[atom + 1]:
            count, channel, edge = _gather(edge, offsets[atom + 1], cutoff, distances, channels, tile)
            if count == 0:
                break
            _directions(count, tile, vectors, distances, u)
            _legendre(l_shape, u, q, c, s)
            _harmonics(l_shape, count, norms, q, c, s, y)
            _radial(n_shape, l_shape, count, tile, distances, weights, weights, table, spacing, r, False)
            _expand(n_shape, l_shape, count, channel, y, r, density)
        _power_spectrum(n_shape, l_shape, density, factors, p, x[i])
        if normalise:
            square = 0.0
            for k in range(x.shape[1]):
                square += x[i, k] * x[i, k]
            length = np.sqrt(square)
            lengths[i] = length
            if length > 0.0:
                inverse = 1.0 / length
                for k in range(x.shape[1]):
                    x[i, k] *= inverse
        else:
            lengths[i] = 1.0


@jit
def soap_pullback(
    n_shape, l_shape, centres, offsets, vectors, distances, channels, weights, slopes, cutoff,
    table, spacing, norms, factors, normalise, coefficients, x, lengths, gx, edge_gradients,
):  # fmt: skip
    """Add dE/d(edge vector) to edge_gradients (n_edges, 3), given dE/dx in gx (n, d)."""
    n_max = len(n_shape)
    size = len(l_shape)
    width = n_max * size
    k = coefficients.shape[2]
    tile = np.empty(TILE, np.int64)
    u = np.empty((3, TILE))
    q = np.zeros((size, size + 1, TILE))
    c = np.empty((size, TILE))
    s = np.empty((size, TILE))
    y = np.empty((4, size * size, TILE))
    r = np.empty((2, TILE, width))
    rt = np.empty((2, width, TILE))
    g = np.empty((k, k))
    gc = np.empty((size * size, k))
    total = np.empty((4, TILE))
    for i in range(centres.shape[0]):
        if lengths[i] == 0.0:
            continue
        atom = centres[i]
        dot = 0.0
        if normalise:
            for j in range(x.shape[1]):
                dot += x[i, j] * gx[i, j]
        _power_pullback(n_shape, l_shape, coefficients[i], factors, gx[i], x[i], dot, 1.0 / lengths[i], g, gc)
        edge = offsets[atom]
        while edge < offsets[atom + 1]:
            count, channel, edge = _gather(edge, offsets[atom + 1], cutoff, distances, channels, tile)
            if count == 0:
                break
            _directions(count, tile, vectors, distances, u)
            _legendre(l_shape, u, q, c, s)
            _harmonics(l_shape, count, norms, q, c, s, y)
            _harmonic_gradients(l_shape, norms, u, q, c, s, y)
            _radial(n_shape, l_shape, count, tile, distances, weights, slopes, table, spacing, r, True)
            _transpose(width, count, r, rt)
            first = channel * n_max
            total[:, :] = 0.0
            for l in range(size):
                for lm in range(l * l, (l + 1) * (l + 1)):
                    for t in range(TILE):
                        angular = 0.0
                        radial = 0.0
                        for n in range(n_max):
                            angular += gc[lm, first + n] * rt[0, l * n_max + n, t]
                            radial += gc[lm, first + n] * rt[1, l * n_max + n, t]
                        total[0, t] += radial * y[0, lm, t]
                        total[1, t] += angular * y[1, lm, t]
                        total[2, t] += angular * y[2, lm, t]
                        total[3, t] += angular * y[3, lm, t]
            for t in range(count):
                inverse = 1.0 / distances[tile[t]]
                along = total[1, t] * u[0, t] + total[2, t] * u[1, t] + total[3, t] * u[2, t]
                for axis in range(3):
                    tangent = (total[1 + axis, t] - along * u[axis, t]) * inverse
                    edge_gradients[tile[t], axis] += total[0, t] * u[axis, t] + tangent


@jit
def soap_jacobian(
    n_shape, l_shape, centres, offsets, vectors, distances, channels, weights, slopes, cutoff,
    table, spacing, norms, factors, normalise, coefficients, x, lengths, dx,
):  # fmt: skip
    """dx/d(edge vector) for all edges within the cutoff of `centres`, in edge order, into dx (n_legs, 3, d)."""
    n_max = len(n_shape)
    size = len(l_shape)
    width = n_max * size
    k = coefficients.shape[2]
    tile = np.empty(TILE, np.int64)
    u = np.empty((3, TILE))
    q = np.zeros((size, size + 1, TILE))
    c = np.empty((size, TILE))
    s = np.empty((size, TILE))
    y = np.empty((4, size * size, TILE))
    r = np.empty((2, TILE, width))
    dc = np.empty((3, n_max))
    w = np.empty((3, n_max, k))
    leg = 0
    for i in range(centres.shape[0]):
        atom = centres[i]
        density = coefficients[i]
        inverse_length = 1.0 / lengths[i] if lengths[i] > 0.0 else 0.0
        edge = offsets[atom]
        while edge < offsets[atom + 1]:
            count, channel, edge = _gather(edge, offsets[atom + 1], cutoff, distances, channels, tile)
            if count == 0:
                break
            _directions(count, tile, vectors, distances, u)
            _legendre(l_shape, u, q, c, s)
            _harmonics(l_shape, count, norms, q, c, s, y)
            _harmonic_gradients(l_shape, norms, u, q, c, s, y)
            _radial(n_shape, l_shape, count, tile, distances, weights, slopes, table, spacing, r, True)
            for t in range(count):
                inverse = 1.0 / distances[tile[t]]
                if k > n_max:
                    dx[leg] = 0.0
                for l in range(size):
                    w[:, :, :] = 0.0
                    for lm in range(l * l, (l + 1) * (l + 1)):
                        along = y[1, lm, t] * u[0, t] + y[2, lm, t] * u[1, t] + y[3, lm, t] * u[2, t]
                        for axis in range(3):
                            tangent = (y[1 + axis, lm, t] - along * u[axis, t]) * inverse
                            normal = y[0, lm, t] * u[axis, t]
                            for n in range(n_max):
                                dc[axis, n] = tangent * r[0, t, l * n_max + n] + normal * r[1, t, l * n_max + n]
                            for n in range(n_max):
                                f = dc[axis, n]
                                for block in range(k // n_max):
                                    for b in range(n_max):
                                        w[axis, n, block * n_max + b] += f * density[lm, block * n_max + b]
                    for axis in range(3):
                        _power_jacobian(n_shape, l, k, channel, w[axis], factors, l * k * (k + 1) // 2, dx[leg, axis])
                if normalise:
                    for axis in range(3):
                        out = dx[leg, axis]
                        dot = 0.0
                        for j in range(out.shape[0]):
                            dot += out[j] * x[i, j]
                        for j in range(out.shape[0]):
                            out[j] = (out[j] - dot * x[i, j]) * inverse_length
                leg += 1
    return leg

"""SOAP in one fused kernel family: values, pullback (reverse mode) and Jacobian rows (for training).

Neighbours are taken in tiles of `TILE` of one species.  Harmonics and the last step of the pullback work on all
neighbours of a tile at once, everything else on four channels at once (`simd`).

Notation: a *channel* is a radial function of a neighbour species, n + s * n_stride with n_stride a multiple of four;
lm is l * l + l + m; an edge is (centre, neighbour).  The density coefficients of an atom are mixed (or copied) into
columns, of which pairs (a, b) with first[a] <= b < last[a] make the power spectrum; those with b < kept[l, a] are
kept, l slowest. Coefficients have three rows more than there are lm, so that rows can be taken by fours.
"""

from __future__ import annotations

import numpy as np

from gapkit._core._soap_density import (
    add_density,
    gather_tile,
    legendre_polynomials,
    mix_channels,
    radial_functions,
    radial_functions_and_slopes,
    solid_harmonic_gradients,
    spherical_harmonics,
    tile_arrays,
    unmix_gradient,
)
from gapkit._core._soap_power import (
    change_of_length,
    coefficient_changes,
    mix_changes,
    power_changes,
    power_pullback,
    power_spectrum,
)
from gapkit._core.jit import jit
from gapkit._core.simd import fill8, fma, load8, mul, store, sub, transpose8
from gapkit._core.soap_tables import TILE


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
    t0 = t1 = t2 = t3 = fill8(0.0)
    for l in range(size):
        row = 8 * l * tables.n_stride
        zero = l * l + l
        angular = radial = fill8(0.0)
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
            angular = radial = angular_minus = radial_minus = fill8(0.0)
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
def soap_values(tables, n_channels, centres, channel, edges, coefficients, x, lengths):
    """Columns of coefficients (n, lm, columns), power spectra x (n, d) and their lengths (n,) before normalisation.

    `n_channels` is that of the density; `channel` the species of the centres (-1: none) for their own density.
    """
    centre_density = tables.centre
    edge_offsets = edges.offsets
    tile, u, inverse, q, c, s, y, r = tile_arrays(tables, 1)
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
            count, species, edge = gather_tile(edge, stop, tables.cutoff, edges, tile, u, inverse)
            if count == 0:
                break
            legendre_polynomials(tables, u, q, c, s)
            spherical_harmonics(tables, q, c, s, y)
            radial_functions(tables, count, tile, edges, r)
            add_density(tables, species, y, r, density)
        mix_channels(tables, density, coefficients[i])
        length = np.sqrt(power_spectrum(tables, coefficients[i], p, spectrum))
        lengths[i] = length if tables.normalise else 1.0
        scale = 1.0 / lengths[i] if lengths[i] != 0.0 else 1.0
        for k in range(x.shape[1]):
            x[i, k] = scale * spectrum[k]


@jit
def soap_pullback(tables, n_channels, centres, edges, coefficients, x, lengths, gx, edge_gradients):
    """Add dE/d(edge vector) to edge_gradients (n_edges, 3), given dE/dx in gx (n, d)."""
    edge_offsets = edges.offsets
    tile, u, inverse, q, c, s, y, r = tile_arrays(tables, 2)
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
        power_pullback(tables, coefficients[i], padded, dot, lengths[i], p, g, gc)
        unmix_gradient(tables, gc, g_density)
        edge = edge_offsets[atom]
        stop = edge_offsets[atom + 1]
        while edge < stop:
            count, species, edge = gather_tile(edge, stop, tables.cutoff, edges, tile, u, inverse)
            if count == 0:
                break
            legendre_polynomials(tables, u, q, c, s)
            spherical_harmonics(tables, q, c, s, y)
            solid_harmonic_gradients(tables, u, q, c, s, y)
            radial_functions_and_slopes(tables, count, tile, edges, r)
            _transpose(r, rt)
            _contract(tables, species, g_density, rt, y, total)
            _edge_gradients(total, u, inverse)
            for t in range(count):
                for axis in range(3):
                    edge_gradients[tile[t], axis] += total[1 + axis, t]


@jit
def soap_jacobian(tables, n_channels, centres, edges, coefficients, x, lengths, dx):
    """dx/d(edge vector) for the n edges within the cutoff of `centres`, in edge order, into dx (n + TILE, 3, d).

    The last TILE rows are workspace.  Returns n.
    """
    mixing = tables.mixing
    edge_offsets = edges.offsets
    tile, u, inverse, q, c, s, y, r = tile_arrays(tables, 2)
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
    entry = 0
    for i in range(centres.shape[0]):
        atom = centres[i]
        edge = edge_offsets[atom]
        stop = edge_offsets[atom + 1]
        scale = 1.0 / lengths[i] if lengths[i] > 0.0 else 0.0
        normalise = tables.normalise and lengths[i] > 0.0
        if normalise:
            # minus the gradient of the length itself
            power_pullback(tables, coefficients[i], nothing, lengths[i], lengths[i], p, g, gc)
        while edge < stop:
            count, species, edge = gather_tile(edge, stop, tables.cutoff, edges, tile, u, inverse)
            if count == 0:
                break
            legendre_polynomials(tables, u, q, c, s)
            spherical_harmonics(tables, q, c, s, y)
            solid_harmonic_gradients(tables, u, q, c, s, y)
            radial_functions_and_slopes(tables, count, tile, edges, r)
            _transpose(r, rt)
            low = species * tables.n_max
            high = low + tables.n_max
            if mixing.shape[0] > 0:
                low = 0
                high = n_columns
            elif species != last_species:
                dc[:, :, :, :] = 0.0
                last_species = species
            along0 = along1 = along2 = fill8(0.0)
            index = 0
            for l in range(tables.l_max + 1):
                coefficient_changes(tables, l, u, inverse, y, rt, change)
                mix_changes(tables, l, species, change, dc)
                following = index
                for axis in range(3):
                    following = power_changes(tables, l, axis, coefficients[i], dc, low, high, scale, index, out[axis])
                index = following
                if normalise:
                    along0 = change_of_length(l, 0, dc, gc, along0)
                    along1 = change_of_length(l, 1, dc, gc, along1)
                    along2 = change_of_length(l, 2, dc, gc, along2)
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
                    transpose8(out, 8 * (axis * (d + 8) + k), 8, dx, (3 * entry + axis) * d + k, 3 * d)
                for k in range(d // 8 * 8, d):
                    for t in range(count):
                        dx[entry + t, axis, k] = out[axis, k, t]
            entry += count
    return entry

"""Plain NumPy twins of the kernels of gapkit._core: the same arguments, the formulas as they stand in the literature.

Derivatives are fourth-order differences of the twins of the values, so that they share nothing with the kernels.
"""

from __future__ import annotations

import numpy as np
import scipy.special

STEP = 1e-3


def edge_vectors(offsets, indices, shifts, positions, cells, frame_of_atom, vectors, distances):
    centres = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    images = np.einsum("ek,ekx->ex", shifts.astype(float), cells[frame_of_atom[centres]])
    vectors[:] = positions[indices] + images - positions[centres]
    distances[:] = np.linalg.norm(vectors, axis=1)


# ---------------------------------------------------------------------- powers


def integer_power(q, offset, scale, zeta, value, slope):
    base = q + offset
    value[:] = scale * base**zeta
    if len(slope):
        slope[:] = scale * zeta * base ** (zeta - 1)


def real_power_and_slope(q, offset, scale, zeta, value, slope):
    inside = q + offset > 0
    base = np.where(inside, q + offset, 1.0)
    value[:] = np.where(inside, scale * base**zeta, 0.0)
    slope[:] = np.where(inside, scale * zeta * base ** (zeta - 1), 0.0)


def contract_power(q, offset, scale, zeta, weights, energies, values, column):
    base = q + offset
    energies += (weights * scale * base**zeta).sum(axis=1)
    if len(values):
        values[:, column : column + q.shape[1]] = scale * base**zeta
    q[:] = weights * scale * zeta * base ** (zeta - 1)


def contract_remainder(rest, lead, lead_points, offset, scale, zeta, weights, energies, lead_slopes, values, column):
    a, b = lead @ lead_points + offset, rest.copy()
    plain = scale * (a**zeta + zeta * a ** (zeta - 1) * b)
    energies += (weights * (scale * (a + b) ** zeta - plain)).sum(axis=1)
    if len(values):
        values[:, column : column + rest.shape[1]] = scale * (a + b) ** zeta
    slope = (a + b) ** (zeta - 1) - a ** (zeta - 1)
    rest[:] = weights * scale * zeta * slope
    lead_slopes += (weights * scale * zeta * (slope - (zeta - 1) * a ** (zeta - 2) * b)) @ lead_points.T


def local_polynomials(x, low, width, table, values, slopes):
    for i, place in enumerate((x - low) / width):
        piece = int(np.clip(np.floor(place), 0, len(table) - 1))
        found = np.polynomial.Polynomial(table[piece], domain=[piece, piece + 1], window=[-1, 1])
        values[i], slopes[i] = found(place), found.deriv()(place) / width


# ---------------------------------------------------------------------- cutoff functions


def switch(value, slope, distances, cutoff, width, values, slopes):
    """One up to cutoff - width, zero from cutoff on."""
    p = (distances - (cutoff - width)) / width
    outside = [p <= 0, p >= 1]
    values[:] = np.select(outside, [1.0, 0.0], value(p))
    slopes[:] = np.select(outside, [0.0, 0.0], slope(p) / width)


def cosine_switch(*arguments):
    switch(lambda p: np.cos(0.5 * np.pi * p) ** 2, lambda p: -0.5 * np.pi * np.sin(np.pi * p), *arguments)


def quintic_switch(*arguments):
    polynomial = np.polynomial.Polynomial([1, 0, 0, -10, 15, -6])
    switch(polynomial, polynomial.deriv(), *arguments)


# ---------------------------------------------------------------------- edges of instances, forces, rows


def edges_of(centre, offsets, distances, channels, cutoff):
    edges = np.arange(offsets[centre], offsets[centre + 1])
    return edges[(channels[edges] >= 0) & (distances[edges] < cutoff)]


def count_instance_edges(centres, offsets, distances, channels, cutoff, instance_offsets):
    counts = [len(edges_of(i, offsets, distances, channels, cutoff)) for i in centres]
    instance_offsets[:] = np.concatenate([[0], np.cumsum(counts)])


def fill_instance_edges(centres, offsets, distances, channels, cutoff, instance_edges):
    instance_edges[:] = np.concatenate([edges_of(i, offsets, distances, channels, cutoff) for i in centres])


def edge_forces(offsets, indices, vectors, frame_of_atom, edge_gradients, forces, virials):
    centres = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    np.add.at(forces, centres, edge_gradients)
    np.add.at(forces, indices, -edge_gradients)
    np.add.at(virials, frame_of_atom[centres], -edge_gradients[:, :, None] * vectors[:, None, :])


def accumulate_rows(slopes, derivatives, places, start, column, force_rows, virial_rows):
    instance = np.repeat(np.arange(len(slopes.by_product)), np.diff(derivatives.offsets))
    edges, m = derivatives.edges, derivatives.projected.shape[2]
    part = slice(start, start + m)
    projected = derivatives.projected + (derivatives.single if len(derivatives.single) else 0.0)
    change = slopes.by_product[instance, None, part] * projected
    if len(slopes.by_norm):
        change = change + slopes.by_norm[instance, None, part] * derivatives.norm_change[:, :, None]
    if len(slopes.by_factor):
        change = change + slopes.by_factor[instance, None, part] * derivatives.factor_change[:, :, None]
    columns = slice(column, column + m)
    tail, head = places.row_of_atom[places.tails[edges]], places.row_of_atom[places.heads[edges]]
    np.add.at(force_rows[:, :, columns], tail[tail >= 0], change[tail >= 0])
    np.add.at(force_rows[:, :, columns], head[head >= 0], -change[head >= 0])
    if len(virial_rows):
        virial = -change[:, :, None, :] * places.vectors[edges][:, None, :, None]
        # xx, yy, zz, yz, xz, xy, each shear through its larger axis
        voigt = np.stack([virial[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (2, 1), (2, 0), (1, 0))], axis=1)
        frames = places.frames[instance]
        np.add.at(virial_rows[:, :, columns], frames[frames >= 0], voigt[frames >= 0])


# ---------------------------------------------------------------------- triplets


def triplets_of(centres, offsets, indices, distances, numbers, cutoff, z1, z2):
    found = []
    for i in centres:
        edges = [e for e in range(offsets[i], offsets[i + 1]) if distances[e] < cutoff]
        first = [e for e in edges if numbers[indices[e]] == z1]
        second = [e for e in edges if numbers[indices[e]] == z2]
        found += [(i, a, b) for a in first for b in second if (a < b if z1 == z2 else True)]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def count_triplets(*arguments):
    return len(triplets_of(*arguments))


def fill_triplets(centres, offsets, indices, distances, numbers, cutoff, z1, z2, triplet_centres, edges):
    found = triplets_of(centres, offsets, indices, distances, numbers, cutoff, z1, z2)
    triplet_centres[:] = found[:, 0]
    edges[:] = found[:, 1:]


def triplet_coordinates(one, two):
    """x (n, 3) of pairs of edge vectors (n, 3)."""
    r, s = np.linalg.norm(one, axis=-1), np.linalg.norm(two, axis=-1)
    return np.stack([r + s, (r - s) ** 2, np.linalg.norm(two - one, axis=-1)], axis=-1)


def triplet_values(edges, vectors, distances, x):
    x[:] = triplet_coordinates(vectors[edges[:, 0]], vectors[edges[:, 1]])


def differences(function, at):
    """d function / d at (n, 3) by differences, the axis of the derivative second."""
    parts = []
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = STEP
        parts.append(sum(w * function(at + o * step) for o, w in zip((-2, -1, 1, 2), (1, -8, 8, -1), strict=True)))
    return np.stack(parts, axis=1) / (12 * STEP)


def triplet_jacobian(edges, vectors, distances, weights, slopes, multiplicity, x, dx, df):
    one, two = vectors[edges[:, 0]], vectors[edges[:, 1]]

    def weight(edge, vector):
        return weights[edge] + slopes[edge] * (np.linalg.norm(vector, axis=-1) - distances[edge])

    dx[0::2] = differences(lambda v: triplet_coordinates(v, two), one)
    dx[1::2] = differences(lambda v: triplet_coordinates(one, v), two)
    df[0::2] = differences(lambda v: multiplicity * weight(edges[:, 0], v) * weights[edges[:, 1]], one)
    df[1::2] = differences(lambda v: multiplicity * weight(edges[:, 1], v) * weights[edges[:, 0]], two)


def triplet_pullback(edges, vectors, distances, weights, slopes, multiplicity, x, gx, gf, edge_gradients):
    dx, df = np.empty((2 * len(edges), 3, 3)), np.empty((2 * len(edges), 3))
    triplet_jacobian(edges, vectors, distances, weights, slopes, multiplicity, x, dx, df)
    triplet = np.repeat(np.arange(len(edges)), 2)
    change = np.einsum("lad,ld->la", dx, gx[triplet]) + df * gf[triplet, None]
    np.add.at(edge_gradients, edges.ravel(), change)


# ---------------------------------------------------------------------- SOAP


def real_harmonics(l_max, vectors):
    """Real, orthonormal Y_lm without Condon-Shortley phase, (n, lm), m = -l .. l: sin for m < 0, cos for m > 0."""
    r = np.linalg.norm(vectors, axis=1)
    polar, azimuth = np.arccos(np.clip(vectors[:, 2] / r, -1, 1)), np.arctan2(vectors[:, 1], vectors[:, 0])
    columns = []
    for degree in range(l_max + 1):
        for m in range(-degree, degree + 1):
            if hasattr(scipy.special, "sph_harm_y"):
                y = scipy.special.sph_harm_y(degree, abs(m), polar, azimuth)
            else:  # SciPy before 1.15
                y = scipy.special.sph_harm(abs(m), degree, azimuth, polar)
            part = y.real if m >= 0 else y.imag
            columns.append(part * (np.sqrt(2.0) * (-1.0) ** m if m else 1.0))
    return np.stack(columns, axis=1)


def radial_functions(distances, table, spacing):
    """Quintic Hermite interpolation of value, slope and curvature at the nodes, (n, l * n_stride)."""
    node = np.minimum((distances / spacing).astype(int), len(table) - 2)
    p = distances / spacing - node
    conditions = np.zeros((6, 6))
    for k in range(6):
        conditions[:, k] = [k == 0, k == 1, 2 * (k == 2), 1, k, k * (k - 1)]
    data = np.concatenate([table[node], table[node + 1]], axis=1)
    coefficients = np.einsum("ki,nix->nkx", np.linalg.inv(conditions), data)
    return np.einsum("nk,nkx->nx", p[:, None] ** np.arange(6), coefficients)


def density(tables, vectors, channels, weights, n_channels):
    """Coefficients (lm, channel) of the neighbours alone; a species takes n_stride channels."""
    size = tables.l_max + 1
    y = real_harmonics(tables.l_max, vectors)
    r = radial_functions(np.linalg.norm(vectors, axis=1), tables.nodes, tables.spacing)
    r = r.reshape(len(vectors), size, tables.n_stride)
    c = np.zeros((size * size, n_channels // tables.n_stride, tables.n_stride))
    for degree in range(size):
        for lm in range(degree**2, (degree + 1) ** 2):
            np.add.at(c[lm], channels, (weights * y[:, lm])[:, None] * r[:, degree])
    return c.reshape(size * size, n_channels)


def columns_of(c, tables, n_columns):
    """Columns (lm, column) of the channels c (lm, channel): mixed for each l, or n_max of every species in a row."""
    if len(tables.mixing):
        degree_of = np.repeat(np.arange(tables.l_max + 1), 2 * np.arange(tables.l_max + 1) + 1)
        return np.einsum("ik,ika->ia", c, tables.mixing[degree_of])
    mixed = np.zeros((len(c), n_columns))
    kept = c.reshape(len(c), -1, tables.n_stride)[:, :, : tables.n_max].reshape(len(c), -1)
    mixed[:, : kept.shape[1]] = kept
    return mixed


def pair_factor(degree, a, b):
    """What the product of the columns a and b is multiplied by."""
    return np.where(a == b, 1.0, np.sqrt(2.0)) / np.sqrt(2 * degree + 1)


def power_spectrum(c, tables):
    """x with l slowest, then a, then first[a] <= b < kept[l, a], and the length of all with first[a] <= b < last[a]."""
    a, b = np.arange(len(tables.first))[:, None], np.arange(c.shape[1])[None, :]
    paired = (tables.first[:, None] <= b) & (b < tables.last[:, None])
    parts, everything = [], []
    for degree in range(tables.l_max + 1):
        block = c[degree**2 : (degree + 1) ** 2]
        p = (block.T @ block)[: len(a)] * pair_factor(degree, a, b)
        everything.append(p[paired])
        parts.append(p[paired & (b < tables.kept[degree][:, None])])
    x = np.concatenate(parts)
    length = np.linalg.norm(np.concatenate(everything)) if tables.normalise else 1.0
    return (x / length if length > 0 else x), length


def soap_values(tables, n_channels, centres, channel, edges, coefficients, x, lengths):
    n_rows = (tables.l_max + 1) ** 2  # three more rows are left as they are
    for i, atom in enumerate(centres):
        e = edges_of(atom, edges.offsets, edges.distances, edges.channels, tables.cutoff)
        c = density(tables, edges.vectors[e], edges.channels[e], edges.weights[e], n_channels)
        if channel >= 0:
            c[0, channel * tables.n_stride :][: tables.n_max] += tables.centre
        columns = columns_of(c, tables, coefficients.shape[2])
        coefficients[i, :n_rows] = columns
        x[i], lengths[i] = power_spectrum(columns, tables)


def soap_jacobian(tables, n_channels, centres, edges, coefficients, x, lengths, dx):
    n_rows = (tables.l_max + 1) ** 2
    entry = 0
    for i, atom in enumerate(centres):
        for e in edges_of(atom, edges.offsets, edges.distances, edges.channels, tables.cutoff):

            def one(vector, e=e):
                weight = edges.weights[e] + edges.slopes[e] * (np.linalg.norm(vector, axis=1) - edges.distances[e])
                c = density(tables, vector, edges.channels[e : e + 1], weight, n_channels)
                return columns_of(c, tables, coefficients.shape[2])

            rest = coefficients[i, :n_rows] - one(edges.vectors[e : e + 1])

            def spectrum(vector, rest=rest, one=one):
                return power_spectrum(rest + one(vector), tables)[0][None]

            dx[entry] = differences(spectrum, edges.vectors[e : e + 1])[0]
            entry += 1
    return entry


def soap_pullback(tables, n_channels, centres, edges, coefficients, x, lengths, gx, edge_gradients):
    found = [edges_of(atom, edges.offsets, edges.distances, edges.channels, tables.cutoff) for atom in centres]
    indices = np.concatenate(found)
    dx = np.empty((len(indices), 3, x.shape[1]))
    soap_jacobian(tables, n_channels, centres, edges, coefficients, x, lengths, dx)
    owner = np.repeat(np.arange(len(centres)), [len(of_atom) for of_atom in found])
    np.add.at(edge_gradients, indices, np.einsum("lad,ld->la", dx, gx[owner]))


TWINS = {
    "edges": (edge_vectors,),
    "power": (integer_power, real_power_and_slope, contract_power, contract_remainder),
    "series": (local_polynomials,),
    "switch": (cosine_switch, quintic_switch),
    "rows": (count_instance_edges, fill_instance_edges, edge_forces, accumulate_rows),
    "triplets": (count_triplets, fill_triplets, triplet_values, triplet_jacobian, triplet_pullback),
    "soap": (soap_values, soap_pullback, soap_jacobian),
}
"""Twins of the public kernels by their module."""

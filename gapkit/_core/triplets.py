"""Triplets (centre; two neighbours) from edges: counting, listing, values and derivatives."""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit


@jit
def count_triplets(centres, offsets, indices, distances, numbers, cutoff, z1, z2):
    """Number of triplets whose unordered neighbour species are {z1, z2}."""
    total = 0
    for i in range(centres.shape[0]):
        first = 0
        second = 0
        for edge in range(offsets[centres[i]], offsets[centres[i] + 1]):
            if distances[edge] < cutoff:
                z = numbers[indices[edge]]
                first += z == z1
                second += z == z2
        total += first * (first - 1) // 2 if z1 == z2 else first * second
    return total


@jit
def fill_triplets(centres, offsets, indices, distances, numbers, cutoff, z1, z2, triplet_centres, edges):
    """Centres (n,) and edge pairs (n, 2) of the triplets; each unordered triplet once."""
    n = 0
    for i in range(centres.shape[0]):
        atom = centres[i]
        for e1 in range(offsets[atom], offsets[atom + 1]):
            if distances[e1] >= cutoff or numbers[indices[e1]] != z1:
                continue
            start = e1 + 1 if z1 == z2 else offsets[atom]
            for e2 in range(start, offsets[atom + 1]):
                if e2 == e1 or distances[e2] >= cutoff or numbers[indices[e2]] != z2:
                    continue
                triplet_centres[n] = atom
                edges[n, 0] = e1
                edges[n, 1] = e2
                n += 1


@jit
def triplet_values(edges, vectors, distances, x):
    """X (n, 3) = (r_ij + r_ik, (r_ij - r_ik)^2, r_jk)."""
    for n in range(edges.shape[0]):
        e1 = edges[n, 0]
        e2 = edges[n, 1]
        square = 0.0
        for a in range(3):
            d = vectors[e2, a] - vectors[e1, a]
            square += d * d
        difference = distances[e1] - distances[e2]
        x[n, 0] = distances[e1] + distances[e2]
        x[n, 1] = difference * difference
        x[n, 2] = np.sqrt(square)


@jit
def triplet_jacobian(edges, vectors, distances, weights, slopes, multiplicity, x, dx, df):
    """Derivatives dx (2 n, 3, 3) and df (2 n, 3) with respect to the two edge vectors of each triplet."""
    for n in range(edges.shape[0]):
        e1 = edges[n, 0]
        e2 = edges[n, 1]
        difference = distances[e1] - distances[e2]
        for a in range(3):
            u1 = vectors[e1, a] / distances[e1]
            u2 = vectors[e2, a] / distances[e2]
            across = (vectors[e2, a] - vectors[e1, a]) / x[n, 2]
            dx[2 * n, a, 0] = u1
            dx[2 * n, a, 1] = 2.0 * difference * u1
            dx[2 * n, a, 2] = -across
            dx[2 * n + 1, a, 0] = u2
            dx[2 * n + 1, a, 1] = -2.0 * difference * u2
            dx[2 * n + 1, a, 2] = across
            df[2 * n, a] = multiplicity * slopes[e1] * weights[e2] * u1
            df[2 * n + 1, a] = multiplicity * weights[e1] * slopes[e2] * u2


@jit
def triplet_pullback(edges, vectors, distances, weights, slopes, multiplicity, x, gx, gf, edge_gradients):
    """Add dE/d(edge vector) for dE/dx gx (n, 3) and dE/df gf (n,)."""
    for n in range(edges.shape[0]):
        e1 = edges[n, 0]
        e2 = edges[n, 1]
        difference = distances[e1] - distances[e2]
        g1 = gx[n, 0] + 2.0 * difference * gx[n, 1] + gf[n] * multiplicity * slopes[e1] * weights[e2]
        g2 = gx[n, 0] - 2.0 * difference * gx[n, 1] + gf[n] * multiplicity * weights[e1] * slopes[e2]
        g1 /= distances[e1]
        g2 /= distances[e2]
        g3 = gx[n, 2] / x[n, 2]
        for a in range(3):
            across = g3 * (vectors[e2, a] - vectors[e1, a])
            edge_gradients[e1, a] += g1 * vectors[e1, a] - across
            edge_gradients[e2, a] += g2 * vectors[e2, a] + across

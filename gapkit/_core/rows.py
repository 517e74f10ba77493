"""From edges to atoms: legs of instances, forces and virials, and the design rows of training."""

from __future__ import annotations

import numpy as np

from gapkit._core.jit import jit


@jit
def count_legs(centres, offsets, distances, channels, cutoff, leg_offsets):
    """Cumulative number of edges within the cutoff of each centre, leg_offsets (n + 1,)."""
    leg_offsets[0] = 0
    for i in range(centres.shape[0]):
        count = 0
        for edge in range(offsets[centres[i]], offsets[centres[i] + 1]):
            if channels[edge] >= 0 and distances[edge] < cutoff:
                count += 1
        leg_offsets[i + 1] = leg_offsets[i] + count


@jit
def fill_legs(centres, offsets, distances, channels, cutoff, leg_edges):
    """Edges within the cutoff of each centre, in edge order, leg_edges (n_legs,)."""
    leg = 0
    for i in range(centres.shape[0]):
        for edge in range(offsets[centres[i]], offsets[centres[i] + 1]):
            if channels[edge] >= 0 and distances[edge] < cutoff:
                leg_edges[leg] = edge
                leg += 1


@jit
def edge_forces(offsets, indices, vectors, frame_of_atom, edge_gradients, forces, virials):
    """Forces (n_atoms, 3) += and virials (n_frames, 3, 3) += from dE/d(edge vector), edge_gradients (n_edges, 3)."""
    for i in range(offsets.shape[0] - 1):
        frame = frame_of_atom[i]
        for edge in range(offsets[i], offsets[i + 1]):
            j = indices[edge]
            for a in range(3):
                g = edge_gradients[edge, a]
                forces[i, a] += g
                forces[j, a] -= g
                for b in range(3):
                    virials[frame, a, b] -= g * vectors[edge, b]


@jit
def accumulate_rows(
    leg_offsets, leg_edges, atoms, frames, neighbours, vectors, row_of_atom, slope_q, projected, single, slope_n,
    norm_change, value, factor_change, start, column, force_rows, virial_rows,
):  # fmt: skip
    """Fold derivatives of instances into force and virial rows, chain rule included.

    The derivative of row entry f k with respect to an edge vector, for the m sparse points from `start` on, is
    slope_q (n, M) * (projected + single) (n_legs, 3, m) + slope_n (n, M) * norm_change (n_legs, 3) + value (n, M) *
    factor_change (n_legs, 3); `single` and the last two terms are left out where their first array has no rows.

    `atoms` (n,) are the central atoms, `frames` (n,) their frames counted from the first row of virial_rows; atoms with
    a negative row_of_atom (n_atoms,) get no rows, and as centres give nothing to virials.  force_rows (n_rows, 3, M)
    and virial_rows (n_frames, 6, M; order xx, yy, zz, yz, xz, xy; no rows: not wanted) get the columns column ..
    column + m - 1.
    """
    m = projected.shape[2]
    stop = column + m
    with_single = single.shape[0] > 0
    with_norm = slope_n.shape[0] > 0
    with_factor = value.shape[0] > 0
    with_virial = virial_rows.shape[0] > 0
    plain = not (with_norm or with_factor or with_virial)
    term = np.empty(m)
    own = np.empty((3, m))
    for n in range(slope_q.shape[0]):
        atom = row_of_atom[atoms[n]]
        slope = slope_q[n, start : start + m]
        own[:, :] = 0.0
        for leg in range(leg_offsets[n], leg_offsets[n + 1]):
            edge = leg_edges[leg]
            other = row_of_atom[neighbours[edge]]
            if atom < 0 and other < 0:
                continue
            for a in range(3):
                if plain and other >= 0 and other != atom:
                    if with_single:
                        _mixed(slope, projected[leg, a], single[leg, a], own[a], force_rows[other, a, column:stop])
                    else:
                        _double(slope, projected[leg, a], own[a], force_rows[other, a, column:stop])
                    continue
                for k in range(m):
                    term[k] = slope[k] * projected[leg, a, k]
                if with_single:
                    for k in range(m):
                        term[k] += slope[k] * single[leg, a, k]
                if with_norm:
                    for k in range(m):
                        term[k] += slope_n[n, start + k] * norm_change[leg, a]
                if with_factor:
                    for k in range(m):
                        term[k] += value[n, start + k] * factor_change[leg, a]
                if atom != other:
                    _add(own[a], 1.0, term)
                    if other >= 0:
                        _add(force_rows[other, a, column:stop], -1.0, term)
                if with_virial and atom >= 0:
                    rows = virial_rows[frames[n]]
                    _add(rows[a, column:stop], -vectors[edge, a], term)
                    # shear: each component once, through its larger axis
                    if a == 1:
                        _add(rows[5, column:stop], -vectors[edge, 0], term)
                    elif a == 2:
                        _add(rows[3, column:stop], -vectors[edge, 1], term)
                        _add(rows[4, column:stop], -vectors[edge, 0], term)
        if atom >= 0:
            for a in range(3):
                _add(force_rows[atom, a, column:stop], 1.0, own[a])


@jit
def _mixed(slope, double, single, own, other):
    for k in range(slope.shape[0]):
        term = slope[k] * (double[k] + single[k])
        own[k] += term
        other[k] -= term


@jit
def _double(slope, double, own, other):
    for k in range(slope.shape[0]):
        term = slope[k] * double[k]
        own[k] += term
        other[k] -= term


@jit
def _add(row, factor, term):
    for k in range(term.shape[0]):
        row[k] += factor * term[k]

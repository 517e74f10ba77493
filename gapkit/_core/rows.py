"""Edges of instances within a cutoff; sums over edges: forces, virials and design rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gapkit._core.jit import jit


@jit
def count_instance_edges(centres, offsets, distances, channels, cutoff, instance_offsets):
    """Cumulative number of edges within the cutoff of each centre, instance_offsets (n + 1,)."""
    instance_offsets[0] = 0
    for i in range(centres.shape[0]):
        count = 0
        for edge in range(offsets[centres[i]], offsets[centres[i] + 1]):
            if channels[edge] >= 0 and distances[edge] < cutoff:
                count += 1
        instance_offsets[i + 1] = instance_offsets[i] + count


@jit
def fill_instance_edges(centres, offsets, distances, channels, cutoff, instance_edges):
    """Edges within the cutoff of each centre, in edge order, instance_edges (n_entries,)."""
    place = 0
    for i in range(centres.shape[0]):
        for edge in range(offsets[centres[i]], offsets[centres[i] + 1]):
            if channels[edge] >= 0 and distances[edge] < cutoff:
                instance_edges[place] = edge
                place += 1


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


class Derivatives(NamedTuple):
    """Derivatives of instances by their edges, those of instance n being offsets[n] .. offsets[n + 1] - 1.

    The inner products of dx with m sparse points are projected + single; arrays without rows are left out.
    """

    offsets: Any  # (n + 1,)
    edges: Any  # (n_entries,)
    projected: Any  # (n_entries, 3, m)
    single: Any  # (n_entries, 3, m), float32
    norm_change: Any  # (n_entries, 3): x . dx
    factor_change: Any  # (n_entries, 3): d(cutoff factor)


class Slopes(NamedTuple):
    """Derivatives of f k, cutoff factor times kernel; arrays without rows are left out."""

    by_product: Any  # (n, M): by the inner product
    by_norm: Any  # (n, M): by half the squared norm
    by_factor: Any  # (n, M): by the cutoff factor


class Places(NamedTuple):
    """Where rows go: an edge changes the rows of the atoms at both of its ends."""

    tails: Any  # (n_edges,)
    heads: Any  # (n_edges,)
    vectors: Any  # (n_edges, 3)
    row_of_atom: Any  # (n_atoms,), -1: none
    frames: Any  # (n,): rows of virials, -1: none


@jit
def accumulate_rows(slopes, derivatives, places, start, column, force_rows, virial_rows):
    """Fold derivatives of instances into force and virial rows, chain rule included.

    For the m sparse points from `start` on, the derivative of a row entry f k by an edge vector is by_product (n, M) *
    (projected + single) (n_entries, 3, m) + by_norm (n, M) * norm_change (n_entries, 3) + by_factor (n, M) *
    factor_change (n_entries, 3).  force_rows (n_rows, 3, M) and virial_rows (n_frames, 6, M; order xx, yy, zz, yz, xz,
    xy; no rows: not wanted) get the columns column .. column + m - 1.
    """
    offsets, edges, projected, single, norm_change, factor_change = derivatives
    slope_q, slope_n, value = slopes
    tails, heads, vectors, row_of_atom, frames = places
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
        slope = slope_q[n, start : start + m]
        in_virial = with_virial and frames[n] >= 0
        own[:, :] = 0.0
        tail = np.int64(-1)
        for entry in range(offsets[n], offsets[n + 1]):
            edge = edges[entry]
            this, head = row_of_atom[tails[edge]], row_of_atom[heads[edge]]
            if this != tail:  # most instances have all their edges at one atom
                _flush(own, tail, force_rows, column)
                tail = this
            if tail < 0 and head < 0 and not in_virial:
                continue
            for a in range(3):
                if plain and head >= 0 and head != tail:
                    if with_single:
                        _mixed(slope, projected[entry, a], single[entry, a], own[a], force_rows[head, a, column:stop])
                    else:
                        _double(slope, projected[entry, a], own[a], force_rows[head, a, column:stop])
                    continue
                for k in range(m):
                    term[k] = slope[k] * projected[entry, a, k]
                if with_single:
                    for k in range(m):
                        term[k] += slope[k] * single[entry, a, k]
                if with_norm:
                    for k in range(m):
                        term[k] += slope_n[n, start + k] * norm_change[entry, a]
                if with_factor:
                    for k in range(m):
                        term[k] += value[n, start + k] * factor_change[entry, a]
                if tail != head:
                    _add(own[a], 1.0, term)
                    if head >= 0:
                        _add(force_rows[head, a, column:stop], -1.0, term)
                if in_virial:
                    rows = virial_rows[frames[n]]
                    _add(rows[a, column:stop], -vectors[edge, a], term)
                    # shear: each component once, through its larger axis
                    if a == 1:
                        _add(rows[5, column:stop], -vectors[edge, 0], term)
                    elif a == 2:
                        _add(rows[3, column:stop], -vectors[edge, 1], term)
                        _add(rows[4, column:stop], -vectors[edge, 0], term)
        _flush(own, tail, force_rows, column)


@jit
def _flush(own, row, force_rows, column):
    """Add what an atom's own edges gave to its row, and begin again."""
    if row >= 0:
        for a in range(3):
            _add(force_rows[row, a, column : column + own.shape[1]], 1.0, own[a])
    own[:, :] = 0.0


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

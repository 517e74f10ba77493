"""Atoms and edges of one rank, from the arrays of LAMMPS, and forces on atoms of others back to their ranks."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gapkit.exceptions import InputError
from gapkit.interop.lammps.library import mpi
from gapkit.neighbours import NeighbourList
from gapkit.neighbours.lists import compute_edges
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray, IntArray

# The two highest bits of an entry of a LAMMPS list say how the pair is bonded.
_NEIGHMASK = 0x1FFFFFFF


@dataclass(frozen=True, eq=False)
class Exchange:
    """Exchange of forces between ranks, valid until atoms change rank.

    LAMMPS itself sums forces on ghosts before the fix by which a library takes part, which is too early.
    """

    comm: Any
    order: IntArray  # (n_foreign,), foreign atoms in the order of their ranks
    sent: IntArray  # (n_ranks,), numbers of values to every rank
    received: IntArray  # (n_ranks,), and from every rank
    rows: IntArray  # (n,), owned atoms of the received forces

    @classmethod
    def between(cls, comm: Any, owned: IntArray, foreign: IntArray) -> Exchange:
        """Plan for the IDs of owned (n_owned,) and foreign (n_foreign,) atoms; all ranks call it together."""
        # rank of every atom by its ID: 4 bytes each, for a moment
        ranks = np.full(comm.allreduce(int(owned.max(initial=0)), mpi().MAX) + 1, -1, np.int32)
        ranks[owned] = comm.rank
        comm.Allreduce(mpi().IN_PLACE, ranks, mpi().MAX)
        owner = ranks[foreign]
        order = np.argsort(owner, kind="stable")
        sent = np.bincount(owner, minlength=comm.size).astype(np.int64)
        received = np.empty_like(sent)
        comm.Alltoall(sent, received)
        wanted = np.empty(int(received.sum()), np.int64)
        comm.Alltoallv([np.ascontiguousarray(foreign[order]), sent], [wanted, received])
        by_id = np.argsort(owned, kind="stable")
        return cls(comm, order, 3 * sent, 3 * received, by_id[np.searchsorted(owned, wanted, sorter=by_id)])

    def add(self, foreign: FloatArray, owned: FloatArray) -> None:
        """Add forces on foreign atoms (n_foreign, 3) to those on owned ones (n_owned, 3) of their ranks, eV/Å."""
        found = np.empty((len(self.rows), 3))
        self.comm.Alltoallv([np.ascontiguousarray(foreign[self.order]), self.sent], [found, self.received])
        np.add.at(owned, self.rows, found)


@dataclass(frozen=True, eq=False)
class Halo:
    """Atoms and edges of a rank, valid until LAMMPS builds its neighbour list again.

    LAMMPS has a ghost for every periodic image and every atom of another rank.  Here each atom has one row, the owned
    ones first, in LAMMPS's order; the ghost of an edge gives its position alone.
    """

    n_owned: int
    rows: IntArray  # (n_all,), row of every atom and ghost
    numbers: IntArray  # (n_rows,), atomic numbers
    offsets: IntArray  # (n_rows + 1,), edges of the rows; foreign rows have none
    ghosts: IntArray  # (n_edges,), neighbours in LAMMPS's count of atoms and ghosts
    exchange: Exchange | None  # none on a single rank

    @classmethod
    def of(cls, lmp: Any, numbers_of_type: IntArray, comm: Any | None) -> Halo:
        """From the neighbour list of `pair_style zero` and atomic numbers by type; all ranks call it together."""
        n_owned, n_all = lmp.extract_setting("nlocal"), lmp.extract_setting("nall")
        ids = _array(lmp, "id", n_all).astype(np.int64)
        if ids.min(initial=1) < 1:
            raise InputError("atoms must have IDs, got none; leave out `atom_modify id no`")
        types = _array(lmp, "type", n_all)
        rows, foreign = _one_row_each(ids, n_owned)
        numbers = np.empty(n_owned + len(foreign), np.int64)
        numbers[rows] = numbers_of_type[types]
        counts, ghosts = _edges(lmp, n_owned)
        centres = np.repeat(np.arange(n_owned), counts)
        ghosts = ghosts[np.lexsort((rows[ghosts], numbers[rows[ghosts]], centres))]
        offsets = np.full(len(numbers) + 1, len(ghosts), np.int64)
        offsets[: n_owned + 1] = np.concatenate([[0], np.cumsum(counts)])
        exchange = None if comm is None else Exchange.between(comm, ids[:n_owned], foreign)
        return cls(n_owned, rows, numbers, offsets, ghosts, exchange)

    @property
    def n_foreign(self) -> int:
        """Number of atoms of other ranks within reach."""
        return len(self.numbers) - self.n_owned

    def structure(self, lmp: Any, cutoff: float) -> tuple[AtomsBatch, NeighbourList]:
        """The rows as one frame without a cell, and all edges; `cutoff` in Å without the skin of LAMMPS."""
        x = _array(lmp, "x", len(self.rows))
        cell, pbc, shifts = np.zeros((1, 3, 3)), np.zeros((1, 3), bool), np.zeros((len(self.ghosts), 3), np.int32)
        every = AtomsBatch(np.array([0, len(x)]), self.numbers[self.rows], x, cell, pbc)
        vectors, distances = compute_edges(self.offsets[: self.n_owned + 1], self.ghosts, shifts, every)
        positions = np.empty((len(self.numbers), 3))
        positions[self.rows[self.n_owned :]] = x[self.n_owned :]
        positions[: self.n_owned] = x[: self.n_owned]
        batch = AtomsBatch(np.array([0, len(positions)]), self.numbers, positions, cell, pbc)
        return batch, NeighbourList(self.offsets, self.rows[self.ghosts], shifts, vectors, distances, cutoff)

    def collect(self, forces: FloatArray) -> FloatArray:
        """Forces on owned atoms (n_owned, 3) from those that all ranks found for their rows (n_rows, 3), eV/Å."""
        owned = forces[: self.n_owned].copy()
        if self.exchange is not None:
            self.exchange.add(forces[self.n_owned :], owned)
        return owned


def _array(lmp: Any, name: str, n: int) -> NDArray:
    """A per-atom array of LAMMPS, its ghosts included, as it is in memory."""
    if n == 0:
        return np.empty((0, 3)) if name == "x" else np.empty(0, np.int64)
    return np.asarray(lmp.numpy.extract_atom(name))[:n]


def _one_row_each(ids: IntArray, n_owned: int) -> tuple[IntArray, IntArray]:
    """Rows (n_all,) of atoms and ghosts, and the IDs of the foreign atoms behind the owned ones."""
    owned = ids[:n_owned]
    by_id = np.argsort(owned, kind="stable")
    foreign = ~np.isin(ids, owned)
    rows = np.empty(len(ids), np.int64)
    rows[~foreign] = by_id[np.searchsorted(owned, ids[~foreign], sorter=by_id)]
    unique, rows_of_foreign = np.unique(ids[foreign], return_inverse=True)
    rows[foreign] = n_owned + rows_of_foreign
    return rows, unique


def _edges(lmp: Any, n_owned: int) -> tuple[IntArray, IntArray]:
    """Number of neighbours (n_owned,) of the owned atoms, and all their neighbours one after another."""
    index = lmp.find_pair_neighlist("zero")
    lists = [b""] * n_owned
    for element in range(lmp.get_neighlist_size(index)):
        atom, n, first = lmp.get_neighlist_element_neighbors(index, element)
        lists[atom] = ctypes.string_at(first, 4 * n) if n else b""
    counts = np.array([len(item) // 4 for item in lists], np.int64)
    ghosts = np.frombuffer(b"".join(lists), np.int32) & _NEIGHMASK
    return counts, ghosts.astype(np.int64)

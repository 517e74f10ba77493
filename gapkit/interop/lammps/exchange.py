"""Forces on atoms of other ranks, back to the ranks that own them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gapkit.interop.lammps.library import mpi
from gapkit.typing import FloatArray, IntArray


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

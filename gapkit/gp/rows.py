"""Design rows: energies, forces and virials as linear functionals of the weights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from gapkit._core.rows import Derivatives, Places, Slopes, accumulate_rows
from gapkit.gp.instances import AppliedBasis, Chunk, InnerProducts
from gapkit.neighbours import NeighbourList
from gapkit.parallel import look, map_blocks, resolve_n_jobs
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Edges whose derivative rows are formed together: fewer cost more calls, more leave the cache.
EDGES_PER_CHUNK = 256
POINTS_PER_TILE = 512

_NONE = np.empty((0, 0))
_NO_SINGLE = np.empty((0, 0, 0), np.float32)

FUNCTIONALS: dict[str, Callable[[AppliedBasis, IntArray | None], FloatArray]] = {}
"""Rows (n, c, M) of targets beyond energy, forces and virial, by name; arguments are those of `design_rows`."""


@dataclass(frozen=True, eq=False)
class DesignRows:
    """Rows of K_NM for the frames of a batch, at unit kernel scale."""

    # (n, c, M), by target, c components for each frame or atom; forces in 1/Å, virials in Voigt order
    rows: dict[str, FloatArray]

    @property
    def energy(self) -> FloatArray:
        """(n_frames, M)."""
        return self.rows["energy"][:, 0]

    @property
    def forces(self) -> FloatArray | None:
        """(n_atoms, 3, M)."""
        return self.rows.get("forces")

    @property
    def virial(self) -> FloatArray | None:
        """(n_frames, 6, M)."""
        return self.rows.get("virial")


def design_rows(
    applied: AppliedBasis, kinds: Collection[str] = ("forces", "virial"), *, atoms: IntArray | None = None,
    single: bool = True, workspace: Workspace | None = None, n_jobs: int | None = 1,
) -> DesignRows:  # fmt: skip
    """Rows of the energy and these targets for all frames of a batch; threads share tiles of sparse points.

    With `atoms`, ascending, there are force rows of these only, and their share as centres of the energy and virial
    rows: the shares of parts that hold all atoms add up to the whole.  With `single`, features that are small in all
    sparse points are taken in single precision: exact enough for weights, not for variances, which are differences of
    large numbers.  The rows themselves do not lie in the workspace.
    """
    made = _Rows(applied, kinds, atoms, single).made(Workspace() if workspace is None else workspace, n_jobs)
    others = {kind: functional(applied, atoms) for kind, functional in FUNCTIONALS.items() if kind in kinds}
    return DesignRows(made | others)


class _Rows:
    """Rows of a batch that are being filled."""

    def __init__(self, applied: AppliedBasis, kinds: Collection[str], atoms: IntArray | None, single: bool) -> None:
        forces, virial = (kind in kinds for kind in ("forces", "virial"))
        batch, m = applied.batch, applied.basis.n_columns
        self.applied, self.single = applied, single
        self.wanted = np.arange(batch.n_atoms) if atoms is None else atoms
        self.row_of_atom = np.full(batch.n_atoms, -1)
        self.row_of_atom[self.wanted] = np.arange(len(self.wanted))
        self.kinds, self.all_atoms = ("energy", *kinds), atoms is None
        self.energy = np.zeros((batch.n_frames, m))
        self.forces = np.zeros((len(self.wanted), 3, m)) if forces or virial else None
        self.virial = np.zeros((batch.n_frames, 6, m)) if virial else np.empty((0, 6, m))

    def made(self, workspace: Workspace, n_jobs: int | None) -> dict[str, FloatArray]:
        """All rows, by kind; threads walk over all instances, each for tiles of sparse points of its own."""
        n_tiles = max((len(block.tiles(POINTS_PER_TILE)) for block in self.applied.basis.blocks), default=1)
        n_shares = 1 if self.forces is None else min(resolve_n_jobs(n_jobs), n_tiles)
        if n_shares == 1:
            self._fill(0, 1, workspace)
        else:
            map_blocks(lambda share: self._fill(share, n_shares, Workspace()), range(n_shares), n_shares)
        found = {"energy": self.energy[:, None], "forces": self.forces, "virial": self.virial}
        return {kind: rows for kind, rows in found.items() if kind in self.kinds and rows is not None}

    def _fill(self, share: int, n_shares: int, workspace: Workspace) -> None:
        neighbours, at_once = self.applied.neighbours, None
        if self.forces is not None:
            per_atom = neighbours.n_edges / max(neighbours.n_atoms, 1)
            at_once = max(1, int(EDGES_PER_CHUNK / max(per_atom, 1.0)))
        for block in self.applied.basis.blocks:
            centres = self.applied.centres(block)
            if not self.all_atoms:
                n_layers = 0 if self.forces is None else block.engine.n_layers
                centres = np.intersect1d(centres, centres_seeing(self.wanted, neighbours, n_layers), assume_unique=True)
            tiles = block.tiles(POINTS_PER_TILE)[share::n_shares]
            for chunk in self.applied.walk(block, centres, workspace, at_once) if tiles else ():
                look()
                self._add(chunk, tiles, workspace)

    def _add(self, chunk: Chunk, tiles: list[slice], workspace: Workspace) -> None:
        """Kernel values and slopes of a chunk, its energy rows (with the first tile), and the derivatives."""
        block, features = chunk.block, chunk.features
        k, k_q, k_n = block.kernel.value_and_slopes(
            chunk.reduced() @ block.scaled.T, chunk.norms, block.norms, overwrite_q=True
        )
        frame = self.applied.batch.frame_of_atom[features.centres]
        counted = self.row_of_atom[features.centres] >= 0
        if counted.any() and tiles[0].start == 0:
            f, values, of_frame = features.factors, k, frame
            if not counted.all():
                f, values, of_frame = f[counted], k[counted], frame[counted]
            starts = np.flatnonzero(np.diff(of_frame, prepend=-1))
            if not block.is_atomic:
                values = f[:, None] * values
            self.energy[of_frame[starts], block.columns] += np.add.reduceat(values, starts, axis=0)
        if self.forces is not None:
            self._add_derivatives(chunk, (k, k_q, k_n), np.where(counted, frame, -1), tiles, workspace)

    def _add_derivatives(
        self, chunk: Chunk, kernel: tuple[FloatArray, FloatArray, FloatArray | None], frames: IntArray,
        tiles: list[slice], workspace: Workspace,
    ) -> None:  # fmt: skip
        """Force and virial rows of a chunk: dk/dD = (dk/dq x_s + 2 dk/dn x) . dx/dD."""
        k, k_q, k_n = kernel
        block, features, neighbours = chunk.block, chunk.features, self.applied.neighbours
        jacobian = chunk.view.jacobian(features, workspace, block.projection)
        n_entries, _, d = jacobian.dx.shape
        dx = block.kernel.scale_features(jacobian.dx.reshape(-1, d))
        f = features.factors[:, None]
        norm_change = _NONE
        if k_n is not None:
            norm_change = np.einsum("ncd,nd->nc", dx.reshape(n_entries, 3, d), chunk.x[jacobian.edges.instances])
            k_n = 2.0 * f * k_n
        if not block.is_atomic:
            k_q = f * k_q
        with_factor = jacobian.dfactors is not None
        slopes = Slopes(k_q, _NONE if k_n is None else k_n, k if with_factor else _NONE)
        places = Places(neighbours.centres, neighbours.indices, neighbours.vectors, self.row_of_atom, frames)
        products = InnerProducts(block, dx, single=self.single, workspace=workspace)
        for tile in tiles:
            projected, small = products.parts(tile)
            shape = (n_entries, 3, tile.stop - tile.start)
            derivatives = Derivatives(
                jacobian.edges.offsets, jacobian.edges.indices, projected.reshape(shape),
                _NO_SINGLE if small is None else small.reshape(shape), norm_change,
                jacobian.dfactors if with_factor else _NONE,
            )  # fmt: skip
            column = block.columns.start + tile.start
            accumulate_rows(slopes, derivatives, places, tile.start, column, self.forces, self.virial)


def centres_seeing(atoms: IntArray, neighbours: NeighbourList, n_layers: int = 1) -> IntArray:
    """The atoms, and the centres within `n_layers` edges of them, ascending."""
    for _ in range(n_layers):
        edges = [neighbours.indices[neighbours.offsets[atom] : neighbours.offsets[atom + 1]] for atom in atoms]
        atoms = np.unique(np.concatenate([atoms, *edges]))
    return atoms

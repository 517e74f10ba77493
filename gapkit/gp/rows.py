"""Design rows: energies, forces and virials as linear functionals of the weights."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from gapkit._core.rows import Derivatives, Places, Slopes, accumulate_rows
from gapkit.gp.inner_products import InnerProducts
from gapkit.gp.instances import AppliedBasis, Chunk
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray
from gapkit.workspace import Workspace

# Edges whose derivative rows are formed together: fewer cost more calls, more leave the cache.
EDGES_PER_CHUNK = 256
POINTS_PER_TILE = 1024

_NONE = np.empty((0, 0))
_NO_SINGLE = np.empty((0, 0, 0), np.float32)


FUNCTIONALS: dict[str, Callable[[AppliedBasis, IntArray | None], FloatArray]] = {}
"""Rows (n, c, M) of targets beyond energy, forces and virial, by name; arguments are those of `design_rows`."""


@dataclass(frozen=True, eq=False)
class DesignRows:
    """Rows of K_NM for the frames of a batch, at unit kernel scale.

    Attributes
    ----------
    rows : dict of str to ndarray (n, c, M)
        By target, c components for each frame or atom; forces in 1/Å, virials in Voigt order.
    """

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
    single: bool = True, workspace: Workspace | None = None,
) -> DesignRows:  # fmt: skip
    """Rows of all frames of a batch.

    Parameters
    ----------
    kinds : collection of str
        Targets wanted beside the energy.
    atoms : ndarray of int or None
        Force rows of these atoms only, ascending, and their share as centres of the energy and virial rows: the shares
        of parts that hold all atoms add up to the whole.
    single : bool
        Take features that are small in all sparse points in single precision: exact enough for weights, not for
        variances, which are differences of large numbers.
    workspace : Workspace or None
        Memory that the rows are made with (not of the rows themselves).
    """
    made = _Rows(applied, kinds, atoms, single, Workspace() if workspace is None else workspace).made()
    others = {kind: functional(applied, atoms) for kind, functional in FUNCTIONALS.items() if kind in kinds}
    return DesignRows(made | others)


class _Rows:
    """Rows of a batch that are being filled."""

    def __init__(
        self, applied: AppliedBasis, kinds: Collection[str], atoms: IntArray | None, single: bool, workspace: Workspace
    ) -> None:
        forces, virial = (kind in kinds for kind in ("forces", "virial"))
        batch, m = applied.batch, applied.basis.n_columns
        self.applied, self.single, self.workspace = applied, single, workspace
        self.wanted = np.arange(batch.n_atoms) if atoms is None else atoms
        self.row_of_atom = np.full(batch.n_atoms, -1)
        self.row_of_atom[self.wanted] = np.arange(len(self.wanted))
        self.kinds, self.all_atoms = ("energy", *kinds), atoms is None
        self.energy = np.zeros((batch.n_frames, m))
        self.forces = np.zeros((len(self.wanted), 3, m)) if forces or virial else None
        self.virial = np.zeros((batch.n_frames, 6, m)) if virial else np.empty((0, 6, m))

    def made(self) -> dict[str, FloatArray]:
        """Go through all instances that the rows depend on."""
        neighbours, at_once, involved = self.applied.neighbours, None, None
        if self.forces is not None:
            per_atom = neighbours.n_edges / max(neighbours.n_atoms, 1)
            at_once = max(1, int(EDGES_PER_CHUNK / max(per_atom, 1.0)))
        for block in self.applied.basis.blocks:
            centres = self.applied.centres(block)
            if not self.all_atoms:
                involved = self.wanted
                if self.forces is not None:
                    involved = centres_seeing(self.wanted, neighbours, block.engine.n_layers)
                centres = np.intersect1d(centres, involved, assume_unique=True)
            for chunk in self.applied.walk(block, centres, self.workspace, at_once):
                self._add(chunk)
        found = {"energy": self.energy[:, None], "forces": self.forces, "virial": self.virial}
        return {kind: rows for kind, rows in found.items() if kind in self.kinds and rows is not None}

    def _add(self, chunk: Chunk) -> None:
        """Kernel values and slopes of a chunk, its energy rows, and the derivatives."""
        block, features = chunk.block, chunk.features
        k, k_q, k_n = block.kernel.value_and_slopes(
            chunk.reduced() @ block.scaled.T, chunk.norms, block.norms, overwrite_q=True
        )
        frame = self.applied.batch.frame_of_atom[features.centres]
        counted = self.row_of_atom[features.centres] >= 0
        if counted.any():
            f, values, of_frame = features.factors, k, frame
            if not counted.all():
                f, values, of_frame = f[counted], k[counted], frame[counted]
            starts = np.flatnonzero(np.diff(of_frame, prepend=-1))
            if not block.is_atomic:
                values = f[:, None] * values
            self.energy[of_frame[starts], block.columns] += np.add.reduceat(values, starts, axis=0)
        if self.forces is not None:
            self._add_derivatives(chunk, k, k_q, k_n, np.where(counted, frame, -1))

    def _add_derivatives(
        self, chunk: Chunk, k: FloatArray, k_q: FloatArray, k_n: FloatArray | None, frames: IntArray
    ) -> None:
        """Force and virial rows of a chunk: dk/dD = (dk/dq x_s + 2 dk/dn x) . dx/dD."""
        block, features, neighbours = chunk.block, chunk.features, self.applied.neighbours
        jacobian = chunk.view.jacobian(features, self.workspace, block.projection)
        n_legs, _, d = jacobian.dx.shape
        dx = block.kernel.scale_features(jacobian.dx.reshape(-1, d))
        f = features.factors[:, None]
        norm_change = _NONE
        if k_n is not None:
            norm_change = np.einsum("ncd,nd->nc", dx.reshape(n_legs, 3, d), chunk.x[jacobian.legs.instances])
            k_n = 2.0 * f * k_n
        if not block.is_atomic:
            k_q = f * k_q
        with_factor = jacobian.dfactors is not None
        slopes = Slopes(k_q, _NONE if k_n is None else k_n, k if with_factor else _NONE)
        places = Places(neighbours.centres, neighbours.indices, neighbours.vectors, self.row_of_atom, frames)
        products = InnerProducts(block, dx, single=self.single, workspace=self.workspace)
        for start in range(0, len(block.scaled), POINTS_PER_TILE):
            tile = slice(start, min(start + POINTS_PER_TILE, len(block.scaled)))
            projected, small = products.parts(tile)
            shape = (n_legs, 3, tile.stop - tile.start)
            derivatives = Derivatives(
                jacobian.legs.offsets, jacobian.legs.edges, projected.reshape(shape),
                _NO_SINGLE if small is None else small.reshape(shape), norm_change,
                jacobian.dfactors if with_factor else _NONE,
            )  # fmt: skip
            accumulate_rows(slopes, derivatives, places, start, block.columns.start + start, self.forces, self.virial)


def centres_seeing(atoms: IntArray, neighbours: NeighbourList, n_layers: int = 1) -> IntArray:
    """The atoms, and the centres within `n_layers` edges of them, ascending."""
    for _ in range(n_layers):
        edges = [neighbours.indices[neighbours.offsets[atom] : neighbours.offsets[atom + 1]] for atom in atoms]
        atoms = np.unique(np.concatenate([atoms, *edges]))
    return atoms

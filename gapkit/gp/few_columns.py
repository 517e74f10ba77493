"""Design rows of few sparse points in reverse mode.

A column of K_NM is a prediction with one weight of 1 and all others of 0.  For few columns the pullback of each costs
less than the Jacobian, which `design_rows` makes for any number of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from gapkit.gp.basis import SparseBasis, SparseBlock
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.prediction import PredictionPlan, predict
from gapkit.gp.rows import FUNCTIONALS, DesignRows, design_rows
from gapkit.targets import to_voigt
from gapkit.typing import IntArray
from gapkit.workspace import Workspace

# Points of an atomic block up to which reverse mode is cheaper.
FEW_POINTS = 12


class FewColumns:
    """As `design_rows` in double precision, for a basis with few sparse points.

    Where a frame is taken in parts its rows are made with the first of them.
    """

    def __init__(self) -> None:
        self._made: tuple[AppliedBasis, DesignRows] | None = None

    def __call__(
        self, applied: AppliedBasis, kinds: Collection[str] = ("forces", "virial"), *, atoms: IntArray | None = None,
        workspace: Workspace | None = None,
    ) -> DesignRows:  # fmt: skip
        """Rows; arguments are those of `design_rows`."""
        few = [block for block in applied.basis.blocks if block.is_atomic and len(block.points) <= FEW_POINTS]
        if not few or FUNCTIONALS.keys() & set(kinds):  # predictions give energies and their derivatives
            return design_rows(applied, kinds, atoms=atoms, single=False, workspace=workspace)
        first = self._made is None or self._made[0] is not applied
        if self._made is None or first:
            self._made = applied, _rows(applied, few, kinds, workspace)
        if atoms is None:
            return self._made[1]
        share = float(first)  # shares of parts add up
        made = self._made[1].rows
        return DesignRows({kind: rows[atoms] if kind == "forces" else rows * share for kind, rows in made.items()})


def _rows(
    applied: AppliedBasis, few: list[SparseBlock], kinds: Collection[str], workspace: Workspace | None
) -> DesignRows:
    batch, n_columns = applied.batch, applied.basis.n_columns
    shapes = {"energy": (batch.n_frames, 1), "forces": (batch.n_atoms, 3), "virial": (batch.n_frames, 6)}
    rows = {kind: np.zeros((*shapes[kind], n_columns)) for kind in shapes if kind in ("energy", *kinds)}
    others = [block for block in applied.basis.blocks if block not in few]
    if others:
        columns = np.concatenate([np.arange(block.columns.start, block.columns.stop) for block in others])
        made = design_rows(_with_blocks(applied, others), kinds, single=False, workspace=workspace)
        for kind, of_others in made.rows.items():
            rows[kind][..., columns] = of_others
    for block in few:
        alone = _with_blocks(applied, [block])
        plan = PredictionPlan.of(alone.basis, np.eye(len(block.points)))
        for column, found in enumerate(predict(alone, plan, n_jobs=1), block.columns.start):
            rows["energy"][:, 0, column] = np.add.reduceat(found.local_energies, batch.offsets[:-1])
            if "forces" in kinds:
                rows["forces"][..., column] = found.forces
            if "virial" in kinds:
                rows["virial"][..., column] = to_voigt(0.5 * (found.virials + found.virials.transpose(0, 2, 1)))
    return DesignRows(rows)


def _with_blocks(applied: AppliedBasis, blocks: list[SparseBlock]) -> AppliedBasis:
    """The same with some of the blocks alone, their columns from 0 on."""
    terms = [replace(term, blocks=tuple(b for b in term.blocks if b in blocks)) for term in applied.basis.terms]
    return replace(applied, basis=SparseBasis.numbered(terms), _kept={})

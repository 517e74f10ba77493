"""Energies, forces, virials and local variances in reverse mode: no derivative of a descriptor is formed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from gapkit._core.rows import edge_forces
from gapkit.gp.basis import SparseBasis, SparseBlock
from gapkit.gp.expansion import POINTS_PER_TILE, Expansion, Series, expand
from gapkit.gp.instances import AppliedBasis, Chunk, InnerProducts, between
from gapkit.gp.posterior import not_negative
from gapkit.gp.variance.local import LocalVarianceForms
from gapkit.kernels.base import QuadraticForm
from gapkit.parallel import map_blocks
from gapkit.typing import BoolArray, FloatArray
from gapkit.workspace import Workspace, WorkspacePool

# Atoms of a block: larger leave the cache, smaller read the points oftener.
ATOMS_PER_BLOCK = 128
MIN_ATOMS_PER_BLOCK, BLOCKS = 32, 4

Uncertainty = Literal["none", "unseen", "total", "parts"]

_ROUNDING = 1e-6  # a variance may be negative by this part of the prior, from single precision


@dataclass(frozen=True, eq=False)
class LocalVariance:
    """Variances of local energies, eV^2, (n_atoms,) each; None unless asked for."""

    total: FloatArray | None = None  # the sum of both parts
    data: FloatArray | None = None  # |R^-T phi|^2, what more data would reduce
    prior_residual: FloatArray | None = None  # an upper bound where an atom has several instances
    unseen: FloatArray | None = None  # residual over prior of the atomic terms, 0 to 1; NaN without such a term


@dataclass(frozen=True, eq=False)
class LinearPrediction:
    """What the linear model says of a batch, without the energies that are not learned."""

    local_energies: FloatArray  # (n_atoms,), eV
    forces: FloatArray  # (n_atoms, 3), eV/Å
    virials: FloatArray  # (n_frames, 3, 3), eV
    variance: LocalVariance | None = None


@dataclass(frozen=True, eq=False)
class PredictionPlan:
    """What follows from a basis and the weights of one or several members alone."""

    weights: FloatArray  # (n_members, M), for unit-scale kernels
    forms: tuple[tuple[QuadraticForm, ...] | None, ...]  # of every block: members' energies, where that is cheaper
    expansions: tuple[Series | Expansion | None, ...]  # of every block, for a single member
    single: bool = False  # take features that are small in all sparse points in single precision

    @classmethod
    def of(cls, basis: SparseBasis, weights: FloatArray, *, single: bool = False) -> PredictionPlan:
        """Plan for a basis and weights (n_members, M), or (M,) for one member."""
        members = np.atleast_2d(weights)
        forms: list[tuple[QuadraticForm, ...] | None] = []
        for block in basis.blocks:
            found = (block.kernel.quadratic_form(block.scaled, w[block.columns]) for w in members)
            known = tuple(form for form in found if form is not None) if form_pays(block, len(members)) else ()
            forms.append(known if len(known) == len(members) else None)
        alone = len(members) == 1
        expansions = (expand(block, members[0, block.columns]) if alone else None for block in basis.blocks)
        return cls(members, tuple(forms), tuple(expansions), single)


def form_pays(block: SparseBlock, n_members: int = 1) -> bool:
    """Whether a product with an r x r matrix is cheaper than those with m sparse points.

    One member saves two products by it; several share the product that leads to kernel values.
    """
    return block.scaled.shape[1] < (2 if n_members == 1 else 1) * len(block.scaled)


@dataclass(frozen=True, eq=False)
class Wanted:
    """What a pass is to find beside energies, forces and virials."""

    variances: LocalVarianceForms | None = None  # of local energies, of a single member; None: no uncertainty
    uncertainty: Uncertainty = "none"  # "parts" is about twice the price of "total" or "unseen"
    energies: bool = True  # energies, forces and virials, too; False: zeros, and the pass is cheaper
    centres: BoolArray | None = None  # (n_atoms,), mask of atoms that have a local energy; all feel forces
    upstream: FloatArray | None = None  # (n_atoms,), factors of the local energies in what forces are the gradient of


def predict(
    applied: AppliedBasis, plan: PredictionPlan, wanted: Wanted | None = None, *, n_jobs: int | None = None,
    workspaces: WorkspacePool | None = None,
) -> list[LinearPrediction]:  # fmt: skip
    """What the linear model says with the weights of every member, in one pass over the descriptors.

    Threads share blocks of atoms.  Workspaces that the caller keeps save allocations in the next call.
    """
    pass_, batch = _Pass(applied, plan, Wanted() if wanted is None else wanted), applied.batch
    pool = WorkspacePool() if workspaces is None else workspaces
    # Some for every thread in small structures, but whatever their number: it must not change the result.
    size = int(np.clip(-(-batch.n_atoms // BLOCKS), MIN_ATOMS_PER_BLOCK, ATOMS_PER_BLOCK))

    def block_of_atoms(first: int) -> None:
        with pool.borrow() as workspace:
            pass_.atoms(first, min(first + size, batch.n_atoms), workspace)

    map_blocks(block_of_atoms, range(0, batch.n_atoms, size), n_jobs)
    variance = None if pass_.found is None else pass_.found.variance(pass_.wanted.uncertainty)
    found, edges = [], applied.neighbours
    for local, gradients in zip(pass_.local, pass_.gradients, strict=True):
        forces, virials = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3))
        if pass_.wanted.energies:
            edge_forces(edges.offsets, edges.indices, edges.vectors, batch.frame_of_atom, gradients, forces, virials)
        found.append(LinearPrediction(local, forces, virials, variance))
    return found


@dataclass(frozen=True, eq=False)
class _Variances:
    """Sums over terms, (n_atoms,) each, eV^2; `residual` of terms that are not atomic is a standard deviation, eV."""

    forms: LocalVarianceForms
    prior: FloatArray
    reduction: FloatArray
    seen: FloatArray
    data: FloatArray
    residual: FloatArray

    def variance(self, uncertainty: Uncertainty) -> LocalVariance:
        """Variances; terms are independent a priori, so that theirs add."""
        others = self.residual**2
        if uncertainty == "total":
            return LocalVariance(_clipped(self.prior - self.reduction, self.prior) + others)
        residual = _clipped(self.prior - self.seen, self.prior)
        with np.errstate(invalid="ignore", divide="ignore"):
            unseen = np.clip(residual / self.prior, 0.0, 1.0)
        if uncertainty == "unseen":
            return LocalVariance(unseen=unseen)
        return LocalVariance(self.data + residual + others, self.data, residual + others, unseen)


class _Pass:
    """One evaluation: what the blocks of atoms share and what they fill, each its own part."""

    def __init__(self, applied: AppliedBasis, plan: PredictionPlan, wanted: Wanted) -> None:
        self.applied, self.plan, self.wanted = applied, plan, wanted
        n_members, n_atoms = len(plan.weights), applied.batch.n_atoms
        blocks = applied.basis.blocks
        # Found once: a search through all atoms in every block of atoms would make the cost quadratic.
        self._centres = [applied.centres(block) for block in blocks]
        if wanted.centres is not None:
            self._centres = [centres[wanted.centres[centres]] for centres in self._centres]
        self.local = np.zeros((n_members, n_atoms))
        self.gradients = np.zeros((n_members, applied.neighbours.n_edges if wanted.energies else 0, 3))
        self.found: _Variances | None = None
        if wanted.variances is not None:
            for species in applied.batch.species:  # made here, so that the threads find them
                wanted.variances.of(int(species))
            self.found = _Variances(wanted.variances, *np.zeros((5, n_atoms)))
            self._note_unseen_blocks(self.found)

    def _note_unseen_blocks(self, found: _Variances) -> None:
        """Whole prior of instances of which the training set had none of their species."""
        for term in self.applied.basis.terms:
            for block in term.unseen_blocks:
                scale = found.forms.posterior.variance_scale(term.blocks[0].index)
                for chunk in self.applied.walk(block):
                    if block.is_atomic:
                        found.prior[chunk.centres] += scale * chunk.prior()
                    elif self.wanted.uncertainty != "unseen":
                        stds = np.abs(chunk.features.factors) * np.sqrt(scale * chunk.prior())
                        np.add.at(found.residual, chunk.centres, stds)

    def atoms(self, first: int, last: int, workspace: Workspace) -> None:
        """All terms for the atoms first .. last - 1."""
        rows, found = None, self.found
        if found is not None:
            rows = workspace.array("phi", last - first, self.applied.basis.n_columns)
            rows[:] = 0.0
        for block, centres in zip(self.applied.basis.blocks, self._centres, strict=True):
            if not (self.wanted.energies or block.is_atomic):
                continue
            for chunk in self.applied.walk(block, between(centres, first, last), workspace):
                if self.wanted.energies:
                    self._add(chunk, first, rows, workspace)
                elif found is not None and rows is not None:
                    self._add_rows(found, chunk, first, rows, chunk.kernel(workspace))
        if rows is None or found is None:
            return
        numbers = self.applied.batch.numbers[first:last]
        for species in np.unique(numbers):
            own = np.flatnonzero(numbers == species)
            phi = rows if len(own) == len(rows) else rows[own]
            form, at = found.forms.of(int(species)), first + own
            if self.wanted.uncertainty == "parts":
                found.seen[at], found.data[at] = form.parts(phi, workspace)
            elif self.wanted.uncertainty == "unseen":
                found.seen[at] = form.seen(phi, workspace)
            else:
                found.reduction[at] = form.total_reduction(phi, workspace)

    def _add(self, chunk: Chunk, first: int, rows: FloatArray | None, workspace: Workspace) -> None:
        """Energies and edge gradients of a chunk; with `rows` also theirs."""
        y, forms = chunk.reduced(workspace), self.plan.forms[chunk.block.index]
        gy = workspace.array("gy", *y.shape)
        if forms is not None and rows is None:
            for member, form in enumerate(forms):
                np.dot(y, form.matrix, out=gy)
                energies = np.einsum("nr,nr->n", gy, y) + 2.0 * (y @ form.vector) + form.constant
                gy += form.vector
                gy *= 2.0
                self._collect(member, chunk, energies, gy, None, workspace)
        elif len(self.plan.weights) == 1:
            self._contract(chunk, y, gy, first, rows, workspace)
        else:
            self._share(chunk, y, gy, workspace)

    def _contract(
        self, chunk: Chunk, y: FloatArray, gy: FloatArray, first: int, rows: FloatArray | None, workspace: Workspace
    ) -> None:
        """A single member: kernel values are summed with its weights as they are made."""
        block, n = chunk.block, len(y)
        values, column = None, 0
        if rows is not None:
            # straight into the rows where all atoms of the block are instances
            whole = block.is_atomic and n == len(rows)
            values = rows if whole else workspace.array("values", n, len(block.scaled))
            column = block.columns.start if whole else 0
        expansion, single = self.plan.expansions[block.index], self.plan.single
        if expansion is None:
            energies, norm_slopes = self._sum(chunk, y, gy, values, column, workspace)
        else:
            energies = expansion.contract(y, chunk.norms, gy, values, column, single=single, workspace=workspace)
            norm_slopes = None
        if self.found is not None and rows is not None and values is not None:
            self._add_rows(self.found, chunk, first, rows, values)
        self._collect(0, chunk, energies, gy, norm_slopes, workspace)

    def _sum(
        self, chunk: Chunk, y: FloatArray, gy: FloatArray, values: FloatArray | None, column: int, workspace: Workspace
    ) -> tuple[FloatArray, FloatArray | None]:
        """Energies (n,) and their slopes by norms (n,) where there is no expansion, as for `Expansion.contract`."""
        block = chunk.block
        weights, piece = self.plan.weights[0, block.columns], workspace.array("piece", *y.shape)
        energies, norm_slopes = np.zeros(len(y)), None
        products = InnerProducts(block, y, single=self.plan.single, workspace=workspace)
        for tile in block.tiles(POINTS_PER_TILE):
            energy, weighted, slopes = block.kernel.contract(
                products.forward(tile), chunk.norms, block.norms[tile], weights[tile], values, column + tile.start
            )
            energies += energy
            products.backward(weighted, tile, piece if tile.start else gy)
            if tile.start:
                gy += piece
            if slopes is not None:
                norm_slopes = slopes if norm_slopes is None else norm_slopes + slopes
        return energies, norm_slopes

    def _share(self, chunk: Chunk, y: FloatArray, gy: FloatArray, workspace: Workspace) -> None:
        """Several members share kernel values; sums with weights and the way back to edges are each member's own."""
        block, shape = chunk.block, (len(y), len(chunk.block.scaled))
        weights = self.plan.weights[:, block.columns]
        q = np.dot(y, block.scaled.T, out=workspace.array("q", *shape))
        values, slopes, k_n = block.kernel.value_and_slopes(q, chunk.norms, block.norms, overwrite_q=True)
        sums = weights @ values.T
        norm_slopes = None if k_n is None else weights @ k_n.T
        for member, w in enumerate(weights):
            np.dot(np.multiply(slopes, w, out=workspace.array("weighted", *shape)), block.scaled, out=gy)
            by_norm = None if norm_slopes is None else norm_slopes[member]
            self._collect(member, chunk, sums[member], gy, by_norm, workspace)

    def _collect(
        self, member: int, chunk: Chunk, energies: FloatArray, gy: FloatArray, norm_slopes: FloatArray | None,
        workspace: Workspace,
    ) -> None:  # fmt: skip
        """Energies (n,) to atoms; dE/dy (n, r), y the reduced features, and dE/d|x~|^2 (n,) back to edges."""
        block, features = chunk.block, chunk.features
        if block.is_atomic:
            self.local[member, features.centres] += energies
        else:
            np.add.at(self.local[member], features.centres, features.factors * energies)
        gx = block.expand(gy, None if block.projection is None else workspace.array("gx", *chunk.x.shape))
        if norm_slopes is not None:
            gx += 2.0 * norm_slopes[:, None] * chunk.x
        gx = block.kernel.scale_features(gx)
        if not block.is_atomic:
            gx = gx * features.factors[:, None]
        if self.wanted.upstream is not None:
            upstream = self.wanted.upstream[features.centres]
            gx, energies = gx * upstream[:, None], energies * upstream
        chunk.view.pullback(features, gx, energies, self.gradients[member])

    def _add_rows(self, found: _Variances, chunk: Chunk, first: int, rows: FloatArray, values: FloatArray) -> None:
        """Rows of the atoms from kernel values of instances; prior of atomic terms, residual of the others."""
        block, posterior, where = chunk.block, found.forms.posterior, chunk.centres - first
        if block.is_atomic:
            if values is not rows:
                rows[where, block.columns] = values
            found.prior[chunk.centres] += chunk.prior() * posterior.variance_scale(block.index)
            return
        if self.wanted.uncertainty == "unseen":  # which is of atomic terms alone
            return
        factors = chunk.features.factors
        starts = np.flatnonzero(np.diff(where, prepend=-1))
        rows[where[starts], block.columns] += np.add.reduceat(factors[:, None] * values, starts, axis=0)
        residual = posterior.prior_residual(chunk.prior(), values, block.index)
        np.add.at(found.residual, chunk.centres, np.abs(factors) * np.sqrt(residual))


def _clipped(variance: FloatArray, prior: FloatArray) -> FloatArray:
    return not_negative(variance, _ROUNDING * prior, "local variances", "eV^2")

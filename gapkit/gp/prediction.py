"""Energies, forces, virials and variances of a batch, in reverse mode: no derivative of a descriptor is ever formed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gapkit._core.rows import edge_forces
from gapkit.descriptors.base import Features, View
from gapkit.exceptions import VarianceWarning
from gapkit.gp.basis import BasisTerm, SparseBasis, SparseBlock
from gapkit.gp.inner_products import InnerProducts
from gapkit.gp.posterior import Posterior
from gapkit.gp.rows import views_of
from gapkit.gp.variance.local import LocalVarianceForms
from gapkit.kernels.base import QuadraticForm
from gapkit.neighbours import NeighbourList
from gapkit.parallel import map_blocks
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray
from gapkit.workspace import Workspace, WorkspacePool

# Atoms of a block, and sparse points taken together: larger leave the cache, smaller read the points oftener.
ATOMS_PER_BLOCK = 128
MIN_ATOMS_PER_BLOCK, BLOCKS = 32, 4
POINTS_PER_TILE = 1024

Uncertainty = Literal["none", "total", "parts"]

# A variance may be negative by this part of the prior, from single precision.
_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class LocalVariance:
    """Variances of local energies, eV^2.

    Attributes
    ----------
    total : ndarray (n_atoms,)
        The sum of both parts.
    data : ndarray (n_atoms,) or None
        Posterior variance |R^-T phi|^2: what more data would reduce.  None unless parts were asked for.
    prior_residual : ndarray (n_atoms,) or None
        What the sparse points cannot see; an upper bound where an atom has several instances of a term.
    novelty : ndarray (n_atoms,) or None
        Prior residual over prior variance of the most local, one-instance terms, in [0, 1]; NaN without such a term.
    """

    total: FloatArray
    data: FloatArray | None = None
    prior_residual: FloatArray | None = None
    novelty: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class LinearPrediction:
    """What the linear model says of a batch, without reference energies and baseline.

    Attributes
    ----------
    local_energies : ndarray (n_atoms,)
        eV.
    forces : ndarray (n_atoms, 3) or None
        eV/Å.
    virials : ndarray (n_frames, 3, 3) or None
        eV.
    variance : LocalVariance or None
    """

    local_energies: FloatArray
    forces: FloatArray | None
    virials: FloatArray | None
    variance: LocalVariance | None


@dataclass(frozen=True, eq=False)
class PredictionPlan:
    """What follows from basis and weights alone.

    Attributes
    ----------
    weights : ndarray (M,)
        For unit-scale kernels.
    quadratic : tuple of QuadraticForm or None
        For every block of sparse points: the energy as a quadratic form, where that is cheaper than all the points.
    single : bool
        Take features that are small in all sparse points in single precision.
    """

    weights: FloatArray
    quadratic: tuple[QuadraticForm | None, ...]
    single: bool = False

    @classmethod
    def of(cls, basis: SparseBasis, weights: FloatArray, *, single: bool = False) -> PredictionPlan:
        """Plan for a basis and its weights (M,)."""
        forms = [
            term.kernel.quadratic_form(block.scaled, weights[block.columns]) if form_pays(block) else None
            for term in basis.terms
            for block in term.blocks
        ]
        return cls(weights, tuple(forms), single)


@dataclass(frozen=True, eq=False)
class CommitteePlan:
    """What follows from a basis and the weights of several members alone.

    Attributes
    ----------
    weights : ndarray (n_members, M)
        For unit-scale kernels.
    quadratic : tuple of (tuple of QuadraticForm) or None
        For every block of sparse points: the forms of all members, where they are cheaper than all the points.
    """

    weights: FloatArray
    quadratic: tuple[tuple[QuadraticForm, ...] | None, ...]

    @classmethod
    def of(cls, basis: SparseBasis, weights: FloatArray) -> CommitteePlan:
        """Plan for a basis and the weights (n_members, M)."""
        plans = []
        for term in basis.terms:
            for block in term.blocks:
                # Kernel values are shared: a form replaces the product back to features, not that from them.
                pays = block.scaled.shape[1] < len(block.scaled)
                forms = (term.kernel.quadratic_form(block.scaled, w[block.columns]) if pays else None for w in weights)
                known = tuple(form for form in forms if form is not None)
                plans.append(known if len(known) == len(weights) else None)
        return cls(weights, tuple(plans))


def form_pays(block: SparseBlock) -> bool:
    """Whether a product with an r x r matrix is cheaper than two with m sparse points."""
    return block.scaled.shape[1] < 2 * len(block.scaled)


def predict(
    basis: SparseBasis,
    weights: FloatArray,
    batch: AtomsBatch,
    neighbours: NeighbourList,
    *,
    forces: bool = True,
    uncertainty: Uncertainty = "none",
    posterior: Posterior | None = None,
    variances: LocalVarianceForms | None = None,
    n_jobs: int | None = None,
    plan: PredictionPlan | None = None,
    workspaces: WorkspacePool | None = None,
) -> LinearPrediction:
    """Evaluate the linear model on a batch.

    Parameters
    ----------
    weights : ndarray (M,)
        For unit-scale kernels.
    neighbours : NeighbourList
        Of the batch, with a cutoff of at least `basis.reach`; longer edges are skipped.
    forces : bool
        Also forces and virials.
    uncertainty : {"none", "total", "parts"}
        Local variances in the same pass: their total, or also its two parts at about twice the price.
    posterior, variances : Posterior, LocalVarianceForms
        Needed for the uncertainty; the posterior with its scales.
    n_jobs : int or None
        Threads over blocks of atoms.
    plan : PredictionPlan or None
        Of the same basis and weights; kept by the caller, it saves work in the next call.
    workspaces : WorkspacePool or None
        Kept by the caller, it saves allocations in the next call.
    """
    plan = PredictionPlan.of(basis, weights) if plan is None else plan
    pass_ = _Pass(basis, plan, batch, neighbours, forces, uncertainty, posterior, variances)
    _run(pass_, batch, n_jobs, workspaces)
    variance = pass_.variance()
    if pass_.gradients is None:
        return LinearPrediction(pass_.local, None, None, variance)
    atom_forces, virials = _to_atoms(batch, neighbours, pass_.gradients)
    return LinearPrediction(pass_.local, atom_forces, virials, variance)


def predict_committee(
    basis: SparseBasis,
    plan: CommitteePlan,
    batch: AtomsBatch,
    neighbours: NeighbourList,
    *,
    n_jobs: int | None = None,
    workspaces: WorkspacePool | None = None,
) -> list[LinearPrediction]:
    """Evaluate the linear model with the weights of every member, in one pass over the descriptors.

    Features, inner products and kernel values are made once; their sums with weights, the products back to features
    and the way to edges are each member's own.  Parameters are those of `predict`; memory is that of `n_members`
    gradients (n_edges, 3).

    Returns
    -------
    list of LinearPrediction
        One for each member, without variances.
    """
    pass_ = _CommitteePass(basis, plan, batch, neighbours)
    _run(pass_, batch, n_jobs, workspaces)
    return [
        LinearPrediction(local, *_to_atoms(batch, neighbours, gradients), None)
        for local, gradients in zip(pass_.all_local, pass_.all_gradients, strict=True)
    ]


def _run(pass_: _Pass, batch: AtomsBatch, n_jobs: int | None, workspaces: WorkspacePool | None) -> None:
    """Let a pass go through all blocks of atoms."""
    pool = WorkspacePool() if workspaces is None else workspaces

    # Some for every thread in small structures, but whatever their number: it must not change the result.
    size = int(np.clip(-(-batch.n_atoms // BLOCKS), MIN_ATOMS_PER_BLOCK, ATOMS_PER_BLOCK))

    def block_of_atoms(first: int) -> None:
        with pool.borrow() as workspace:
            pass_.block(first, min(first + size, batch.n_atoms), workspace)

    map_blocks(block_of_atoms, range(0, batch.n_atoms, size), n_jobs)


def _to_atoms(batch: AtomsBatch, neighbours: NeighbourList, gradients: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Forces (n_atoms, 3) and virials (n_frames, 3, 3) from gradients (n_edges, 3)."""
    atom_forces = np.zeros((batch.n_atoms, 3))
    virials = np.zeros((batch.n_frames, 3, 3))
    edge_forces(
        neighbours.offsets, neighbours.indices, neighbours.vectors, batch.frame_of_atom, gradients, atom_forces, virials
    )
    return atom_forces, virials


class _Pass:
    """One evaluation: what the blocks of atoms share and what they fill, each its own part."""

    def __init__(
        self, basis: SparseBasis, plan: PredictionPlan, batch: AtomsBatch, neighbours: NeighbourList, forces: bool,
        uncertainty: Uncertainty, posterior: Posterior | None, variances: LocalVarianceForms | None,
    ) -> None:  # fmt: skip
        self._basis = basis
        self._plan = plan
        self._numbers = batch.numbers
        self._views = views_of(basis, batch, neighbours)
        # Found once: a search through all atoms in every block of atoms would make the cost quadratic.
        self._members = [
            [view.centres(block.block) for block in term.blocks]
            for term, view in zip(basis.terms, self._views, strict=True)
        ]
        self._uncertainty = uncertainty
        self._posterior = posterior
        self._forms = variances
        self.local = np.zeros(batch.n_atoms)
        self.gradients = np.zeros((neighbours.n_edges, 3)) if forces else None
        if uncertainty != "none":
            assert posterior is not None
            assert variances is not None
            for species in batch.species:  # made here, so that the threads find them
                variances.of(int(species))
            # reduction of the prior by points and data; by points alone; data part; prior; residual std of other terms
            self._found = np.zeros((5, batch.n_atoms))
            self._found[3] = self._prior_without_points()
            self._note_pairs_without_points()

    def _prior_without_points(self) -> FloatArray:
        """Prior variance of atoms whose species has no sparse points in an atomic term: nothing is taken from it."""
        assert self._posterior is not None
        prior = np.zeros(len(self._numbers))
        index = 0
        for term in self._basis.terms:
            if term.engine.is_atomic and term.blocks:
                known = {species for block in term.blocks for species in block.block}
                others = {species for block in term.engine.blocks for species in block} - known
                scale = self._posterior.variance_scale(index)
                prior[np.isin(self._numbers, list(others))] += scale * term.kernel.diag_value(np.ones(1))[0]
            index += len(term.blocks)
        return prior

    def _note_pairs_without_points(self) -> None:
        """Residual of the instances of terms that are not atomic, where the training set has none of their species."""
        assert self._posterior is not None
        index = 0
        for term, view in zip(self._basis.terms, self._views, strict=True):
            missing = set(term.engine.blocks) - {block.block for block in term.blocks} if term.blocks else set()
            for species in sorted(missing) if not term.engine.is_atomic else ():
                centres = view.centres(species)
                for start in range(0, len(centres), view.centres_per_chunk):
                    features = view.features(species, centres[start : start + view.centres_per_chunk])
                    scaled = term.kernel.scale_features(features.x)
                    prior = term.kernel.diag_value(np.einsum("nd,nd->n", scaled, scaled))
                    stds = np.sqrt(prior * self._posterior.variance_scale(index))
                    np.add.at(self._found[4], features.centres, np.abs(features.factors) * stds)
            index += len(term.blocks)

    def block(self, first: int, last: int, workspace: Workspace) -> None:
        """All terms for the atoms first .. last - 1."""
        rows = None
        if self._uncertainty != "none":
            rows = workspace.array("phi", last - first, self._basis.n_columns)
            rows[:] = 0.0
        index = -1
        for term, view, of_term in zip(self._basis.terms, self._views, self._members, strict=True):
            for block, centres in zip(term.blocks, of_term, strict=True):
                index += 1
                centres = centres[np.searchsorted(centres, first) : np.searchsorted(centres, last)]
                for start in range(0, len(centres), view.centres_per_chunk):
                    chunk = centres[start : start + view.centres_per_chunk]
                    features = view.features(block.block, chunk, workspace)
                    if len(features.x):
                        self._instances(term, view, block, index, features, first, rows, workspace)
        if rows is not None:
            self._variances(first, last, rows, workspace)

    def _instances(
        self, term: BasisTerm, view: View, block: SparseBlock, index: int, features: Features, first: int,
        rows: FloatArray | None, workspace: Workspace,
    ) -> None:  # fmt: skip
        """Energies and edge gradients of the instances of one block of sparse points; with `rows` also theirs."""
        kernel = term.kernel
        scaled = kernel.scale_features(features.x)
        n, r = len(scaled), block.scaled.shape[1]
        norms = np.einsum("nd,nd->n", scaled, scaled)
        y = scaled if block.projection is None else block.reduce(scaled, workspace.array("reduced", n, r))
        weights = self._plan.weights[block.columns]
        gy = workspace.array("gy", n, r)
        piece = workspace.array("piece", n, r)
        energies, norm_slopes = np.zeros(n), None
        quadratic = self._plan.quadratic[index]
        if quadratic is not None and rows is None:
            np.dot(y, quadratic.matrix, out=gy)
            energies = np.einsum("nr,nr->n", gy, y) + 2.0 * (y @ quadratic.vector) + quadratic.constant
            gy += quadratic.vector
            gy *= 2.0
        else:
            values = None if rows is None else self._values(term, block, rows, n, workspace)
            column = block.columns.start if values is rows else 0
            products = InnerProducts(block, y, single=self._plan.single, workspace=workspace)
            for start in range(0, len(block.scaled), POINTS_PER_TILE):
                tile = slice(start, min(start + POINTS_PER_TILE, len(block.scaled)))
                q = products.forward(tile)
                energy, weighted, slopes = kernel.contract(
                    q, norms, block.norms[tile], weights[tile], values, column + start
                )
                energies += energy
                if self.gradients is None:
                    continue
                products.backward(weighted, tile, gy if start == 0 else piece)
                if start:
                    gy += piece
                if slopes is not None:
                    norm_slopes = slopes if norm_slopes is None else norm_slopes + slopes
            if rows is not None and values is not None:
                self._note_prior(term, block, index, features, first, rows, values, norms)
        _add_energies(term, features, energies, self.local)
        if self.gradients is not None:
            _add_gradients(term, view, block, features, scaled, gy, norm_slopes, energies, self.gradients, workspace)

    @staticmethod
    def _values(term: BasisTerm, block: SparseBlock, rows: FloatArray, n: int, workspace: Workspace) -> FloatArray:
        """Where kernel values of n instances go: straight into the rows where all atoms of the block are instances."""
        if term.engine.is_atomic and n == len(rows):
            return rows
        return workspace.array("values", n, len(block.scaled))

    def _note_prior(
        self, term: BasisTerm, block: SparseBlock, index: int, features: Features, first: int, rows: FloatArray,
        values: FloatArray, norms: FloatArray,
    ) -> None:  # fmt: skip
        """Rows of the atoms from kernel values of instances; prior of atomic terms, residual of the others."""
        assert self._posterior is not None
        where = features.centres - first
        if term.engine.is_atomic:
            if values is not rows:
                rows[where, block.columns] = values
            prior = term.kernel.diag_value(norms if features.squares is None else features.squares)
            self._found[3, features.centres] += prior * self._posterior.variance_scale(index)
            return
        starts = np.flatnonzero(np.diff(where, prepend=-1))
        rows[where[starts], block.columns] += np.add.reduceat(features.factors[:, None] * values, starts, axis=0)
        residual = self._posterior.prior_residual(term.kernel.diag_value(norms), values, index)
        np.add.at(self._found[4], features.centres, np.abs(features.factors) * np.sqrt(residual))

    def _variances(self, first: int, last: int, rows: FloatArray, workspace: Workspace) -> None:
        assert self._forms is not None
        numbers = self._numbers[first:last]
        for species in np.unique(numbers):
            own = np.flatnonzero(numbers == species)
            form = self._forms.of(int(species))
            phi = rows if len(own) == len(rows) else rows[own]
            if self._uncertainty == "total":
                self._found[0, first + own] = form.total_reduction(phi, workspace)
            else:
                self._found[1, first + own], self._found[2, first + own] = form.parts(phi, workspace)

    def variance(self) -> LocalVariance | None:
        """Variances from what was found; terms are independent a priori, so that theirs add."""
        if self._uncertainty == "none":
            return None
        reduction, seen, data, prior, others = self._found
        others = others**2
        if self._uncertainty == "total":
            return LocalVariance(_clipped(prior - reduction, prior) + others)
        residual = _clipped(prior - seen, prior)
        with np.errstate(invalid="ignore", divide="ignore"):
            novelty = np.clip(residual / prior, 0.0, 1.0)
        return LocalVariance(data + residual + others, data, residual + others, novelty)


class _CommitteePass(_Pass):
    """The same for the weights of several members: what belongs to one of them comes last."""

    def __init__(self, basis: SparseBasis, plan: CommitteePlan, batch: AtomsBatch, neighbours: NeighbourList) -> None:
        unused = PredictionPlan(plan.weights[0], ())
        super().__init__(basis, unused, batch, neighbours, False, "none", None, None)
        self._members_plan = plan
        n = len(plan.weights)
        self.all_local = np.zeros((n, batch.n_atoms))
        self.all_gradients = np.zeros((n, neighbours.n_edges, 3))

    def _instances(
        self, term: BasisTerm, view: View, block: SparseBlock, index: int, features: Features, first: int,
        rows: FloatArray | None, workspace: Workspace,
    ) -> None:  # fmt: skip
        scaled = term.kernel.scale_features(features.x)
        n, (m, r) = len(scaled), block.scaled.shape
        y = scaled if block.projection is None else block.reduce(scaled, workspace.array("reduced", n, r))
        gy = workspace.array("gy", n, r)
        forms = self._members_plan.quadratic[index]
        weights = self._members_plan.weights[:, block.columns]
        sums, slopes, norm_slopes = None, None, None
        if forms is None:
            q = np.dot(y, block.scaled.T, out=workspace.array("q", n, m))
            norms = np.einsum("nd,nd->n", scaled, scaled)
            values, slopes, k_n = term.kernel.value_and_slopes(q, norms, block.norms, overwrite_q=True)
            sums = weights @ values.T
            norm_slopes = None if k_n is None else weights @ k_n.T
        for member, w in enumerate(weights):
            if forms is not None:
                form = forms[member]
                np.dot(y, form.matrix, out=gy)
                energies = np.einsum("nr,nr->n", gy, y) + 2.0 * (y @ form.vector) + form.constant
                gy += form.vector
                gy *= 2.0
            else:
                assert sums is not None
                assert slopes is not None
                energies = sums[member]
                weighted = np.multiply(slopes, w, out=workspace.array("weighted", n, m))
                np.dot(weighted, block.scaled, out=gy)
            _add_energies(term, features, energies, self.all_local[member])
            _add_gradients(
                term, view, block, features, scaled, gy, None if norm_slopes is None else norm_slopes[member],
                energies, self.all_gradients[member], workspace,
            )  # fmt: skip


def _add_energies(term: BasisTerm, features: Features, energies: FloatArray, local: FloatArray) -> None:
    """Energies (n,) of instances to their atoms."""
    if term.engine.is_atomic:
        local[features.centres] += energies
    else:
        np.add.at(local, features.centres, features.factors * energies)


def _add_gradients(
    term: BasisTerm, view: View, block: SparseBlock, features: Features, scaled: FloatArray, gy: FloatArray,
    norm_slopes: FloatArray | None, energies: FloatArray, gradients: FloatArray, workspace: Workspace,
) -> None:  # fmt: skip
    """From dE/dy (n, r), with y the scaled and reduced features, and dE/d|x~|^2 (n,) to edges (n_edges, 3)."""
    gx = block.expand(gy, None if block.projection is None else workspace.array("gx", *scaled.shape))
    if norm_slopes is not None:
        gx += 2.0 * norm_slopes[:, None] * scaled
    gx = term.kernel.scale_features(gx)
    if not term.engine.is_atomic:
        gx = gx * features.factors[:, None]
    view.pullback(features, gx, energies, gradients)


def _clipped(variance: FloatArray, prior: FloatArray) -> FloatArray:
    """Variances not below zero, with a warning where more than rounding is clipped."""
    n_clipped = int(np.count_nonzero(variance < -_ROUNDING * prior))
    if n_clipped:
        warnings.warn(
            f"{n_clipped} of {len(variance)} local variances were negative and set to zero (lowest "
            f"{np.nanmin(variance):.3g} eV^2); K_MM is ill-conditioned",
            VarianceWarning,
            stacklevel=3,
        )
    return np.maximum(variance, 0.0)

"""The fitted state of a potential: everything that prediction needs, and nothing of how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from gapkit.descriptors.base import check_species
from gapkit.descriptors.soap.descriptor import SOAPEngine
from gapkit.descriptors.soap.truncation import rotate
from gapkit.gp.basis import SparseBasis
from gapkit.gp.posterior import Posterior, SandwichPosterior
from gapkit.gp.prediction import PredictionPlan, Uncertainty, predict
from gapkit.gp.variance.local import LocalVarianceForms
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.potential.predictions import Predictions
from gapkit.structures import AtomsBatch
from gapkit.targets import to_voigt
from gapkit.terms.pairs import Baseline
from gapkit.typing import FloatArray
from gapkit.workspace import WorkspacePool


@dataclass(frozen=True, eq=False)
class SparseModel:
    """E = sum_i e0[Z_i] + baseline + sum over instances and sparse points.

    Attributes
    ----------
    basis : SparseBasis
    posterior : Posterior
        With the scales delta of every block, eV.
    weights : ndarray (M,)
        Multiply unit-scale kernel values, eV.
    energies : dict of int to float
        Reference energies in eV by atomic number.
    baseline : Baseline or None
    """

    basis: SparseBasis
    posterior: Posterior
    weights: FloatArray
    energies: dict[int, float]
    baseline: Baseline | None = None
    _workspaces: WorkspacePool = field(default_factory=WorkspacePool, repr=False)

    @cached_property
    def _plans(self) -> tuple[PredictionPlan, PredictionPlan]:
        """In double and, as far as that is harmless, in single precision."""
        return tuple(PredictionPlan.of(self.basis, self.weights, single=single) for single in (False, True))  # type: ignore[return-value]

    @cached_property
    def _variances(self) -> LocalVarianceForms:
        return LocalVarianceForms(self.basis, self.posterior)

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers known to the model, ascending."""
        return tuple(sorted(self.energies))

    @property
    def reach(self) -> float:
        """Longest edge that counts, Å."""
        return max(self.basis.reach, 0.0 if self.baseline is None else self.baseline.cutoff)

    def neighbours(self, batch: AtomsBatch, skin: float = 0.0) -> NeighbourList:
        """Neighbour list with the reach of the model; UnknownSpeciesError before anything is computed."""
        check_species(batch.species, self.species)
        return build_neighbour_list(batch, self.reach + skin)

    def predict(
        self, batch: AtomsBatch, neighbours: NeighbourList, *, uncertainty: Uncertainty = "none",
        single: bool = False, n_jobs: int | None = None,
    ) -> Predictions:  # fmt: skip
        """Evaluate on a batch with its neighbour list."""
        result = predict(
            self.basis, self.weights, batch, neighbours, uncertainty=uncertainty, posterior=self.posterior,
            variances=self._variances, n_jobs=n_jobs, plan=self._plans[single], workspaces=self._workspaces,
        )  # fmt: skip
        local = result.local_energies + self._table()[batch.numbers]
        forces, virials = result.forces, result.virials
        assert forces is not None
        assert virials is not None
        if self.baseline is not None:
            extra = self.baseline(batch, neighbours)
            local, forces, virials = local + extra[0], forces + extra[1], virials + extra[2]
        virials = 0.5 * (virials + virials.transpose(0, 2, 1))
        uncertain: dict[str, Any] = {}
        if result.variance is not None:
            uncertain = {
                "local_energies_std": np.sqrt(result.variance.total),
                "local_data_variance": result.variance.data,
                "local_prior_variance": result.variance.prior_residual,
                "novelty": result.variance.novelty,
            }
        return Predictions(
            energy=np.add.reduceat(local, batch.offsets[:-1]),
            forces=forces,
            stress=-to_voigt(virials) / batch.volumes[:, None],
            virial=virials,
            local_energies=local,
            offsets=batch.offsets,
            **uncertain,
        )

    def offsets(self, batch: AtomsBatch) -> tuple[FloatArray, tuple[FloatArray, FloatArray] | None]:
        """What the sparse Gaussian process does not model: energies (n_frames,), baseline's forces and virials."""
        energy = np.bincount(batch.frame_of_atom, self._table()[batch.numbers], batch.n_frames).astype(np.float64)
        return add_baseline(self.baseline, batch, energy)

    def _table(self) -> FloatArray:
        table = np.zeros(max(self.energies) + 1)
        table[list(self.energies)] = list(self.energies.values())
        return table

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Sparse points, weights and posterior triangle."""
        arrays = {"weights": self.weights, "posterior": self.posterior.R, "scales": np.array(self.posterior.scales)}
        if isinstance(self.posterior, SandwichPosterior):
            arrays["scores"] = self.posterior.scores
        for i, term in enumerate(self.basis.terms):
            for j, block in enumerate(term.blocks):
                arrays[f"points_{i}_{j}"] = block.points if block.projection is None else block.scaled
                if block.projection is not None:
                    arrays[f"projection_{i}_{j}"] = block.projection
            if isinstance(term.engine, SOAPEngine) and term.engine.rotation is not None:
                arrays[f"rotation_{i}"] = term.engine.rotation
                arrays[f"kept_{i}"] = term.engine.tables.kept
        return arrays

    def blocks(self) -> list[list[list[int]]]:
        """Species of the blocks of every term, in the order of `to_arrays`."""
        return [[list(block.block) for block in term.blocks] for term in self.basis.terms]

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        blocks: list[list[list[int]]],
        engines: list[Any],
        kernels: list[Any],
        energies: dict[int, float],
        baseline: Baseline | None,
    ) -> SparseModel:
        """The model whose `to_arrays` and `blocks` are given."""
        points = [
            [
                (tuple(block), arrays[f"points_{i}_{j}"], arrays.get(f"projection_{i}_{j}"))
                for j, block in enumerate(of_term)
            ]
            for i, of_term in enumerate(blocks)
        ]
        engines = [
            rotate(engine, arrays[f"rotation_{i}"], arrays[f"kept_{i}"]) if f"rotation_{i}" in arrays else engine
            for i, engine in enumerate(engines)
        ]
        basis = SparseBasis.restore(engines, kernels, points)
        posterior = Posterior(arrays["posterior"], basis.prior(), arrays["scales"].tolist())
        if "scores" in arrays:
            posterior = posterior.with_scores(arrays["scores"])
        return cls(basis, posterior, arrays["weights"], energies, baseline)


def add_baseline(
    baseline: Baseline | None, batch: AtomsBatch, energy: FloatArray
) -> tuple[FloatArray, tuple[FloatArray, FloatArray] | None]:
    """Add the baseline's energies (n_frames,); also its forces (n_atoms, 3) and virials (n_frames, 3, 3)."""
    if baseline is None:
        return energy, None
    local, forces, virials = baseline(batch, build_neighbour_list(batch, baseline.cutoff))
    return energy + np.bincount(batch.frame_of_atom, local, batch.n_frames), (forces, virials)

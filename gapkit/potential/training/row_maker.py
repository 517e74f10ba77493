"""Training rows of one model: basis, known energies and the noise that weighs the rows."""

from __future__ import annotations

from dataclasses import dataclass

from gapkit.gp.basis import SparseBasis
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import Noise
from gapkit.potential.training.checkpoint import Checkpoint
from gapkit.potential.training.rows import TrainingTargets, accumulate, make_targets
from gapkit.structures import AtomsBatch
from gapkit.terms.known import KnownEnergy


@dataclass(frozen=True, eq=False)
class RowMaker:
    """Makes design rows and targets of labelled frames.

    Attributes
    ----------
    basis : SparseBasis
    known : KnownEnergy
        Subtracted from the labels.
    noise : Noise
        As given to the fit: sigmas of rows are relative to it.
    """

    basis: SparseBasis
    known: KnownEnergy
    noise: Noise

    def targets(self, batch: AtomsBatch) -> TrainingTargets:
        """Labels less the known energies, with masks and relative sigmas."""
        assert batch.labels is not None
        return make_targets(batch, batch.labels, self.known, self.noise)

    def fold(
        self, batch: AtomsBatch, factors: dict[str, TriangularFactor], *, memory: float | None = None,
        n_jobs: int | None = None, progress: bool = False, checkpoint: Checkpoint | None = None,
    ) -> None:  # fmt: skip
        """Fold all labelled rows of a batch into `factors`; options as for `training.rows.accumulate`."""
        accumulate(
            self.basis, batch, self.targets(batch), factors, memory=memory, n_jobs=n_jobs, progress=progress,
            checkpoint=checkpoint,
        )  # fmt: skip

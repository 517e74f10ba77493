"""A fitted GAP as an energy term of another: delta learning."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from gapkit.descriptors.species import check_species
from gapkit.io.registry import registered
from gapkit.neighbours import NeighbourList
from gapkit.options.checked import check_fields
from gapkit.options.kinds import Jobs
from gapkit.potential.files import read_state, write_state
from gapkit.potential.state import FittedState, Potential, state_of
from gapkit.structures import AtomsBatch
from gapkit.terms.base import EnergyTerm, TermValues
from gapkit.typing import BoolArray, FloatArray


@registered("EnergyTerm")
@dataclass(frozen=True, eq=False)
class ModelTerm(EnergyTerm):
    """Energy of another fitted GAP, its reference energies and energy terms included.

    The new model learns the difference between its labels and this one.  The file of the new model holds this one
    whole, so that it can be copied alone.

    Parameters
    ----------
    model : GAP, FittedState or path
        A fitted model, its state, or the file of one.
    n_jobs : int or None
        Threads; None: all cores, 1 where several processes share them.

    Raises
    ------
    NotFittedModelError
        If the model is not fitted.
    """

    is_potential: ClassVar[bool] = True
    model: Potential | FittedState | str | os.PathLike[str]
    n_jobs: Jobs | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.model, str | os.PathLike | FittedState):
            state_of(self.model)

    def __sklearn_clone__(self) -> ModelTerm:
        return self  # a clone of the model would not be fitted

    @cached_property
    def state(self) -> FittedState:
        """The fitted state, read when it is first needed."""
        if isinstance(self.model, str | os.PathLike):
            return read_state(self.model)[0]
        return self.model if isinstance(self.model, FittedState) else state_of(self.model)

    @property
    def reach(self) -> float:
        return self.state.reach

    @property
    def is_local(self) -> bool:
        return self.state.known.is_local

    def evaluate(
        self, batch: AtomsBatch, neighbours: NeighbourList | None, *, centres: BoolArray | None = None,
        upstream: FloatArray | None = None, inputs: Mapping[str, FloatArray] | None = None,
    ) -> TermValues:  # fmt: skip
        assert neighbours is not None
        check_species(batch.species, self.state.species)
        found = self.state.predict(batch, neighbours, centres=centres, upstream=upstream, n_jobs=self.n_jobs)
        return TermValues(found.local_energies, found.forces, found.virial)

    def to_plain(self) -> dict[str, object]:
        if isinstance(self.model, str | os.PathLike):
            content = Path(self.model).read_bytes()
        else:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.gapkit"
                write_state(path, self.state, {}, factors=False)
                content = path.read_bytes()
        return {"file": base64.b64encode(content).decode(), "n_jobs": self.n_jobs}

    @classmethod
    def from_plain(cls, file: str, n_jobs: int | None) -> ModelTerm:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.gapkit"
            path.write_bytes(base64.b64decode(file))
            return cls(read_state(path)[0], n_jobs)

"""ASE calculator of a fitted potential, with uncertainties as properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from ase import Atoms

from gapkit.calculator.base import PLAIN, PotentialCalculator, Skin, plain_results
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.prediction import Uncertainty
from gapkit.neighbours import NeighbourList
from gapkit.options.checked import checked
from gapkit.options.kinds import Jobs, PathLike
from gapkit.potential import GAP, load
from gapkit.potential.error_bars.extrapolation import compare_with_training, detector_of
from gapkit.potential.error_bars.standard_deviations import Std, check_std, predict_with_error_bars
from gapkit.potential.state import state_of
from gapkit.structures import AtomsBatch
from gapkit.typing import FloatArray

PARTS = ("energies_data_std", "energies_prior_std")
SIGNS = ("novelty", "extrapolating")
ERROR_BARS = ("energy_std", "forces_std", "stress_std")


class GAPCalculator(PotentialCalculator):
    """Energy, forces, stress and per-atom uncertainty from a fitted `GAP`.

    Parameters
    ----------
    model : GAP or path
        A fitted model or the file of one.
    skin : float
        Å by which the neighbour list reaches beyond the cutoff, so that it serves many steps of molecular dynamics.
    single_precision : bool
        Multiply features that are small in all sparse points in single precision.  Forces of default models of silicon
        changed by 5e-8 eV/Å (470 sparse points) and 2.5e-6 eV/Å (2,000).  A rigid translation changes the energy of 32
        atoms by less than 1e-10 eV in double, and by less than 1e-6 eV in single precision.
    std : {"calibrated", "epistemic", "total"} or None
        What `energy_std`, `forces_std` and `stress_std` are, see `Predictions`; None: calibrated if the model is.
    n_jobs : int or None
        Threads; None: as the model.
    **kwargs
        As for every ASE calculator (`atoms`, `directory`, `label`).

    Notes
    -----
    Properties, in ASE's units and signs: `energy`, `free_energy` (eV), `energies` (n_atoms,; eV), `forces` (n_atoms, 3;
    eV/Å), `stress` (6,; eV/Å^3, only for a three-dimensional cell), and on request `energies_std` (n_atoms,; eV;
    epistemic, whatever `std` is), its parts `energies_data_std` (posterior: what more data would reduce) and
    `energies_prior_std` (prior residual: what the sparse points cannot see).

    On request, for about half the price of a plain step on top: `novelty` (n_atoms,; over the threshold of the model,
    above 1 is unlike the training set) and `extrapolating` (n_atoms,), flags of atoms whose force depends on an atom
    with any sign of extrapolation, where no error bar was ever checked.  They need a model with thresholds (any but one
    of ``calibration=None``).

    On request, for some tens of times the price of a plain step: `energy_std` (eV), `forces_std` (n_atoms, 3; eV/Å) and
    `stress_std` (6,; eV/Å^3), the calibrated error bars.  Request them with ``atoms.calc.get_property("forces_std")``.
    """

    implemented_properties: ClassVar[list[str]] = [*PLAIN, "energies_std", *PARTS, *SIGNS, *ERROR_BARS]

    @checked
    def __init__(
        self, model: GAP | PathLike, *, skin: Skin = 0.5, single_precision: bool = False, std: Std | None = None,
        n_jobs: Jobs | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        self.model = model if isinstance(model, GAP) else load(model)
        self.single_precision = single_precision
        self.std = check_std(state_of(self.model), std)
        super().__init__(self.model, skin, n_jobs, **kwargs)

    def _compute(self, batch: AtomsBatch, neighbours: NeighbourList, properties: Sequence[str], changed: bool) -> None:
        state = self.model.state_
        options: dict[str, Any] = {"single": self.single_precision, "n_jobs": self.n_jobs}
        signs = any(name in SIGNS for name in properties)
        if signs:
            detector_of(state)  # errors before the work
        if any(name in ERROR_BARS for name in properties):
            p = predict_with_error_bars(state, batch, neighbours, self.std, **options)
        else:
            uncertainty: Uncertainty = "unseen" if signs else "none"
            if "energies_std" in properties:
                uncertainty = "parts" if signs else "total"
            if any(name in PARTS for name in properties):
                uncertainty = "parts"
            # the features serve twice where the vectors are compared with those of the training set
            flags = "extrapolating" in properties
            applied = AppliedBasis.of(state.sparse.basis, batch, neighbours, keep=flags)
            p = state.evaluate(applied, uncertainty=uncertainty, **options)
            if flags:
                assert p.unseen is not None
                p = replace(p, extrapolating=compare_with_training(state, applied, p.unseen)[0].forces)
        # the same atoms again, now for more: what is known stays
        self.results = ({} if changed else self.results) | plain_results(p)
        found = {
            "energies_std": p.local_energies_std, "novelty": p.novelty, "forces_std": p.forces_std,
            "extrapolating": p.extrapolating,
        }  # fmt: skip
        self.results |= {name: values for name, values in found.items() if values is not None}
        if p.local_data_variance is not None and p.local_prior_variance is not None:
            self.results["energies_std"] = np.sqrt(p.local_data_variance + p.local_prior_variance)
            self.results["energies_data_std"] = np.sqrt(p.local_data_variance)
            self.results["energies_prior_std"] = np.sqrt(p.local_prior_variance)
        if p.energy_std is not None:
            self.results["energy_std"] = float(p.energy_std[0])
        if p.stress_std is not None and np.isfinite(p.stress_std[0]).all():
            self.results["stress_std"] = p.stress_std[0]

    def get_energies_std(self, atoms: Atoms | None = None) -> FloatArray:
        """Standard deviation (n_atoms,) in eV of the local energies."""
        return np.asarray(self.get_property("energies_std", atoms))

    def get_novelty(self, atoms: Atoms | None = None) -> FloatArray:
        """Novelty (n_atoms,) of every atom's neighbourhood over the threshold of the model: above 1 is beyond it."""
        return np.asarray(self.get_property("novelty", atoms))

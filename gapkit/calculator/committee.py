"""ASE calculator of a committee: the potential itself drives, its members give the error bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gapkit.calculator.base import PLAIN, PotentialCalculator, Skin, plain_results
from gapkit.neighbours import NeighbourList
from gapkit.options.checked import checked
from gapkit.options.kinds import Jobs
from gapkit.potential.committee import Committee
from gapkit.structures import AtomsBatch

SPREADS = ("energy_std", "forces_std", "stress_std")
MEMBERS = ("energy_committee", "forces_committee")


class CommitteeCalculator(PotentialCalculator):
    """Energy, forces and stress of a potential, and their spread over a committee.

    Parameters
    ----------
    committee : Committee
    skin : float
        Å by which the neighbour list reaches beyond the cutoff, so that it serves many steps of molecular dynamics.
    n_jobs : int or None
        Threads; None: as the model.
    **kwargs
        As for every ASE calculator (`atoms`, `directory`, `label`).

    Notes
    -----
    Properties, in ASE's units and signs: `energy`, `free_energy` (eV), `energies` (n_atoms,; eV), `forces` (n_atoms, 3;
    eV/Å) and `stress` (6,; eV/Å^3, only for a three-dimensional cell) are those of ``committee.model``, not averages
    over members, and cost what `GAPCalculator` costs.  On request, all in one pass: the standard deviations over
    members `energy_std` (eV), `forces_std` (n_atoms, 3; eV/Å) and `stress_std` (6,; eV/Å^3), and what the members say,
    `energy_committee` (n_members,; eV) and `forces_committee` (n_members, n_atoms, 3; eV/Å).
    """

    implemented_properties: ClassVar[list[str]] = [*PLAIN, *SPREADS, *MEMBERS]

    @checked
    def __init__(self, committee: Committee, *, skin: Skin = 0.5, n_jobs: Jobs | None = None, **kwargs: Any) -> None:
        self.committee = committee
        super().__init__(committee.model, skin, n_jobs, **kwargs)

    def _compute(self, batch: AtomsBatch, neighbours: NeighbourList, properties: Sequence[str], changed: bool) -> None:
        state = self.committee.model.state_
        applied = state.apply(batch, neighbours)
        # the same atoms again, now for their error bars: what is known stays
        if changed or "energy" not in self.results:
            self.results = plain_results(state.evaluate(applied, n_jobs=self.n_jobs))
        with_spread = any(name in SPREADS for name in properties)
        if not with_spread and not any(name in MEMBERS for name in properties):
            return
        p = self.committee.evaluate(applied, n_jobs=self.n_jobs)
        self.results |= {"energy_committee": p.energy[:, 0], "forces_committee": p.forces}
        if with_spread or len(self.committee) > 1:
            self.results |= {"energy_std": float(p.energy_std[0]), "forces_std": p.forces_std}
            if "stress" in self.results:
                self.results["stress_std"] = p.stress_std[0]

"""Energy terms that drive every registry-wide test, and toy terms of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones as LennardJonesOfASE
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, SOAP, Noise, Term, TwoBody
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.model_term import ModelTerm
from gapkit.structures import to_batch
from gapkit.terms import ZBL, CalculatorTerm, EnergyTerm, LennardJones, PairTable, PairTables, TermValues
from gapkit.terms.pairs import PairTerm, switched
from tests.descriptors.cases import structure

LJ_OF_ASE = {"sigma": 2.1, "epsilon": 0.1, "rc": 4.0, "ro": 3.0, "smooth": True}


@cache
def fitted_model() -> GAP:
    """Fitted to a few frames of all three species, with a term of its own."""
    frames = [structure(kind, 3, seed) for kind in ("bulk", "molecule") for seed in range(3)]
    for atoms in frames:
        calc = LennardJonesOfASE(**LJ_OF_ASE)
        energy, forces = calc.get_potential_energy(atoms), calc.get_forces(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    terms = [
        Term(TwoBody(3.6), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), n_sparse=6),
        Term(SOAP(3.6, 3, 2, 0.5), DotProduct(0.3, 2, delta_bounds="fixed"), n_sparse=12),
    ]
    noise = Noise(energy=0.01, forces=0.1, virial=0.1)
    model = GAP(terms, noise=noise, calibration=None, n_jobs=1, energy_terms=[ZBL(2.6, 1.0)])
    return model.fit(frames)


# One case at least for each registered term.
CASES: dict[str, Callable[[], EnergyTerm]] = {
    "zbl": lambda: ZBL(3.0, 1.5),
    "zbl-from-zero": lambda: ZBL(3.4, 0.0),
    "lennard-jones": lambda: LennardJones({"Si": 0.3, "O": 0.1, "Ge": 0.2}, {"Si": 2.1, "O": 1.7, "Ge": 2.2}, 4.0),
    "pair-tables": lambda: PairTables(
        [
            PairTable([14, 14], [1.0, 2.0, 2.6, 3.3, 4.0], [5.0, 1.0, -0.5, -0.2, 0.0], (None, 0.0)),
            PairTable([32, 8], [1.0, 2.5, 3.9], [2.0, 0.3, 0.0], (-1.0, 0.0)),
        ]
    ),
    "calculator": lambda: CalculatorTerm("ase.calculators.lj.LennardJones", LJ_OF_ASE),
    "model": lambda: ModelTerm(fitted_model()),
}
LOCAL = tuple(name for name in CASES if name != "calculator")
PAIRS = ("zbl", "zbl-from-zero", "lennard-jones", "pair-tables")


def evaluate(term, frames, **given) -> TermValues:
    """A term, or a KnownEnergy, on frames."""
    batch = to_batch(frames, labels=False)
    return term.evaluate(batch, build_neighbour_list(batch, term.reach) if term.reach else None, **given)


def energies(term, **given):
    """Energies (n_frames,) of frames, or of `upstream` times the local energies in each of them."""
    factors = given.pop("upstream", None)

    def of(frames: list[Atoms]) -> np.ndarray:
        batch = to_batch(frames, labels=False)
        given_here = {name: np.tile(value, len(frames)) for name, value in given.items() if name != "inputs"}
        if "inputs" in given:
            given_here["inputs"] = {name: np.tile(value, len(frames)) for name, value in given["inputs"].items()}
        local = evaluate(term, frames, **given_here).local_energies
        weights = np.ones(batch.n_atoms) if factors is None else np.tile(factors, len(frames))
        return np.bincount(batch.frame_of_atom, weights * local, batch.n_frames)

    return of


@dataclass(frozen=True)
class PairCharges(PairTerm):
    """Charges that neighbours of other species give and take, from 2 q_i = sum_j (Z_i - Z_j) / 20 exp(-r)."""

    provides = "charges"
    cutoff: float = 3.5

    @property
    def reach(self):
        return self.cutoff

    def pair(self, r, z1, z2):
        value = 0.05 * (z1 - z2) * np.exp(-r)
        return switched(value, -value, r, self.cutoff, 2.0)


@dataclass(frozen=True)
class Coulomb(EnergyTerm):
    """E = k sum_i<j q_i q_j / sqrt(r^2 + a^2) within each frame, without images; needs charges."""

    needs = ("charges",)
    softening: float = 1.0

    @property
    def reach(self):
        return None

    def evaluate(self, batch, neighbours, *, centres=None, upstream=None, inputs: Mapping | None = None):
        q = inputs["charges"]
        u = np.ones(batch.n_atoms) if upstream is None else upstream
        u = u if centres is None else np.where(centres, u, 0.0)
        vectors = batch.positions[:, None] - batch.positions
        same = batch.frame_of_atom[:, None] == batch.frame_of_atom
        np.fill_diagonal(same, False)
        f = np.where(same, 14.399645 / np.sqrt((vectors**2).sum(axis=2) + self.softening**2), 0.0)
        local = 0.5 * q * (f @ q)
        pair = 0.5 * (u[:, None] + u)
        along = pair * np.outer(q, q) * f**3 / 14.399645**2
        forces = np.einsum("ij,ija->ia", along, vectors)
        virials = np.zeros((batch.n_frames, 3, 3))
        np.add.at(virials, batch.frame_of_atom, 0.5 * np.einsum("ij,ija,ijb->iab", along, vectors, vectors))
        if centres is not None:
            local = np.where(centres, local, 0.0)
        return TermValues(local, forces, virials, {"charges": (pair * f) @ q})

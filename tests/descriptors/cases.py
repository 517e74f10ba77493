"""Descriptors and structures that drive every registry-wide test, and a toy model over one descriptor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk

from examples.custom_descriptor import Shells
from gapkit.descriptors import (
    SOAP,
    Channels,
    CosineCutoff,
    DecayingCutoff,
    Descriptor,
    TensorReduced,
    ThreeBody,
    TripletDistances,
    TwoBody,
)
from gapkit.descriptors.base import Engine
from gapkit.descriptors.dscribe import DScribeACSF, DScribeSOAP
from gapkit.gp.basis import SparseBasis
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.prediction import PredictionPlan, predict
from gapkit.gp.rows import design_rows
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch

# One case at least for each class with an engine; a new class gets all tests by an entry here.
CASES: dict[str, Descriptor] = {
    "soap-gaussian": SOAP(4.0, 4, 3, 0.5),
    "soap-polynomial": SOAP(
        3.6, 4, 3, 0.5, basis="polynomial", cutoff_function=CosineCutoff(1.0), normalize=False, central_weight=0.0
    ),
    "soap-gto": SOAP(3.8, 6, 4, 0.45, basis="gto", transition=1.5, central_weight=0.7),
    "soap-channels": SOAP(4.0, 5, 3, 0.5, compression=Channels(nu_R=2, nu_S=1)),
    "soap-channel-by-sum": SOAP(3.8, 4, 3, 0.5, normalize=False, compression=Channels(nu_R=1, nu_S=1)),
    "soap-tensor-reduced": SOAP(4.0, 4, 3, 0.5, transition=2.0, compression=TensorReduced(10, seed=2)),
    "soap-decaying": SOAP(3.8, 4, 3, 0.5, cutoff_function=DecayingCutoff(0.8, 2.0, 1.5, 1.0)),
    "two-body": TwoBody(4.0),
    "two-body-cosine": TwoBody(3.6, cutoff_function=CosineCutoff(0.8)),
    "three-body": ThreeBody(3.2),
    "triangles": TripletDistances(3.2, 0.7),
    "two-layers": Shells(3.2),
    "dscribe-soap": DScribeSOAP(4.0, 2, 2, 0.5, smooth=True),
    "dscribe-acsf": DScribeACSF(3.2, g2=[[0.5, 1.5], [4.0, 2.4]], g4=[[0.01, 1.0, 1.0], [0.01, 4.0, -1.0]]),
}
# Second derivatives are continuous, too.
TWICE_SMOOTH = (
    "soap-gaussian", "soap-gto", "soap-channels", "soap-channel-by-sum", "soap-tensor-reduced",
    "two-body", "three-body", "triangles", "two-layers",
)  # fmt: skip

SPECIES = {1: (14,), 3: (8, 14, 32)}
STRUCTURES = ("bulk", "small", "slab", "molecule")


def structure(kind: str, n_species: int, seed: int = 0) -> Atoms:
    """A disordered structure with `n_species` species: many images, one open direction or no cell at all."""
    rng = np.random.default_rng(seed)
    if kind == "bulk":
        atoms = bulk("Si", cubic=True)
        strain = rng.normal(scale=0.03, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    elif kind == "small":
        cell = [[2.9, 0.2, 0.0], [1.3, 2.7, 0.1], [0.3, 1.1, 3.3]]
        atoms = Atoms("Si3", scaled_positions=[[0, 0, 0], [0.45, 0.5, 0.2], [0.1, 0.4, 0.6]], cell=cell, pbc=True)
    elif kind == "slab":
        atoms = bulk("Si", cubic=True)
        atoms.set_cell(atoms.cell.array + np.diag([0.0, 0.0, 7.0]))
        atoms.pbc = (True, True, False)
    else:
        grid = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 1, 1], [2, 0, 1]])
        atoms = Atoms("Si7", positions=2.3 * grid)
    atoms.positions += rng.normal(scale=0.12, size=(len(atoms), 3))
    atoms.numbers = np.resize(SPECIES[n_species], len(atoms))
    return atoms


def kernel_of(descriptor: Descriptor):
    if descriptor.engine((14,)).is_atomic:
        return DotProduct(zeta=3)
    return SquaredExponential(length_scale=(1.0, 1.5, 0.8) if isinstance(descriptor, ThreeBody) else 0.7)


@dataclass
class Toy:
    """A linear model over one descriptor with sparse points from disordered structures and random weights."""

    basis: SparseBasis
    weights: np.ndarray

    @classmethod
    def make(
        cls, descriptor: Descriptor, species: tuple[int, ...], n_points: int = 4, *, engine: Engine | None = None,
        tolerance: float = 0.0,
    ) -> Toy:  # fmt: skip
        """With `engine` in place of the descriptor's own, and sparse points projected as far as `tolerance` allows."""
        rng = np.random.default_rng(5)
        frames = [structure(kind, 1, seed=9) for kind in ("bulk", "molecule")]
        for atoms, by in zip(frames, (1, 2), strict=True):
            atoms.numbers = np.resize(species, len(atoms) * by)[::by][: len(atoms)]
        batch = to_batch(frames, labels=False)
        engine = descriptor.engine(species) if engine is None else engine
        view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
        points = []
        for block in engine.blocks:
            x = view.features(block, view.centres(block)).x
            if len(x):
                points.append((block, x[rng.choice(len(x), min(n_points, len(x)), replace=False)]))
        basis = SparseBasis.build([engine], [kernel_of(descriptor)], [points], tolerance=tolerance)
        # Unnormalised kernels may be large or small: energies of the order of 1 make tolerances mean the same for all.
        scale = np.concatenate([basis.terms[0].kernel.diag_value(block.norms) for block in basis.terms[0].blocks])
        return cls(basis, rng.normal(size=basis.n_columns) / scale)

    def predict(self, frames):
        batch = to_batch(frames, labels=False)
        neighbours = build_neighbour_list(batch, self.basis.reach)
        applied, plan = AppliedBasis.of(self.basis, batch, neighbours), PredictionPlan.of(self.basis, self.weights)
        return predict(applied, plan, n_jobs=1)[0]

    def energies(self, frames):
        batch = to_batch(frames, labels=False)
        return np.add.reduceat(self.predict(frames).local_energies, batch.offsets[:-1])

    def rows(self, frames):
        batch = to_batch(frames, labels=False)
        neighbours = build_neighbour_list(batch, self.basis.reach)
        return design_rows(AppliedBasis.of(self.basis, batch, neighbours))


# Fourth-order central difference: offsets and weights in units of the step.
STENCIL = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1.0, -8.0, 8.0, -1.0]) / 12.0


def numerical_forces(energies, atoms: Atoms, step: float = 3e-4) -> np.ndarray:
    """-dE/dr by differences; `energies` takes a list of frames."""
    offsets, weights = STENCIL
    frames = []
    for i in range(len(atoms)):
        for axis in range(3):
            for offset in offsets:
                moved = atoms.copy()
                moved.positions[i, axis] += offset * step
                frames.append(moved)
    return -(energies(frames).reshape(len(atoms), 3, 4) @ weights) / step


def numerical_virial(energies, atoms: Atoms, step: float = 2e-4) -> np.ndarray:
    """-dE/d(strain), symmetric, by differences; molecules are strained, too."""
    offsets, weights = STENCIL
    frames = []
    for a in range(3):
        for b in range(3):
            for offset in offsets:
                strain = np.eye(3)
                strain[a, b] += 0.5 * offset * step
                strain[b, a] += 0.5 * offset * step
                moved = atoms.copy()
                moved.set_cell(atoms.cell.array @ strain)
                moved.positions = atoms.positions @ strain
                frames.append(moved)
    return -(energies(frames).reshape(3, 3, 4) @ weights) / step


def rotation(seed: int = 3, improper: bool = False) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.linalg.det(q)
    return -q if improper else q


DERIVATIVE = 1e-8  # relative error of a derivative against fourth-order differences


def assert_derivatives(toy: Toy, atoms: Atoms) -> None:
    """Forces and virial of a prediction are the derivatives of its energy."""
    p = toy.predict([atoms])
    forces, virial = numerical_forces(toy.energies, atoms), numerical_virial(toy.energies, atoms)
    scale = np.abs(forces).max()
    assert scale > 1e-3
    np.testing.assert_allclose(p.forces, forces, rtol=0, atol=DERIVATIVE * scale)
    symmetric = 0.5 * (p.virials[0] + p.virials[0].T)
    np.testing.assert_allclose(symmetric, virial, rtol=0, atol=DERIVATIVE * np.abs(virial).max())

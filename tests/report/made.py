"""Results of curation made by hand."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP
from gapkit.curation.coverage import Coverage
from gapkit.curation.influence import FrameInfluence, InfluenceReport, KindInfluence
from gapkit.curation.learning_curve import CurvePoint, LearningCurve
from gapkit.curation.pareto import ParetoFront, ParetoPoint
from gapkit.errors import Comparison, Pairs
from gapkit.structures import AtomsBatch, to_batch

PAIRS = [("C", "C"), ("C", "Si"), ("Si", "Si"), ("C", "Ge"), ("Si", "Ge"), ("Ge", "Ge"), ("C", "Sn"), ("Sn", "Sn")]
TYPES = ["a", "b", "a", "b"]


def coverage(n_pairs: int = 2) -> Coverage:
    """Four frames, of which the last has no strain; of the pairs, each has one count more in each bin."""
    return Coverage(
        edges=np.linspace(0.0, 6.0, 61),
        pairs={pair: np.full(60, k + 1) for k, pair in enumerate(PAIRS[:n_pairs])},
        volumetric_strain=np.array([-0.02, 0.0, 0.05, np.nan]),
        shear_strain=np.array([0.01, 0.03, 0.002, np.nan]),
        volume_per_atom=(10.0, 12.0),
        energy_per_atom=None,
        reach={"C": 0.3},
        covered=None,
        covered_frames=None,
    )


def batch(volumes: list[float | None], energies: list[float | None], n_atoms: int = 2) -> AtomsBatch:
    """Frames of some volume (None: not periodic) and energy (None: no label) per atom, of alternating types."""
    frames = []
    for volume, energy, name in zip(volumes, energies, ["b", "a"] * len(volumes), strict=False):
        positions = 1.5 * np.arange(n_atoms)[:, None] * np.ones(3)
        size = 5.0 if volume is None else np.cbrt(volume * n_atoms)
        atoms = Atoms("Cu" * n_atoms, positions, cell=[size] * 3, pbc=volume is not None)
        atoms.info["config_type"] = name
        if energy is not None:
            atoms.calc = SinglePointCalculator(atoms, energy=energy * n_atoms)
        frames.append(atoms)
    return to_batch(frames, strict=False)


def influence() -> InfluenceReport:
    """Eight frames; the last has no labels, frame 3 no virial.  Cook's distance falls as 1 / (frame + 1)."""
    frames = []
    for i in range(8):
        kinds = {
            "energy": KindInfluence(1, 0.1 * (i + 1), 0.5 + i, 0.0, None),
            "forces": KindInfluence(12, 0.2, 12.0 * (1 + i), 4.0, None),
            "virial": KindInfluence(6, 0.3, 3.0, 0.0, 1.0),
        }
        if i == 3:
            del kinds["virial"]
        labelled = i < 7
        frames.append(
            FrameInfluence(
                i, TYPES[i % 2], 4, kinds if labelled else {}, 1.0 / (i + 1) if labelled else 0.0, 0.1, 0
            )
        )  # fmt: skip
    return InfluenceReport(tuple(frames), 12.0)


def front(*kinds: str) -> ParetoFront:
    """Five points with errors of some kinds: the second is the knee, the last is beaten."""
    table = [(0.001, 0.4, 0.004), (0.0012, 0.2, 0.005), (0.004, 0.1, 0.02), (0.009, 0.09, 0.03), (0.01, 0.5, 0.04)]
    points = []
    for i, row in enumerate(table):
        errors = {kind: row[k] for k, kind in enumerate(("energy", "forces", "stress")) if kind in kinds}
        points.append(ParetoPoint((0.5 * 2**i, 3.0), {"forces": 0.1}, errors, i < 4, np.zeros(1)))
    return ParetoFront(tuple(points), GAP())


def curve(**changes: float | None) -> LearningCurve:
    """Three sizes, not in order, and two seeds for each of two selectors."""
    points = []
    for k, selector in enumerate(("random", "cur")):
        for seed in (0, 1):
            for n in (40, 10, 20):
                error = (1 + k) * (1 + 0.1 * seed) / n
                errors = {"energy_rmse": 0.01 * error, "forces_rmse": error, "stress_rmse": 0.1 * error} | changes
                rmse = {name.removesuffix("_rmse"): value for name, value in errors.items()}
                points.append(CurvePoint(n, 4 * n, dict.fromkeys(rmse, 7.0), rmse, selector=selector, seed=seed))
    return LearningCurve(tuple(points))


def vectors(n: int = 30) -> np.ndarray:
    """(n, 5) points around a mean, with spreads from 5 down to 0.01."""
    rng = np.random.default_rng(3)
    return 2.0 + rng.normal(size=(n, 5)) * np.array([0.1, 5.0, 0.01, 1.0, 0.2])


def comparison() -> Comparison:
    """Energies and forces of eight frames of four atoms, with stds, novelty and flags."""
    rng = np.random.default_rng(4)
    frames, atoms = np.arange(8), np.arange(32)
    pairs = {}
    for name, own, shape in (("energy", frames, (8, 1)), ("forces", atoms // 4, (32, 3))):
        reference, std = rng.normal(size=shape), rng.uniform(0.05, 0.2, shape)
        predicted = reference + std * rng.normal(size=shape)
        pairs[name] = Pairs(own, reference, predicted, std, 1.7 * std, atoms if name == "forces" else None)
    novelty = 0.01 * 10.0 ** (atoms / 12)
    sizes, numbers = np.full(8, 4), np.where(atoms % 4 == 0, 14, 6)
    return Comparison(("a", "b") * 4, sizes, numbers, pairs, "calibrated", novelty > 1.0, novelty)

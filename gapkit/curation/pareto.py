"""Trade-off of errors: test errors over noise ratios, from the triangular factors of a single fit.

A fit with another noise is another solution of the same triangular factors (Foster et al., J. Mach. Learn. Res. 10, 857
(2009), the V method), and a root mean square error is a function of a triangle too: with [K | y] = Q R of the test
rows, |y - K a| = |R_K a - z|.  So the training and the test rows are made once for any number of points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms

from gapkit.descriptors.species import check_species
from gapkit.exceptions import DataError, InputError, NotFittedModelError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import Noise
from gapkit.options.checked import checked
from gapkit.options.kinds import Positive
from gapkit.parallel import limit_blas
from gapkit.potential import GAP
from gapkit.potential.training.estimate import Resources
from gapkit.structures import to_batch
from gapkit.targets import TARGETS, shown_quantities
from gapkit.typing import FloatArray

# Energies against forces, and stresses against both, weigh more than the fitted noise says, and less.
RATIOS = tuple(
    (float(energy), float(virial)) for energy in np.geomspace(0.03, 30.0, 7) for virial in np.geomspace(0.03, 30.0, 5)
)
PURPOSES: dict[str, dict[str, float]] = {
    "dynamics": {"energy": 0.2, "forces": 1.0, "stress": 0.2},
    "thermodynamics": {"energy": 1.0, "forces": 0.3, "stress": 0.3},
    "elasticity": {"energy": 0.2, "forces": 0.2, "stress": 1.0},
}
"""Importance of the errors by purpose: exponents in the product that `ParetoFront.pick` minimises."""


@dataclass(frozen=True)
class ParetoPoint:
    """One noise setting and its errors."""

    # noise of energies and of virials over that of the model; that of forces is the model's
    ratios: tuple[float, float]
    noise: dict[str, float]  # sigma by kind: eV/atom, eV/Å, eV/atom
    # root mean square errors of the labels by "energy" (eV/atom), "forces" (eV/Å) and "stress" (eV/Å^3)
    errors: dict[str, float]
    on_front: bool  # Pareto optimal: no other point is better in one error and not worse in any
    weights: FloatArray = field(repr=False, compare=False)  # (M,)

    def to_dict(self) -> dict[str, Any]:
        """All but the weights."""
        return {k: v for k, v in asdict(self).items() if k != "weights"}


@dataclass(frozen=True)
class ParetoFront:
    """All points, in the order of the ratios."""

    points: tuple[ParetoPoint, ...]
    model: GAP = field(repr=False)

    @property
    def front(self) -> list[ParetoPoint]:
        """Pareto optimal points, by energy error."""
        return sorted((p for p in self.points if p.on_front), key=lambda p: next(iter(p.errors.values())))

    @property
    def knee(self) -> ParetoPoint:
        """The point nearest to having the least of all errors, in logarithms scaled to the front's extent."""
        front = self.front
        logs = _logs(front)
        extent = np.ptp(logs, axis=0)
        scaled = (logs - logs.min(axis=0)) / np.where(extent > 0, extent, 1.0)
        return front[int(np.argmin(np.linalg.norm(scaled, axis=1)))]

    def pick(self, purpose: str | Mapping[str, float]) -> ParetoPoint:
        """The point for a purpose: that with the least product of errors to the power of their importance.

        Parameters
        ----------
        purpose : {"dynamics", "thermodynamics", "elasticity", "balanced"} or mapping
            Importance of "energy", "forces" and "stress"; "balanced": the knee.
        """
        if purpose == "balanced":
            return self.knee
        if isinstance(purpose, str) and purpose not in PURPOSES:
            raise InputError(f"`purpose` must be one of balanced, {', '.join(PURPOSES)}, got {purpose!r}")
        importance = PURPOSES[purpose] if isinstance(purpose, str) else purpose
        front = self.front
        unknown = set(importance) - set(shown_quantities())
        known = np.array([importance.get(kind, 0.0) for kind in front[0].errors])
        if unknown or np.any(known < 0) or not known.any():
            raise InputError(
                f"`purpose` must give importances >= 0, not all zero, to some of {', '.join(front[0].errors)}, got "
                f"{dict(importance)}"
            )
        return front[int(np.argmin(_logs(front) @ known))]

    def fitted(self, point: ParetoPoint) -> GAP:
        """Copy of the model with the noise of a point, as fitted with it and the same kernel scales; not calibrated."""
        model = self.model
        with limit_blas(model.n_jobs, model.n_sparse_):
            return model.with_state(replace(model.state_.solved(noise=point.noise), calibration=None))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"points": [p.to_dict() for p in self.points], "knee": self.knee.to_dict()}

    def __str__(self) -> str:
        knee, shown = self.knee, shown_quantities()
        units = ", ".join(f"{kind} {shown[kind].printed_unit}" for kind in knee.errors)
        lines = [f"noise ratios: energy, virial;  RMSE: {units}"]
        for p in self.front:
            errors = "  ".join(f"{value * shown[kind].printed_factor:9.3f}" for kind, value in p.errors.items())
            lines.append(f"{p.ratios[0]:9.3g} {p.ratios[1]:9.3g}  {errors}{'  knee' if p is knee else ''}")
        return "\n".join(lines)


@checked
def pareto(
    model: GAP, frames_test: Atoms | Sequence[Atoms], ratios: Sequence[Positive | tuple[Positive, Positive]] = RATIOS
) -> ParetoFront:
    """Test errors for several ratios of the noise of energies and virials to that of forces.

    Parameters
    ----------
    model : GAP
        Fitted, with its factors.  Kernel scales and sparse points stay; sigmas of types or frames keep their ratio to
        the noise of their kind.
    frames_test : list of Atoms
        Labelled.
    ratios : sequence of float or (float, float)
        Factors of the model's noise of energies and of virials (one number: of both).

    Raises
    ------
    NotFittedModelError
        If the model is not fitted, or was loaded from a file without factors.
    DataError
        If the frames have labels of no kind.
    InputError
        If a ratio is not > 0.
    """
    factors = model.state_.factors if hasattr(model, "state_") else None
    if factors is None:
        raise NotFittedModelError("`pareto` needs a fitted model with its factors; save models with `factors=True`")
    state = model.state_
    pairs = [(float(r), float(r)) if np.ndim(r) == 0 else tuple(map(float, r)) for r in ratios]  # type: ignore[arg-type]
    if not pairs:
        raise InputError("`ratios` must hold numbers, or pairs of numbers, > 0, got none")
    triangles = _test_triangles(model, frames_test)
    found = []
    with limit_blas(model.n_jobs, model.n_sparse_):
        for energy, virial in pairs:
            by = {"energy": energy, "forces": 1.0, "virial": virial}
            noise = {kind: state.noise[kind] * by[kind] for kind in factors}
            weights = state.solved(noise=noise).sparse.weights
            rest = {kind: t.R[:, :-1] @ weights - t.R[:, -1] for kind, t in triangles.items()}
            errors = {kind: float(np.linalg.norm(x) / np.sqrt(triangles[kind].n_rows)) for kind, x in rest.items()}
            found.append(ParetoPoint((energy, virial), noise, errors, False, weights))
    table = np.array([list(p.errors.values()) for p in found])
    beaten = [bool(np.any(np.all(table <= own, axis=1) & np.any(table < own, axis=1))) for own in table]
    return ParetoFront(tuple(replace(p, on_front=not b) for p, b in zip(found, beaten, strict=True)), model)


def _test_triangles(model: GAP, frames: Atoms | Sequence[Atoms]) -> dict[str, TriangularFactor]:
    """Triangular factors of the test rows by quantity, in its unit."""
    state = model.state_
    batch = to_batch(frames, keys=model.label_keys, strict=False)
    check_species(batch.species, state.species)
    targets = replace(state.row_maker, noise=Noise()).targets(batch)
    sigmas = {}
    for kind, target in TARGETS.items():
        size = 1.0 / np.abs(target.shown.factor(batch.n_atoms_per_frame, batch.volumes))
        sigmas[kind] = np.nan_to_num(size[batch.frame_of_atom] if target.per_atom else size, nan=1.0)
    targets = replace(targets, has=batch.comparable, sigmas=sigmas)
    if not any(targets.has[kind].any() for kind in TARGETS):
        raise DataError("`frames_test` must have energies, forces or stresses to compare with, found none")
    factors: dict[str, TriangularFactor] = {}
    state.row_maker.fold(batch, factors, Resources(n_jobs=model.n_jobs), targets=targets)
    return {target.shown.name: factors[kind] for kind, target in TARGETS.items() if kind in factors}


def _logs(points: Sequence[ParetoPoint]) -> FloatArray:
    return np.log(np.maximum([list(p.errors.values()) for p in points], 1e-300))

"""Energies of one set of structures less those of another, with an error bar of the difference.

Errors of similar structures are alike, and cancel: the variance of w . E, E the energies of all frames, is

    f^2 (sum_k (w_k N_k a)^2 + b^2 w^T C_data w) + v(w^T C_prior w)

with the covariances C of the posterior, a, b and v the calibration of energies per atom (`uncertainty.calibration`),
and f what brings 90 % of the differences between configurations that were left out within 1.645 standard deviations.
The repulsion that close pairs gain (`close_pairs`) counts as wholly correlated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.gp.variance.targets import covariance_parts
from gapkit.potential.error_bars.close_pairs import closer_than_known
from gapkit.potential.error_bars.extrapolation import compare_with_training, novelty_of_targets
from gapkit.potential.state import FittedState
from gapkit.structures import to_batch
from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.prior_scale import share_of_prior
from gapkit.uncertainty.scale import LEVEL, Scale, level_factor

# Atoms of a composition that may be left over by rounding.
BALANCED = 1e-6


@dataclass(frozen=True, eq=False)
class EnergyDifference:
    """Sum of some energies less a combination of others.

    Attributes
    ----------
    value, std : float
        eV; the standard deviation is calibrated.
    coefficients : ndarray (n_b,)
        Factors of the energies of the second set.
    extrapolating : bool
        Whether a structure of either set is unlike the training set.
    """

    value: float
    std: float
    coefficients: FloatArray
    extrapolating: bool

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.std:.3g} eV" + (", extrapolation" if self.extrapolating else "")


def energy_difference(
    state: FittedState, frames_a: Sequence[Atoms], frames_b: Sequence[Atoms], coefficients: Sequence[float] | None,
    n_jobs: int | None = None,
) -> EnergyDifference:  # fmt: skip
    """See `FittedPotential.difference`."""
    calibration = state.calibration
    if calibration is None or "energy" not in calibration.scales:
        raise NotFittedModelError(
            'this model has no calibration of energies; fit it with `calibration="leave-one-out"` and energies, or '
            "call `calibrate` with labelled frames"
        )
    factors = _balanced(frames_a, frames_b) if coefficients is None else np.asarray(coefficients, dtype=np.float64)
    if factors.shape != (len(frames_b),) or not np.isfinite(factors).all():
        raise InputError(
            f"`coefficients` must be a finite number for each of the {len(frames_b)} frames of `frames_b`, got "
            f"{coefficients!r}"
        )
    weights = np.concatenate([np.ones(len(frames_a)), -factors])
    batch = to_batch([*frames_a, *frames_b], labels=False)
    applied = state.apply(batch)
    p = state.evaluate(applied, uncertainty="unseen", n_jobs=n_jobs)
    assert p.unseen is not None
    signs, _ = compare_with_training(state, applied, p.unseen)
    _, novelty = novelty_of_targets(signs.novelty, signs.average, batch, applied.neighbours)
    data, prior = covariance_parts(applied, state.sparse.posterior, ("energy",))
    closer = closer_than_known(applied, state.detector)
    scale, per_atom = calibration.scales["energy"], weights * batch.n_atoms_per_frame
    size = float(per_atom @ per_atom)
    own = weights * closer.of_frames * calibration.factors("energy", {}, batch.frame_of_atom, signs.kinds)
    known = float(np.sum((own * batch.n_atoms_per_frame) ** 2)) * scale.a**2 + scale.b**2 * float(own @ data @ own)
    shared = weights * closer.of_frames * np.sqrt(share_of_prior(novelty))
    # the scale is that of energies per atom
    unseen = size * calibration.prior("energy").of_share(np.array(max(float(shared @ prior @ shared), 0.0) / size))
    repulsion = float(weights @ closer.gained["energy"][:, 0])
    variance = calibration.difference**2 * known + float(unseen) + repulsion**2
    return EnergyDifference(float(weights @ p.energy), float(np.sqrt(variance)), factors, bool(signs.frames.any()))


def _balanced(frames_a: Sequence[Atoms], frames_b: Sequence[Atoms]) -> FloatArray:
    """Factors of the second set that leave no atom over."""
    species = sorted({int(z) for atoms in (*frames_a, *frames_b) for z in atoms.numbers})

    def composition(atoms: Atoms) -> FloatArray:
        return np.array([np.count_nonzero(atoms.numbers == z) for z in species], dtype=np.float64)

    wanted, of_b = sum(map(composition, frames_a)), np.array([composition(atoms) for atoms in frames_b]).T
    found, *_ = np.linalg.lstsq(of_b, wanted, rcond=None)
    if np.abs(of_b @ found - wanted).max() > BALANCED or np.linalg.matrix_rank(of_b) < len(frames_b):
        raise InputError(
            "`coefficients` must be given where the structures of `frames_b` do not balance the atoms of `frames_a` in "
            f"one way alone; {len(frames_b)} structures were to make up for {len(species)} species"
        )
    return np.asarray(found)


def difference_factor(
    state: FittedState, applied: AppliedBasis, frames: IntArray, errors: FloatArray, variances: FloatArray, scale: Scale
) -> float:  # fmt: skip
    """The factor f from errors and data variances (n,) of energies per atom of some frames (n,) of the batch.

    Frames are paired with the next one and with one half of all away.  Where they were left out one at a time, their
    correlation is taken from the model of all of them.
    """
    n = len(frames)
    rows = design_rows(applied, ()).energy[frames] / applied.batch.n_atoms_per_frame[frames, None]
    white = state.sparse.posterior.whiten(rows)
    one, other = np.arange(n), np.concatenate([np.roll(np.arange(n), shift) for shift in {1, n // 2} - {0}])
    one = np.resize(one, len(other))
    squares = np.einsum("mn,mn->n", white, white)
    together = np.einsum("mn,mn->n", white[:, one], white[:, other]) / np.sqrt(squares[one] * squares[other])
    data = variances[one] + variances[other] - 2.0 * together * np.sqrt(variances[one] * variances[other])
    expected = 2.0 * scale.a**2 + scale.b**2 * np.maximum(data, 0.0)
    return level_factor(errors[one] - errors[other], expected, min(LEVEL * (1.0 + 1.0 / n), 1.0))

"""What a potential predicts: the one table of outputs, with shapes, units and signs."""

from __future__ import annotations

from dataclasses import dataclass

from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions for a list of frames, atoms of all frames one after another.

    ====================  =================  =========  ==================================================
    name                  shape              unit       meaning and sign
    ====================  =================  =========  ==================================================
    energy                (n_frames,)        eV         total, reference energies included
    forces                (n_atoms, 3)       eV/Å       -dE/dr
    stress                (n_frames, 6)      eV/Å^3     dE/d(strain)/V, order xx, yy, zz, yz, xz, xy; NaN
                                                        without a three-dimensional cell
    virial                (n_frames, 3, 3)   eV         -stress * volume
    local_energies        (n_atoms,)         eV         contributions of the atoms; they sum to `energy`
    offsets               (n_frames + 1,)    1          atoms of frame f are offsets[f] .. offsets[f + 1] - 1
    local_energies_std    (n_atoms,)         eV         square root of data variance plus prior residual
    local_data_variance   (n_atoms,)         eV^2       posterior variance that more data would reduce
    local_prior_variance  (n_atoms,)         eV^2       prior variance that the sparse points cannot see
    novelty               (n_atoms,)         1          prior residual over prior, 0 (a sparse point) to 1
    ====================  =================  =========  ==================================================

    The four from `local_energies_std` on are None unless they were asked for.  Novelty is a ratio of variances and is
    small in absolute terms for the smooth kernels of SOAP: judge it against its values where errors are known.  Local
    energies are not labels: their std is large where only sums of them are determined.
    """

    energy: FloatArray
    forces: FloatArray
    stress: FloatArray
    virial: FloatArray
    local_energies: FloatArray
    offsets: IntArray
    local_energies_std: FloatArray | None = None
    local_data_variance: FloatArray | None = None
    local_prior_variance: FloatArray | None = None
    novelty: FloatArray | None = None

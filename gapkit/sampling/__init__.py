"""Sampling: new structures worth a reference calculation.

Samplers return new structures, with a configuration type in `info["config_type"]` and a record of how they were made in
`info["sampling"]`; `n` is their number, `random_state` a seed, and structure i depends on the seed and i alone.
Nothing here fits, selects or labels. It may import `structures` and what is below, ASE and SciPy, and no model.
"""

from gapkit.sampling.allocation import Allocation, plan
from gapkit.sampling.alloys import Shells, alloys, find_shells
from gapkit.sampling.cells import strain_invariants, strains, volume_scan
from gapkit.sampling.decorrelate import autocorrelation_time, decorrelated
from gapkit.sampling.defects import Void, find_voids, interstitials, vacancies
from gapkit.sampling.molecules import dimers, isolated_atoms
from gapkit.sampling.random_cells import random_search
from gapkit.sampling.rattling import monte_carlo_rattle, rattle
from gapkit.sampling.slabs import stacking_faults, surfaces
from gapkit.sampling.thermal import finite_difference_hessian, thermal_isotropic, thermal_modes

__all__ = [
    "Allocation", "Shells", "Void", "alloys", "autocorrelation_time", "decorrelated", "dimers", "find_shells",
    "find_voids", "finite_difference_hessian", "interstitials", "isolated_atoms", "monte_carlo_rattle", "plan",
    "random_search", "rattle", "stacking_faults", "strain_invariants", "strains", "surfaces", "thermal_isotropic",
    "thermal_modes", "vacancies", "volume_scan",
]  # fmt: skip

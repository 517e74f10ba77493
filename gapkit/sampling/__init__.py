"""Sampling: new structures worth a reference calculation.

Samplers return new structures, with a configuration type in `info["config_type"]` and a record of how they were made in
`info["sampling"]`; `n` is their number, `random_state` a seed, and structure i depends on the seed and i alone.
Nothing here fits, selects or labels. It may import `structures` and what is below, ASE and SciPy, and no model.
"""

from gapkit.sampling.allocation import Allocation, plan
from gapkit.sampling.alloys import alloys
from gapkit.sampling.cells import strain_invariants, strains, volume_scan
from gapkit.sampling.correlations import Shells, find_shells
from gapkit.sampling.decorrelate import autocorrelation_time, decorrelated
from gapkit.sampling.defects import interstitials, vacancies
from gapkit.sampling.hessian import finite_difference_hessian
from gapkit.sampling.molecules import dimers, isolated_atoms
from gapkit.sampling.monte_carlo import monte_carlo_rattle
from gapkit.sampling.random_cells import random_search
from gapkit.sampling.rattling import rattle
from gapkit.sampling.slabs import stacking_faults, surfaces
from gapkit.sampling.thermal import thermal_isotropic, thermal_modes
from gapkit.sampling.voids import Void, find_voids

__all__ = [
    "Allocation", "Shells", "Void", "alloys", "autocorrelation_time", "decorrelated", "dimers", "find_shells",
    "find_voids", "finite_difference_hessian", "interstitials", "isolated_atoms", "monte_carlo_rattle", "plan",
    "random_search", "rattle", "stacking_faults", "strain_invariants", "strains", "surfaces", "thermal_isotropic",
    "thermal_modes", "vacancies", "volume_scan",
]  # fmt: skip

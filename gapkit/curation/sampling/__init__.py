"""Sampling: new structures worth a reference calculation, each with a record of how it was made in `info`."""

from gapkit.curation.sampling.allocation import Allocation, plan
from gapkit.curation.sampling.alloys import alloys
from gapkit.curation.sampling.cells import strain_invariants, strains, volume_scan
from gapkit.curation.sampling.correlations import Shells, find_shells
from gapkit.curation.sampling.decorrelate import autocorrelation_time, decorrelated
from gapkit.curation.sampling.defects import interstitials, vacancies
from gapkit.curation.sampling.hessian import finite_difference_hessian
from gapkit.curation.sampling.molecules import dimers, isolated_atoms
from gapkit.curation.sampling.monte_carlo import monte_carlo_rattle
from gapkit.curation.sampling.random_cells import random_search
from gapkit.curation.sampling.rattling import rattle
from gapkit.curation.sampling.slabs import stacking_faults, surfaces
from gapkit.curation.sampling.thermal import thermal_isotropic, thermal_modes
from gapkit.curation.sampling.voids import Void, find_voids

__all__ = [
    "Allocation",
    "Shells",
    "Void",
    "alloys",
    "autocorrelation_time",
    "decorrelated",
    "dimers",
    "find_shells",
    "find_voids",
    "finite_difference_hessian",
    "interstitials",
    "isolated_atoms",
    "monte_carlo_rattle",
    "plan",
    "random_search",
    "rattle",
    "stacking_faults",
    "strain_invariants",
    "strains",
    "surfaces",
    "thermal_isotropic",
    "thermal_modes",
    "vacancies",
    "volume_scan",
]

"""Validation: is a potential sound? Scans, numbers of a crystal, and the quality of error bars.

Errors against labels are those of `gapkit.errors`, pictures those of `gapkit.report`. It may import all layers below
it, and neither `curation` nor `active`.
"""

from gapkit.errors.comparison import Comparison, Pairs, compare, evaluate
from gapkit.errors.tables import Errors, ErrorTable
from gapkit.uncertainty import GroupCoverage
from gapkit.validation.conditional import conditional_coverage
from gapkit.validation.crystal import crystal_check
from gapkit.validation.scans import Scan, dimer_scan, volume_scan
from gapkit.validation.uncertainty import UncertaintyTable, evaluate_uncertainty, uncertainty_of

__all__ = [
    "Comparison", "ErrorTable", "Errors", "GroupCoverage", "Pairs", "Scan", "UncertaintyTable", "compare",
    "conditional_coverage", "crystal_check", "dimer_scan", "evaluate", "evaluate_uncertainty", "uncertainty_of",
    "volume_scan",
]  # fmt: skip

"""Validation: how far predictions are from reference labels, and whether their error bars say so."""

from gapkit.errors.comparison import Comparison, Pairs, compare, evaluate
from gapkit.errors.tables import Errors, ErrorTable
from gapkit.validation.scans import Scan, dimer_scan, volume_scan
from gapkit.validation.uncertainty import UncertaintyTable, evaluate_uncertainty, uncertainty_of

__all__ = [
    "Comparison", "ErrorTable", "Errors", "Pairs", "Scan", "UncertaintyTable", "compare", "dimer_scan", "evaluate",
    "evaluate_uncertainty", "uncertainty_of", "volume_scan",
]  # fmt: skip

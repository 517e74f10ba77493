"""Errors of a model against reference labels."""

from gapkit.errors.comparison import Comparison, Pairs, compare, evaluate
from gapkit.errors.tables import Errors, ErrorTable

__all__ = ["Comparison", "ErrorTable", "Errors", "Pairs", "compare", "evaluate"]

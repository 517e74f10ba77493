"""Validation: how far predictions are from reference labels."""

from gapkit.validation.errors import Comparison, Errors, ErrorTable, Pairs, compare, evaluate

__all__ = ["Comparison", "ErrorTable", "Errors", "Pairs", "compare", "evaluate"]

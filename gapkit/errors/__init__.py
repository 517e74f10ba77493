"""Errors of a model against reference labels: pairs of values, mean absolute and root mean square errors, tables.

Curation, validation and active learning share them; verdicts on a potential are not here but there. It may import the
potential and all layers below it.
"""

from gapkit.errors.comparison import Comparison, Pairs, compare, evaluate
from gapkit.errors.tables import Errors, ErrorTable

__all__ = ["Comparison", "ErrorTable", "Errors", "Pairs", "compare", "evaluate"]

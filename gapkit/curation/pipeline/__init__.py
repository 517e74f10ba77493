"""A data set by a recipe: read, check, remove duplicates, outliers and leaks, split, select, weigh, write, explain."""

from gapkit.curation.pipeline.output import check_folder
from gapkit.curation.pipeline.recipe import (
    Duplicates,
    Leakage,
    Outliers,
    Recipe,
    Select,
    Source,
    Split,
    Weights,
)
from gapkit.curation.pipeline.result import Curated
from gapkit.curation.pipeline.run import curate

__all__ = [
    "Curated", "Duplicates", "Leakage", "Outliers", "Recipe", "Select", "Source", "Split", "Weights", "check_folder",
    "curate",
]  # fmt: skip

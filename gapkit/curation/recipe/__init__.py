"""A data set by a recipe: read, check, remove duplicates, outliers and leaks, split, select, weigh, write, explain.

Each step calls a function of `curation`, `selection` or `structures`: none is written here a second time.  It may
import these and what they may.
"""

from gapkit.curation.recipe.output import check_folder
from gapkit.curation.recipe.recipe import Duplicates, Leakage, Outliers, Recipe, Select, Source, Split, Weights
from gapkit.curation.recipe.result import Curated
from gapkit.curation.recipe.run import curate

__all__ = [
    "Curated", "Duplicates", "Leakage", "Outliers", "Recipe", "Select", "Source", "Split", "Weights", "check_folder",
    "curate",
]  # fmt: skip

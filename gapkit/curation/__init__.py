"""Curation of training sets: which frames to keep, and how far to trust each label.

`curate` makes a data set by a `Recipe`; every step of it is also a function of its own. Selection and duplicates are
those of `gapkit.selection`, new structures those of `gapkit.sampling`; there is no validation here. It may import all
layers below it, and neither `active` nor `validation`.
"""

from gapkit import sampling
from gapkit.curation.checks import check
from gapkit.curation.coverage import Coverage, measure_coverage
from gapkit.curation.fidelity import combine_fidelities
from gapkit.curation.findings import Finding
from gapkit.curation.influence import InfluenceReport, influence, outlier_scores
from gapkit.curation.leakage import Leak, find_leakage
from gapkit.curation.learning_curve import LearningCurve, learning_curve
from gapkit.curation.pareto import ParetoFront, pareto
from gapkit.curation.pruning import Pruned, prune
from gapkit.curation.recipe import Curated, Recipe, Source, curate
from gapkit.curation.robust import RobustFit, robust_fit
from gapkit.curation.splits import split
from gapkit.curation.weights import energy_window_sigmas, hull_distance_sigmas, hull_distances, noise_sigmas
from gapkit.selection.duplicates import DuplicateGroup, find_duplicates
from gapkit.selection.select import Selected, select

__all__ = [
    "Coverage", "Curated", "DuplicateGroup", "Finding", "InfluenceReport", "Leak", "LearningCurve", "ParetoFront",
    "Pruned", "Recipe", "RobustFit", "Selected", "Source", "check", "combine_fidelities", "curate",
    "energy_window_sigmas", "find_duplicates", "find_leakage", "hull_distance_sigmas", "hull_distances", "influence",
    "learning_curve", "measure_coverage", "noise_sigmas", "outlier_scores", "pareto", "prune", "robust_fit", "sampling",
    "select", "split",
]  # fmt: skip

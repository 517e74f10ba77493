"""The potential: from labelled frames to energies, forces, stresses and their error bars.

Here are the estimator (`gap`), its fitted state, training, error bars, committees, search and model files.  The linear
algebra is in `gp`, energies that are not learned in `terms`; calculators, curation and validation stand above.  It may
import `terms`, `uncertainty`, `gp` and all that stands below.
"""

from gapkit.descriptors import SOAP, ThreeBody, TwoBody
from gapkit.potential.committee import Committee, bootstrap_committee, label_noise_committee, sample_committee
from gapkit.potential.gap import GAP, load
from gapkit.potential.model_term import ModelTerm
from gapkit.potential.predictions import Predictions
from gapkit.potential.search.settings_search import SettingsSearch
from gapkit.potential.term import Term
from gapkit.terms import ZBL, CalculatorTerm, EnergyTerm, LennardJones, PairTables

__all__ = [
    "GAP", "SOAP", "ZBL", "CalculatorTerm", "Committee", "EnergyTerm", "LennardJones", "ModelTerm", "PairTables",
    "Predictions", "SettingsSearch", "Term", "ThreeBody", "TwoBody", "bootstrap_committee", "label_noise_committee",
    "load", "sample_committee",
]  # fmt: skip

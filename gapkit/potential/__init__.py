"""The potential: terms, baselines, the GAP estimator, predictions and model files."""

from gapkit.descriptors import SOAP, ThreeBody, TwoBody
from gapkit.potential.baselines import ZBL, Baseline
from gapkit.potential.committee import Committee, bootstrap_committee, label_noise_committee, sample_committee
from gapkit.potential.gap import GAP
from gapkit.potential.persistence import load
from gapkit.potential.predictions import Predictions
from gapkit.potential.settings_search import SettingsSearch
from gapkit.potential.terms import Term

__all__ = [
    "GAP",
    "SOAP",
    "ZBL",
    "Baseline",
    "Committee",
    "Predictions",
    "SettingsSearch",
    "Term",
    "ThreeBody",
    "TwoBody",
    "bootstrap_committee",
    "label_noise_committee",
    "load",
    "sample_committee",
]

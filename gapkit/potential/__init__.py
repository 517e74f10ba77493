"""The potential: terms, baselines, the GAP estimator, predictions and model files."""

from gapkit.descriptors import SOAP, ThreeBody, TwoBody
from gapkit.potential.baselines import ZBL, Baseline
from gapkit.potential.gap import GAP
from gapkit.potential.persistence import load
from gapkit.potential.predictions import Predictions
from gapkit.potential.terms import Term

__all__ = ["GAP", "SOAP", "ZBL", "Baseline", "Predictions", "Term", "ThreeBody", "TwoBody", "load"]

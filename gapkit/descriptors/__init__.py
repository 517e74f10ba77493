"""Descriptors of atomic neighbourhoods: scikit-learn transformers with values, pullback and Jacobian rows."""

from gapkit.descriptors.angles import ThreeBody
from gapkit.descriptors.base import Descriptor, Features
from gapkit.descriptors.cutoffs import CosineCutoff, NoCutoff, QuinticCutoff
from gapkit.descriptors.distances import TwoBody
from gapkit.descriptors.soap import SOAP

__all__ = ["SOAP", "CosineCutoff", "Descriptor", "Features", "NoCutoff", "QuinticCutoff", "ThreeBody", "TwoBody"]

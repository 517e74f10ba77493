"""Descriptors of atomic neighbourhoods: scikit-learn transformers with values, pullback and Jacobian rows."""

from gapkit.descriptors.angles import ThreeBody
from gapkit.descriptors.base import Descriptor, Features
from gapkit.descriptors.compression import COMPRESSIONS, Channels, Mixing, TensorReduced
from gapkit.descriptors.cutoffs import CosineCutoff, DecayingCutoff, NoCutoff, QuinticCutoff
from gapkit.descriptors.distances import TwoBody
from gapkit.descriptors.soap import SOAP
from gapkit.descriptors.triangles import Triangles

__all__ = [
    "COMPRESSIONS",
    "SOAP",
    "Channels",
    "CosineCutoff",
    "DecayingCutoff",
    "Descriptor",
    "Features",
    "Mixing",
    "NoCutoff",
    "QuinticCutoff",
    "TensorReduced",
    "ThreeBody",
    "Triangles",
    "TwoBody",
]

"""Descriptors of atomic neighbourhoods: scikit-learn transformers with values, pullback and Jacobian rows."""

from gapkit.descriptors.base import Descriptor, Features
from gapkit.descriptors.cutoffs import CosineCutoff, DecayingCutoff, NoCutoff, QuinticCutoff
from gapkit.descriptors.soap.compression import Channels, Mixing, TensorReduced
from gapkit.descriptors.soap.descriptor import SOAP
from gapkit.descriptors.three_body import ThreeBody
from gapkit.descriptors.triplet_distances import TripletDistances
from gapkit.descriptors.two_body import TwoBody

__all__ = [
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
    "TripletDistances",
    "TwoBody",
]

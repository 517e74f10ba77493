"""Descriptors of atomic neighbourhoods: scikit-learn transformers with values, pullback and Jacobian.

Here are two-body, three-body, SOAP and DScribe's descriptors, their cutoff functions, and the contract of `base`.
Similarities of features are those of `kernels`, the choice of sparse points that of `sparse`.  It may import `kernels`
and `sparse` for its defaults, `neighbours` and all that stands below.
"""

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

"""Descriptors: vectors of atoms, pairs and triplets, with their derivatives by edge vectors.

A descriptor holds parameters, an engine its tables for fixed species, and a view applies them to one neighbour list;
`base` is their contract, and here are gapkit's own, DScribe's and the cutoff functions.  Kernels, sparse points and
whatever is fitted are elsewhere.  This folder may import `kernels` and `sparse` (defaults of a term), `neighbours`,
`structures`, `io.registry` and `_core`.
"""

from gapkit.descriptors.base import Descriptor, Features
from gapkit.descriptors.cutoffs import CosineCutoff, DecayingCutoff, NoCutoff, QuinticCutoff
from gapkit.descriptors.dscribe import DScribeACSF, DScribeSOAP
from gapkit.descriptors.soap.compression import Channels, Mixing, TensorReduced
from gapkit.descriptors.soap.descriptor import SOAP
from gapkit.descriptors.three_body import ThreeBody
from gapkit.descriptors.triplet_distances import TripletDistances
from gapkit.descriptors.two_body import TwoBody

__all__ = [
    "SOAP",
    "Channels",
    "CosineCutoff",
    "DScribeACSF",
    "DScribeSOAP",
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

"""QUIP's `soap`, `distance_2b`, `angle_3b` and `distance_Nb` of orders 2 and 3 as terms of gapkit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from gapkit.descriptors import SOAP, Channels, CosineCutoff, DecayingCutoff, ThreeBody, TripletDistances, TwoBody
from gapkit.descriptors.base import Block
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.soap.engine import SOAPEngine
from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.file import ARD_SE, DOT_PRODUCT, Coordinates
from gapkit.interop.quip.options import EMPTY, OFF, ON, ONE, ZERO, Options
from gapkit.interop.quip.variance import self_norms
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential.term import Term
from gapkit.typing import FloatArray, IntArray

CUTOFF = frozenset({"cutoff", "cutoff_transition_width", "xml_version"})
SOAP_OPTIONS = CUTOFF | {
    "cutoff_dexp", "cutoff_scale", "cutoff_rate", "n_max", "l_max", "atom_sigma", "central_weight",
    "central_reference_all_species", "covariance_sigma0", "normalise", "normalize", "Z", "n_Z", "species_Z",
    "n_species", "nu_R", "nu_S",
}  # fmt: skip
SOAP_NEUTRAL = {
    "average": OFF, "diagonal_radial": OFF, "R_mix": OFF, "Z_mix": OFF, "sym_mix": OFF, "coupling": ON,
    "K": ZERO, "mix_shift": ZERO, "atom_mask_name": EMPTY, "Z_map": EMPTY,
}  # fmt: skip
PAIR_NEUTRAL = {
    "only_intra": OFF, "only_inter": OFF, "resid_name": EMPTY, "n_exponents": ONE, "exponents": ONE,
    "tail_exponent": ZERO, "tail_range": ONE,
}  # fmt: skip

# Older files leave out 1 / sqrt(2 l + 1), and let the centre enter all channels.
WITH_DEGREES, OWN_CHANNEL = 1423143769, 1426512068


@dataclass(frozen=True, eq=False)
class Part:
    """Sparse points of one block of a term."""

    term: Term
    key: tuple | None  # parts with an equal key are blocks of one term; None: a term of its own
    block: Block
    points: FloatArray  # (m, d), in the order of the engine
    weights: FloatArray  # (m,), for the unit-scale kernel, eV


Species = tuple[int, ...]
"""Atomic numbers of the model, ascending, for which the wildcard 0 stands."""


def _expand(given: Species, species: Species) -> Species:
    return species if 0 in given else given


def convert_distance_2b(item: Coordinates, species: Species) -> list[Part]:
    """Blocks of one `distance_2b`, one for each pair of species."""
    item.options.check(CUTOFF | {"Z1", "Z2"}, PAIR_NEUTRAL)
    first, second = (_expand((item.options.integer(key, 0),), species) for key in ("Z1", "Z2"))
    blocks = {(min(pair), max(pair)) for pair in product(first, second)}
    return [_cluster(item, TwoBody, block, 1) for block in sorted(blocks)]


def convert_angle_3b(item: Coordinates, species: Species) -> list[Part]:
    """Blocks of one `angle_3b`, one for each central species and pair of neighbour species."""
    item.options.check(CUTOFF | {"Z", "Z1", "Z2"}, {})
    centre, first, second = (_expand((item.options.integer(key, 0),), species) for key in ("Z", "Z1", "Z2"))
    blocks = {(c, min(pair), max(pair)) for c in centre for pair in product(first, second)}
    return [_cluster(item, ThreeBody, block, 3) for block in sorted(blocks)]


def convert_distance_nb(item: Coordinates, species: Species) -> list[Part]:
    """The one block of a `distance_Nb` of pairs, or of triangles of like atoms; InputError for other clusters."""
    options = item.options
    options.check(CUTOFF | {"order", "Z", "compact_clusters", "n_Z"}, {"atom_mask_name": EMPTY})
    order = options.integer("order")
    if order not in (2, 3):
        raise options.unsupported("order", "gapkit has clusters of two and of three atoms")
    if not options.flag("compact_clusters", False):
        raise options.unsupported("compact_clusters", "gapkit has compact clusters only, compact_clusters=T")
    z = tuple(sorted(options.integers("Z", ())))
    if len(z) != order or 0 in z:
        raise options.unsupported("Z", f"it must name the {order} species of the cluster")
    if order == 2:
        return [_cluster(item, TwoBody, z, 1)]
    if len(set(z)) > 1:
        raise options.unsupported("Z", "QUIP's energy of unlike atoms depends on the order of the atoms in the file")
    if not np.allclose(item.theta, item.theta[0], rtol=1e-12):
        raise options.unsupported("theta", "the three distances of like atoms must have one length scale")
    part = _cluster(item, TripletDistances, z, 3)
    norms = self_norms(part.term.descriptor.engine(z[:1]), z, part.points)
    return [replace(part, weights=part.weights / norms)]


def _cluster(item: Coordinates, cls: type[TwoBody | ThreeBody | TripletDistances], block: Block, d: int) -> Part:
    options, theta = item.options, [float(value) for value in item.theta]
    if item.covariance != ARD_SE:
        raise options.unsupported("covariance_type", f"gapkit takes ard_se for {options.name}")
    if item.points.shape[1] != d or len(theta) != d:
        sizes = f"its sparse points have {item.points.shape[1]} and theta has {len(theta)}"
        raise ModelFileError(f"descriptor {options.name} has {d} elements, {sizes}; the file was edited")
    descriptor = cls(
        options.number("cutoff"), cutoff_function=CosineCutoff(options.number("cutoff_transition_width", 0.5)),
        species=sorted(set(block)), blocks=[list(block)],
    )  # fmt: skip
    if isinstance(descriptor, TripletDistances):
        descriptor.length_scale = theta[0]
    term = Term(descriptor, SquaredExponential(item.delta, theta[0] if len(set(theta)) == 1 else theta))
    return Part(term, None, block, item.points, item.delta**2 * item.weights)


def convert_soap(item: Coordinates, species: Species) -> list[Part]:
    """Blocks of one `soap`, one for each central species; InputError for an option that gapkit cannot express."""
    options = item.options
    options.check(SOAP_OPTIONS, SOAP_NEUTRAL)
    if item.version < WITH_DEGREES:
        lacks = f"soap of gap_version {item.version} lacks the factor 1/sqrt(2 l + 1) of gapkit's SOAP"
        raise InputError(f"{lacks}; files from {WITH_DEGREES} on can be read: fit the model again")
    if item.covariance != DOT_PRODUCT:
        raise options.unsupported("covariance_type", "gapkit takes dot_product for soap")
    descriptor, centres = _soap(options, species, item.version)
    sigma0 = options.number("covariance_sigma0", 0.0)
    engine = descriptor.engine(descriptor.resolve_species(()))
    if item.points.shape[1] != engine.n_features + 1:
        sizes = f"{engine.n_features + 1} elements, its sparse points have {item.points.shape[1]}"
        raise ModelFileError(f"descriptor soap with these options has {sizes}; the file was edited")
    if not np.allclose(item.points[:, -1], sigma0, rtol=0, atol=1e-12):
        raise ModelFileError(f"the last element of soap's sparse points must be covariance_sigma0 = {sigma0}")
    points = np.empty_like(item.points[:, :-1])
    points[:, vector_order(engine)] = item.points[:, :-1]
    term = Term(descriptor, DotProduct(item.delta, item.zeta, sigma0))
    key = (str(descriptor.get_params(deep=False)), item.delta, item.zeta, sigma0)
    return [Part(term, key, (z,), points, item.delta**2 * item.weights) for z in centres]


def with_centres(term: Term, centres: Species) -> Term:
    """A term of SOAP with some central species."""
    same = set(term.descriptor.resolve_species(())) == set(centres) and len(centres) > 0
    parameters = term.descriptor.get_params(deep=False) | {"centres": None if same else centres}
    return replace(term, descriptor=SOAP(**parameters))


def _soap(options: Options, species: Species, version: int) -> tuple[SOAP, Species]:
    """SOAP, and its central species."""
    n_species = options.integer("n_species", 1)
    channels = options.integers("species_Z", (0,))
    if len(channels) != n_species:
        raise ModelFileError(f"soap has n_species={n_species} and species_Z of {len(channels)} species; copy it again")
    centres = _expand(options.integers("Z", (0,)), species)
    everywhere = options.flag("central_reference_all_species", n_species == 1 or version < OWN_CHANNEL)
    nu_R, nu_S = options.integer("nu_R", 2), options.integer("nu_S", 2)
    if 0 in channels:
        if n_species > 1:
            raise options.unsupported("species_Z", "the wildcard 0 can only be the one channel of all species")
        channels, nu_S, everywhere = species, 0, False
        if not set(centres) <= set(channels):
            raise options.unsupported("Z", "a central species is not among those of the model")
    descriptor = SOAP(
        options.number("cutoff"), options.integer("n_max"), options.integer("l_max"), options.number("atom_sigma"),
        cutoff_function=_switch(options), central_weight=options.number("central_weight", 1.0),
        normalize=options.flag("normalise", True) and options.flag("normalize", True),
        compression=None if (nu_R, nu_S) == (2, 2) else Channels(nu_R, nu_S), species=list(channels),
        centre_channels="all" if everywhere and (len(channels) > 1 or set(centres) != set(channels)) else "own",
    )  # fmt: skip
    return descriptor, centres


def _switch(options: Options) -> CutoffFunction:
    width = options.number("cutoff_transition_width", 0.5)
    exponent = options.number("cutoff_dexp", 0.0)
    if exponent == 0.0:
        return CosineCutoff(width)
    if exponent < 0.0:
        raise options.unsupported("cutoff_dexp", "it must be >= 0")
    return DecayingCutoff(width, exponent, options.number("cutoff_scale", 1.0), options.number("cutoff_rate", 1.0))


def vector_order(engine: SOAPEngine) -> IntArray:
    """Where each element of QUIP's vector, without its last, stands in the engine's.

    Where the two densities of a product keep different indices, the first is the slower in QUIP and the faster here.
    """
    tables = engine.tables
    size = tables.l_max + 1
    n_second, n_first = len(tables.first), int(tables.last[0] - tables.first[0])
    if engine.n_features != n_second * n_first * size:  # symmetric: pairs a >= b
        return engine.public_order
    turned = np.arange(engine.n_features).reshape(n_second, n_first, size).transpose(1, 0, 2)
    return engine.public_order[turned.ravel()]


CONVERTERS: dict[str, Callable[[Coordinates, Species], list[Part]]] = {
    "soap": convert_soap, "distance_2b": convert_distance_2b, "angle_3b": convert_angle_3b,
    "distance_Nb": convert_distance_nb,
}  # fmt: skip

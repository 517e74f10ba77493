"""QUIP's `soap`, `distance_2b`, `angle_3b` and `distance_Nb` of orders 2 and 3 as terms of gapkit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from gapkit.descriptors import SOAP, Channels, CosineCutoff, DecayingCutoff, ThreeBody, TripletDistances, TwoBody
from gapkit.descriptors.base import Block
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.soap.engine import SOAPEngine
from gapkit.descriptors.triplet_distances import orders_of
from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.file import ARD_SE, DOT_PRODUCT, Coordinates
from gapkit.interop.quip.options import AnyOptions, ClusterOptions, PairOptions, SoapOptions, TripletOptions
from gapkit.interop.quip.variance import self_norms
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential.term import Term
from gapkit.typing import FloatArray, IntArray

# Older files leave out 1 / sqrt(2 l + 1), let the centre enter all channels, and have clusters that are not compact.
WITH_DEGREES, OWN_CHANNEL, COMPACT = 1423143769, 1426512068, 1596837814


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


def named_species(options: AnyOptions) -> Species:
    """Atomic numbers that a descriptor names, 0 where it has a wildcard."""
    if isinstance(options, SoapOptions):
        return options.Z + options.species_Z
    if isinstance(options, PairOptions):
        return options.Z1, options.Z2
    if isinstance(options, TripletOptions):
        return options.Z, options.Z1, options.Z2
    return options.Z or (0,)


def convert(item: Coordinates, species: Species) -> list[Part]:
    """Blocks of one descriptor, one for each tuple of species.

    Raises
    ------
    InputError
        If gapkit cannot express it.
    ModelFileError
        If its parts do not fit together.
    """
    options = item.descriptor.options
    if isinstance(options, SoapOptions):
        return _soaps(item, options, species)
    if isinstance(options, PairOptions):
        pairs = product(*(_expand((z,), species) for z in (options.Z1, options.Z2)))
        return _clusters(item, options, TwoBody, {_pair(*pair) for pair in pairs}, 1)
    if isinstance(options, TripletOptions):
        triplets = product(*(_expand((z,), species) for z in (options.Z, options.Z1, options.Z2)))
        return _clusters(item, options, ThreeBody, {(z, *_pair(*pair)) for z, *pair in triplets}, 3)
    return _distance_nb(item, options, species)


def _pair(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)


def _distance_nb(item: Coordinates, options: ClusterOptions, species: Species) -> list[Part]:
    """Pairs, or triangles of like atoms; InputError for other clusters."""
    unsupported, order = item.descriptor.unsupported, options.order
    if options.Z and len(options.Z) != order:
        raise unsupported("Z", f"it must name the {order} species of the cluster, or none")
    is_compact = item.version >= COMPACT if options.compact_clusters is None else options.compact_clusters
    any_species = not options.Z or 0 in options.Z  # one wildcard stands for all
    if order == 2:
        found = product(species, species) if any_species else [options.Z]
        parts = _clusters(item, options, TwoBody, {_pair(*pair) for pair in found}, 1)
        # a pair that is not compact is one instance, and not one from either end
        return parts if is_compact else [replace(part, weights=0.5 * part.weights) for part in parts]
    if not is_compact:
        raise unsupported("compact_clusters", "gapkit has compact clusters of three only, compact_clusters=T")
    block = tuple(sorted(options.Z)) if not any_species else 3 * species
    if len(set(block)) > 1:
        why = "QUIP's energy of unlike atoms depends on the order of the atoms in the file"
        raise unsupported("Z", f"{why}; it must be one species, as that of the model")
    if item.theta.size != 3 or not np.allclose(item.theta, item.theta[0], rtol=1e-12):
        raise unsupported("theta", "the three distances of like atoms must have one length scale")
    (part,) = _clusters(item, options, TripletDistances, {block}, 3)
    norms = self_norms(part.term.descriptor.engine(block[:1]), block, part.points)
    return [replace(part, weights=part.weights / norms)]


def _clusters(
    item: Coordinates, options: PairOptions | TripletOptions | ClusterOptions,
    cls: type[TwoBody | ThreeBody | TripletDistances], blocks: set[Block], d: int,
) -> list[Part]:  # fmt: skip
    """The same sparse points for some blocks."""
    theta = [float(value) for value in item.theta]
    if item.covariance != ARD_SE:
        raise item.descriptor.unsupported("covariance_type", f"gapkit takes ard_se for {item.descriptor.name}")
    if item.points.shape[1] != d or len(theta) != d:
        sizes = f"its sparse points have {item.points.shape[1]} and theta has {len(theta)}"
        raise ModelFileError(f"descriptor {item.descriptor.name} has {d} elements, {sizes}; the file was edited")
    if not all(1e-6 <= value <= 1e6 for value in theta):
        raise ModelFileError(f"theta must be from 1e-6 to 1e6, got {theta}; the file was edited or damaged")
    made = []
    for block in sorted(blocks):
        orders = orders_of(block) + 1 if cls is TripletDistances else np.arange(1, d + 1)[None]
        if item.orders != frozenset(map(tuple, orders.tolist())):
            raise ModelFileError(f"the permutations are not those of descriptor {item.descriptor.name}; copy it again")
        descriptor = cls(
            options.cutoff, cutoff_function=CosineCutoff(options.cutoff_transition_width),
            species=sorted(set(block)), blocks=[list(block)],
        )  # fmt: skip
        if isinstance(descriptor, TripletDistances):
            descriptor.length_scale = theta[0]
        term = Term(descriptor, SquaredExponential(item.delta, theta[0] if len(set(theta)) == 1 else theta))
        made.append(Part(term, None, block, item.points, item.delta**2 * item.weights))
    return made


def _soaps(item: Coordinates, options: SoapOptions, species: Species) -> list[Part]:
    """Blocks of one `soap`, one for each central species."""
    if item.version < WITH_DEGREES:
        lacks = f"soap of gap_version {item.version} lacks the factor 1/sqrt(2 l + 1) of gapkit's SOAP"
        raise InputError(f"{lacks}; files from {WITH_DEGREES} on can be read: fit the model again")
    if item.covariance != DOT_PRODUCT:
        raise item.descriptor.unsupported("covariance_type", "gapkit takes dot_product for soap")
    if item.zeta is None:
        raise ModelFileError("soap has the exponent `zeta` as an attribute of its <gpCoordinates>; copy the file again")
    _check_species(item, options)
    if item.points.shape[1] != options.n_features + 1:  # before tables of that size are made
        sizes = f"{options.n_features + 1} elements, its sparse points have {item.points.shape[1]}"
        raise ModelFileError(f"descriptor soap with these options has {sizes}; the file was edited")
    descriptor, centres = _soap(item, options, species)
    sigma0 = options.covariance_sigma0
    engine = descriptor.engine(descriptor.resolve_species(()))
    if not np.allclose(item.points[:, -1], sigma0, rtol=0, atol=1e-12):
        raise ModelFileError(f"the last element of soap's sparse points must be covariance_sigma0 = {sigma0}")
    points = np.empty_like(item.points[:, :-1])
    points[:, vector_order(engine)] = item.points[:, :-1]
    term = Term(descriptor, DotProduct(item.delta, item.zeta, abs(sigma0)))
    key = (str(descriptor.get_params(deep=False)), item.delta, item.zeta, sigma0)
    return [Part(term, key, (z,), points, item.delta**2 * item.weights) for z in centres]


def with_centres(term: Term, centres: Species) -> Term:
    """A term of SOAP with some central species."""
    same = set(term.descriptor.resolve_species(())) == set(centres) and len(centres) > 0
    parameters = term.descriptor.get_params(deep=False) | {"centres": None if same else centres}
    return replace(term, descriptor=SOAP(**parameters))


def _check_species(item: Coordinates, options: SoapOptions) -> None:
    """Raise an error for species of centres or channels that are not so many as announced, or wildcards among them."""
    for name, count in (("species_Z", "n_species"), ("Z", "n_Z")):
        found, n = getattr(options, name), getattr(options, count)
        if len(found) != n or len(set(found)) != n:
            raise ModelFileError(f"soap has {count}={n} and {name} of {len(set(found))} species; copy it again")
        if 0 in found and len(found) > 1:
            raise item.descriptor.unsupported(name, "the wildcard 0 stands for all species and must stand alone")


def _soap(item: Coordinates, options: SoapOptions, species: Species) -> tuple[SOAP, Species]:
    """The descriptor and its central species."""
    channels = options.species_Z
    centres = _expand(options.Z, species)
    everywhere = options.central_reference_all_species
    if everywhere is None:
        everywhere = len(channels) == 1 or item.version < OWN_CHANNEL
    nu_R, nu_S = options.nu_R, options.nu_S
    if 0 in channels:
        channels, nu_S, everywhere = species, 0, False
        if not set(centres) <= set(channels):
            raise item.descriptor.unsupported("Z", "a central species is not among those of the model")
    descriptor = SOAP(
        options.cutoff, options.n_max, options.l_max, options.atom_sigma, cutoff_function=_switch(options),
        central_weight=options.central_weight, normalize=options.normalise, species=list(channels),
        compression=None if (nu_R, nu_S) == (2, 2) else Channels(nu_R, nu_S),
        centre_channels="all" if everywhere and (len(channels) > 1 or set(centres) != set(channels)) else "own",
    )  # fmt: skip
    return descriptor, centres


def _switch(options: SoapOptions) -> CutoffFunction:
    if options.cutoff_dexp == 0:
        return CosineCutoff(options.cutoff_transition_width)
    exponent = float(options.cutoff_dexp)
    return DecayingCutoff(options.cutoff_transition_width, exponent, options.cutoff_scale, options.cutoff_rate)


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

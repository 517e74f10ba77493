"""QUIP's `soap` as gapkit's SOAP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gapkit.descriptors import SOAP, Channels, CosineCutoff, DecayingCutoff
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.soap.engine import SOAPEngine
from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.file import DOT_PRODUCT, Coordinates
from gapkit.interop.quip.options import EMPTY, OFF, ON, ZERO, Options
from gapkit.interop.quip.parts import Part, Setting
from gapkit.kernels import DotProduct
from gapkit.potential.term import Term
from gapkit.typing import IntArray

# Older files leave out 1 / sqrt(2 l + 1), and let the centre enter all channels.
WITH_DEGREES, OWN_CHANNEL = 1423143769, 1426512068

KNOWN = frozenset({
    "cutoff", "cutoff_transition_width", "cutoff_dexp", "cutoff_scale", "cutoff_rate", "n_max", "l_max", "atom_sigma",
    "central_weight", "central_reference_all_species", "covariance_sigma0", "normalise", "normalize", "Z", "n_Z",
    "species_Z", "n_species", "nu_R", "nu_S", "xml_version",
})  # fmt: skip
NEUTRAL = {
    "average": OFF, "diagonal_radial": OFF, "R_mix": OFF, "Z_mix": OFF, "sym_mix": OFF, "coupling": ON,
    "K": ZERO, "mix_shift": ZERO, "atom_mask_name": EMPTY, "Z_map": EMPTY,
}  # fmt: skip


def convert(item: Coordinates, setting: Setting) -> list[Part]:
    """Blocks of one `soap`, one for each central species.

    Raises
    ------
    InputError
        If it has an option that gapkit cannot express.
    """
    options = item.options
    options.check(KNOWN, NEUTRAL)
    version = options.integer("xml_version", setting.version)
    if version < WITH_DEGREES:
        raise InputError(
            f"descriptor soap of gap_version {version} lacks the factor 1/sqrt(2 l + 1), which gapkit's SOAP always "
            f"has; files from {WITH_DEGREES} on can be read: fit the model again"
        )
    if item.covariance != DOT_PRODUCT:
        raise options.unsupported("covariance_type", "gapkit takes dot_product for soap")
    descriptor, centres = _descriptor(options, setting, version)
    sigma0 = options.number("covariance_sigma0", 0.0)
    engine = descriptor.engine(descriptor.resolve_species(()))
    if item.points.shape[1] != engine.n_features + 1:
        raise ModelFileError(
            f"descriptor soap with these options has {engine.n_features + 1} elements, the sparse points have "
            f"{item.points.shape[1]}; the file was edited"
        )
    if not np.allclose(item.points[:, -1], sigma0, rtol=0, atol=1e-12):
        raise ModelFileError(f"the last element of soap's sparse points must be covariance_sigma0 = {sigma0}")
    points = np.empty_like(item.points[:, :-1])
    points[:, vector_order(engine)] = item.points[:, :-1]
    term = Term(descriptor, DotProduct(item.delta, item.zeta, sigma0))
    key = (str(descriptor.get_params(deep=False)), item.delta, item.zeta, sigma0)
    weights = item.delta**2 * item.weights
    return [Part(term, key, (z,), points, weights) for z in centres]


def with_centres(part: Part, centres: tuple[int, ...]) -> Term:
    """The term of several blocks."""
    descriptor = part.term.descriptor
    same = set(descriptor.resolve_species(())) == set(centres) and len(centres) > 0
    return replace(
        part.term, descriptor=SOAP(**descriptor.get_params(deep=False) | {"centres": None if same else centres})
    )


def _descriptor(options: Options, setting: Setting, version: int) -> tuple[SOAP, tuple[int, ...]]:
    n_species = options.integer("n_species", 1)
    channels = options.integers("species_Z", (0,))
    if len(channels) != n_species:
        raise ModelFileError(f"soap has n_species={n_species} and species_Z of {len(channels)} species; copy it again")
    centres = setting.expand(options.integers("Z", (0,)))
    default = n_species == 1 or version < OWN_CHANNEL
    everywhere = options.flag("central_reference_all_species", default)
    nu_R, nu_S = options.integer("nu_R", 2), options.integer("nu_S", 2)
    if 0 in channels:
        if n_species > 1:
            raise options.unsupported("species_Z", "the wildcard 0 can only be the one channel of all species")
        channels, nu_S, everywhere = setting.species, 0, False
        if not set(centres) <= set(channels):
            raise options.unsupported("Z", "a central species is not among those of the model")
    normalise = options.flag("normalise", True) and options.flag("normalize", True)
    descriptor = SOAP(
        options.number("cutoff"),
        options.integer("n_max"),
        options.integer("l_max"),
        options.number("atom_sigma"),
        cutoff_function=_cutoff(options),
        central_weight=options.number("central_weight", 1.0),
        normalize=normalise,
        compression=None if (nu_R, nu_S) == (2, 2) else Channels(nu_R, nu_S),
        species=list(channels),
        centre_channels="all" if everywhere and (len(channels) > 1 or set(centres) != set(channels)) else "own",
    )
    return descriptor, centres


def _cutoff(options: Options) -> CutoffFunction:
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

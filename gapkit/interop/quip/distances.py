"""QUIP's `distance_2b`, `angle_3b` and `distance_Nb` of orders 2 and 3 as gapkit's pairs and triplets."""

from __future__ import annotations

from itertools import product

import numpy as np

from gapkit.descriptors import CosineCutoff, Descriptor, ThreeBody, TripletDistances, TwoBody
from gapkit.descriptors.base import Block
from gapkit.descriptors.triplet_distances import TripletDistancesEngine, orders_of
from gapkit.exceptions import ModelFileError
from gapkit.interop.quip.file import ARD_SE, Coordinates
from gapkit.interop.quip.options import EMPTY, OFF, ONE, ZERO, Options
from gapkit.interop.quip.parts import Part, Setting
from gapkit.kernels import SquaredExponential
from gapkit.potential.term import Term

CUTOFF = frozenset({"cutoff", "cutoff_transition_width", "xml_version"})


def convert_distance_2b(item: Coordinates, setting: Setting) -> list[Part]:
    """Blocks of one `distance_2b`, one for each pair of species."""
    item.options.check(
        CUTOFF | {"Z1", "Z2"},
        {
            "only_intra": OFF, "only_inter": OFF, "resid_name": EMPTY, "n_exponents": ONE, "exponents": ONE,
            "tail_exponent": ZERO, "tail_range": ONE,
        },
    )  # fmt: skip
    first, second = (setting.expand([item.options.integer(key, 0)]) for key in ("Z1", "Z2"))
    blocks = sorted({(min(pair), max(pair)) for pair in product(first, second)})
    return [_part(item, TwoBody, block, 1) for block in blocks]


def convert_angle_3b(item: Coordinates, setting: Setting) -> list[Part]:
    """Blocks of one `angle_3b`, one for each central species and pair of neighbour species."""
    item.options.check(CUTOFF | {"Z", "Z1", "Z2"}, {})
    centre, first, second = (setting.expand([item.options.integer(key, 0)]) for key in ("Z", "Z1", "Z2"))
    blocks = sorted({(c, min(pair), max(pair)) for c in centre for pair in product(first, second)})
    return [_part(item, ThreeBody, block, 3) for block in blocks]


def convert_distance_nb(item: Coordinates, setting: Setting) -> list[Part]:
    """The one block of a `distance_Nb` of pairs, or of triangles of like atoms.

    Raises
    ------
    InputError
        For other clusters.
    """
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
        return [_part(item, TwoBody, z, 1)]
    if len(set(z)) > 1:
        raise options.unsupported(
            "Z", "QUIP's own energy of three atoms that are not all alike depends on the order of the atoms in the file"
        )
    if not np.allclose(item.theta, item.theta[0], rtol=1e-12):
        raise options.unsupported("theta", "the three distances of like atoms must have one length scale")
    part = _part(item, TripletDistances, z, 3)
    engine = part.term.descriptor.engine(z[:1])
    assert isinstance(engine, TripletDistancesEngine)
    s, _ = engine.self_kernel(part.points, orders_of(z))
    return [Part(part.term, None, part.block, part.points, part.weights / np.sqrt(s))]


def _part(
    item: Coordinates, cls: type[TwoBody] | type[ThreeBody] | type[TripletDistances], block: Block, d: int
) -> Part:
    options = item.options
    if item.covariance != ARD_SE:
        raise options.unsupported("covariance_type", f"gapkit takes ard_se for {options.name}")
    if item.points.shape[1] != d or len(item.theta) != d:
        raise ModelFileError(
            f"descriptor {options.name} has {d} elements, its sparse points have {item.points.shape[1]} and theta has "
            f"{len(item.theta)}; the file was edited"
        )
    descriptor = _descriptor(cls, options, item, block)
    scale = float(item.theta[0]) if len(set(item.theta)) == 1 else [float(theta) for theta in item.theta]
    term = Term(descriptor, SquaredExponential(item.delta, scale))
    return Part(term, None, block, item.points, item.delta**2 * item.weights)


def _descriptor(
    cls: type[TwoBody] | type[ThreeBody] | type[TripletDistances], options: Options, item: Coordinates, block: Block
) -> Descriptor:
    cutoff = options.number("cutoff")
    switch = CosineCutoff(options.number("cutoff_transition_width", 0.5))
    species, blocks = sorted(set(block)), [list(block)]
    if cls is TripletDistances:
        return TripletDistances(cutoff, float(item.theta[0]), cutoff_function=switch, species=species, blocks=blocks)
    return cls(cutoff, cutoff_function=switch, species=species, blocks=blocks)

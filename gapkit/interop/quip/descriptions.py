"""Terms of a model in the words of QUIP: descriptor strings, vectors and kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gapkit.descriptors import SOAP, Channels, CosineCutoff, DecayingCutoff, ThreeBody, TripletDistances, TwoBody
from gapkit.descriptors.base import Block
from gapkit.descriptors.cutoffs import CutoffFunction
from gapkit.descriptors.soap.engine import SOAPEngine
from gapkit.descriptors.triplet_distances import orders_of
from gapkit.exceptions import InputError
from gapkit.gp.basis import BasisTerm, SparseBlock
from gapkit.interop.quip.descriptors import vector_order
from gapkit.interop.quip.file import ARD_SE, DOT_PRODUCT
from gapkit.interop.quip.variance import self_norms, sparse_factors
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential.term import Term
from gapkit.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Description:
    """What a `gpCoordinates` says."""

    text: str  # the descriptor string
    covariance: int  # `ARD_SE` or `DOT_PRODUCT`
    zeta: float | None
    theta: FloatArray  # (d,), or (0,)
    orders: IntArray  # (n, d), orders of the vector that the kernel sums over, counted from 1
    points: FloatArray  # (m, d)
    weights: FloatArray  # (m,), delta^2 alpha, eV
    factors: FloatArray  # (m,), `sparseCutoff`


def describe_block(term: Term, basis: BasisTerm, block: SparseBlock, weights: FloatArray) -> Description:
    """One block of a term; `weights` (m,) multiply its unit-scale kernel.  InputError if QUIP has no such term."""
    kernel, descriptor = term.resolved_kernel(), term.descriptor
    if isinstance(descriptor, SOAP):
        if not isinstance(kernel, DotProduct):
            raise InputError(f"QUIP's soap is written with a DotProduct kernel, the model has {kernel!r}")
        assert isinstance(basis.engine, SOAPEngine)
        text, ones = _soap(descriptor, basis.engine, block.species, kernel), np.ones(len(weights))
        points = np.column_stack([whole_vectors(basis.engine, block.points), kernel.sigma0 * ones])
        return Description(text, DOT_PRODUCT, float(kernel.zeta), np.empty(0), np.array([[1]]), points, weights, ones)
    if not isinstance(descriptor, TwoBody | ThreeBody | TripletDistances):
        raise InputError(f"QUIP has no {type(descriptor).__name__}; a model for it is made of SOAP, TwoBody, ThreeBody")
    if not isinstance(kernel, SquaredExponential):
        raise InputError(f"{type(descriptor).__name__} is written with a SquaredExponential kernel, not {kernel!r}")
    d = basis.engine.n_features
    theta = np.broadcast_to(np.asarray(kernel.length_scale, float), d).copy()
    orders = np.arange(1, d + 1)[None]
    if isinstance(descriptor, TripletDistances):
        orders = orders_of(block.species) + 1
        if float(descriptor.length_scale) != theta[0]:
            raise InputError("`length_scale` of TripletDistances and of its kernel must be the same for QUIP")
        weights = weights * self_norms(basis.engine, block.species, block.points)
    text = f"{_cluster(descriptor, block.species)} {_cutoff(descriptor)} covariance_type=ard_se"
    factors = sparse_factors(basis.engine, block.points)
    return Description(text, ARD_SE, None, theta, orders, block.points, weights, factors)


def _cluster(descriptor: TwoBody | ThreeBody | TripletDistances, block: Block) -> str:
    if isinstance(descriptor, TwoBody):
        return f"distance_2b Z1={block[0]} Z2={block[1]}"
    if isinstance(descriptor, ThreeBody):
        return f"angle_3b Z={block[0]} Z1={block[1]} Z2={block[2]}"
    if len(set(block)) > 1:
        raise InputError(f"QUIP has triangles of like atoms only, the model has some of {block}; use ThreeBody")
    return f"distance_Nb order=3 compact_clusters=T Z={{{_join(block)}}}"


def _cutoff(descriptor: TwoBody | ThreeBody | TripletDistances | SOAP) -> str:
    switch: CutoffFunction | None = descriptor.cutoff_function
    if isinstance(switch, CosineCutoff):
        return f"cutoff={descriptor.cutoff!r} cutoff_transition_width={switch.width!r}"
    if isinstance(switch, DecayingCutoff) and isinstance(descriptor, SOAP):
        more = f"cutoff_dexp={switch.exponent:.17g} cutoff_scale={switch.scale!r} cutoff_rate={switch.rate!r}"
        return f"cutoff={descriptor.cutoff!r} cutoff_transition_width={switch.width!r} {more}"
    of = f"{'QuinticCutoff' if switch is None else type(switch).__name__} of {type(descriptor).__name__}"
    raise InputError(f"QUIP cannot express the {of}; fit with cutoff_function=CosineCutoff(0.5)")


def _soap(descriptor: SOAP, engine: SOAPEngine, block: Block, kernel: DotProduct) -> str:
    if descriptor.basis != "gaussian":
        raise InputError(f'QUIP has the basis "gaussian" only, the model has {descriptor.basis!r}; fit with that one')
    words = [
        f"soap {_cutoff(descriptor)} n_max={descriptor.n_max} l_max={descriptor.l_max}",
        f"atom_sigma={descriptor.sigma!r} central_weight={descriptor.central_weight!r}",
        f"central_reference_all_species={'T' if descriptor.centre_channels == 'all' else 'F'}",
        f"n_species={len(engine.species)} species_Z={{{_join(engine.species)}}} Z={block[0]}",
        f"covariance_type=dot_product zeta={kernel.zeta!r} covariance_sigma0={kernel.sigma0!r}",
    ]
    if not descriptor.normalize:
        words.append("normalise=F")
    if (chosen := descriptor.compression) is not None:
        if not isinstance(chosen, Channels):
            raise InputError(f"QUIP cannot express the compression {chosen!r}; fit with Channels(nu_R, nu_S) or None")
        words.append(f"nu_R={chosen.nu_R} nu_S={chosen.nu_S}")
    return " ".join(words)


def _join(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def whole_vectors(engine: SOAPEngine, points: FloatArray) -> FloatArray:
    """Sparse points (m, d) of an engine, truncated or not, as whole vectors in QUIP's order.

    What a truncated engine leaves out of the vectors is zero in its sparse points, so that inner products stay.
    """
    if engine.rotation is None:
        return points[:, vector_order(engine)]
    n = len(engine.tables.first)
    lower = np.tril_indices(n)
    root = np.where(lower[0] == lower[1], 1.0, np.sqrt(2.0))
    parts, start = [], 0
    for rotation, kept in zip(engine.rotation, engine.tables.kept, strict=True):
        a = np.repeat(np.arange(n), kept)
        b = np.concatenate([np.arange(k) for k in kept])
        turned = np.zeros((len(points), n, n))
        turned[:, a, b] = points[:, start : start + len(a)] / np.where(a == b, 1.0, np.sqrt(2.0))
        turned[:, b, a] = turned[:, a, b]
        parts.append((rotation @ turned @ rotation.T)[:, lower[0], lower[1]] * root)
        start += len(a)
    return np.concatenate(parts, axis=1)[:, vector_order(engine.whole)]

"""Fitted states and the parameters of their estimators in model files.

What is about to be written is read again before the first byte is: what cannot be loaded is never written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from gapkit import __version__
from gapkit.exceptions import InputError
from gapkit.gp.basis import BLOCKS, ORIGINS
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.instances import local_dimensions
from gapkit.gp.noise import Noise
from gapkit.io.archive import Kind, reading_archive, writing_archive
from gapkit.io.arrays import Arrays, Given, Source
from gapkit.io.codec import decode, encode, made
from gapkit.io.npy import PackedTriangle
from gapkit.io.values import ELEMENTS, Anything, Declared, Either, ListOf, MapOf, Number, Record, Text
from gapkit.kernels import GapKernel
from gapkit.potential.model import SparseModel
from gapkit.potential.state import NOISE, FittedState
from gapkit.potential.term import Term
from gapkit.targets import TARGETS
from gapkit.terms.known import KnownEnergy, as_energy_terms
from gapkit.uncertainty.calibration import Calibration
from gapkit.uncertainty.conformal import LEAST
from gapkit.uncertainty.novelty import NoveltyDetector

MODEL = Kind("gapkit-model", 3, "model file", "`model.save`", "copy it again, or fit it again")

Packed = dict[str, np.ndarray | PackedTriangle]

_SPECIES = ListOf(Number(1, ELEMENTS, whole=True))
_COUNT = Either(Number(0, whole=True), Text())  # a text where another program does not tell
_TRAINING = Record({"sha256": Either(None, Text()), "n_frames": _COUNT, "n_atoms": _COUNT})
METADATA = Record(
    {},
    {
        "training_set": _TRAINING, "report": Text(), "seconds": MapOf(Number(0.0)), "versions": MapOf(Text()),
        "created": Text(), "partial_fit": ListOf(Record({}, open=True)), "extend": ListOf(Record({}, open=True)),
    },
    open=True,
)  # fmt: skip
_LATER: dict[str, Declared] = {
    "arrays": Anything(),
    "energy_terms": ListOf(Anything()),
    "given_noise": Anything(),
}  # some since 0.1
HEADER = Record(
    {
        "format": Text(), "format_version": Number(1, whole=True), "units": MapOf(Text()), "gapkit_version": Text(),
        "parameters": MapOf(Anything()), "terms": ListOf(Anything()), "species": _SPECIES,
        "blocks": BLOCKS, "reference_energies": MapOf(Number()),
        "noise": NOISE, "log_marginal_likelihood": Number(nan=True),
        "calibration": Either(
            None, Record(
                {"n": Number(LEAST, whole=True), "source": Text(("leave-one-out", "frames"))}, {"kinds": ListOf(Text())}
            ),
        ),
        "factors": ListOf(Text()), "metadata": METADATA,
    },
    {"checksums": Anything(), **_LATER},
)  # fmt: skip


def write_state(
    path: str | os.PathLike[str], state: FittedState, parameters: Mapping[str, Any], *, factors: bool
) -> None:
    """Write a state and the parameters of its estimator; with `factors` also the triangles of the training rows.

    InputError, and nothing is written, where a part of the state is not sound.
    """
    if factors and state.factors is None:
        raise InputError("`factors=True` needs a model that has its factors: one fitted here or saved with them")
    header, arrays = pack(state, parameters, factors=factors)
    try:
        start = {"format": MODEL.format, "format_version": MODEL.version, "units": {}, "arrays": {}}
        unpack(json.loads(json.dumps(start | header)), Given(arrays))
    except (InputError, TypeError) as error:
        raise InputError(f"the model is not written, as it could not be read again: {error}") from error
    with writing_archive(path, MODEL) as archive:
        archive.header = header
        for name, array in arrays.items():
            archive.add(name, array)


def check_readable(parameters: Mapping[str, Any]) -> None:
    """Raise InputError where parameters would go into a file and could not be read again: before a fit, not after it.

    Those that no file can hold, such as a calculator that is at hand, are no hindrance to a fit.
    """
    for name, value in parameters.items():
        if name != "energy_terms":  # which may hold models
            try:
                plain = encode(value)
            except InputError:
                continue
            decode(plain, name, complete=True)


def read_state(path: str | os.PathLike[str]) -> tuple[FittedState, dict[str, Any]]:
    """State and parameters of a model file; ModelFileError where it is damaged or of a newer version."""
    with reading_archive(path, MODEL) as archive:
        return unpack(archive.header, archive)


def pack(state: FittedState, parameters: Mapping[str, Any], *, factors: bool) -> tuple[dict[str, Any], Packed]:
    """Header and arrays of a model file; arrays are not copied."""
    kept = (state.factors or {}) if factors else {}
    arrays: Packed = state.sparse.to_arrays() | {"origins": state.origins, "origin_atoms": state.origin_atoms}
    parts: dict[str, Any] = {f"factor_{kind}_": factor for kind, factor in kept.items()}
    parts |= {"calibration_": state.calibration, "novelty_": state.detector}
    for prefix, part in parts.items():
        if part is not None:
            arrays |= {prefix + name: array for name, array in part.to_arrays().items()}
    calibration = state.calibration
    plain = {
        name: None if isinstance(value, np.random.RandomState) else encode(value)
        for name, value in parameters.items()
        if name != "energy_terms"  # they are those of the state
    }
    header = {
        "gapkit_version": __version__, "parameters": plain, "terms": [encode(term) for term in state.terms],
        "species": list(state.species), "blocks": state.sparse.basis.species,
        "reference_energies": {str(z): e for z, e in state.known.reference.items()},
        "energy_terms": [encode(term) for term in state.known.terms],
        "noise": state.noise, "given_noise": encode(state.given_noise),
        "log_marginal_likelihood": state.log_marginal_likelihood,
        "calibration": calibration and {
            "n": calibration.n_configurations, "source": calibration.source,
            **({"kinds": list(calibration.kinds.names)} if calibration.kinds is not None else {}),
        },
        "factors": sorted(kept), "metadata": state.metadata,
    }  # fmt: skip
    return header, arrays


def unpack(header: Mapping[str, Any], source: Source) -> tuple[FittedState, dict[str, Any]]:
    """State and parameters of a header and arrays; InputError where they are not sound or don't fit together."""
    HEADER.check(header)
    is_new = header["format_version"] == MODEL.version
    if is_new and (missing := [name for name in _LATER if name not in header]):
        raise InputError(f"`{missing[0]}` is missing")
    make = partial(decode, complete=is_new)
    arrays = Arrays(source, {})
    parameters = {name: make(value, f"parameters.{name}") for name, value in header["parameters"].items()}
    terms = _terms([make(term, f"terms[{i}]") for i, term in enumerate(header["terms"])])
    energy_terms = make(header.get("energy_terms", []), "energy_terms")
    baseline = parameters.pop("baseline", None)  # until 0.1 there was one energy term at most
    parameters["energy_terms"] = energy_terms = as_energy_terms(energy_terms or baseline or ())
    given_noise = make(header["given_noise"], "given_noise") if "given_noise" in header else parameters.get("noise")
    known = _known(header, energy_terms)
    engines = [
        made(partial(_engine, term, known.species), f"the descriptor of `terms[{i}]`") for i, term in enumerate(terms)
    ]
    kernels = [term.resolved_kernel() for term in terms]
    if len(header["blocks"]) != len(terms):
        raise InputError(f"`blocks` must be those of {len(terms)} terms, got {len(header['blocks'])}")
    sparse = SparseModel.from_arrays(arrays, header["blocks"], engines, kernels)
    n, dimensions, calibration = sparse.basis.n_columns, local_dimensions(sparse.basis), header["calibration"]
    if unknown := set(header["factors"]) - set(TARGETS):
        raise InputError(f"`factors` must be of {', '.join(TARGETS)}, got {', '.join(sorted(unknown))}")
    factors = {kind: TriangularFactor.from_arrays(arrays.of({}, f"factor_{kind}_"), n) for kind in header["factors"]}
    detector, calibrated = arrays.of({}, "novelty_"), arrays.of({}, "calibration_")
    origins = arrays.of(dict.fromkeys(("origins", "origin_atoms"), ORIGINS), M=n)
    state = FittedState(
        terms=terms,
        sparse=sparse,
        known=known,
        noise=header["noise"],
        given_noise=Noise() if given_noise is None else given_noise,
        origins=origins["origins"],
        # files of before told the frame alone
        origin_atoms=np.full(n, -1) if (atoms := origins.optional("origin_atoms")) is None else atoms,
        factors=factors or None,
        calibration=calibration
        and Calibration.from_arrays(
            calibrated, calibration["n"], calibration["source"], dimensions, calibration.get("kinds", ())
        ),
        detector=NoveltyDetector.from_arrays(detector, dimensions) if "species" in detector else None,
        metadata=header["metadata"],
        log_marginal_likelihood=header["log_marginal_likelihood"],
    )
    arrays.check_all_taken()
    return state, parameters


def _terms(terms: list[Any]) -> tuple[Term, ...]:
    for i, term in enumerate(terms):
        if not isinstance(term, Term) or not isinstance(term.kernel, GapKernel | None):
            raise InputError(f"`terms[{i}]` must be a Term with a kernel, got {term!r}")
    if not terms:
        raise InputError("`terms` must hold at least one term")
    return tuple(terms)


def _engine(term: Term, species: tuple[int, ...]) -> Any:
    return term.descriptor.engine(term.descriptor.resolve_species(species))


def _known(header: Mapping[str, Any], terms: tuple[Any, ...]) -> KnownEnergy:
    """What is not learned; its reference energies are those of the species."""
    energies, species = header["reference_energies"], header["species"]
    if species != sorted(set(species)) or not species:
        raise InputError(f"`species` must be atomic numbers, ascending and each once, got {species}")
    if set(energies) != set(map(str, species)):
        raise InputError(f"`reference_energies` must be those of the species {species}, got {sorted(energies)}")
    return KnownEnergy({int(z): float(energy) for z, energy in energies.items()}, terms)

"""Fitted states and the parameters of their estimators in model files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from gapkit import __version__
from gapkit.exceptions import InputError, ModelFileError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import Noise
from gapkit.io.archive import read_archive, write_archive
from gapkit.io.codec import decode, encode
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.terms.known import KnownEnergy, as_energy_terms
from gapkit.uncertainty.calibration import Calibration
from gapkit.uncertainty.novelty import NoveltyDetector


def write_state(
    path: str | os.PathLike[str], state: FittedState, parameters: Mapping[str, Any], *, factors: bool
) -> None:
    """Write a state and the parameters of its estimator; with `factors` also the triangles of the training rows."""
    if factors and state.factors is None:
        raise InputError("`factors=True` needs a model that has its factors: one fitted here or saved with them")
    kept = (state.factors or {}) if factors else {}
    arrays = state.sparse.to_arrays() | {"origins": state.origins}
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
        "calibration": calibration and {"n": calibration.n_configurations, "source": calibration.source},
        "factors": sorted(kept), "metadata": state.metadata,
    }  # fmt: skip
    write_archive(path, header, arrays)


def read_state(path: str | os.PathLike[str]) -> tuple[FittedState, dict[str, Any]]:
    """State and parameters of a model file; ModelFileError where it is damaged or of a newer version."""
    header, arrays = read_archive(path)
    try:
        parameters = {name: decode(value) for name, value in header["parameters"].items()}
        baseline = parameters.pop("baseline", None)  # until 0.1 there was one energy term at most
        energy_terms = tuple(decode(term) for term in header.get("energy_terms", ())) or as_energy_terms(baseline or ())
        parameters["energy_terms"] = energy_terms
        given_noise = decode(header["given_noise"]) if "given_noise" in header else parameters["noise"] or Noise()
        terms = tuple(decode(term) for term in header["terms"])
        species = tuple(header["species"])
        engines = [term.descriptor.engine(term.descriptor.resolve_species(species)) for term in terms]
        kernels = [term.resolved_kernel() for term in terms]
        factors = {kind: TriangularFactor.from_arrays(_part(arrays, f"factor_{kind}_")) for kind in header["factors"]}
        calibration, detector = header["calibration"], _part(arrays, "novelty_")
        state = FittedState(
            terms=terms,
            sparse=SparseModel.from_arrays(arrays, header["blocks"], engines, kernels),
            known=KnownEnergy({int(z): float(e) for z, e in header["reference_energies"].items()}, energy_terms),
            noise=header["noise"],
            given_noise=given_noise,
            origins=arrays["origins"],
            factors=factors or None,
            calibration=calibration
            and Calibration.from_arrays(_part(arrays, "calibration_"), calibration["n"], calibration["source"]),
            detector=NoveltyDetector.from_arrays(detector) if detector else None,
            metadata=header["metadata"],
            log_marginal_likelihood=header["log_marginal_likelihood"],
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ModelFileError(f"`{path}` lacks a part of a model ({error!r}); fit or copy it again") from error
    return state, parameters


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

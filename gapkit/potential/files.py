"""Saving and loading of fitted potentials."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import InputError, ModelFileError
from gapkit.gp.factors import TriangularFactor
from gapkit.io.archive import read_archive, write_archive
from gapkit.io.codec import decode, encode
from gapkit.potential.model import SparseModel
from gapkit.uncertainty.calibration import Calibration
from gapkit.uncertainty.novelty import NoveltyDetector

if TYPE_CHECKING:
    from gapkit.potential.gap import GAP


def save(model: GAP, path: str | os.PathLike[str], *, factors: bool) -> None:
    """Write `model` to `path`; see `GAP.save`."""
    state = model.model_
    arrays = state.to_arrays() | {"origins": model._origins}
    calibration, detector = model.calibration_, model.novelty_detector_
    if calibration is not None:
        arrays |= {f"calibration_{name}": array for name, array in calibration.to_arrays().items()}
    if detector is not None:
        arrays |= {f"novelty_{name}": array for name, array in detector.to_arrays().items()}
    if factors:
        if model._factors is None:
            raise InputError(
                "`factors=True` needs a model that has its factors: one that was fitted here or saved with them"
            )
        for kind, factor in model._factors.items():
            arrays |= {f"factor_{kind}_{name}": array for name, array in factor.to_arrays().items()}
    try:
        own_version = version("gapkit")
    except PackageNotFoundError:
        own_version = "unknown"
    header = {
        "gapkit_version": own_version,
        "parameters": {name: encode(value) for name, value in _parameters(model).items()},
        "terms": [encode(term) for term in model.terms_],
        "species": list(state.species),
        "blocks": state.blocks(),
        "reference_energies": {str(z): e for z, e in state.energies.items()},
        "noise": model._noise,
        "log_marginal_likelihood": model.log_marginal_likelihood_,
        "calibration": calibration and {"n": calibration.n_configurations, "source": calibration.source},
        "factors": sorted(model._factors) if factors and model._factors else [],
        "metadata": model.metadata_,
    }
    write_archive(path, header, arrays)


def _parameters(model: GAP) -> dict[str, Any]:
    parameters = model.get_params(deep=False)
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    return parameters


def load(path: str | os.PathLike[str]) -> GAP:
    """Read a model that `GAP.save` wrote.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, edited, not a model file, or written by a newer version of gapkit.
    """
    from gapkit.potential.gap import GAP

    header, arrays = read_archive(path)
    try:
        model = GAP(**{name: decode(value) for name, value in header["parameters"].items()})
        terms = [decode(term) for term in header["terms"]]
        species = tuple(header["species"])
        state = SparseModel.from_arrays(
            arrays,
            header["blocks"],
            [term.descriptor.engine(term.descriptor.resolve_species(species)) for term in terms],
            [term.resolved_kernel() for term in terms],
            {int(z): float(e) for z, e in header["reference_energies"].items()},
            model.baseline,
        )
        factors = {
            kind: TriangularFactor.from_arrays(
                {name: arrays[f"factor_{kind}_{name}"] for name in ("R", "n_rows", "log_weights")}
            )
            for kind in header["factors"]
        }
        model._origins = arrays["origins"]
        known = header["calibration"]
        model.calibration_ = known and Calibration.from_arrays(
            _part(arrays, "calibration_"), known["n"], known["source"]
        )
        detector = _part(arrays, "novelty_")
        model.novelty_detector_ = NoveltyDetector.from_arrays(detector) if detector else None
        model.terms_ = terms
        model.report_ = None
        model.metadata_ = header["metadata"]
        model.log_marginal_likelihood_ = header["log_marginal_likelihood"]
        model._restore(state, header["noise"], factors or None)
    except (KeyError, TypeError, IndexError) as error:
        raise ModelFileError(f"`{path}` lacks a part of a model ({error!r}); fit or copy it again") from error
    return model


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

"""A fitted model in words and units: everything that decides its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ase.data import chemical_symbols
from sklearn.base import BaseEstimator

from gapkit.gp.basis import BasisTerm
from gapkit.gp.noise import Noise
from gapkit.kernels import GapKernel
from gapkit.potential.state import FittedState
from gapkit.potential.term import Term
from gapkit.targets import TARGETS
from gapkit.uncertainty.novelty import NoveltyDetector

UNKNOWN = dict.fromkeys(("n_frames", "n_atoms"), "an unknown number of")


def summarise(state: FittedState, parameters: Mapping[str, Any] | None = None) -> str:
    """The fitted model in words and units; `parameters` are those of its estimator."""
    training, sparse = state.metadata.get("training_set", UNKNOWN), state.sparse
    lines = [
        f"GAP for {', '.join(chemical_symbols[z] for z in state.species)}, fitted to {training['n_frames']} frames, "
        f"{training['n_atoms']} atoms",
        f"  sparse points: {sparse.basis.n_columns}",
    ]
    for term, basis, delta in zip(state.terms, sparse.basis.terms, state.scales, strict=True):
        lines.extend("  " + line for line in _term(term, basis, delta))
    noise = state.given_noise.used(state.noise)
    lines.append(f"  noise: {_sigmas(noise) or 'none'}")
    chosen = [kind for kind in state.given_noise.free if kind in state.noise]
    if chosen:
        lines[-1] += f"; chosen by evidence: {', '.join(chosen)}"
    lines.extend(f"    of {name!r}: {_sigmas(own)}" for name, own in noise.per_config_type.items())
    reference = sorted(state.known.reference.items())
    lines.append("  e0: " + ", ".join(f"{chemical_symbols[z]} {energy:.4f} eV" for z, energy in reference))
    lines.extend(f"  energy term: {term!r}" for term in state.known.terms)
    lines.extend(_labels(parameters or {}))
    if state.calibration is not None:
        lines.extend("  " + line for line in state.calibration.summary().splitlines())
        lines.append(
            "    an error bar is sqrt(m^2 (a^2 + b^2 s^2) + v): s the posterior standard deviation of the quantity,"
        )
        lines.append("    m the factor of its kind and neighbourhood, v what is added where structures are novel")
    lines.extend("  " + line for line in _thresholds(state.detector))
    seconds = state.metadata.get("seconds", {})
    lines.append("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    return "\n".join(lines)


def _term(term: Term, basis: BasisTerm, delta: float) -> list[str]:
    """Descriptor, kernel, selector and points of a term, with every parameter."""
    kernel, number = term.resolved_kernel(), sum(len(block.points) for block in basis.blocks)
    by = "given" if str(kernel.delta_bounds) == "fixed" else "chosen by evidence"
    of_species = ", ".join(
        f"{'-'.join(chemical_symbols[z] for z in block.species)} {len(block.points)}" for block in basis.blocks
    )
    lines = [
        _named(term.descriptor), f"  kernel {_named(kernel)}, delta {delta:.4g} eV ({by})",
        f"  {number} points ({of_species or 'none'}), {_named(term.resolved_selector())}",
    ]  # fmt: skip
    if term.n_sparse_per_config_type:
        lines.append(f"  points by configuration type: {dict(term.n_sparse_per_config_type)}")
    return lines + _features(basis)


def _named(thing: Any) -> str:
    """A class with all its parameters, also those that are as by default; a kernel without scale and bounds."""
    if not isinstance(thing, BaseEstimator | GapKernel):
        return repr(thing)
    shown = thing.get_params(deep=False)
    if isinstance(thing, GapKernel):
        shown = {name: value for name, value in shown.items() if name != "delta" and not name.endswith("_bounds")}
    return f"{type(thing).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def _sigmas(noise: Noise) -> str:
    found = {kind: noise.of(kind) for kind in TARGETS}
    return ", ".join(f"{k} {sigma:.3g} {TARGETS[k].noise_unit}" for k, sigma in found.items() if sigma is not None)


def _labels(parameters: Mapping[str, Any]) -> list[str]:
    """Where labels were read, and what of the descriptors is left out."""
    lines = []
    if (keys := parameters.get("label_keys")) is not None:
        named = [f"{name} from {key!r}" for name, key in keys.changed().items()]
        named += [f"{name} not read" for name, key in keys.given().items() if key is None]
        lines.append(f"  labels: {', '.join(named) or 'under their own names'}")
    if "truncation" in parameters:
        lines.append(f"  truncation: {parameters['truncation']:g} of the norm of the vectors")
    return lines


def _thresholds(detector: NoveltyDetector | None) -> list[str]:
    """Where novelty and distance are 1."""
    if detector is None:
        return ["no thresholds of novelty: extrapolation is not told"]
    return [
        f"threshold of {chemical_symbols[z]}: {unseen:.3g} of the prior variance unseen, distance {distance:.3g}"
        for z, (unseen, distance) in detector.thresholds().items()
    ]


def _features(basis: BasisTerm) -> list[str]:
    """How many features are used of those that the descriptor has, where they are fewer."""
    if not basis.engine.is_atomic or not basis.blocks:
        return []
    whole, used = basis.engine.whole.n_features, basis.engine.n_features
    products = [block.scaled.shape[1] for block in basis.blocks]
    if max(products) == whole:
        return []
    line = f"  features: {used} of {whole} kept (truncation)"
    if min(products) < used:
        line += f"; projected on {', '.join(map(str, products))} directions"
    return [line]

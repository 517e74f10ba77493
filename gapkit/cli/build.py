"""From a configuration to the objects of the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from gapkit.exceptions import ConfigError
from gapkit.gp.noise import Noise
from gapkit.io.registry import made_arguments, make, make_all
from gapkit.options.fit import FitConfig, LabelOptions
from gapkit.options.values import NOISE_NAMES
from gapkit.potential import GAP, Term
from gapkit.structures import LabelKeys


def build_estimator(config: FitConfig) -> GAP:
    """The unfitted potential that a configuration describes; ConfigError where one of its objects cannot be made."""
    plain = {item.metadata["sets"]: getattr(config, item.name) for item in fields(config) if item.metadata["sets"]}
    made = {
        "terms": build_terms(config),
        "noise": build_noise(config),
        "energy_terms": make_all(config.energy_terms or (), "EnergyTerm", "`energy_terms`", what="energy term"),
        "label_keys": build_keys(config),
        "calibration": "leave-one-out" if config.calibrate else None,
        "progress": not config.quiet,
    }
    return GAP(**(plain | made))


def build_keys(options: LabelOptions, default: LabelKeys | None = None) -> LabelKeys:
    """`default` (or the library's) with the keys that are given in place of its own."""
    given, keys = options.keys(), default or LabelKeys()
    own: dict[str, Any] = {item.name: given.pop(item.name) for item in fields(LabelKeys) if item.name in given}
    return replace(keys, **{"others": {**keys.others, **given}, **own})


def build_noise(config: FitConfig) -> Noise:
    """The noise levels of a configuration; those not given are left to evidence."""

    def levels(of: Mapping[str, Any]) -> dict[str, Any]:
        return {name.removesuffix("_sigma"): of[name] for name in NOISE_NAMES if name in of}

    table = {name: Noise(**levels(own)) for name, own in config.config_types.items()}
    return Noise(
        **levels(config.to_dict()),
        per_config_type=table,
        others=config.noise,
        by_config_type=config.noise_by_config_type,
    )


def build_terms(config: FitConfig) -> list[Term] | None:
    """The terms that a configuration lists, None where gapkit is to choose them; see `build_estimator`."""
    if config.terms is None:
        return None
    if config.cutoff is not None and all("cutoff" in term for term in config.terms):
        raise ConfigError("`cutoff` has no effect, because every one of the `terms` names its own; remove one of them")
    default = {"cutoff": config.cutoff} if config.cutoff is not None else {}
    return [_build_term({**default, **term}, f"`terms`, number {i}") for i, term in enumerate(config.terms, start=1)]


def _build_term(mapping: Mapping[str, Any], where: str) -> Term:
    names = [item.name for item in fields(Term) if item.name != "descriptor"]
    of_term = made_arguments(Term, {name: mapping[name] for name in names if name in mapping}, where)
    of_descriptor = {name: value for name, value in mapping.items() if name not in names}
    descriptor = make(of_descriptor, "Descriptor", where, what="type of term", elsewhere=names)
    try:
        return Term(descriptor, **of_term)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error

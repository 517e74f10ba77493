"""From a configuration to the objects of the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gapkit.cli.config import FitConfig
from gapkit.cli.terms import build_terms

if TYPE_CHECKING:
    from gapkit.gp.noise import Noise
    from gapkit.potential import GAP
    from gapkit.structures import LabelKeys

KEYS = ("energy", "forces", "stress", "virial", "config_type")


def build_estimator(config: FitConfig) -> GAP:
    """Return the unfitted potential that a configuration describes.

    Raises
    ------
    ConfigError
        If a term or one of its arguments is unknown.
    """
    from gapkit.potential import GAP

    return GAP(
        terms=build_terms(config),
        n_sparse=config.n_sparse,
        noise=build_noise(config),
        reference_energies=config.e0,
        label_keys=build_keys({name: getattr(config, f"{name}_key") for name in KEYS}),
        random_state=config.seed,
        calibration="leave-one-out" if config.calibrate else None,
        n_jobs=config.n_jobs,
        progress=not config.quiet,
    )


def build_keys(given: dict[str, str | None], default: LabelKeys | None = None) -> LabelKeys:
    """Return `default` (or the library's) with the keys that are given in place of its own."""
    from gapkit.structures import LabelKeys

    changes: dict[str, Any] = {name: key for name, key in given.items() if key is not None}
    return dataclasses.replace(default or LabelKeys(), **changes)


def build_noise(config: FitConfig) -> Noise:
    """Return the noise levels of a configuration; those not given are left to evidence."""
    from gapkit.gp.noise import Noise
    from gapkit.targets import TARGETS

    def sigmas(levels: Mapping[str, float | None]) -> dict[str, float | None]:
        return {kind: levels.get(f"{kind}_sigma") for kind in TARGETS}

    table = {name: Noise.of_kinds(sigmas(levels)) for name, levels in (config.config_types or {}).items()}
    return Noise.of_kinds(sigmas(config.to_dict()), table)

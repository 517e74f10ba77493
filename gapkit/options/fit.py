"""Options of a fit, each stated once: flags, configuration files, `GAP`'s checks and the config in model files follow.

A configuration file is YAML or TOML, and its keys are the flags with underscores for hyphens, for example

    cutoff: 5.0
    n_sparse: 1000
    forces_key: REF_forces
    e0: {Si: -0.65}
    terms:                                  # config file only: a descriptor and its arguments, and those of Term
      - {type: TwoBody, cutoff: 5.0}
      - {type: SOAP, cutoff: 5.4, n_max: 8, kernel: {type: DotProduct, zeta: 2}, selector: kmeans, n_sparse: 500}
    energy_terms: [{type: ZBL, inner: 0.8}] # as a flag: names with commas between
    noise_by_config_type: true              # found by evidence, or
    config_types:                           # config file only: noise per configuration type
      liquid: {energy_sigma: 0.01, forces_sigma: 0.2}

Flags win over the file.  An option `sets` a parameter of `GAP`; those that set none belong to the command.  A new plain
parameter of `GAP` is one field here that has its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from gapkit.options import Located, Options, check_value, entries, given, option, read_options
from gapkit.options.values import (
    between,
    count,
    file_name,
    flag,
    jobs,
    number,
    positive,
    seed,
    sigmas,
    symbol,
    table,
    text,
)

_truncation = between(0.0, 0.01)
Truncation: TypeAlias = Annotated[float, _truncation]
E0_CHOICES = ("auto", "least_squares", "isolated")


def _named(item: Any) -> bool:
    return isinstance(item, Mapping) and isinstance(item.get("type"), str) and item["type"] != ""


def terms_of(value: Any) -> list[dict[str, Any]]:
    """A list of mappings, each with the name of its class under `type`."""
    if not isinstance(value, list | tuple) or not value or not all(_named(item) for item in value):
        raise ValueError("a list of terms, each a mapping with its `type`, such as {type: SOAP, cutoff: 5.0}")
    return [dict(item) for item in value]


def energy_terms_of(value: Any) -> list[dict[str, Any]]:
    """A list of names, or of mappings as in `terms_of`; or names in one text, with commas between."""
    found: Any = value.split(",") if isinstance(value, str) else value
    if isinstance(found, list | tuple):
        found = [{"type": item.strip()} if isinstance(item, str) else item for item in found]
        if all(_named(item) for item in found):
            return [dict(item) for item in found]
    raise ValueError("names of energy terms, such as ZBL, or a list of mappings, such as {type: ZBL, inner: 0.8}")


def reference_energies_of(value: Any) -> str | dict[str, float]:
    """One of `E0_CHOICES`, or energies by chemical symbol: a mapping, or text such as "Si=-1.0,O=-2"."""
    if value in E0_CHOICES:
        return str(value)
    expected = f"{', '.join(E0_CHOICES)}, or energies in eV such as Si=-1.0,O=-2"
    if isinstance(value, str):
        pairs = [part.split("=") for part in value.split(",")]
        try:
            value = {name.strip(): float(energy) for name, energy in pairs}
        except ValueError:
            raise ValueError(expected) from None
        value = value if len(value) == len(pairs) else None  # a species twice
    return table(symbol, number, expected)(value)


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Options):
    """Where labels are found, for every command that reads some."""

    energy_key: str | None = option(text, "Key of the energies in eV.", None, sets="label_keys")
    forces_key: str | None = option(text, "Key of the forces in eV/Å.", None, sets="label_keys")
    stress_key: str | None = option(text, "Key of the stresses in eV/Å³ (ASE's sign).", None, sets="label_keys")
    virial_key: str | None = option(text, "Key of the virials in eV.", None, sets="label_keys")
    config_type_key: str | None = option(text, "Key of the configuration types.", None, sets="label_keys")

    def keys(self) -> dict[str, str]:
        """The keys that are given, by the names that `LabelKeys` has for them."""
        found = {name.removesuffix("_key"): getattr(self, name) for name in LabelOptions.__dataclass_fields__}
        return {name: key for name, key in found.items() if key is not None}


@dataclass(frozen=True, kw_only=True)
class FitConfig(LabelOptions):
    """Options of a fit. None leaves the choice to gapkit: from the data, or by evidence."""

    output: str | None = option(file_name, "Model file to write.", None, metavar="FILE", letter="o")
    test: str | None = option(file_name, "Labelled structures to compute the model's errors on.", None, metavar="FILE")
    terms: list[dict[str, Any]] | None = option(terms_of, "Terms of the potential.", None, sets="terms")
    cutoff: float | None = option(positive, "Cutoff in Å of all terms that name none.", None, sets="terms")
    n_sparse: int | None = option(count, "Number of sparse points of each many-body term.", None, sets="n_sparse")
    truncation: float = option(
        _truncation, "Part of a descriptor's length that may be left out; 0: none.", 1e-7, sets="truncation"
    )
    seed: int = option(seed, "Seed of every random choice.", 0, sets="random_state")
    label_keys: Mapping[str, str] = entries(
        text, text, "Keys of further labels, sigmas and masks by name, such as {force_mask: frozen}.", sets="label_keys"
    )
    energy_sigma: float | None = option(positive, "Noise of the energies in eV/atom.", None, sets="noise")
    forces_sigma: float | None = option(positive, "Noise of the force components in eV/Å.", None, sets="noise")
    virial_sigma: float | None = option(positive, "Noise of the virials in eV/atom.", None, sets="noise")
    noise: Mapping[str, float] = entries(text, positive, "Noise of further targets by name.", sets="noise")
    config_types: Mapping[str, Mapping[str, float]] = entries(text, sigmas, "By configuration type.", sets="noise")
    noise_by_config_type: bool = option(
        flag, "Find the noise of forces and energies for every configuration type.", False, sets="noise"
    )
    e0: str | dict[str, float] = option(
        reference_energies_of, "Energies of free atoms in eV: auto, least_squares, isolated or Si=-1.0,O=-2.", "auto",
        metavar="TEXT", sets="reference_energies",
    )  # fmt: skip
    energy_terms: str | list[Any] | None = option(
        energy_terms_of, "Known parts of the energy, which are not fitted, such as ZBL.", None, metavar="NAMES",
        sets="energy_terms",
    )  # fmt: skip
    calibrate: bool = option(
        flag, "Calibrate standard deviations on configurations left out of the fit.", True, sets="calibration"
    )
    memory_limit: float | None = option(positive, "Memory in GB that the fit may use.", None, sets="memory_limit")
    checkpoint: str | None = option(
        file_name,
        "File to save the state in every few minutes; a fit begun before goes on from it.",
        None,
        metavar="FILE",
    )
    scheduler: str | None = option(
        text, "Dask scheduler whose workers share the work, tcp://host:8786.", None, metavar="ADDRESS"
    )
    n_jobs: int | None = option(jobs, "Number of threads.", None, sets="n_jobs")
    quiet: bool = option(flag, "Print errors only.", False, sets="progress")
    json: bool = option(flag, "Print the result as one JSON object.", False)

    @classmethod
    def resolve(cls, file: Path | None, flags: Mapping[str, Any]) -> FitConfig:
        """Merge a configuration file and the flags by name with underscores, which win where they are not None."""
        values = given(cls, Located({}) if file is None else read_options(file), file)
        for name, value in flags.items():
            if value is not None:
                values[name] = check_value(cls, name, value, f"`--{name.replace('_', '-')}`")
        return cls(**values)

    def keys(self) -> dict[str, str]:
        return {**self.label_keys, **super().keys()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit to be written as JSON or YAML."""
        return asdict(self)

"""The options of `gapkit fit`: one dataclass that the flags, the configuration file and the model file share.

A configuration file is YAML or TOML, and its keys are the flags with underscores for hyphens, for example

    cutoff: 5.0
    n_sparse: 1000
    forces_key: REF_forces
    e0: {Si: -0.65}
    terms:                                  # config file only: a descriptor and its arguments, and those of Term
      - {type: TwoBody, cutoff: 5.0}
      - {type: SOAP, cutoff: 5.4, n_max: 8, kernel: {type: DotProduct, zeta: 2}, selector: kmeans, n_sparse: 500}
    config_types:                           # config file only: noise per configuration type
      liquid: {energy_sigma: 0.01, forces_sigma: 0.2}

Flags win over the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gapkit.cli import checks
from gapkit.options import Located, check_value, given, help_of, option, read_options, validate
from gapkit.options import values as plain


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Options of a fit. None leaves the choice to gapkit: from the data, or by evidence.

    Raises
    ------
    ConfigError
        If a value has the wrong type or is out of range; see `FitConfig.resolve` for messages that name the file.
    """

    output: str | None = option(plain.text, "Model file to write.", None)
    test: str | None = option(plain.text, "Labelled structures to compute the errors of the fitted model on.", None)
    terms: list[dict[str, Any]] | None = option(checks.terms, "Terms of the potential.", None)
    cutoff: float | None = option(plain.positive, "Cutoff in Å of all terms that name none.", None)
    n_sparse: int | None = option(plain.count, "Number of sparse points of each many-body term.", None)
    seed: int = option(plain.seed, "Seed of every random choice.", 0)
    energy_key: str | None = option(plain.text, "Key of the energies in eV.", None)
    forces_key: str | None = option(plain.text, "Key of the forces in eV/Å.", None)
    stress_key: str | None = option(plain.text, "Key of the stresses in eV/Å³ (ASE's sign).", None)
    virial_key: str | None = option(plain.text, "Key of the virials in eV.", None)
    config_type_key: str | None = option(plain.text, "Key of the configuration types.", None)
    energy_sigma: float | None = option(plain.positive, "Noise of the energies in eV/atom.", None)
    forces_sigma: float | None = option(plain.positive, "Noise of the force components in eV/Å.", None)
    virial_sigma: float | None = option(plain.positive, "Noise of the virials in eV/atom.", None)
    config_types: dict[str, dict[str, float]] | None = option(plain.noise_table, "Noise per configuration type.", None)
    e0: str | dict[str, float] = option(
        checks.reference_energies,
        "Energies of free atoms in eV: auto, least_squares, isolated or Si=-1.0,O=-2.",
        "auto",
    )
    calibrate: bool = option(plain.flag, "Calibrate standard deviations on configurations left out of the fit.", True)
    checkpoint: str | None = option(
        plain.text, "File to save the state in every few minutes; a fit begun before goes on from it.", None
    )
    scheduler: str | None = option(plain.text, "Dask scheduler whose workers share the work, tcp://host:8786.", None)
    n_jobs: int | None = option(plain.jobs, "Number of threads.", None)
    quiet: bool = option(plain.flag, "Print errors only.", False)
    json: bool = option(plain.flag, "Print the result as one JSON object.", False)

    def __post_init__(self) -> None:
        validate(self)

    @classmethod
    def help(cls, name: str) -> str:
        """Return the one-line description of an option."""
        return help_of(cls, name)

    @classmethod
    def resolve(cls, file: Path | None, flags: Mapping[str, Any]) -> FitConfig:
        """Merge a configuration file and the flags, which win.

        Parameters
        ----------
        file : Path, optional
            A YAML (.yaml, .yml) or TOML (.toml) file.
        flags : mapping
            Values of flags by name with underscores; None means not given.

        Raises
        ------
        ConfigError
            If the file cannot be parsed, an option is unknown, or a value has the wrong type or is out of range;
            the message names the option, the file with the line, and the nearest valid name.
        """
        values = given(cls, Located({}) if file is None else read_options(file), file)
        for name, value in flags.items():
            if value is not None:
                values[name] = check_value(cls, name, value, f"`--{name.replace('_', '-')}`")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit to be written as JSON or YAML."""
        return asdict(self)

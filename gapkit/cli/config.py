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

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gapkit.cli import checks
from gapkit.exceptions import ConfigError


def _about(check: Callable[[Any], Any], help_text: str) -> dict[str, Any]:
    return {"check": check, "help": help_text}


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Options of a fit. None leaves the choice to gapkit: from the data, or by evidence.

    Raises
    ------
    ConfigError
        If a value has the wrong type or is out of range; see `FitConfig.resolve` for messages that name the file.
    """

    output: str | None = field(default=None, metadata=_about(checks.text, "Model file to write."))
    test: str | None = field(
        default=None, metadata=_about(checks.text, "Labelled structures to compute the errors of the fitted model on.")
    )
    terms: list[dict[str, Any]] | None = field(default=None, metadata=_about(checks.terms, "Terms of the potential."))
    cutoff: float | None = field(
        default=None, metadata=_about(checks.positive, "Cutoff in Å of all terms that name none.")
    )
    n_sparse: int | None = field(
        default=None, metadata=_about(checks.count, "Number of sparse points of each many-body term.")
    )
    seed: int = field(default=0, metadata=_about(checks.seed, "Seed of every random choice."))
    energy_key: str | None = field(default=None, metadata=_about(checks.text, "Key of the energies in eV."))
    forces_key: str | None = field(default=None, metadata=_about(checks.text, "Key of the forces in eV/Å."))
    stress_key: str | None = field(
        default=None, metadata=_about(checks.text, "Key of the stresses in eV/Å³ (ASE's sign).")
    )
    virial_key: str | None = field(default=None, metadata=_about(checks.text, "Key of the virials in eV."))
    config_type_key: str | None = field(default=None, metadata=_about(checks.text, "Key of the configuration types."))
    energy_sigma: float | None = field(
        default=None, metadata=_about(checks.positive, "Noise of the energies in eV/atom.")
    )
    forces_sigma: float | None = field(
        default=None, metadata=_about(checks.positive, "Noise of the force components in eV/Å.")
    )
    virial_sigma: float | None = field(
        default=None, metadata=_about(checks.positive, "Noise of the virials in eV/atom.")
    )
    config_types: dict[str, dict[str, float]] | None = field(
        default=None, metadata=_about(checks.noise_table, "Noise per configuration type.")
    )
    e0: str | dict[str, float] = field(
        default="auto",
        metadata=_about(
            checks.reference_energies, "Energies of free atoms in eV: auto, least_squares, isolated or Si=-1.0,O=-2."
        ),
    )
    calibrate: bool = field(
        default=True,
        metadata=_about(checks.flag, "Calibrate standard deviations on configurations left out of the fit."),
    )
    checkpoint: str | None = field(
        default=None,
        metadata=_about(
            checks.text, "File to save the state in every few minutes; a fit begun before goes on from it."
        ),
    )
    scheduler: str | None = field(
        default=None, metadata=_about(checks.text, "Dask scheduler whose workers share the work, tcp://host:8786.")
    )
    n_jobs: int | None = field(default=None, metadata=_about(checks.jobs, "Number of threads."))
    quiet: bool = field(default=False, metadata=_about(checks.flag, "Print errors only."))
    json: bool = field(default=False, metadata=_about(checks.flag, "Print the result as one JSON object."))

    def __post_init__(self) -> None:
        for option in fields(self):
            object.__setattr__(self, option.name, _checked(option.name, getattr(self, option.name), f"`{option.name}`"))

    @classmethod
    def help(cls, name: str) -> str:
        """Return the one-line description of an option."""
        text: str = cls.__dataclass_fields__[name].metadata["help"]
        return text

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
            the message names the option, the file, and the nearest valid name.
        """
        names = [option.name for option in fields(cls)]
        values: dict[str, Any] = {}
        for name, value in (read_mapping(file) if file is not None else {}).items():
            require_known(name, names, "option", str(file))
            values[name] = _checked(name, value, f"`{name}` in {file}")
        for name, value in flags.items():
            if value is not None:
                values[name] = _checked(name, value, f"`--{name.replace('_', '-')}`")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit to be written as JSON or YAML."""
        return asdict(self)


def require_known(name: object, known: Iterable[str], what: str, where: str) -> None:
    """Check that a name is one of `known`.

    Parameters
    ----------
    name : object
    known : iterable of str
    what, where : str
        What the name should be and where it was found, for the message.

    Raises
    ------
    ConfigError
        If it is not; the message names the nearest of `known`.
    """
    names = {item.lower(): item for item in known}
    if name in names.values():
        return
    # Hyphens are the commonest slip, since the flags are written with them.
    nearest = difflib.get_close_matches(str(name).lower().replace("-", "_"), names, n=1)
    hint = f"did you mean `{names[nearest[0]]}`? " if nearest else ""
    raise ConfigError(f"unknown {what} `{name}` in {where}; {hint}Valid are: {', '.join(names.values())}")


def read_mapping(path: Path) -> dict[Any, Any]:
    """Read a YAML or TOML file that holds a mapping; an empty file is an empty mapping.

    Raises
    ------
    ConfigError
        If the suffix is neither, or the content is not a mapping in that language.
    OSError
        If the file cannot be read.
    """
    parsers = {".yaml": _parse_yaml, ".yml": _parse_yaml, ".toml": _parse_toml}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{path} must end in .yaml, .yml or .toml, got {path.suffix or 'no suffix'}; rename it")
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid {path.suffix[1:].upper()}: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} must hold options and their values, such as `cutoff: 5.0`, got a {type(content).__name__}"
        )
    return content


def _parse_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads 1e-3 as a number, as YAML 1.2 does; PyYAML keeps to YAML 1.1, where it is text."""

    exponent = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _parse_toml(text: str) -> Any:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _checked(name: str, value: Any, where: str) -> Any:
    option = FitConfig.__dataclass_fields__[name]
    if value is None and option.default is None:
        return None
    try:
        return option.metadata["check"](value)
    except ValueError as error:
        raise ConfigError(f"{where} must be {error}, got {value!r}") from error

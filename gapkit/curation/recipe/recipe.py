"""The recipe of a data set: its sources, and the options of every step.

A recipe file is YAML (or TOML); missing options have the defaults below, `false` switches a step off:

    name: silicon
    licence: CC-BY-4.0
    sources:
      - {file: pbe.extxyz, licence: CC0-1.0, reference: "doi:10.1000/x", energy_key: REF_energy}
      - {file: old/rpbe.xyz, energy_unit: Hartree, forces_unit: Hartree/Bohr, config_type: liquid}
    check: {no_cell: drop, net_force: drop}
    duplicates: {supercells: true}
    outliers: {threshold: 6}
    split: {test_fraction: 0.1, by: trajectory}
    select: {fraction: 0.25, quotas: sqrt}
    weights: {scheme: hull}
    output: silicon
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from gapkit.curation.findings import ACTIONS, DEFAULT_ACTIONS
from gapkit.curation.splits import By
from gapkit.exceptions import ConfigError
from gapkit.gp.noise import DEFAULT_NOISE
from gapkit.inputs import files_named
from gapkit.options import Options, entries, option, parse, read_options, section, sections
from gapkit.options.fit import energy_terms_of
from gapkit.options.values import (
    count,
    flag,
    fraction,
    inside,
    jobs,
    one_of,
    positive,
    seed,
    sigmas,
    slice_of_frames,
    table,
    text,
)
from gapkit.selection.duplicates import SAME_ENERGY, TOLERANCE
from gapkit.selection.select import METHODS, Method
from gapkit.units import ENERGY_UNITS, FORCE_UNITS, STRESS_UNITS

ROLES = ("pool", "train", "test")
LABELS = ("energy", "forces", "stress", "virial")
UNSUPERVISED = tuple(method for method in METHODS if method not in ("uncertainty", "diverse"))


def public_file(file: str) -> str:
    """The name of a file, with its folders if they are relative to the recipe."""
    return Path(file).name if Path(file).is_absolute() else file


def slice_of(value: Any) -> str:
    """A slice of frames, as in Python."""
    slice_of_frames(value if ":" in str(value) else "")
    return str(value)


def unit(known: Mapping[str, float]) -> Callable[[Any], str]:
    """One of some units; Å may be written Angstrom or A."""

    def check(value: Any) -> str:
        if isinstance(value, str):
            # Å has three spellings in Unicode
            value = re.sub(r"/(Angstrom|Ang|A)(?![a-z])", "/Å", unicodedata.normalize("NFC", value))
        return one_of(known)(value)

    return check


def window_end(value: Any) -> float:
    """An energy; names in TOML and JSON are text."""
    try:
        value = float(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("a number > 0") from None
    return positive(value)


def quotas(value: Any) -> str | dict[str, int]:
    """Frames of each configuration type, or the name of a rule."""
    if value in ("sqrt", "proportional"):
        return str(value)
    return table(str, count, "sqrt, proportional, or numbers of frames by configuration type")(value)


@dataclass(frozen=True, kw_only=True)
class Source(Options):
    """A file of labelled frames.

    Raises
    ------
    ConfigError
        If an option has the wrong type or is out of range; so do all classes here.
    """

    file: str = option(text, "file in any format that ASE reads, relative to the recipe")
    name: str | None = option(text, "short name, for the ids of frames; the file's without suffix if left out", None)
    role: str = option(one_of(ROLES), "pool (to be split), or train or test as a whole", "pool")
    frames: str = option(slice_of, "which frames, as in Python: 0:100 or ::10", ":")
    licence: str | None = option(text, "licence of the data", None)
    reference: str | None = option(text, "publication or address", None)
    config_type: str | None = option(text, "configuration type of frames that have none", None)
    energy_key: str | None = option(text, "key of the energies", None)
    forces_key: str | None = option(text, "key of the forces", None)
    stress_key: str | None = option(text, "key of the stresses (ASE's sign)", None)
    virial_key: str | None = option(text, "key of the virials", None)
    config_type_key: str | None = option(text, "key of the configuration types", None)
    energy_unit: str = option(unit(ENERGY_UNITS), "unit of energies and virials", "eV")
    forces_unit: str = option(unit(FORCE_UNITS), "unit of forces", "eV/Å")
    stress_unit: str = option(unit(STRESS_UNITS), "unit of stresses", "eV/Å^3")

    @property
    def label(self) -> str:
        """Name of the source in ids of frames."""
        return self.name or Path(self.file).name.split(".")[0]

    @property
    def public_file(self) -> str:
        """The file as others may see it: without the folders of this machine, where the recipe names it by them."""
        return public_file(self.file)


@dataclass(frozen=True, kw_only=True)
class Duplicates(Options):
    """Frames that hold one structure: the first stays; see `gapkit.selection.duplicates.find_duplicates`."""

    symmetry: bool = option(flag, "also up to symmetry and permutation", True)
    supercells: bool = option(flag, "also repeated cells", False)
    tolerance: float = option(positive, "largest distance by descriptors, in standard deviations", TOLERANCE)
    energy_tolerance: float = option(positive, "largest difference in energy, eV/atom", SAME_ENERGY)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.supercells and not self.symmetry:
            raise ConfigError("`duplicates` can find `supercells` only with `symmetry`; leave out one of the two")


@dataclass(frozen=True, kw_only=True)
class Outliers(Options):
    """Frames whose labels do not fit to all others: see `gapkit.curation.pruning.prune`."""

    threshold: float = option(positive, "robust z beyond which a frame is left out", 6.0)
    max_fraction: float = option(fraction, "part of the frames that may be left out", 0.1)
    max_rounds: int = option(count, "fits at most", 4)
    whole_frames: bool = option(flag, "leave out frames where one label of them would do", False)
    cutoff: float | None = option(positive, "cutoff of the model in Å", None)
    n_sparse: int | None = option(count, "sparse points of the model", None)
    energy_terms: list[Any] | None = option(energy_terms_of, "known parts of the model's energy, such as ZBL", None)
    crystal: str | None = option(text, "file with a crystal near its minimum, to compare its properties", None)


@dataclass(frozen=True, kw_only=True)
class Split(Options):
    """Test frames from the pool: see `gapkit.curation.splits.split`."""

    test_fraction: float = option(fraction, "part of the frames that become test frames", 0.1)
    by: By = option(one_of(get_args(By)), "what else is not torn apart", "config_type")


@dataclass(frozen=True, kw_only=True)
class Leakage(Options):
    """Near-twins between training and test frames: see `gapkit.curation.leakage.find_leakage`."""

    drop: str = option(one_of(("train", "test")), "which of two twins is left out", "test")
    false_alarm: float = option(inside(0.0, 0.5), "part of independent frames that may be called twins", 1e-3)


@dataclass(frozen=True, kw_only=True)
class Select(Options):
    """A part of the training frames: see `gapkit.selection.select.select`."""

    n: int | None = option(count, "number of frames", None)
    fraction: float | None = option(fraction, "part of the frames, in place of n", None)
    method: Method = option(one_of(UNSUPERVISED), "how they are chosen", "v_optimal")
    per: Literal["frame", "atom"] = option(one_of(("frame", "atom")), "what is compared", "frame")
    quotas: Mapping[str, int] | Literal["sqrt", "proportional"] | None = option(
        quotas, "frames of each configuration type", None
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.n is None) == (self.fraction is None):
            raise ConfigError(f"`select` needs one of `n` and `fraction`, got n={self.n}, fraction={self.fraction}")


@dataclass(frozen=True, kw_only=True)
class Weights(Options):
    """Sigmas of the training labels: see `gapkit.curation.weights`."""

    scheme: str = option(one_of(("config_type", "hull", "energy_window")), "what they follow", "config_type")
    config_types: Mapping[str, Mapping[str, float]] = entries(text, sigmas, "sigmas by configuration type")
    energy_sigma: float = option(positive, "eV/atom", DEFAULT_NOISE.energy)
    forces_sigma: float = option(positive, "eV/Å", DEFAULT_NOISE.forces)
    virial_sigma: float = option(positive, "eV/atom", DEFAULT_NOISE.virial)
    scale: float = option(positive, "hull: energy in eV/atom that doubles the sigmas", 0.1)
    windows: Mapping[float, float] = entries(
        window_end, positive, "energy_window: factor by the upper end of a window in eV/atom"
    )
    beyond: float = option(positive, "energy_window: factor above the last window", 30.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheme == "energy_window" and not self.windows:
            raise ConfigError("`weights` by energy_window need `windows`, such as {0.1: 1, 1.0: 3}")
        if self.scheme == "config_type" and not self.config_types:
            raise ConfigError("`weights` by config_type need `config_types`, such as {liquid: {forces_sigma: 0.2}}")


@dataclass(frozen=True, kw_only=True)
class Recipe(Options):
    """How a data set is made. A step that is None is left out.

    Raises
    ------
    ConfigError
        If an option has the wrong type or is out of range, or options contradict each other.
    """

    sources: list[Source] = sections(Source, "the files to read")
    name: str = option(text, "name of the data set", "data set")
    licence: str | None = option(text, "licence of the data set", None)
    check: Mapping[str, str] = entries(
        one_of(DEFAULT_ACTIONS), one_of(ACTIONS), "what to do about each kind of finding"
    )
    duplicates: Duplicates | None = section(Duplicates, "frames that are there twice", Duplicates)
    outliers: Outliers | None = section(Outliers, "frames that no model can follow", None)
    split: Split | None = section(Split, "test frames", Split)
    leakage: Leakage | None = section(Leakage, "twins of test frames in the training set", Leakage)
    select: Select | None = section(Select, "a part of the training frames", None)
    weights: Weights | None = section(Weights, "sigmas of the training labels", None)
    output: str = option(text, "folder of the data set, relative to the recipe", "curated")
    seed: int = option(seed, "seed of every random choice", 0)
    n_jobs: int | None = option(jobs, "number of threads", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [source.label for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"the names of `sources` must differ, got {', '.join(twice)} twice; give them a `name`")
        roles = {source.role for source in self.sources}
        if roles == {"test"}:
            raise ConfigError("all `sources` are for the test set; give one the role pool or train")

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """From a YAML or TOML file.

        Raises
        ------
        ConfigError
            Naming file, line and option.
        """
        file = Path(path)
        return parse(cls, read_options(file), file)

    def inputs(self, folder: Path) -> list[Path]:
        """The files that are read, where the recipe's names are relative to a folder."""
        files = [source.file for source in self.sources]
        if self.outliers is not None:
            files += [] if self.outliers.crystal is None else [self.outliers.crystal]
            files += map(str, files_named(self.outliers.energy_terms))
        return [(folder / file).absolute() for file in files]

    def to_dict(self) -> dict[str, Any]:
        """All options with their values, fit to be written as JSON or YAML and read again."""
        found = asdict(self)
        return {name: False if value is None and name in _SWITCHES else value for name, value in found.items()}


_SWITCHES = {item.name for item in fields(Recipe) if "section" in item.metadata}

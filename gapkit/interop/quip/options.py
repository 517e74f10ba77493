"""Descriptor strings of QUIP, ``name key=value ...``, and the tables of their options.

The tables are those that quippy prints: names, types, defaults.  An option that is in none of them QUIP does not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.declared import element, elements, flag, number, read, whole, words
from gapkit.printing import quoted

_PAIR = re.compile(r"""(\w+)(?:\s*=\s*(\{[^}]*\}|"[^"]*"|'[^']*'|\S+))?""")
_MAX_CUTOFF = 100.0  # Å
_NO_GAUSSIANS = "gapkit has QUIP's equispaced Gaussians only"
_ALL_PRODUCTS = "gapkit has `nu_R` and `nu_S` only"
_ONE_EXPONENT = "gapkit has the distance itself only"

# What tells gap_fit how to choose and weigh sparse points, in the spelling of any time; its result stands elsewhere.
OF_THE_FIT = frozenset({
    "add_species", "config_type_n_sparse", "config_type_sparse_covariance", "config_type_n_sparseX", "covariance_type",
    "delta", "f0", "mark_sparse_atoms", "n_sparse", "n_sparseX", "print_sparse_index", "sparse_file", "sparse_method",
    "sparsify_covariance", "theta", "theta_fac", "theta_file", "theta_range", "theta_uniform",
    "unique_descriptor_tolerance", "unique_hash_tolerance", "xml_version", "zeta", "zeta_soap",
})  # fmt: skip


def pairs(text: str) -> dict[str, str]:
    """Values by key, without braces or quotes; T for a key alone.  Of two with one key the last counts, as in QUIP."""
    found: dict[str, str] = {}
    for key, value in _PAIR.findall(text):
        found.pop(key, None)
        found[key] = value.strip("{}\"' ") if value else "T"
    return found


@dataclass(frozen=True)
class SoapOptions:
    """Options of `soap`."""

    cutoff: float = number(low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    n_max: int = whole(low=1, high=24)
    l_max: int = whole(low=0, high=20)
    atom_sigma: float = number(low=0.05, high=_MAX_CUTOFF, unit="Å", names=("atom_gaussian_width",))
    cutoff_transition_width: float = number(0.5, low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    cutoff_dexp: int = whole(0, high=100)
    cutoff_scale: float = number(1.0, low=0.0, high=1e6, above=True, unit="Å")
    cutoff_rate: float = number(1.0, low=0.0, high=1e6)
    central_weight: float = number(1.0, low=-1e6, high=1e6)
    central_reference_all_species: bool | None = flag(None)
    covariance_sigma0: float = number(0.0, low=-1e6, high=1e6)
    normalise: bool = flag(True, names=("normalize",))
    n_Z: int = whole(1, low=1, high=118)
    Z: tuple[int, ...] = elements((0,))
    n_species: int = whole(1, low=1, high=118)
    species_Z: tuple[int, ...] = elements((0,))
    nu_R: int = whole(2, high=2)
    nu_S: int = whole(2, high=2)
    radial_basis: str = words("", only=("", "EQUISPACED_GAUSS"), why=_NO_GAUSSIANS)
    basis_error_exponent: float = number(10.0, only=(10.0,), why="gapkit has the basis to 1e-10, `10.0`")
    average: bool = flag(False, only=(False,), why="gapkit has a vector for every atom")
    diagonal_radial: bool = flag(False, only=(False,), why=_ALL_PRODUCTS)
    R_mix: bool = flag(False, only=(False,), why=_ALL_PRODUCTS)
    Z_mix: bool = flag(False, only=(False,), why=_ALL_PRODUCTS)
    sym_mix: bool = flag(False, only=(False,), why=_ALL_PRODUCTS)
    coupling: bool = flag(True, only=(True,), why=_ALL_PRODUCTS)
    Z_map: str = words("", only=("",), why=_ALL_PRODUCTS)
    K: int = whole(0)  # of R_mix and Z_mix
    mix_shift: int = whole(0, low=-(10**9))

    @property
    def n_features(self) -> int:
        """Length of the vector, without its last element."""
        n, s = self.n_max, 1 if 0 in self.species_Z else len(self.species_Z)
        first = (n if self.nu_R else 1) * (s if self.nu_S else 1)
        second = (n if self.nu_R == 2 else 1) * (s if self.nu_S == 2 else 1)
        whole_square = 1 in (self.nu_R, self.nu_S if 0 not in self.species_Z else 0)
        return (self.l_max + 1) * (first * second if whole_square else first * (first + 1) // 2)


@dataclass(frozen=True)
class PairOptions:
    """Options of `distance_2b`."""

    cutoff: float = number(low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    cutoff_transition_width: float = number(0.5, low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    Z1: int = element(0, low=0)
    Z2: int = element(0, low=0)
    n_exponents: int = whole(1, only=(1,), why=_ONE_EXPONENT)
    exponents: int = whole(1, low=-100, only=(1,), why=_ONE_EXPONENT)
    tail_exponent: int = whole(0, low=-100, only=(0,), why="gapkit has no tail")
    tail_range: float = number(1.0)  # of the tail
    only_intra: bool = flag(False, only=(False,), why="gapkit knows no molecules")
    only_inter: bool = flag(False, only=(False,), why="gapkit knows no molecules")
    resid_name: str = words("")  # of the molecules


@dataclass(frozen=True)
class TripletOptions:
    """Options of `angle_3b`."""

    cutoff: float = number(low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    cutoff_transition_width: float = number(0.5, low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    Z: int = element(0, low=0, names=("Z_center",))
    Z1: int = element(0, low=0)
    Z2: int = element(0, low=0)


@dataclass(frozen=True)
class ClusterOptions:
    """Options of `distance_Nb`."""

    cutoff: float = number(low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    order: int = whole(low=2, high=20, only=(2, 3), why="gapkit has clusters of two and of three atoms")
    cutoff_transition_width: float = number(0.5, low=0.0, high=_MAX_CUTOFF, above=True, unit="Å")
    compact_clusters: bool | None = flag(None)
    Z: tuple[int, ...] = elements(())


AnyOptions = SoapOptions | PairOptions | TripletOptions | ClusterOptions
TABLES: dict[str, type[AnyOptions]] = {
    "soap": SoapOptions, "distance_2b": PairOptions, "angle_3b": TripletOptions, "distance_Nb": ClusterOptions,
}  # fmt: skip


@dataclass(frozen=True)
class DescriptorString:
    """Name and options of one descriptor."""

    name: str
    options: AnyOptions
    f0: str  # of gap_fit, as it stands; empty if not given

    @classmethod
    def parse(cls, text: str) -> DescriptorString:
        """From a string such as ``soap l_max=6 species_Z={1 8}``; InputError for what gapkit does not have."""
        name, _, rest = text.strip().partition(" ")
        if not name:
            raise ModelFileError("a <descriptor> of the gap.xml is empty; copy the file again")
        if name not in TABLES:
            raise InputError(f"descriptor {quoted(name)} cannot be read; gapkit has {', '.join(TABLES)}")
        found = pairs(rest)
        ignored = OF_THE_FIT | {"atom_mask_name", "n_Z"}
        options = read(TABLES[name], found, f"descriptor {name}", ignored=ignored)
        return cls(name, options, found.get("f0", ""))

    def unsupported(self, key: str, why: str) -> InputError:
        """The error for an option that gapkit cannot express."""
        value = getattr(self.options, key, None)
        shown = " ".join(map(str, value)) if isinstance(value, tuple) else value
        return InputError(f"descriptor {self.name} with `{key}={shown}` cannot be read: {why}")

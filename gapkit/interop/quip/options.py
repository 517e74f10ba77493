"""Descriptor strings of QUIP, ``name key=value ...``: every option is understood, known not to matter, or an error."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from gapkit.exceptions import InputError, ModelFileError

_PAIR = re.compile(r"""(\w+)(?:\s*=\s*(\{[^}]*\}|"[^"]*"|'[^']*'|\S+))?""")
# Values of options, in lower case.
ON, OFF = ("t", "true", ".true.", "1", "yes"), ("f", "false", ".false.", "0", "no")
ZERO, ONE, EMPTY = ("0", "0.0", "0.", "0.0d0", "0.00"), ("1", "1.0", "1.", "1.0d0"), ("",)

# What tells gap_fit how to choose and weigh sparse points; its result stands elsewhere in the file.
OF_THE_FIT = frozenset({
    "add_species", "config_type_n_sparse", "config_type_sparse_covariance", "covariance_type", "delta", "f0",
    "mark_sparse_atoms", "n_sparse", "print_sparse_index", "sparse_file", "sparse_method", "theta_fac", "theta_file",
    "theta_range", "theta_uniform", "unique_descriptor_tolerance", "unique_hash_tolerance", "zeta", "zeta_soap",
})  # fmt: skip


@dataclass(frozen=True)
class Options:
    """Name and options of one descriptor."""

    name: str
    values: dict[str, str]  # as they stand, without braces or quotes

    @classmethod
    def parse(cls, text: str) -> Options:
        """From a string such as ``soap l_max=6 species_Z={1 8}``."""
        words = text.split(maxsplit=1)
        if not words:
            raise ModelFileError("a <descriptor> of the gap.xml is empty; copy the file again")
        rest = words[1] if len(words) == 2 else ""
        return cls(words[0], {key: value.strip("{}\"' ") if value else "T" for key, value in _PAIR.findall(rest)})

    def number(self, key: str, default: float | None = None) -> float:
        """A number; without a default the option must be there."""
        text = self.values.get(key, default)
        if text is None:
            raise ModelFileError(f"descriptor {self.name} lacks `{key}`; copy the file again")
        try:
            return float(re.sub("[dD]", "e", text)) if isinstance(text, str) else float(text)
        except ValueError:
            raise ModelFileError(f"`{key}` of descriptor {self.name} must be a number, got {text!r}") from None

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number."""
        value = self.number(key, default)
        if value != int(value):
            raise ModelFileError(f"`{key}` of descriptor {self.name} must be a whole number, got {value}")
        return int(value)

    def integers(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Whole numbers, separated by blanks or commas."""
        text = self.values.get(key)
        if text is None:
            return default
        try:
            return tuple(int(word) for word in text.replace(",", " ").split())
        except ValueError:
            raise ModelFileError(f"`{key}` of descriptor {self.name} must be whole numbers, got {text!r}") from None

    def flag(self, key: str, default: bool) -> bool:
        """T or F."""
        text = self.values.get(key, "T" if default else "F").lower()
        if text not in (*ON, *OFF):
            raise ModelFileError(f"`{key}` of descriptor {self.name} must be T or F, got {text!r}")
        return text in ON

    def unsupported(self, key: str, why: str) -> InputError:
        """The error for an option that gapkit cannot express."""
        shown = f"{key}={self.values[key]}" if key in self.values else key
        return InputError(f"descriptor {self.name} with `{shown}` cannot be read: {why}")

    def check(self, known: Collection[str], neutral: dict[str, tuple[str, ...]]) -> None:
        """Raise InputError for an option neither known, nor of the fit, nor `neutral` with one of its values."""
        for key, value in self.values.items():
            if key in known or key in OF_THE_FIT:
                continue
            if key not in neutral:
                raise self.unsupported(key, "gapkit does not know this option")
            if value.lower() not in neutral[key]:
                raise self.unsupported(key, f"gapkit has only {' or '.join(neutral[key])} for it")

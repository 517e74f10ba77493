"""A value of a file with the line it stands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DEEPEST = 50  # lists and mappings within each other


@dataclass(frozen=True)
class Located:
    """A value of a file: a scalar, a list of Located, or a dict of str to Located."""

    value: Any
    line: int | None = None  # counted from 1, that of its name where it has one; None in TOML

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {name: item.plain() for name, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def place(self, file: object) -> str:
        """Where it is, for a message."""
        return f"{file}" if self.line is None else f"{file}, line {self.line}"

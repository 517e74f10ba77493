"""What was measured, in a JSON file that a later run goes on from, and its table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trusting.figures import Figures

Row = dict[str, Any]

# heading of a column, and its figures
COLUMNS = {
    "forces 90 %": ("forces_coverage",),
    "energies 90 %": ("energy_coverage",),
    "flagged": ("flagged",),
    "E missed": ("missed_energies",),
    "F missed": ("missed_forces", "missed_forces_by_frame"),
    "finds kind": ("auroc_kind",),
    "finds errors": ("auroc_std", "auroc_sign"),
    "F RMSE": ("forces_rmse",),
    "E RMSE": ("energy_rmse",),
}
UNITS = {"F RMSE": 1.0, "E RMSE": 1e3}  # columns that are no parts of 1: eV/Å, meV/atom


class RecordError(ValueError):
    """The file holds figures that do not belong to this run."""


@dataclass
class Record:
    """Rows of figures, one for each split and method, with the settings that they were measured with."""

    settings: Row
    file: Path | None = None
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, settings: Row, file: Path | None) -> Record:
        """Begin anew, or go on from a file, whose settings must be the same."""
        if file is None or not file.exists():
            return cls(settings, file)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            kept, rows = dict(content["settings"]), list(content["rows"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{file} must be a record of this benchmark; remove it, or name another") from error
        changed = [f"{k} {kept.get(k)!r}, now {v!r}" for k, v in settings.items() if kept.get(k) != v]
        if changed:
            raise RecordError(f"{file} was measured with {'; '.join(changed)}: remove it, or name another")
        return cls(settings, file, rows)

    def has(self, split: str, method: str) -> bool:
        """Whether a method has been measured on a split."""
        return any(row["split"] == split and row["method"] == method for row in self.rows)

    def add(self, split: str, method: str, found: Figures, **more: Any) -> None:
        """Keep figures, in the file as well: it is whole at any time."""
        self.rows.append({"split": split, "method": method, **asdict(found), **more})
        if self.file is not None:
            beside = self.file.with_name(f".{self.file.name}.new")
            content = {"settings": self.settings, "rows": self.rows}
            beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            os.replace(beside, self.file)

    def table(self) -> str:
        """Markdown: a line for each split and method, and the mean over the splits of each method."""
        lines = [
            "| left out | method | " + " | ".join(COLUMNS) + " |",
            "|---|---|" + "---|" * len(COLUMNS),
        ]
        for row in (*self.rows, *self._means()):
            cells = [_cell(heading, [row[name] for name in names]) for heading, names in COLUMNS.items()]
            lines.append(" | ".join([f"| {row['split']}", row["method"], *cells]) + " |")
        return "\n".join(lines)

    def _means(self) -> Iterator[Row]:
        splits = {row["split"] for row in self.rows}
        for method in dict.fromkeys(row["method"] for row in self.rows):
            own = [row for row in self.rows if row["method"] == method]
            if len(own) == len(splits) > 1:
                names = [name for names in COLUMNS.values() for name in names]
                yield {"split": f"mean of {len(own)}", "method": method} | {
                    name: _mean([row[name] for row in own]) for name in names
                }


def _mean(values: list[Any]) -> Any:
    """Mean of numbers, or of each member of pairs; None if one is."""
    if isinstance(values[0], list):
        return [_mean(list(members)) for members in zip(*values, strict=True)]
    return None if None in values else float(np.mean(values))


def _cell(heading: str, values: list[Any]) -> str:
    numbers = [number for value in values for number in (value if isinstance(value, list) else [value])]
    if all(number is None for number in numbers):
        return "–"
    return " / ".join("–" if number is None else _shown(heading, number) for number in numbers)


def _shown(heading: str, number: float) -> str:
    if (factor := UNITS.get(heading)) is not None:
        return f"{factor * number:.3g}"
    return f"{number:.2f}" if "finds" in heading else f"{100 * number:.1f} %"

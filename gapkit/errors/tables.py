"""Errors of a model against reference labels: mean absolute and root mean square, overall and per config type."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gapkit.printing import printable
from gapkit.targets import Shown, shown_quantities
from gapkit.typing import FloatArray

if TYPE_CHECKING:
    from rich.table import Table


def mae(errors: FloatArray) -> float | None:
    """Mean absolute error over all components, None without any."""
    return float(np.mean(np.abs(errors))) if errors.size else None


def rmse(errors: FloatArray) -> float | None:
    """Root mean square error over all components, None without any."""
    return float(np.sqrt(np.mean(errors**2))) if errors.size else None


@dataclass(frozen=True)
class Errors:
    """Errors over one set of frames; None where no label of that kind exists. Units: eV/atom, eV/Å, eV/Å^3.

    Attributes
    ----------
    n_frames, n_atoms : int
    mae, rmse : dict of str to float or None
        By quantity; `energy_mae`, `stress_rmse` and so on are attributes too.
    """

    n_frames: int
    n_atoms: int
    mae: dict[str, float | None]
    rmse: dict[str, float | None]

    def __getattr__(self, name: str) -> float | None:
        quantity, _, kind = name.rpartition("_")
        if kind in ("mae", "rmse") and quantity in (values := vars(self).get(kind, {})):
            return cast("float | None", values[quantity])
        raise AttributeError(f"{type(self).__name__} has no {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, such as ``stress_rmse``."""
        each = {f"{name}_{kind}": getattr(self, kind)[name] for name in self.mae for kind in ("mae", "rmse")}
        return {"n_frames": self.n_frames, "n_atoms": self.n_atoms, **each}


@dataclass(frozen=True)
class ErrorTable:
    """Errors overall and per configuration type; print it for a table."""

    overall: Errors
    by_config_type: dict[str, Errors]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers in eV/atom, eV/Å and eV/Å^3, the overall ones at the top level."""
        by_type = {name: errors.to_dict() for name, errors in self.by_config_type.items()}
        return {**self.overall.to_dict(), "by_config_type": by_type}

    def __str__(self) -> str:
        return rendered(self)

    def __rich__(self) -> Table:
        shown = shown_quantities()
        units = (f"{name}\n{quantity.printed_unit}" for name, quantity in shown.items())
        table = new_table("MAE / RMSE", "\nconfig type", ("\nframes", *units))
        by_type = self.by_config_type if len(self.by_config_type) > 1 else {}
        for name, row in {**by_type, "all": self.overall}.items():
            cells = (_mae_rmse(row.mae.get(name), row.rmse.get(name), quantity) for name, quantity in shown.items())
            add_row(table, name, f"{row.n_frames:,}", *cells)
        return table


def _mae_rmse(mae: float | None, rmse: float | None, shown: Shown) -> str:
    return "-" if mae is None or rmse is None else f"{shown.printed(mae)} / {shown.printed(rmse)}"


def new_table(title: str, first: str, headings: Iterable[str]) -> Table:
    """Empty table whose first column holds names, the others numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def add_row(table: Table, name: str, *cells: str) -> None:
    """Add a row whose name comes from data: it is shown as it is written, and no markup."""
    from rich.text import Text

    table.add_row(Text(printable(name)), *cells)


def rendered(item: Any) -> str:
    """Text of `item` as rich draws it, 120 columns wide and without colours."""
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=120, markup=False, emoji=False, highlight=False).print(item)
    return text.getvalue().rstrip("\n")

"""Errors of a model against reference labels: mean absolute and root mean square, overall and per config type."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gapkit.errors.text import rendered

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Errors:
    """Errors over one set of frames; None where no label of that kind exists. Units: eV/atom, eV/Å, eV/Å^3."""

    n_frames: int
    n_atoms: int
    energy_mae: float | None
    energy_rmse: float | None
    forces_mae: float | None
    forces_rmse: float | None
    stress_mae: float | None
    stress_rmse: float | None


@dataclass(frozen=True)
class ErrorTable:
    """Errors overall and per configuration type; print it for a table."""

    overall: Errors
    by_config_type: dict[str, Errors]

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers in eV/atom, eV/Å and eV/Å^3, the overall ones at the top level."""
        by_type = {name: asdict(errors) for name, errors in self.by_config_type.items()}
        return {**asdict(self.overall), "by_config_type": by_type}

    def __str__(self) -> str:
        return rendered(self)

    def __rich__(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(title="MAE / RMSE", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("\nconfig type", overflow="fold")
        for heading in ("\nframes", "energy\nmeV/atom", "forces\neV/Å", "stress\nmeV/Å³"):
            table.add_column(heading, justify="right", no_wrap=True)
        rows = dict(self.by_config_type) if len(self.by_config_type) > 1 else {}
        for name, row in {**rows, "all": self.overall}.items():
            table.add_row(
                name,
                f"{row.n_frames:,}",
                _mae_rmse(row.energy_mae, row.energy_rmse, 1e3, 2),
                _mae_rmse(row.forces_mae, row.forces_rmse, 1.0, 4),
                _mae_rmse(row.stress_mae, row.stress_rmse, 1e3, 3),
            )
        return table


def _mae_rmse(mae: float | None, rmse: float | None, factor: float, digits: int) -> str:
    if mae is None or rmse is None:
        return "-"
    return f"{mae * factor:.{digits}f} / {rmse * factor:.{digits}f}"

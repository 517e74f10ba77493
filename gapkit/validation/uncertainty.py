"""Quality of the error bars of a model on labelled frames: coverage, calibration, scores and ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from gapkit.errors.comparison import Comparison, Pairs, compare
from gapkit.errors.tables import ErrorTable, new_table, rendered
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.structures import LabelKeys
from gapkit.targets import shown_quantities
from gapkit.uncertainty.conditional import GroupCoverage
from gapkit.uncertainty.metrics import UncertaintyMetrics, uncertainty_metrics
from gapkit.validation.conditional import Groups, beyond_3_std_unflagged, conditional_coverage
from gapkit.validation.coverage_table import coverage_table, resolution

if TYPE_CHECKING:
    from ase import Atoms
    from rich.console import Group
    from rich.table import Table

    from gapkit.potential import GAP


@dataclass(frozen=True)
class UncertaintyTable:
    """Errors, and the quality of their predicted standard deviations; print it for tables.

    Attributes
    ----------
    errors : ErrorTable
    std : {"calibrated", "epistemic"}
        Kind of the standard deviations; epistemic ones, of a model without calibration, are no error bars.
    metrics : dict of {"energy", "forces", "stress"} to UncertaintyMetrics
        In eV/atom, eV/Å and eV/Å^3, for quantities with labels and standard deviations.
    coverage90_by_group, interval_coverage90_by_group : dict of dict of dict of str to GroupCoverage
        By quantity, grouping and group: part of the components within 1.645 std of their label, and within their 90 %
        intervals, with what the number of frames can resolve of it, see `conditional_coverage`.  The second is empty
        without intervals.
    beyond_3_std_unflagged : dict of quantity to float
        Part of the components of atoms, or of frames, that are not flagged as extrapolation, with |error| > 3 std.
    n_extrapolating_frames : int or None
        Frames with an atom unlike the training set; None if the model cannot tell.
    extrapolating_fraction : float or None
        Part of such atoms.
    """

    errors: ErrorTable
    std: str
    metrics: dict[str, UncertaintyMetrics]
    coverage90_by_group: dict[str, Groups]
    interval_coverage90_by_group: dict[str, Groups]
    beyond_3_std_unflagged: dict[str, float]
    n_extrapolating_frames: int | None
    extrapolating_fraction: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers in eV/atom, eV/Å and eV/Å^3: those of `ErrorTable.to_dict`, and such as ``forces_ence``.

        ``forces_coverage90_by_group`` and ``forces_interval_coverage90_by_group``, and those of energy and stress, hold
        coverage, lower, upper, n_frames and n_components for each grouping and group, such as
        ``["novelty"]["0.3-1"]["lower"]``; ``forces_coverage90_by_species`` and ``forces_coverage90`` of a configuration
        type are the coverages alone.  ``forces_beyond_3_std_unflagged`` and the like are `beyond_3_std_unflagged`.
        None stands for undefined, unlabelled, or infinite (nll and ence where a std is zero and its error is not).
        """
        errors = self.errors.to_dict()
        by_type = errors.pop("by_config_type")
        return {
            **errors,
            "std": self.std,
            **{f"{kind}_{name}": value for kind in shown_quantities() for name, value in self._numbers(kind).items()},
            **{f"{kind}_{name}": value for kind in shown_quantities() for name, value in self._groups(kind).items()},
            "forces_coverage90_by_species": {
                name: row.coverage for name, row in self._grouping("forces", "species").items()
            },
            "n_extrapolating_frames": self.n_extrapolating_frames,
            "extrapolating_fraction": self.extrapolating_fraction,
            "by_config_type": {name: {**row, **self._coverage_of(name)} for name, row in by_type.items()},
        }

    def _numbers(self, kind: str) -> dict[str, float | None]:
        found = self.metrics.get(kind)
        values = {name: getattr(found, name, None) for name in UncertaintyMetrics.__dataclass_fields__ if name != "n"}
        return {name: None if value is None or not isfinite(value) else value for name, value in values.items()}

    def _groups(self, kind: str) -> dict[str, Any]:
        by_group = {"coverage90": self.coverage90_by_group, "interval_coverage90": self.interval_coverage90_by_group}
        plain = {
            f"{name}_by_group": {
                grouping: {group: row.to_dict() for group, row in rows.items()}
                for grouping, rows in found.get(kind, {}).items()
            }
            for name, found in by_group.items()
        }
        return {**plain, "beyond_3_std_unflagged": self.beyond_3_std_unflagged.get(kind)}

    def _grouping(self, kind: str, grouping: str) -> dict[str, GroupCoverage]:
        return self.coverage90_by_group.get(kind, {}).get(grouping, {})

    def _coverage_of(self, config_type: str) -> dict[str, float | None]:
        rows = {kind: self._grouping(kind, "config_type").get(config_type) for kind in shown_quantities()}
        return {f"{kind}_coverage90": None if row is None else row.coverage for kind, row in rows.items()}

    def __str__(self) -> str:
        return rendered(self)

    def __rich__(self) -> Group:
        from rich.console import Group

        return Group(self.errors, self._metrics_table(), *self._coverage_tables(), self._in_words())

    def _metrics_table(self) -> Table:
        quantities = shown_quantities()
        units = (f"{kind}\n{shown.printed_unit}" for kind, shown in quantities.items())
        table = new_table(f"Uncertainty, {self.std} std", "", ("\nideal", *units))
        for heading, ideal, name, form in (
            ("within 0.99 std", "68 %", "coverage68", ".1%"),
            ("within 1.64 std", "90 %", "coverage90", ".1%"),
            ("within 1.96 std", "95 %", "coverage95", ".1%"),
            ("within 90 % intervals", "90 %", "interval_coverage90", ".1%"),
            ("beyond 3 std and not flagged", "0.3 %", "beyond_3_std_unflagged", ".1%"),
            ("miscalibration area", "0", "miscalibration_area", ".3f"),
            ("normalised calibration error (ENCE)", "0", "ence", ".3f"),
            ("negative log likelihood, in eV and Å", "low", "nll", ".3f"),
            ("CRPS", "low", "crps", ".3g"),
            ("root mean square std", "RMSE", "sharpness", ".3g"),
            ("rank correlation with errors", "", "spearman", ".3f"),
            ("  over that of perfect std", "1", "spearman_ratio", ".3f"),
            ("large errors found (AUROC)", "1", "auroc", ".3f"),
            ("  among largest std, over chance", "10", "enrichment", ".2f"),
        ):
            if name == "beyond_3_std_unflagged":
                values = {kind: self.beyond_3_std_unflagged.get(kind) for kind in quantities}
            else:
                values = {kind: getattr(self.metrics.get(kind), name, None) for kind in quantities}
            if name in ("crps", "sharpness"):
                values = {k: None if v is None else v * quantities[k].printed_factor for k, v in values.items()}
            table.add_row(heading, ideal, *(_cell(value, form) for value in values.values()))
        return table

    def _coverage_tables(self) -> list[Table]:
        titles = ("Within 1.64 std, ideally 90 %", "Within 90 % intervals")
        return [
            coverage_table(title, found)
            for title, found in zip(titles, (self.coverage90_by_group, self.interval_coverage90_by_group), strict=True)
            if found
        ]

    def _in_words(self) -> str:
        text = "The model has no calibration: epistemic std tell what it lacks data for, they are no error bars."
        lines = [text] if self.std == "epistemic" else []
        if self.coverage90_by_group:
            lines.append(resolution(self.coverage90_by_group))
        if self.n_extrapolating_frames is not None and self.extrapolating_fraction is not None:
            lines.append(
                f"Extrapolating: {self.n_extrapolating_frames:,} of {self.errors.overall.n_frames:,} frames, "
                f"{100 * self.extrapolating_fraction:.2g} % of the atoms."
            )
        return "\n".join(lines)


@checked
def uncertainty_of(comparison: Comparison) -> UncertaintyTable:
    """Compare the errors of a comparison with its standard deviations; InputError if it has none."""
    if comparison.std is None:
        raise InputError(
            "`comparison` must have standard deviations, got one without; make it with `compare(..., uncertainty=True)`"
        )
    known = {name: pairs for name, pairs in comparison.labelled.items() if pairs.std is not None}
    flagged, frames = comparison.extrapolating, comparison.extrapolating_frames
    return UncertaintyTable(
        errors=comparison.errors(),
        std=comparison.std,
        metrics={name: _metrics(pairs) for name, pairs in known.items()},
        coverage90_by_group=conditional_coverage(comparison),
        interval_coverage90_by_group=conditional_coverage(comparison, intervals=True),
        beyond_3_std_unflagged=beyond_3_std_unflagged(comparison),
        n_extrapolating_frames=None if frames is None else int(frames.sum()),
        extrapolating_fraction=None if flagged is None else float(flagged.mean()),
    )


@checked
def evaluate_uncertainty(model: GAP, frames: Sequence[Atoms], keys: LabelKeys | None = None) -> UncertaintyTable:
    """Errors and the quality of the error bars of `model` on labelled frames, not those of its training set.

    Arguments and errors are those of `compare`.
    """
    return uncertainty_of(compare(model, frames, keys, uncertainty=True))


def _metrics(pairs: Pairs) -> UncertaintyMetrics:
    assert pairs.std is not None
    return uncertainty_metrics(pairs.errors, pairs.std, half_widths=pairs.half_width)


def _cell(value: float | None, form: str = ".1%") -> str:
    return "-" if value is None else f"{value:{form}}".replace("%", " %")

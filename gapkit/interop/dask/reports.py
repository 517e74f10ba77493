"""One report of many files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gapkit.structures import DataReport, Fault
from gapkit.structures.report import ConfigTypeCount, Range


def merge_reports(reports: Sequence[DataReport]) -> DataReport:
    """Counts and ranges of all, frames numbered through; warnings are those of each file by itself.

    Warnings of a kind become one: the message is that of the first file that has it.
    """
    species: Counter[str] = Counter()
    types: dict[str, ConfigTypeCount] = {}
    unlabelled: tuple[int, ...] = ()
    isolated: dict[str, tuple[int, ...]] = {}
    faults: dict[str, Fault] = {}
    start = 0
    for report in reports:
        span = range(start, start + report.n_frames)
        species.update(report.species)
        for one in report.config_types:
            types[one.config_type] = _sum(types[one.config_type], one) if one.config_type in types else one
        unlabelled += tuple(span[frame] for frame in report.unlabelled)
        for symbol, frames in report.isolated_atoms.items():
            isolated[symbol] = (*isolated.get(symbol, ()), *(span[frame] for frame in frames))
        for fault in report.warnings:
            known = faults.get(fault.kind, replace(fault, frames=()))
            faults[fault.kind] = replace(known, frames=(*known.frames, *(span[frame] for frame in fault.frames)))
        start = span.stop

    def over(choose: Callable[[list[Any]], Any], name: str) -> Any:
        values = [value for report in reports if (value := getattr(report, name)) is not None]
        return choose(values) if values else None

    return DataReport(
        start, sum(report.n_atoms for report in reports), dict(sorted(species.items())), tuple(types.values()),
        unlabelled, isolated, energy_per_atom=over(_range, "energy_per_atom"), max_force=over(max, "max_force"),
        max_stress=over(max, "max_stress"), volume_per_atom=over(_range, "volume_per_atom"),
        nearest_distance=over(min, "nearest_distance"), warnings=tuple(faults.values()),
    )  # fmt: skip


def _sum(a: ConfigTypeCount, b: ConfigTypeCount) -> ConfigTypeCount:
    n_labels = {name: a.n_labels[name] + b.n_labels[name] for name in a.n_labels}
    return ConfigTypeCount(a.config_type, a.n_frames + b.n_frames, a.n_atoms + b.n_atoms, n_labels)


def _range(ranges: list[Range]) -> Range:
    return min(low for low, _ in ranges), max(high for _, high in ranges)

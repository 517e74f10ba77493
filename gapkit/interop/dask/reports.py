"""One report of many files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gapkit.structures import DataReport, Fault
from gapkit.structures.report import ConfigTypeCount, Range


def merge_reports(reports: Sequence[DataReport]) -> DataReport:
    """Counts and ranges of all, frames numbered through; warnings are those of each file by itself.

    Warnings of a kind become one: the message is that of the first file that has it.
    """
    species: dict[str, int] = {}
    types: dict[str, ConfigTypeCount] = {}
    unlabelled: list[int] = []
    isolated: dict[str, tuple[int, ...]] = {}
    findings: dict[str, Fault] = {}
    start = 0
    for report in reports:
        for symbol, count in report.species.items():
            species[symbol] = species.get(symbol, 0) + count
        for one in report.config_types:
            types[one.config_type] = _sum(types[one.config_type], one) if one.config_type in types else one
        unlabelled += [start + frame for frame in report.unlabelled]
        for symbol, frames in report.isolated_atoms.items():
            isolated[symbol] = (*isolated.get(symbol, ()), *(start + frame for frame in frames))
        for finding in report.warnings:
            known = findings.get(finding.kind, replace(finding, frames=()))
            shifted = tuple(start + frame for frame in finding.frames)
            findings[finding.kind] = replace(known, frames=(*known.frames, *shifted))
        start += report.n_frames
    return DataReport(
        n_frames=start,
        n_atoms=sum(report.n_atoms for report in reports),
        species=dict(sorted(species.items())),
        config_types=tuple(types.values()),
        unlabelled=tuple(unlabelled),
        isolated_atoms=isolated,
        energy_per_atom=_range(report.energy_per_atom for report in reports),
        max_force=_of(max, [report.max_force for report in reports]),
        max_stress=_of(max, [report.max_stress for report in reports]),
        volume_per_atom=_range(report.volume_per_atom for report in reports),
        nearest_distance=_of(min, [report.nearest_distance for report in reports]),
        warnings=tuple(findings.values()),
    )


def _sum(a: ConfigTypeCount, b: ConfigTypeCount) -> ConfigTypeCount:
    n_labels = {name: a.n_labels[name] + b.n_labels[name] for name in a.n_labels}
    return ConfigTypeCount(a.config_type, a.n_frames + b.n_frames, a.n_atoms + b.n_atoms, n_labels)


def _of(choose: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return choose(known) if known else None


def _range(ranges: Iterable[Range | None]) -> Range | None:
    known = [pair for pair in ranges if pair is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None

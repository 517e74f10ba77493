"""Settings of a potential by name, the scores of a candidate, and a table of many.

A setting has a name in scikit-learn's convention, such as `terms__1__descriptor__cutoff`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.descriptors import Descriptor
from gapkit.exceptions import InputError
from gapkit.gp.noise import Noise, row_sigmas
from gapkit.potential.error_bars.leave_one_out import LeaveOneOut
from gapkit.potential.gap import GAP
from gapkit.potential.term import Term, as_term
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Scores:
    """Objectives of a candidate, larger is better; None without labels of the kind."""

    evidence: float  # log marginal likelihood of the labels
    loo_energy: float | None  # minus the root mean square error of frames left out, eV/atom
    loo_forces: float | None  # the same, eV/Å
    # Log pseudo-likelihood: sum over all labelled components (of energies per atom in eV/atom, forces in eV/Å and
    # stresses in eV/Å^3) of the log of their Gaussian predictive density when their frame is left out.
    loo_log_score: float


@dataclass(frozen=True)
class Candidate:
    """One set of settings with its scores."""

    settings: dict[str, Any]
    objective: float | None  # larger is better; None if the candidate failed
    scores: Scores | None
    n_sparse: int | None  # sparse points of all terms
    seconds: float = field(compare=False)  # of the fit and its scores; the one thing that differs between two runs
    error: str | None = None  # why the candidate failed


class UnknownSettingError(InputError):
    """A setting names no parameter of the potential."""


def with_settings(model: GAP, settings: Mapping[str, Any]) -> GAP:
    """An unfitted copy of a potential with some settings changed; UnknownSettingError where a name does not exist.

    Whole parts come before what is inside them, whatever their order.  A noise, kernel or selector that is None is the
    one that a fit would take.
    """
    # A copy of the parameters, with them a RandomState's: draws for the copy leave it where it was.
    changed = type(model)(**deepcopy(_parameters(model)))
    for name in sorted(settings, key=lambda name: (name.count("__"), name)):
        changed = _changed(changed, name.split("__"), 0, settings[name])
    return changed


def _changed(part: Any, path: list[str], level: int, value: Any) -> Any:
    """A copy of `part`, which is found at path[:level], with the value at the end of the path."""
    name = path[level]
    known = _names(part)
    if name not in known:
        here = "__".join(path[:level])
        listed = ", ".join("__".join([*path[:level], one]) for one in known)
        raise UnknownSettingError(
            f"`settings` must name parameters of the estimator, got {'__'.join(path)!r}; "
            + (f"the names there are {listed}" if known else f"`{here}` is {part!r}, which has no parameters")
        )
    if level + 1 < len(path):
        value = _changed(_inside(part, name), path, level + 1, value)
    elif isinstance(value, np.generic):
        value = value.item()  # grids made by NumPy hold its scalars, which are no int
    if isinstance(part, list | tuple):
        return [value if i == int(name) else item for i, item in enumerate(part)]
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{name: value})
    return type(part)(**{**_parameters(part), name: value})


def _parameters(part: Any) -> dict[str, Any]:
    """Parameters of an estimator or energy term, those of its parts left out."""
    return {name: getattr(part, name) for name in sorted(part.get_params()) if "__" not in name}


def _names(part: Any) -> list[str]:
    if isinstance(part, list | tuple):
        return [str(i) for i in range(len(part))]
    if is_dataclass(part):
        return [field.name for field in fields(part)]
    return list(_parameters(part)) if hasattr(part, "get_params") else []


def _inside(part: Any, name: str) -> Any:
    """The value of a name, defaults instead of None."""
    if isinstance(part, list | tuple):
        item = part[int(name)]
        return as_term(item) if isinstance(item, Descriptor) else item
    if isinstance(part, Term) and name in ("kernel", "selector"):
        return part.resolved_kernel() if name == "kernel" else part.resolved_selector()
    inside = getattr(part, name)
    return Noise() if isinstance(part, GAP) and name == "noise" and inside is None else inside


def score_candidate(model: GAP, batch: AtomsBatch, found: LeaveOneOut) -> Scores:
    """All objectives of a model fitted to a batch, whose frames were left out in `found`."""
    log_score = 0.0
    for kind, target in TARGETS.items():
        residuals = found.of(target)
        if not len(residuals.rows):
            continue
        relative = row_sigmas(model.state_.given_noise, batch.all_labels, kind, batch.n_atoms_per_frame)[residuals.rows]
        factor = target.shown.factor(batch.n_atoms_per_frame, batch.volumes)[residuals.frames]
        sigma = model.state_.noise[kind] * relative * factor
        variance = residuals.variances + sigma[:, None] ** 2
        log_score -= 0.5 * float(np.sum(np.log(2.0 * np.pi * variance) + residuals.errors**2 / variance))
    errors = (found.energy.errors, found.forces.errors)
    energy, forces = (-float(np.sqrt(np.mean(e**2))) if e.size else None for e in errors)
    return Scores(float(model.log_marginal_likelihood_), energy, forces, log_score)


# Heading of every score, its factor and digits.
_COLUMNS: dict[str, tuple[str, tuple[float, int]]] = {
    "evidence": ("\nevidence", (1.0, 1)), "loo_log_score": ("LOO\nlog score", (1.0, 1)),
    "loo_energy": ("LOO energy\nmeV/atom", (-1e3, 2)), "loo_forces": ("LOO forces\neV/Å", (-1.0, 4)),
}  # fmt: skip


def table_of(results: Sequence[Candidate], objective: str) -> Table:
    """A table of candidates, the best first and those that failed last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    failed = [one for one in results if one.objective is None]
    ranked = sorted((one for one in results if one.objective is not None), key=lambda one: -(one.objective or 0.0))
    title = f"{len(results)} candidates by {objective}" + (f", {len(failed)} failed" if failed else "")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("\nrank", justify="right", no_wrap=True)
    table.add_column("\nsettings", overflow="fold")
    for heading in (*(heading for heading, _ in _COLUMNS.values()), "sparse\npoints", "\ns"):
        table.add_column(heading, justify="right", no_wrap=True)
    for rank, one in enumerate(ranked + failed, start=1):
        lines = [f"{name} = {value!r}" for name, value in one.settings.items()] + ([one.error] if one.error else [])
        table.add_row(
            "failed" if one.objective is None else "best" if rank == 1 else str(rank),
            Text("\n".join(lines)),  # not markup: values may hold brackets
            *(_number(getattr(one.scores, name, None), *how) for name, (_, how) in _COLUMNS.items()),
            "-" if one.n_sparse is None else f"{one.n_sparse:,}",
            f"{one.seconds:.2f}",
        )
    return table


def _number(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{value * factor:,.{digits}f}"

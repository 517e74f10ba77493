"""The data card: where a data set is from, what it holds, and every decision with its reason."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, batch_of
from gapkit.curation.recipe.recipe import public_file
from gapkit.structures import describe

if TYPE_CHECKING:
    from gapkit.curation.recipe.result import Curated

FORMAT = 1
DIGITS = 6  # the last ones of a double may differ between machines
MODEL_DIGITS = 3  # of what a fitted model says, which differs in the sixth with the number of threads
UNITS = {"length": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3, positive under tension (ASE)"}


def card(curated: Curated, outputs: dict[str, str]) -> dict[str, Any]:
    """Plain numbers and strings for JSON.

    Parameters
    ----------
    curated : Curated
    outputs : dict of str to str
        SHA-256 of the files of frames by name.
    """
    from gapkit import __version__

    recipe, ledger = curated.recipe, curated.ledger
    sources = [
        {
            "name": f.source.label, "file": f.source.public_file, "sha256": f.sha256, "licence": f.source.licence,
            "reference": f.source.reference, "role": f.source.role, "n_frames": f.n_frames, "n_read": f.n_read,
            "units_read": {
                "energy": f.source.energy_unit, "forces": f.source.forces_unit, "stress": f.source.stress_unit
            },
        }
        for f in curated.files
    ]  # fmt: skip
    sets = {}
    for place in (TRAIN, TEST):
        if entries := ledger.of(place):
            report = describe(batch_of(entries))
            sets[place] = {
                "n_frames": report.n_frames, "n_atoms": report.n_atoms, "species": report.species,
                "n_energies": sum(c.n_energies for c in report.config_types),
                "n_force_components": sum(c.n_force_components for c in report.config_types),
                "n_virials": sum(c.n_virials for c in report.config_types),
                "energy_per_atom": report.energy_per_atom, "max_force": report.max_force,
            }  # fmt: skip
    coverage = curated.coverage.to_dict()
    kept = ("volume_per_atom", "energy_per_atom", "reach", "covered", "covered_frames")
    options = {name: value for name, value in recipe.to_dict().items() if name not in ("output", "n_jobs")}
    options["sources"] = [{**asdict(source), "file": source.public_file} for source in recipe.sources]
    if recipe.outliers is not None and recipe.outliers.crystal is not None:
        options["outliers"]["crystal"] = public_file(recipe.outliers.crystal)
    content = {
        "format": FORMAT,
        "made_by": f"gapkit {__version__} curate",
        "name": recipe.name,
        "licence": recipe.licence,
        "units": UNITS,
        "recipe": {},
        "sources": sources,
        "files": outputs,
        "sets": sets,
        "config_types": ledger.counts(),
        "steps": [{"step": s, "what": what, "left_out": out, "remain": left} for s, what, out, left in ledger.steps],
        "coverage": {name: coverage[name] for name in kept},
        "outliers": None if curated.pruned is None else _plain(
            {"before": curated.pruned.before, "after": curated.pruned.after}, MODEL_DIGITS
        ),
        "frames": [
            {
                "id": e.id, "config_type": e.config_type, "n_atoms": len(e.atoms), "place": e.place, "step": e.step,
                "reason": e.reason, "flags": e.flags,
            }
            for e in ledger.entries
        ],
    }  # fmt: skip
    # what was asked for is not rounded
    return {**_plain(content), "recipe": _plain(options, None)}


def markdown(content: dict[str, Any]) -> str:
    """The card in words, without the frames that nothing was said about."""
    licence = content["licence"] or "not stated"
    lines = [f"# {content['name']}", "", f"Licence: {licence}. Made by {content['made_by']}.", ""]
    lines += ["Units: " + "; ".join(f"{name} {unit}" for name, unit in content["units"].items()) + ".", ""]
    lines += ["## Sources", "", "| name | file | frames read | licence | reference | SHA-256 |"]
    lines += ["|---|---|---:|---|---|---|"]
    for s in content["sources"]:
        read = f"{s['n_read']} of {s['n_frames']}"
        licence, reference = s["licence"] or "not stated", s["reference"] or "not stated"
        lines.append(_row(s["name"], s["file"], read, licence, reference, f"`{s['sha256'][:16]}`"))
    lines += ["", "## Content", "", "| config type | train | test | left out |", "|---|---:|---:|---:|"]
    lines += [_row(name, c[TRAIN], c[TEST], c[LEFT_OUT]) for name, c in content["config_types"].items()]
    lines += ["", "## Steps", "", "| step | left out | remain | what it did |", "|---|---:|---:|---|"]
    lines += [_row(s["step"], s["left_out"], s["remain"], s["what"]) for s in content["steps"]]
    lines += ["", "## Left out", ""]
    out = [f for f in content["frames"] if f["place"] == LEFT_OUT and f["step"] != "select"]
    lines += [f"- `{f['id']}` ({f['config_type']}), {f['step']}: {f['reason']}" for f in out] or ["Nothing."]
    if chosen := sum(f["step"] == "select" for f in content["frames"]):
        lines += ["", f"And {chosen} frames that were not selected; `card.json` names them."]
    lines += ["", "## Kept, but look at them", ""]
    flagged = [f for f in content["frames"] if f["flags"] and f["place"] != LEFT_OUT]
    words = [f"- `{f['id']}` ({f['config_type']}, {f['place']}): {'; '.join(f['flags'])}" for f in flagged]
    lines += words or ["Nothing."]
    lines += ["", "`card.json` has every frame with its place and the reason, and the recipe with its defaults.", ""]
    return "\n".join(lines)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _plain(value: Any, digits: int | None = DIGITS) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v, digits) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v, digits) for v in value]
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return float(value) if digits is None else float(f"{value:.{digits}g}")
    return value

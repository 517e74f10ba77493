"""The data card: sources, content, and every decision with its reason."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from gapkit.curation.coverage import Coverage
from gapkit.curation.pruning import Pruned
from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, Entry, Ledger, batch_of
from gapkit.curation.recipe.recipe import Recipe, public_file
from gapkit.curation.recipe.sources import SourceFile
from gapkit.io.plain import plain
from gapkit.printing import printable
from gapkit.structures import describe

FORMAT = 1
DIGITS = 6  # the last ones of a double may differ between machines
MODEL_DIGITS = 3  # of what a fitted model says, which differs in the sixth with the number of threads
UNITS = {"length": "Å", "energy": "eV", "forces": "eV/Å", "stress": "eV/Å^3, positive under tension (ASE)"}


def card(
    recipe: Recipe, files: Sequence[SourceFile], ledger: Ledger, coverage: Coverage, pruned: Pruned | None,
    digests: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Plain numbers and strings for JSON; `digests` are the SHA-256 of the files of frames by name."""
    from gapkit import __version__

    spanned = coverage.to_dict()
    kept = ("volume_per_atom", "energy_per_atom", "reach", "covered", "covered_frames")
    content = {
        "format": FORMAT,
        "made_by": f"gapkit {__version__} curate",
        "name": recipe.name,
        "licence": recipe.licence,
        "units": UNITS,
        "recipe": {},
        "sources": [
            {
                "name": f.source.label, "file": f.source.public_file, "sha256": f.sha256, "licence": f.source.licence,
                "reference": f.source.reference, "role": f.source.role, "n_frames": f.n_frames, "n_read": f.n_read,
                "units_read": {kind: getattr(f.source, f"{kind}_unit") for kind in ("energy", "forces", "stress")},
            }
            for f in files
        ],
        "files": dict(digests),
        "sets": {place: _content(entries) for place in (TRAIN, TEST) if (entries := ledger.of(place))},
        "config_types": ledger.counts(),
        "steps": [{"step": s, "what": what, "left_out": out, "remain": left} for s, what, out, left in ledger.steps],
        "coverage": {name: spanned[name] for name in kept},
        "outliers": pruned and plain({"before": pruned.before, "after": pruned.after}, MODEL_DIGITS),
        "frames": [
            {
                "id": e.id, "config_type": e.config_type, "n_atoms": len(e.atoms), "place": e.place, "step": e.step,
                "reason": e.reason, "flags": e.flags,
            }
            for e in ledger.entries
        ],
    }  # fmt: skip
    options = {name: value for name, value in recipe.to_dict().items() if name not in ("output", "n_jobs")}
    options["sources"] = [{**asdict(source), "file": source.public_file} for source in recipe.sources]
    if recipe.outliers is not None and recipe.outliers.crystal is not None:
        options["outliers"]["crystal"] = public_file(recipe.outliers.crystal)
    # what was asked for is not rounded
    return {**plain(content, DIGITS), "recipe": plain(options)}


def _content(entries: Sequence[Entry]) -> dict[str, Any]:
    report = describe(batch_of(entries))
    return {
        "n_frames": report.n_frames, "n_atoms": report.n_atoms, "species": report.species,
        "n_energies": sum(c.n_labels["energy"] for c in report.config_types),
        "n_force_components": sum(3 * c.n_labels["forces"] for c in report.config_types),
        "n_virials": sum(c.n_labels["virial"] for c in report.config_types),
        "energy_per_atom": report.energy_per_atom, "max_force": report.max_force,
    }  # fmt: skip


def markdown(content: dict[str, Any]) -> str:
    """The card in words, without the frames that nothing was said about."""
    licence = content["licence"] or "not stated"
    lines = [f"# {_shown(content['name'])}", "", f"Licence: {_shown(licence)}. Made by {content['made_by']}.", ""]
    lines += ["Units: " + "; ".join(f"{name} {unit}" for name, unit in content["units"].items()) + ".", ""]
    lines += ["## Sources", "", "| name | file | frames read | licence | reference | SHA-256 |"]
    lines += ["|---|---|---:|---|---|---|"]
    for s in content["sources"]:
        read = f"{s['n_read']} of {s['n_frames']}"
        licence, reference = s["licence"] or "not stated", s["reference"] or "not stated"
        lines.append(_row(s["name"], s["file"], read, licence, reference, s["sha256"][:16]))
    lines += ["", "## Content", "", "| config type | train | test | left out |", "|---|---:|---:|---:|"]
    lines += [_row(name, c[TRAIN], c[TEST], c[LEFT_OUT]) for name, c in content["config_types"].items()]
    lines += ["", "## Steps", "", "| step | left out | remain | what it did |", "|---|---:|---:|---|"]
    lines += [_row(s["step"], s["left_out"], s["remain"], s["what"]) for s in content["steps"]]
    lines += ["", "## Left out", ""]
    out = [f for f in content["frames"] if f["place"] == LEFT_OUT and f["step"] != "select"]
    lines += [_item(f, f["step"], f["reason"]) for f in out] or ["Nothing."]
    if chosen := sum(f["step"] == "select" for f in content["frames"]):
        lines += ["", f"And {chosen} frames that were not selected; `card.json` names them."]
    lines += ["", "## Kept, but look at them", ""]
    flagged = [f for f in content["frames"] if f["flags"] and f["place"] != LEFT_OUT]
    lines += [_item(f, f["place"], "; ".join(f["flags"])) for f in flagged] or ["Nothing."]
    lines += ["", "`card.json` has every frame with its place and the reason, and the recipe with its defaults.", ""]
    return "\n".join(lines)


def _row(*cells: object) -> str:
    return "| " + " | ".join(_shown(cell) for cell in cells) + " |"


def _item(frame: Mapping[str, Any], decided: str, why: str) -> str:
    return f"- frame {_shown(frame['id'])} ({_shown(frame['config_type'])}, {decided}): {_shown(why)}"


def _shown(item: object) -> str:
    """Text from data, of which neither Markdown nor HTML takes anything for its own."""
    words = escape(printable(" ".join(str(item).split())), quote=False)
    # between letters an underscore is no emphasis, and names are full of them
    return re.sub(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", words)

"""One HTML page about a curated data set: steps, pictures and reasons; it needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from gapkit.curation.recipe import Curated
from gapkit.curation.recipe.card import MODEL_DIGITS
from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, batch_of
from gapkit.options.checked import checked
from gapkit.parallel import limit_blas
from gapkit.report.dataset import coverage_figure, map_figure, spread_figure
from gapkit.report.influence import influence_figure
from gapkit.report.picture import require_matplotlib
from gapkit.selection.fingerprints import FingerprintSpace

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; margin: .6rem 0; } th, td { padding: .2rem .7rem; text-align: left; }
th { border-bottom: 2px solid #888; } td { border-bottom: 1px solid #8884; vertical-align: top; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; background: white; border-radius: 4px; } code { font-size: 90%; overflow-wrap: anywhere; }
figure { margin: 1rem 0; } figcaption { color: #777; }
details { margin: .6rem 0; } summary { cursor: pointer; }
"""


@checked
def curation_page(curated: Curated) -> str:
    """Tables, pictures and reasons of a curated data set as HTML.

    The same data set gives the same text, pictures included, with the same matplotlib.
    """
    require_matplotlib()
    with limit_blas(curated.recipe.n_jobs, 0):
        return _page(curated)


def _page(curated: Curated) -> str:
    recipe, ledger = curated.recipe, curated.ledger
    n_train, n_test, n_out = (len(ledger.of(place)) for place in (TRAIN, TEST, LEFT_OUT))
    title = escape(recipe.name)
    sources = [
        (
            f.source.label, f.source.public_file, f.n_read, f.n_frames, f.source.licence or "not stated",
            f.source.reference or "not stated", f.sha256,
        )
        for f in curated.files
    ]  # fmt: skip
    parts = [
        f"<h1>{title}</h1>",
        f"<p>{n_train} training frames, {n_test} test frames, {n_out} frames left out. Licence: "
        f"{escape(recipe.licence or 'not stated')}. <code>card.json</code> has every frame with its place and the "
        "reason, and the recipe with its defaults.</p>",
        "<h2>Steps</h2>",
        _table(("step", "left out", "remain", "what it did"), [(n, o, r, w) for n, w, o, r in ledger.steps]),
        "<h2>Content</h2>",
        _table(
            ("configuration type", "train", "test", "left out"),
            [(name, c[TRAIN], c[TEST], c[LEFT_OUT]) for name, c in ledger.counts().items()],
        ),
        *_pictures(curated),
        *_pruning(curated),
        *_reasons(curated),
        "<h2>Sources</h2>",
        _table(("name", "file", "frames read", "of", "licence", "reference", "SHA-256"), sources),
    ]
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}\n<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n'
    )


def _pictures(curated: Curated) -> Iterable[str]:
    entries = [e for e in curated.ledger.entries if not e.problem and not e.is_free_atom]
    batch, kept = batch_of(entries), np.array([e.place != LEFT_OUT for e in entries])
    yield "<h2>Pictures</h2>"
    if batch.labels is not None and batch.labels.has_energy.any():
        yield _picture(spread_figure(batch, kept), "Energy against volume; crosses are frames that were left out.")
    types = [e.config_type for e in entries]
    points = FingerprintSpace.of(batch)(batch).of_frames()
    yield _picture(map_figure(points, types, kept), "Map of the structures by their SOAP vectors.")
    train = [e.config_type for e in curated.ledger.of(TRAIN)]
    yield _picture(coverage_figure(curated.coverage, train), "Distances and strains of the training set.")
    coverage = curated.coverage
    if coverage.covered is not None and coverage.covered_frames is not None:
        covered = ", ".join(f"{symbol} {100 * part:.1f} %" for symbol, part in coverage.covered.items())
        yield (
            f"<p>Of the atoms of all sound frames, {escape(covered)} are within reach of an atom of the training set; "
            f"so is every atom of {100 * coverage.covered_frames:.1f} % of the frames.</p>"
        )
    if curated.influence is not None:
        yield _picture(
            influence_figure(curated.influence),
            "Influence of every frame on the model without outliers; numbers are its frames.",
        )
        rows = [
            (curated.modelled[f.frame], f.config_type, f"{f.cook:.3g}", f"{f.leverage:.3g}", f"{f.dfbetas:.2f}")
            for f in curated.influence.ranked()[:10]
        ]
        yield _table(("most influential", "configuration type", "Cook's distance", "leverage", "DFBETAS"), rows)


def _pruning(curated: Curated) -> Iterable[str]:
    if curated.pruned is None:
        return
    yield "<h2>Before and after outliers were left out</h2>"
    yield "<p>Errors of kept frames, each left out of the fit; eV/atom, eV/Å, eV/Å³.</p>"
    before, d = curated.pruned.before, MODEL_DIGITS
    rows = [(name, f"{before[name]:.{d}g}", f"{value:.{d}g}") for name, value in curated.pruned.after.items()]
    yield _table(("quantity", "before", "after"), rows)


def _reasons(curated: Curated) -> Iterable[str]:
    out = [e for e in curated.ledger.of(LEFT_OUT) if e.step != "select"]
    yield "<h2>Left out</h2>"
    yield _table(
        ("frame", "configuration type", "step", "reason"), [(e.id, e.config_type, e.step, e.reason) for e in out]
    )
    unselected = [e for e in curated.ledger.of(LEFT_OUT) if e.step == "select"]
    if unselected:
        table = _table(("frame", "configuration type", "reason"), [(e.id, e.config_type, e.reason) for e in unselected])
        yield f"<details><summary>{len(unselected)} frames that were not selected</summary>{table}</details>"
    flagged = [e for e in curated.ledger.entries if e.flags and e.place != LEFT_OUT]
    yield "<h2>Kept, but look at them</h2>"
    rows = [(e.id, e.config_type, e.place, "; ".join(e.flags)) for e in flagged]
    yield _table(("frame", "configuration type", "place", "what stands out"), rows)


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return "<p>None.</p>"
    # a column is of numbers if its cells are
    marks = [' class="n"' if all(isinstance(row[k], int) for row in rows) else "" for k in range(len(names))]
    head = "".join(f"<th{mark}>{escape(name)}</th>" for mark, name in zip(marks, names, strict=True))
    cells = ("".join(f"<td{m}>{escape(str(cell))}</td>" for m, cell in zip(marks, row, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _picture(figure: Figure, caption: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'

"""`gapkit curate`: a data set from a recipe."""

from __future__ import annotations

import json
from pathlib import Path

from gapkit.cli.console import say, show, show_json
from gapkit.curation.recipe import Recipe, check_folder, curate
from gapkit.curation.recipe.output import CARD
from gapkit.report.page import curation_page
from gapkit.report.picture import require_matplotlib
from gapkit.validation import crystal_check


def run(path: Path, *, output: Path | None, page: bool, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Make the data set of a recipe; with `dry_run` only say what it would be, without `page` there are no pictures."""
    recipe = Recipe.read(path)
    folder = path.parent / recipe.output if output is None else output
    check_folder(folder, path, *recipe.inputs(path.parent))
    if page and not dry_run:
        require_matplotlib()
    curated = curate(recipe, path.parent, progress=not quiet, crystal_check=crystal_check)
    if not dry_run:
        curated.write(folder, curation_page(curated) if page else None)
    if as_json:
        show_json(curated.card() if dry_run else json.loads((folder / CARD).read_text(encoding="utf-8")))
    elif not quiet:
        show(str(curated))
    if not quiet:
        say(f"Nothing written (--dry-run); the data set would go to {folder}" if dry_run else f"Wrote {folder}")

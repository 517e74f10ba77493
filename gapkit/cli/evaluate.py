"""`gapkit evaluate`: errors of a model on labelled structures, and how good its error bars are."""

from __future__ import annotations

from pathlib import Path

from gapkit.cli.build import build_keys
from gapkit.cli.console import say, show, show_json
from gapkit.io.atomic import check_output, replacing
from gapkit.options.fit import LabelOptions
from gapkit.potential import load
from gapkit.structures import read_frames
from gapkit.validation import compare, uncertainty_of


def run(
    model: Path, structures: Path, keys: LabelOptions, *, uncertainty: bool, as_json: bool, picture: Path | None
) -> None:
    """Print the errors, as tables or as one JSON object, and draw them where `picture` is given.

    With `uncertainty`, so are the measures of the standard deviations; nothing is predicted twice.
    """
    if picture is not None:
        from gapkit.report.picture import check_picture

        check_picture(picture)
        check_output(picture, model, structures)
    potential = load(model)
    found = build_keys(keys, potential.label_keys)
    comparison = compare(potential, read_frames(structures), found, uncertainty=uncertainty)
    table = uncertainty_of(comparison) if uncertainty else comparison.errors()
    if picture is not None:
        from gapkit.report import parity_figure, uncertainty_figure

        draw = uncertainty_figure if uncertainty else parity_figure
        with replacing(picture) as temporary:
            draw(comparison).savefig(temporary, dpi=200)
        say(f"Wrote {picture}")
    if as_json:
        show_json(table.to_dict())
    else:
        show(table)

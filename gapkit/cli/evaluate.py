"""`gapkit evaluate`: errors of a model on labelled structures."""

from __future__ import annotations

from pathlib import Path

from gapkit.cli.build import build_keys
from gapkit.cli.console import say, show, show_json
from gapkit.cli.files import check_output, replacing
from gapkit.potential import load
from gapkit.structures import read_frames
from gapkit.validation import compare


def run(
    model: Path, structures: Path, keys: dict[str, str | None], *, as_json: bool = False, picture: Path | None = None
) -> None:
    """Print the errors, as a table or as one JSON object, and draw them where `picture` is given.

    Raises
    ------
    GapkitError, OSError
        If an input cannot be used.
    """
    if picture is not None:
        from gapkit.report.parity import check_picture

        check_picture(picture)
        check_output(picture, model, structures)
    potential = load(model)
    comparison = compare(potential, read_frames(structures), build_keys(keys, potential.label_keys))
    errors = comparison.errors()
    if picture is not None:
        from gapkit.report.parity import parity_figure

        with replacing(picture) as temporary:
            parity_figure(comparison).savefig(temporary, dpi=200)
        say(f"Wrote {picture}")
    if as_json:
        show_json(errors.to_dict())
    else:
        show(errors)

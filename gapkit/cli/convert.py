"""`gapkit convert`: models of QUIP to model files and back."""

from __future__ import annotations

from pathlib import Path

from gapkit.cli.console import say
from gapkit.exceptions import InputError
from gapkit.interop import quip
from gapkit.io.atomic import check_output, replacing
from gapkit.potential import load


def run(source: Path, output: Path) -> None:
    """Convert a gap.xml to a model file, or a model file to a gap.xml with its files of sparse points."""
    check_output(output, source)
    if (source.suffix == ".xml") == (output.suffix == ".xml"):
        raise InputError(
            f"`convert` goes from a gap.xml to a model file or back, got {source.name} and {output.name}; one of them, "
            "and only one, must end in .xml"
        )
    if source.suffix == ".xml":
        model = quip.load(source)
        with replacing(output) as temporary:
            model.save(temporary)
    else:
        model = load(source)
        quip.write(model, output)
    say(f"Wrote {output}: {', '.join(model.species_)}, {model.n_sparse_} sparse points")

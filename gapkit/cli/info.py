"""`gapkit info`: what a model or a file of structures holds."""

from __future__ import annotations

import zipfile
from pathlib import Path

from gapkit.cli.build import build_keys
from gapkit.cli.console import show
from gapkit.options.fit import LabelOptions
from gapkit.potential import load
from gapkit.structures import describe, read_frames, to_batch


def run(file: Path, keys: LabelOptions) -> None:
    """Print the summary of a model file, or the data report of a file of structures."""
    if file.suffix == ".gapkit" or zipfile.is_zipfile(file):
        show(load(file).summary())
    else:
        show(str(describe(to_batch(read_frames(file), keys=build_keys(keys)))))

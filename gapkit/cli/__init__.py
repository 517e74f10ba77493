"""The command line: `gapkit fit`, `predict`, `evaluate`, `info`, `curate`, `convert` and `lammps`.

A command calls the library and prints; nothing is computed here, and its options are declared in `gapkit.options`.  It
may import everything, but nothing heavy before a command runs, so that help is immediate.
"""

from gapkit.cli.app import app, main

__all__ = ["app", "main"]

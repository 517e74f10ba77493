"""The command line: `gapkit fit`, `predict`, `evaluate`, `info`, `convert` and `lammps`.

Nothing heavy is imported before a command runs, so that help is immediate.
"""

from gapkit.cli.app import app, main

__all__ = ["app", "main"]

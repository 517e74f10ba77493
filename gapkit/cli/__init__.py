"""The command line: `gapkit fit`, `predict`, `evaluate`, `info`, `curate`, `convert` and `lammps`.

A command calls the library and prints; nothing is computed here, and its options are declared in `gapkit.options`.  It
may import everything, but nothing heavy before a command runs, so that help is immediate.
"""

import sys


def main() -> None:
    """Run the command line; an interrupt is quiet also while it is imported."""
    try:
        from gapkit.cli.app import run_app

        run_app()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted\n")
        sys.exit(130)

"""The public names, and that they cost nothing until they are used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gapkit

HEAVY = {"ase", "dscribe", "matplotlib", "numba", "numpy", "scipy", "skmatter", "sklearn", "vesin"}


@pytest.mark.parametrize("name", gapkit.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(gapkit, name) is not None
    assert name in dir(gapkit)


def test_type_checkers_are_told_the_same_names() -> None:
    tree = ast.parse(Path(gapkit.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {node.names[0].asname: node.module for node in block.body if isinstance(node, ast.ImportFrom)}
    assert told == gapkit.PUBLIC


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'GPA'"):
        _ = gapkit.GPA


HELP = "sys.argv = ['gapkit', '--help']; from gapkit.cli import main; main()"  # ends with exit code 0


@pytest.mark.parametrize("code", ["import gapkit", "from gapkit.cli.app import app", HELP])
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    """`gapkit --help` and `import gapkit` stay quick."""
    script = f"import atexit, sys; atexit.register(lambda: print(*sorted({HEAVY} & set(sys.modules)), file=sys.stderr))"
    result = subprocess.run(
        [sys.executable, "-c", f"{script}; {code}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stderr.split() == []
    assert ("Usage: gapkit" in result.stdout) == (code == HELP)

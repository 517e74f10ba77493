"""The reference of recipes says what the code says."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import yaml

import gapkit.curation
from gapkit.curation.findings import DEFAULT_ACTIONS, KINDS
from gapkit.curation.recipe import Duplicates, Leakage, Outliers, Recipe, Select, Source, Split, Weights

TEXT = (Path(gapkit.curation.__file__).parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", [Recipe, Source, Duplicates, Outliers, Split, Leakage, Select, Weights])
def test_every_option_with_its_default(cls):
    for item in fields(cls):
        (line,) = [
            row
            for row in TEXT.splitlines()
            if row.startswith(f"| `{item.name}` |") and row.endswith(f"| {item.metadata['help']} |")
        ]
        if isinstance(item.default, str | int | float) and item.default is not MISSING:
            default = str(item.default).lower() if isinstance(item.default, bool) else item.default
            assert line.split(" | ")[1] == f"`{default}`"


def test_every_kind_of_finding():
    for kind, meaning in KINDS.items():
        assert f"| `{kind}` | {DEFAULT_ACTIONS[kind]} | {meaning} |" in TEXT


def test_the_recipe_in_it_is_one(tmp_path):
    recipe = TEXT.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    assert Recipe.read(tmp_path / "recipe.yaml").select.method == "v_optimal"
    in_module = gapkit.curation.recipe.recipe.__doc__.split("below, `false` switches a step off:\n")[1]
    assert yaml.safe_load(in_module)["sources"] == yaml.safe_load(recipe)["sources"]

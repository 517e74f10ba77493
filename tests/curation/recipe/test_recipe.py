"""Recipes: defaults, the same again from their own values, and mistakes with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gapkit.curation.findings import ACTIONS, DEFAULT_ACTIONS
from gapkit.curation.recipe import Duplicates, Leakage, Outliers, Recipe, Select, Source, Split, Weights
from gapkit.exceptions import ConfigError
from tests.curation.recipe.data import read

EVERYTHING = """\
name: silicon
licence: CC-BY-4.0
sources:
  - {file: pbe.extxyz, licence: CC0-1.0, reference: "doi:10.1000/x", energy_key: REF_energy, frames: "5:-5:2"}
  - file: old/rpbe.xyz
    name: rpbe
    role: test
    energy_unit: Hartree
    forces_unit: Hartree/Bohr
    stress_unit: GPa
    config_type: liquid
    config_type_key: phase
    forces_key: f
    stress_key: s
    virial_key: v
check: {no_cell: drop, net_force: drop}
duplicates: {supercells: true, tolerance: 0.01, energy_tolerance: 2e-3}
outliers: {threshold: 6, max_fraction: 0.2, max_rounds: 2, cutoff: 4, n_sparse: 20, crystal: si.xyz}
split: {test_fraction: 0.2, by: trajectory}
leakage: {drop: train, false_alarm: 1e-4}
select: {fraction: 0.25, method: cur, quotas: {liquid: 3}, per: atom}
weights: {scheme: energy_window, windows: {0.1: 1, 1: 3}, beyond: 20, config_types: {liquid: {forces_sigma: 0.2}}}
output: silicon
seed: 3
n_jobs: -1
"""


def test_one_source_is_enough(tmp_path: Path) -> None:
    recipe = read(tmp_path, "sources: [{file: a.extxyz}]")
    assert recipe == Recipe(
        sources=[Source(file="a.extxyz")], name="data set", check={}, duplicates=Duplicates(), outliers=None,
        split=Split(test_fraction=0.1, by="config_type"), leakage=Leakage(drop="test", false_alarm=1e-3),
        select=None, weights=None, output="curated", seed=0, n_jobs=None,
    )  # fmt: skip
    (source,) = recipe.sources
    assert (source.role, source.frames, source.energy_unit, source.forces_unit, source.stress_unit) == (
        "pool", ":", "eV", "eV/Å", "eV/Å^3",
    )  # fmt: skip
    assert source.energy_key is None
    assert source.label == "a"


def test_everything_is_read(tmp_path: Path) -> None:
    recipe = read(tmp_path, EVERYTHING)
    assert recipe.sources[0].frames == "5:-5:2"
    assert recipe.sources[1].label == "rpbe"
    assert recipe.sources[1].config_type_key == "phase"
    assert recipe.check == {"no_cell": "drop", "net_force": "drop"}
    assert recipe.duplicates == Duplicates(supercells=True, tolerance=0.01, energy_tolerance=2e-3)
    assert recipe.outliers == Outliers(
        threshold=6.0, max_fraction=0.2, max_rounds=2, cutoff=4.0, n_sparse=20, crystal="si.xyz"
    )  # fmt: skip
    assert recipe.split == Split(test_fraction=0.2, by="trajectory")
    assert recipe.leakage == Leakage(drop="train", false_alarm=1e-4)
    assert recipe.select == Select(fraction=0.25, method="cur", quotas={"liquid": 3}, per="atom")
    assert recipe.weights is not None
    assert recipe.weights.windows == {0.1: 1.0, 1.0: 3.0}
    assert recipe.weights.config_types == {"liquid": {"forces_sigma": 0.2}}
    assert (recipe.output, recipe.seed, recipe.n_jobs) == ("silicon", 3, -1)


@pytest.mark.parametrize(
    "text",
    [
        "sources: [{file: a.extxyz}]\n",
        EVERYTHING,
        "sources: [{file: a.extxyz}]\nsplit: false\nduplicates: false\nleakage: false\noutliers: true\n",
        "sources: [{file: a.extxyz}]\nselect: {n: 3, quotas: sqrt}\nweights: {scheme: hull}\n",
    ],
)
def test_its_own_values_make_the_same_recipe(tmp_path: Path, text: str) -> None:
    recipe = read(tmp_path, text)
    assert read(tmp_path, yaml.safe_dump(recipe.to_dict())) == recipe


def test_steps_are_switched_off_by_false_and_on_by_true(tmp_path: Path) -> None:
    off = read(tmp_path, "sources: [{file: a}]\nduplicates: false\nsplit: false\nleakage: false\noutliers: true\n")
    assert (off.duplicates, off.split, off.leakage, off.outliers) == (None, None, None, Outliers())


def test_toml_says_the_same(tmp_path: Path) -> None:
    text = """\
        [[sources]]
        file = "a.xyz"
        energy_unit = "kJ/mol"
        [weights]
        scheme = "energy_window"
        windows = {"0.1" = 1, "1" = 3}
        """
    recipe = read(tmp_path, text, "r.toml")
    assert recipe.weights is not None
    assert recipe.weights.windows == {0.1: 1.0, 1.0: 3.0}
    assert recipe.sources[0].energy_unit == "kJ/mol"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("eV/A", "eV/Å"), ("eV/Angstrom", "eV/Å"), ("eV/Ang", "eV/Å"), ("kcal/mol/A", "kcal/mol/Å"),
        ("eV/\u212b", "eV/Å"), ("eV/A\u030a", "eV/Å"), ("Rydberg/Bohr", "Rydberg/Bohr"),
    ],
)  # fmt: skip
def test_the_angstrom_has_many_spellings(given: str, meant: str) -> None:
    assert Source(file="a", forces_unit=given).forces_unit == meant


def test_stresses_per_cubic_angstrom() -> None:
    assert Source(file="a", stress_unit="eV/A^3").stress_unit == "eV/Å^3"


@pytest.mark.parametrize("frames", [":", "::", ":10", "5:", "-10:", ":-1", "0:100:2", "::10", "1::"])
def test_slices(frames: str) -> None:
    assert Source(file="a", frames=frames).frames == frames


@pytest.mark.parametrize("frames", ["", "3", "-:5", ":-", "::-1", "::0", "a:b", "1:2:3:4", " :3"])
def test_what_is_no_slice(frames: str) -> None:
    with pytest.raises(ConfigError, match="`frames` must be a slice"):
        Source(file="a", frames=frames)


HEAD = "sources:\n  - {file: a.extxyz}\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: x\n", ["`sources` is missing", "line 1", "the files to read"]),
        ("name: x\nsources: []\n", ["`sources`", "line 2", "at least one"]),
        ("sources:\n  - {role: test}\n", ["`file` of `sources` is missing", "line 2"]),
        ("sources:\n  - file: a\n    energy-key: E\n", ["`energy-key`", "line 3", "did you mean `energy_key`?"]),
        ("sources:\n  - file: a\n    role: tset\n", ["`role`", "line 3", "pool, train, test", "'tset'"]),
        ("sources:\n  - file: a\n    energy_unit: Ha\n", ["`energy_unit`", "line 3", "Hartree", "'Ha'"]),
        ("sources:\n  - file: a\n    frames: 1:10\n", ["`frames`", "line 3", "in quotation marks", "got 70"]),
        ("sources:\n  - file: a\n  - file: b/a.xyz\n", ["line 1", "the names of `sources` must differ", "`name`"]),
        ("sources:\n  - {file: a, role: test}\n", ["all `sources` are for the test set", "role pool or train"]),
        (HEAD + "splt: {}\n", ["`splt`", "line 3", "did you mean `split`?"]),
        (HEAD + "split:\n  by: type\n", ["`by`", "line 4", "config_type, trajectory"]),
        (HEAD + "split:\n  test_fraction: 10\n", ["`test_fraction`", "line 4", "< 1", "got 10"]),
        (HEAD + "split:\n", ["`split`", "line 3", "false (off)", "got nothing"]),
        (HEAD + "check:\n  no_cell: drop\n  nocell: drop\n", ["names in `check`", "line 5", "no_cell", "'nocell'"]),
        (HEAD + "check:\n  no_cell: remove\n", ["`no_cell` in `check`", "line 4", "stop, drop, flag", "'remove'"]),
        (HEAD + "select:\n  method: cur\n", ["line 3", "one of `n` and `fraction`"]),
        (HEAD + "select: {n: 3, fraction: 0.5}\n", ["line 3", "one of `n` and `fraction`"]),
        (HEAD + "select: {n: 3, method: diverse}\n", ["`method`", "line 3", "farthest_point"]),
        (HEAD + "select: {n: 3, quotas: {hot: 0}}\n", ["`quotas`", "line 3", "sqrt, proportional"]),
        (HEAD + "select: {n: 3, quotas: root}\n", ["`quotas`", "line 3", "'root'"]),
        (HEAD + "weights: true\n", ["line 3", "`config_types`", "such as"]),
        (HEAD + "weights:\n  scheme: energy_window\n", ["line 3", "`windows`", "such as"]),
        (HEAD + "weights:\n  config_types:\n    hot: 0.1\n", ["`hot` in `config_types`", "line 5", "forces_sigma"]),
        (
            HEAD + "weights:\n  scheme: energy_window\n  windows:\n    0.1: 1\n    0: 2\n",
            ["`windows`", "line 7", "> 0"],
        ),
        (HEAD + "weights:\n  scheme: energy_window\n  windows: {low: 1}\n", ["`windows`", "line 5", "> 0", "'low'"]),
        (HEAD + "duplicates: {symmetry: false, supercells: true}\n", ["line 3", "`supercells` only with `symmetry`"]),
        (HEAD + "leakage: {false_alarm: 0.7}\n", ["`false_alarm`", "line 3", "< 0.5"]),
        (HEAD + "leakage: {drop: both}\n", ["`drop`", "line 3", "train, test"]),
        (HEAD + "outliers: {crystal: 3}\n", ["`crystal`", "line 3", "text"]),
        (HEAD + "seed: -1\n", ["`seed`", "line 3", ">= 0"]),
        (HEAD + "n_jobs: 0\n", ["`n_jobs`", "line 3", "-1 for all cores"]),
        (HEAD + "output: ''\n", ["`output`", "line 3", "text"]),
    ],
)
def test_a_mistake_names_the_option_the_line_and_what_it_must_be(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert [part for part in [*parts, "r.yaml"] if part not in str(caught.value)] == [], str(caught.value)


def test_every_default_action_is_one() -> None:
    assert set(DEFAULT_ACTIONS.values()) <= set(ACTIONS)
    assert Recipe.help("weights") == "sigmas of the training labels"


def test_weights_by_type_need_types() -> None:
    with pytest.raises(ConfigError, match="config_types"):
        Weights()
    assert Weights(scheme="hull").scale == 0.1

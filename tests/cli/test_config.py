"""The configuration file and the flags are the same options, and mistakes in either are named."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main

from gapkit.cli.app import app
from gapkit.exceptions import ConfigError
from gapkit.options.fit import FitConfig

FILE_ONLY = {"terms", "config_types", "label_keys", "noise"}


def resolve(tmp_path: Path, text: str, name: str = "fit.yaml", **flags: object) -> FitConfig:
    path = tmp_path / name
    path.write_text(text)
    return FitConfig.resolve(path, flags)


def test_every_option_is_a_flag_and_every_flag_is_an_option() -> None:
    flags = {parameter.name for parameter in typer.main.get_command(app).commands["fit"].params}  # type: ignore[attr-defined]
    assert flags - {"train", "config", "help"} == {option.name for option in fields(FitConfig)} - FILE_ONLY


def test_yaml_and_toml_agree(tmp_path: Path) -> None:
    yaml = resolve(
        tmp_path,
        "cutoff: 4.5\nseed: 3\ne0: {Cu: -1}\nterms: [{type: SOAP, n_max: 4}]\nconfig_types: {hot: {forces_sigma: 1}}\n",
    )
    toml = resolve(
        tmp_path,
        'cutoff = 4.5\nseed = 3\ne0 = {Cu = -1}\nterms = [{type = "SOAP", n_max = 4}]\n'
        "[config_types.hot]\nforces_sigma = 1\n",
        "fit.toml",
    )
    assert yaml == toml
    assert yaml.cutoff == 4.5
    assert yaml.config_types == {"hot": {"forces_sigma": 1.0}}


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    config = resolve(tmp_path, "cutoff: 4.5\nseed: 3\nquiet: true", cutoff=5.0, quiet=False, n_sparse=None)
    assert (config.cutoff, config.seed, config.quiet, config.n_sparse) == (5.0, 3, False, None)


def test_zero_is_not_unset(tmp_path: Path) -> None:
    assert resolve(tmp_path, "seed: 3", seed=0).seed == 0
    with pytest.raises(ConfigError, match=r"`--cutoff` must be a number > 0, got 0\.0"):
        FitConfig.resolve(None, {"cutoff": 0.0})


def test_an_empty_file_leaves_the_defaults(tmp_path: Path) -> None:
    assert resolve(tmp_path, "# nothing yet\n") == FitConfig()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("auto", "auto"),
        ("isolated", "isolated"),
        ("Si=-1.0,O=-2", {"Si": -1.0, "O": -2.0}),
        (" Si = -1e-3 ", {"Si": -1e-3}),
        ({"Si": -1}, {"Si": -1.0}),
    ],
)
def test_reference_energies(given: object, expected: object) -> None:
    assert FitConfig(e0=given).e0 == expected  # type: ignore[arg-type]


def test_yaml_numbers_in_exponent_form_are_numbers(tmp_path: Path) -> None:
    assert resolve(tmp_path, "forces_sigma: 1e-2").forces_sigma == 0.01


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("cutof: 4.0", ["`cutof`", "did you mean `cutoff`?", "n_sparse"]),
        ("n-sparse: 10", ["`n-sparse`", "did you mean `n_sparse`?"]),
        ("n_sparse: many", ["`n_sparse`", "a whole number >= 1", "'many'"]),
        ("n_sparse: 0", ["`n_sparse`", "a whole number >= 1", "got 0"]),
        ("n_sparse: true", ["`n_sparse`", "got True"]),
        ("cutoff: -1", ["`cutoff`", "> 0", "-1"]),
        ("cutoff: .nan", ["`cutoff`", "finite"]),
        ("cutoff: [4, 5]", ["`cutoff`", "a number"]),
        ("seed: null", ["`seed`", "a whole number >= 0", "None"]),
        ("quiet: 1", ["`quiet`", "true or false"]),
        ("n_jobs: 0", ["`n_jobs`", "-1 for all cores"]),
        ("e0: Si", ["`e0`", "least_squares", "'Si'"]),
        ("e0: Si=-1,Si=-2", ["`e0`", "'Si=-1,Si=-2'"]),
        ("e0: {silicon: -1}", ["`e0`", "silicon"]),
        ("e0: {Si: low}", ["`e0`", "low"]),
        ("terms: SOAP", ["`terms`", "a list of terms"]),
        ("terms: [{cutoff: 4}]", ["`terms`", "`type`"]),
        ("config_types: {hot: 0.1}", ["`config_types`", "forces_sigma"]),
        ("config_types: {hot: {force_sigma: 0.1}}", ["`config_types`", "forces_sigma"]),
        ("config_types: {hot: {forces_sigma: 0}}", ["`config_types`", "> 0"]),
        ("- cutoff", ["must hold options and their values", "list"]),
        ("cutoff: [4.0", ["not valid YAML", "line 1"]),
    ],
)
def test_a_mistake_names_the_option_the_file_and_the_remedy(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(tmp_path, text)
    assert all(part in str(caught.value) for part in [*parts, "fit.yaml"]), str(caught.value)


def test_bad_toml_and_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"fit\.toml is not valid TOML"):
        resolve(tmp_path, "cutoff = ", "fit.toml")
    with pytest.raises(ConfigError, match=r"must end in \.yaml, \.yml or \.toml, got \.ini"):
        resolve(tmp_path, "cutoff = 4", "fit.ini")


def test_nothing_under_a_name_is_an_empty_mapping(tmp_path: Path) -> None:
    assert resolve(tmp_path, "config_types:\nnoise: null\n") == FitConfig(config_types=None)  # type: ignore[arg-type]
    assert resolve(tmp_path, "config_types:\n").config_types == {}


def test_the_configuration_can_be_stored(tmp_path: Path) -> None:
    config = resolve(tmp_path, "e0: {Cu: -1.5}\nterms: [{type: SOAP, cutoff: 4}]")
    assert FitConfig(**json.loads(json.dumps(config.to_dict()))) == config

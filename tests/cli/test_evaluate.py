"""`gapkit evaluate --uncertainty`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from ase.io import read

import gapkit
from gapkit.validation import evaluate_uncertainty
from tests.cli.conftest import Files, Run

METRICS = (
    "coverage90", "coverage68", "coverage95", "interval_coverage90", "miscalibration_area", "ence", "nll", "crps",
    "sharpness", "spearman", "spearman_ratio", "auroc", "enrichment",
)  # fmt: skip


def reject(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def test_json_holds_errors_and_measures(files: Files, run: Run) -> None:
    result = run("evaluate", files.model, files.test, "--uncertainty", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout, parse_constant=reject)
    plain = json.loads(run("evaluate", files.model, files.test, "--json").stdout)
    types = plain.pop("by_config_type")
    assert {name: found[name] for name in plain} == pytest.approx(plain, rel=1e-6)
    measures = {f"{kind}_{name}" for kind in ("energy", "forces", "stress") for name in METRICS}
    groups = ("coverage90_by_group", "interval_coverage90_by_group", "beyond_3_std_unflagged")
    measures |= {f"{kind}_{name}" for kind in ("energy", "forces", "stress") for name in groups}
    others = {
        "std", "n_extrapolating_frames", "extrapolating_fraction", "forces_coverage90_by_species", "by_config_type",
    }  # fmt: skip
    assert set(found) == set(plain) | measures | others
    assert found["std"] == "calibrated"
    assert 0 <= found["forces_coverage90"] <= 1
    row = found["forces_coverage90_by_group"]["all"]["all"]
    assert 0 <= row["lower"] < row["coverage"] <= row["upper"] <= 1
    for name, row in types.items():
        more = {"energy_coverage90", "forces_coverage90", "stress_coverage90"}
        assert set(found["by_config_type"][name]) == set(row) | more
    expected = evaluate_uncertainty(gapkit.load(files.model), read(files.test, ":")).to_dict()
    assert found == json.loads(json.dumps(expected))


def test_tables_and_a_picture(files: Files, run: Run, tmp_path: Path) -> None:
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    result = run("evaluate", files.model, files.test, "--uncertainty", "--plot", full)
    assert result.exit_code == 0, result.output
    parts = ("MAE / RMSE", "meV/atom", "calibrated std", "ENCE", "cold", "hot", "Brackets", "Extrapolating")
    assert [part for part in parts if part not in result.stdout] == []
    assert run("evaluate", files.model, files.test, "--plot", plain).exit_code == 0
    assert full.read_bytes().startswith(b"\x89PNG")
    height = [int.from_bytes(path.read_bytes()[20:24], "big") for path in (plain, full)]
    assert height[1] == 4 * height[0]


def test_a_model_without_calibration(files: Files, run: Run, tmp_path: Path) -> None:
    model = gapkit.load(files.model)
    model.state_ = replace(model.state_, calibration=None)
    model.save(tmp_path / "bare.gapkit")
    found = json.loads(run("evaluate", tmp_path / "bare.gapkit", files.test, "--uncertainty", "--json").stdout)
    assert found["std"] == "epistemic"
    assert found["forces_interval_coverage90"] is None
    text = run("evaluate", tmp_path / "bare.gapkit", files.test, "--uncertainty").stdout
    assert "epistemic std" in text
    assert "no calibration" in " ".join(text.split())

"""`gapkit predict`, `evaluate` and `info` on a fitted model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

import gapkit
from tests.cli.conftest import Files, Run


def test_predict_writes_what_the_model_predicts(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.extxyz"
    result = run("predict", files.model, files.test, "--output", output, "--std")
    assert result.exit_code == 0, result.output
    frames = read(files.test, ":")
    expected = gapkit.load(files.model).predict(frames, return_std=True)
    written = read(output, ":")
    assert len(written) == len(frames)
    for i, atoms in enumerate(written):
        mine = slice(expected.offsets[i], expected.offsets[i + 1])
        assert atoms.info["gap_energy"] == pytest.approx(expected.energy[i], rel=1e-7)
        np.testing.assert_allclose(atoms.arrays["gap_forces"], expected.forces[mine], atol=1e-7)
        np.testing.assert_allclose(atoms.info["gap_stress"], expected.stress[i], atol=1e-7)
        np.testing.assert_allclose(atoms.arrays["gap_local_energy"], expected.local_energies[mine], atol=1e-7)
        np.testing.assert_allclose(atoms.arrays["gap_local_energy_std"], expected.local_energies_std[mine], atol=1e-7)
        assert atoms.info["config_type"] == frames[i].info["config_type"]
        assert atoms.get_potential_energy() == pytest.approx(frames[i].get_potential_energy(), rel=1e-9)
        np.testing.assert_allclose(atoms.get_forces(), frames[i].get_forces(), atol=1e-8)


def test_labels_stay_and_can_be_evaluated(files: Files, run: Run, tmp_path: Path) -> None:
    frames = read(files.test, ":")
    for atoms in frames:  # under other names, of which one is said twice
        atoms.info["REF_energy"], atoms.info["note"] = atoms.get_potential_energy(), "kept"
        atoms.info["energy"] = -1.0
    write(tmp_path / "in.traj", frames)
    for source, keys in ((files.test, ()), (tmp_path / "in.traj", ("--energy-key", "REF_energy"))):
        output = tmp_path / "out.extxyz"
        for _ in range(2):
            assert run("predict", files.model, source, "--output", output, "--std").exit_code == 0
            before, after = (run("evaluate", files.model, path, *keys, "--json") for path in (source, output))
            assert after.exit_code == 0, after.output
            old, new = json.loads(before.stdout), json.loads(after.stdout)
            assert new["forces_mae"] > 1e-4
            for name in ("energy_mae", "forces_mae", "stress_mae"):
                assert new[name] == pytest.approx(old[name], rel=1e-4), name
            source = tmp_path / "again.extxyz"  # predictions are not labels, and are replaced
            output.rename(source)
            output = tmp_path / "twice.extxyz"
    assert all(atoms.info["note"] == "kept" for atoms in read(source, ":"))


def test_other_prefixes(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.extxyz"
    assert run("predict", files.model, files.test, "--output", output, "--prefix", "ml_").exit_code == 0
    expected = gapkit.load(files.model).predict(read(files.test, ":"))
    assert [atoms.info["ml_energy"] for atoms in read(output, ":")] == pytest.approx(expected.energy.tolist())
    refused = run("predict", files.model, output, "--output", tmp_path / "o.extxyz", "--prefix", "ml_")
    assert (refused.exit_code, "ml_energy, ml_forces" in refused.output) == (2, True)
    for prefix in ("a b", "=", "1", "ü"):
        refused = run("predict", files.model, files.test, "--output", tmp_path / "o.extxyz", "--prefix", prefix)
        assert (refused.exit_code, "--prefix" in refused.output) == (2, True)
    assert not (tmp_path / "o.extxyz").exists()


def test_without_a_prefix_predictions_are_results(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "out.extxyz"
    assert run("predict", files.model, files.test, "--output", output, "--prefix", "", "--std").exit_code == 0
    expected = gapkit.load(files.model).predict(read(files.test, ":"), return_std=True)
    for i, atoms in enumerate(read(output, ":")):
        assert atoms.get_potential_energy() == pytest.approx(expected.energy[i], rel=1e-7)
        np.testing.assert_allclose(atoms.get_stress(), expected.stress[i], atol=1e-7)
        assert {"local_energy", "forces_std"} <= set(atoms.arrays)
        assert atoms.info["std"] == "calibrated"


def test_a_label_of_that_name_is_no_prediction(files: Files, run: Run, tmp_path: Path) -> None:
    frames = read(files.train, ":")
    for atoms in frames:
        atoms.info["gap_energy"] = atoms.get_potential_energy()
    write(tmp_path / "in.extxyz", frames)
    model, train = tmp_path / "m.gapkit", tmp_path / "in.extxyz"
    fit = ("fit", train, "--config", files.config, "--energy-key", "gap_energy", "--no-calibrate", "--output", model)
    assert run(*fit).exit_code == 0
    refused = run("predict", model, train, "--output", tmp_path / "out.extxyz")
    assert (refused.exit_code, "gap_energy" in refused.output, "--prefix" in refused.output) == (2, True, True)


def test_predict_without_a_cell_writes_no_stress(files: Files, run: Run, tmp_path: Path) -> None:
    atoms = read(files.test, 0)
    atoms.set_cell(None)
    atoms.pbc = False
    write(tmp_path / "cluster.xyz", atoms)
    result = run("predict", files.model, tmp_path / "cluster.xyz", "--output", tmp_path / "out.extxyz")
    assert result.exit_code == 0, result.output
    written = read(tmp_path / "out.extxyz")
    assert "gap_energy" in written.info
    assert "gap_stress" not in written.info
    assert "gap_local_energy_std" not in written.arrays


def test_evaluate_json_is_exactly_the_errors(files: Files, run: Run) -> None:
    result = run("evaluate", files.model, files.test, "--json")
    assert result.exit_code == 0, result.output
    errors = json.loads(result.stdout)
    frames = read(files.test, ":")
    p = gapkit.load(files.model).predict(frames)
    energy = np.array([(p.energy[i] - atoms.get_potential_energy()) / len(atoms) for i, atoms in enumerate(frames)])
    forces = p.forces - np.concatenate([atoms.get_forces() for atoms in frames])
    stress = p.stress - np.array([atoms.get_stress() for atoms in frames])
    assert list(errors) == [
        "n_frames", "n_atoms", "energy_mae", "energy_rmse", "forces_mae", "forces_rmse", "stress_mae", "stress_rmse",
        "by_config_type",
    ]  # fmt: skip
    assert (errors["n_frames"], errors["n_atoms"]) == (4, 16)
    for name, difference in (("energy", energy), ("forces", forces), ("stress", stress)):
        assert errors[f"{name}_mae"] == pytest.approx(np.abs(difference).mean(), rel=1e-6)
        assert errors[f"{name}_rmse"] == pytest.approx(np.sqrt((difference**2).mean()), rel=1e-6)
    hot = errors["by_config_type"]["hot"]
    assert (hot["n_frames"], hot["n_atoms"]) == (2, 8)
    assert hot["energy_mae"] == pytest.approx(np.abs(energy[::2]).mean(), rel=1e-6)
    assert hot["stress_mae"] == pytest.approx(np.abs(stress[::2]).mean(), rel=1e-6)


def test_the_model_has_learned(files: Files, run: Run) -> None:
    """Errors well below the spread of the labels, so that signs and units are right through the whole chain."""
    errors = json.loads(run("evaluate", files.model, files.test, "--json").stdout)
    frames = read(files.test, ":")
    assert errors["forces_rmse"] < 0.3 * np.concatenate([atoms.get_forces() for atoms in frames]).std()
    assert errors["stress_rmse"] < 0.3 * np.array([atoms.get_stress() for atoms in frames]).std()


def test_evaluate_prints_a_table_and_draws(files: Files, run: Run, tmp_path: Path) -> None:
    picture = tmp_path / "parity.png"
    result = run("evaluate", files.model, files.test, "--plot", picture)
    assert result.exit_code == 0, result.output
    assert all(part in result.stdout for part in ("cold", "hot", "all", "meV/atom"))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_info_of_a_model_and_of_structures(files: Files, run: Run, tmp_path: Path) -> None:
    model = run("info", files.model)
    assert model.exit_code == 0, model.output
    assert all(part in model.stdout for part in ("Cu", "SOAP", "eV"))
    renamed = tmp_path / "model"
    renamed.write_bytes(files.model.read_bytes())
    assert run("info", renamed).stdout == model.stdout
    data = run("info", files.train)
    assert data.exit_code == 0, data.output
    assert all(part in data.stdout for part in ("12", "Cu", "cold", "hot"))


def test_module_and_version() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gapkit", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == gapkit.__version__


def test_classes_of_ones_own_in_configuration_and_model(files: Files, tmp_path: Path) -> None:
    """From the folder of their module; a model that holds one names the module where it was not imported."""
    (tmp_path / "own_switch.py").write_text(
        "from dataclasses import dataclass\nfrom gapkit.descriptors import CosineCutoff\n"
        "from gapkit.io.registry import registered\n\n"
        "@registered('CutoffFunction')\n@dataclass(frozen=True)\nclass OwnSwitch(CosineCutoff):\n    pass\n"
    )
    term = "{type: SOAP, cutoff: 4.0, n_max: 4, l_max: 3, cutoff_function: {type: own_switch.OwnSwitch, width: 1.0}}"
    (tmp_path / "fit.yaml").write_text(
        f"n_sparse: 20\nenergy_sigma: 0.001\nforces_sigma: 0.05\nvirial_sigma: 0.01\nterms: [{term}]\n"
    )

    def gapkit_command(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gapkit", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)

    fitted = gapkit_command("fit", files.train, "--config", "fit.yaml", "--output", "own.gapkit", "--quiet")
    assert (fitted.returncode, fitted.stderr) == (0, "")
    refused = gapkit_command("info", "own.gapkit")
    assert refused.returncode == 2
    assert "import own_switch, which defines it (gapkit --import own_switch ...)" in refused.stderr
    described = gapkit_command("--import", "own_switch", "info", "own.gapkit")
    assert "OwnSwitch(width=1.0)" in described.stdout
    assert "no_such_module" in gapkit_command("--import", "no_such_module", "info", "own.gapkit").stderr

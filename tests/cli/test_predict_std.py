"""`gapkit predict --std`: error bars in a file, as `ase.io.read` finds them; and models fitted without calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

import gapkit
from tests.cli.conftest import Files, Run

# Eight decimals are written.
WRITTEN = 1e-7


@pytest.fixture(scope="module")
def structures(files: Files) -> list[Atoms]:
    """Three like the training set, one that is squeezed, and a dimer without a cell."""
    squeezed = bulk("Cu", "fcc", a=3.1, cubic=True)
    return [*read(files.test, ":3"), squeezed, Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]])]


def predict(run: Run, model: Path, frames: list[Atoms], folder: Path) -> list[Atoms]:
    write(folder / "in.extxyz", frames)
    result = run("predict", model, folder / "in.extxyz", "--output", folder / "out.extxyz", "--std")
    assert result.exit_code == 0, result.output
    return read(folder / "out.extxyz", ":")


def test_error_bars_are_written(files: Files, run: Run, structures: list[Atoms], tmp_path: Path) -> None:
    written = predict(run, files.model, structures, tmp_path)
    expected = gapkit.load(files.model).predict(structures, return_std=True)
    assert expected.std == "calibrated"
    for i, atoms in enumerate(written):
        mine = slice(expected.offsets[i], expected.offsets[i + 1])
        assert atoms.info["gap_std"] == "calibrated"
        assert atoms.info["gap_energy_std"] == pytest.approx(expected.energy_std[i], rel=WRITTEN)
        for name in ("forces_std", "novelty"):
            values = getattr(expected, name)[mine]
            np.testing.assert_allclose(atoms.arrays[f"gap_{name}"], values, rtol=0, atol=WRITTEN, err_msg=name)
        assert atoms.arrays["gap_forces_std"].shape == (len(atoms), 3)
        assert atoms.arrays["gap_extrapolating"].dtype == bool
        np.testing.assert_array_equal(atoms.arrays["gap_extrapolating"], expected.extrapolating[mine])
        if atoms.pbc.all():
            np.testing.assert_allclose(atoms.info["gap_stress_std"], expected.stress_std[i], rtol=WRITTEN)
    assert [atoms.arrays["gap_extrapolating"].any() for atoms in written] == [False, False, False, True, True]
    assert "gap_stress_std" not in written[-1].info


def test_what_was_there_before_is_replaced(files: Files, run: Run, structures: list[Atoms], tmp_path: Path) -> None:
    """A file that was predicted once may be predicted again, with or without standard deviations."""
    once = predict(run, files.model, structures, tmp_path)
    for atoms in once:
        atoms.info["gap_std"], atoms.info["gap_energy_std"] = "epistemic", 99.0
        atoms.arrays["gap_forces_std"][:] = 99.0
    twice = predict(run, files.model, once, tmp_path)
    for atoms in twice:
        assert atoms.info["gap_std"] == "calibrated"
        assert atoms.info["gap_energy_std"] < 99.0
        assert (atoms.arrays["gap_forces_std"] < 99.0).all()
    write(tmp_path / "in.extxyz", once)
    assert run("predict", files.model, tmp_path / "in.extxyz", "--output", tmp_path / "plain.extxyz").exit_code == 0
    for atoms in read(tmp_path / "plain.extxyz", ":"):
        names = {"std", "energy_std", "stress_std", "forces_std", "extrapolating", "novelty", "local_energy_std"}
        assert not {f"gap_{name}" for name in names} & {*atoms.info, *atoms.arrays}


def fit(run: Run, files: Files, output: Path, *flags: str) -> gapkit.GAP:
    result = run("fit", files.train, "--config", files.config, "--output", output, "--quiet", *flags)
    assert result.exit_code == 0, result.output
    return gapkit.load(output)


def test_models_are_calibrated_unless_told_otherwise(files: Files) -> None:
    model = gapkit.load(files.model)
    assert model.calibration_ is not None
    assert (model.calibration_.source, model.calibration_.n_configurations) == ("leave-one-out", 12)


def test_no_calibrate(files: Files, run: Run, structures: list[Atoms], tmp_path: Path) -> None:
    model = fit(run, files, tmp_path / "cu.gapkit", "--no-calibrate")
    assert (model.calibration, model.calibration_, model.novelty_detector_) == (None, None, None)
    written = predict(run, tmp_path / "cu.gapkit", structures, tmp_path)
    expected = model.predict(structures, return_std=True, std="epistemic")
    for i, atoms in enumerate(written):
        assert atoms.info["gap_std"] == "epistemic"
        assert atoms.info["gap_energy_std"] == pytest.approx(expected.energy_std[i], rel=WRITTEN)
        assert not {"gap_extrapolating", "gap_novelty"} & set(atoms.arrays)  # there are no thresholds


def test_no_calibrate_in_the_configuration(files: Files, run: Run, tmp_path: Path) -> None:
    config = tmp_path / "fit.yaml"
    config.write_text(files.config.read_text() + "calibrate: false\n")
    changed = Files(files.folder, files.train, files.test, config, files.model)
    assert fit(run, changed, tmp_path / "none.gapkit").calibration_ is None
    assert fit(run, changed, tmp_path / "some.gapkit", "--calibrate").calibration_ is not None
    config.write_text(files.config.read_text() + "calibrate: often\n")
    result = run("fit", files.train, "--config", config, "--output", tmp_path / "bad.gapkit")
    assert result.exit_code != 0
    assert "calibrate" in result.output
    assert not (tmp_path / "bad.gapkit").exists()

"""`gapkit fit`: what it prints, writes and stores."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

import gapkit
from gapkit.exceptions import OutputError
from gapkit.potential import GAP, load
from gapkit.structures import to_batch
from gapkit.terms import ZBL, LennardJones
from tests.cli.conftest import Files, Run


def predicted(model: Path, files: Files) -> np.ndarray:
    return gapkit.load(model).predict(read(files.test, ":")).energy


def test_report_summary_and_test_errors_are_printed(files: Files, run: Run, tmp_path: Path) -> None:
    result = run("fit", files.train, "--test", files.test, "--config", files.config, "--output", tmp_path / "a.gapkit")
    assert result.exit_code == 0, result.output
    for part in ("12", "cold", "hot", "MAE / RMSE", "TwoBody", "SOAP"):
        assert part in result.stdout
    assert str(tmp_path / "a.gapkit") in result.stderr


def test_json_is_one_object_with_the_test_errors(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "a.gapkit"
    result = run("fit", files.train, "--test", files.test, "--config", files.config, "--output", output, "--json")
    report = json.loads(result.stdout)
    assert report["model"] == str(output)
    assert report["n_train"] == 12
    assert report["test"] == json.loads(run("evaluate", output, files.test, "--json").stdout)


def test_quiet_prints_nothing(files: Files, run: Run, tmp_path: Path) -> None:
    result = run("fit", files.train, "--config", files.config, "--output", tmp_path / "a.gapkit", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_flags_equal_the_file(files: Files, run: Run, tmp_path: Path) -> None:
    """The same options from either source give the same model, which stores them."""
    terms = re.sub("(?s).*(?=terms:)", "", files.config.read_text())
    (tmp_path / "terms.yaml").write_text("n_jobs: 1\n" + terms)
    (tmp_path / "all.yaml").write_text(
        "n_jobs: 1\n" + terms + "n_sparse: 15\nseed: 4\nenergy_sigma: 0.002\nforces_sigma: 0.05\ne0: {Cu: -0.1}"
    )
    flags = ("--n-sparse", 15, "--seed", 4, "--energy-sigma", 0.002, "--forces-sigma", 0.05, "--e0", "Cu=-0.1")
    common = ("fit", files.train, "--virial-sigma", 0.01, "--quiet")
    by_flags, by_file = tmp_path / "flags.gapkit", tmp_path / "file.gapkit"
    assert run(*common, *flags, "--config", tmp_path / "terms.yaml", "--output", by_flags).exit_code == 0
    assert run(*common, "--config", tmp_path / "all.yaml", "--output", by_file).exit_code == 0
    np.testing.assert_array_equal(predicted(by_flags, files), predicted(by_file, files))
    assert not np.allclose(predicted(by_flags, files), predicted(files.model, files), atol=1e-9, rtol=0)
    stored = gapkit.load(by_flags).metadata_["config"]
    assert stored == {**gapkit.load(by_file).metadata_["config"], "output": str(by_flags)}
    assert (stored["n_sparse"], stored["seed"], stored["e0"]) == (15, 4, {"Cu": -0.1})


def test_command_and_library_agree(files: Files) -> None:
    model = gapkit.GAP(
        terms=[gapkit.Term(gapkit.TwoBody(cutoff=4.0), n_sparse=8), gapkit.SOAP(cutoff=4.0, n_max=4, l_max=3)],
        n_sparse=20,
        noise=gapkit.Noise(energy=0.001, forces=0.05, virial=0.01),
        n_jobs=1,
    ).fit(read(files.train, ":"))
    np.testing.assert_allclose(predicted(files.model, files), model.predict(read(files.test, ":")).energy, rtol=1e-12)


def test_energy_terms_are_flags_and_stay_in_the_model(files: Files, run: Run, tmp_path: Path) -> None:
    output = tmp_path / "zbl.gapkit"
    result = run(
        "fit", files.train, "--config", files.config, "--output", output, "--energy-terms", "ZBL", "--truncation", 1e-6,
        "--memory-limit", 4, "--quiet",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    model = gapkit.load(output)
    assert list(model.energy_terms) == [ZBL()]
    assert (model.truncation, model.memory_limit) == (1e-6, 4.0)
    close = read(files.test, 0)
    close.positions[1] = close.positions[0] + [0.0, 0.0, 0.7]
    energies = [gapkit.load(path).predict(close).energy[0] for path in (output, files.model)]
    assert energies[0] - energies[1] > 100.0  # nuclei at 0.7 Å


def test_energy_terms_of_all_kinds(files: Files, run: Run, tmp_path: Path) -> None:
    """Pair potentials, an ASE calculator and another model from a configuration file; the file is enough to predict."""
    base, output, config = tmp_path / "base.gapkit", tmp_path / "delta.gapkit", tmp_path / "delta.yaml"
    base.write_bytes(files.model.read_bytes())
    config.write_text(
        files.config.read_text() + "energy_terms:\n  - {type: ZBL, inner: 0.8}\n"
        "  - {type: LennardJones, epsilon: {Cu: 0.01}, sigma: {Cu: 2.3}, cutoff: 5.0}\n"
        "  - {type: CalculatorTerm, calculator: ase.calculators.emt.EMT, parameters: {asap_cutoff: true}}\n"
        f"  - {{type: ModelTerm, model: {base}}}\n"
    )
    result = run("fit", files.train, "--config", config, "--output", output, "--quiet")
    assert result.exit_code == 0, result.output
    base.unlink()
    model = gapkit.load(output)
    assert model.energy_terms[:2] == (ZBL(inner=0.8), LennardJones({"Cu": 0.01}, {"Cu": 2.3}, 5.0))
    batch = to_batch(read(files.test, ":"), labels=False)
    known = model.state_.known.evaluate(batch, model.state_.neighbours(batch))
    assert np.isfinite(predicted(output, files)).all()
    assert np.abs(known.forces).max() > 0.1
    config.write_text(files.config.read_text() + "energy_terms: [{type: CalculatorTerm, calculator: os.system}]\n")
    result = run("fit", files.train, "--config", config, "--output", output, "--quiet")
    assert result.exit_code != 0
    assert "subclass of ASE's Calculator" in result.stderr


def test_noise_of_configuration_types_is_passed_on(files: Files, run: Run, tmp_path: Path) -> None:
    config = tmp_path / "fit.yaml"
    config.write_text(files.config.read_text() + "config_types: {hot: {energy_sigma: 0.1, forces_sigma: 1.0}}\n")
    assert run("fit", files.train, "--config", config, "--output", tmp_path / "a.gapkit", "--quiet").exit_code == 0
    assert not np.allclose(predicted(tmp_path / "a.gapkit", files), predicted(files.model, files), atol=1e-9, rtol=0)


def test_labels_under_other_keys(files: Files, run: Run, tmp_path: Path) -> None:
    """The keys are stored with the model, and `evaluate` uses them unless told otherwise."""
    for source in (files.train, files.test):
        frames = read(source, ":")
        for atoms in frames:
            atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
            atoms.info["REF_stress"] = atoms.get_stress()
            atoms.info["kind"] = atoms.info.pop("config_type")
            atoms.calc = None
        write(tmp_path / source.name, frames)
    keys = ("--energy-key", "REF_energy", "--forces-key", "REF_forces", "--stress-key", "REF_stress")
    output, test = tmp_path / "a.gapkit", tmp_path / files.test.name
    result = run(
        "fit", tmp_path / files.train.name, "--config", files.config, "--output", output, *keys,
        "--config-type-key", "kind", "--test", test, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    errors = json.loads(result.stdout)["test"]
    plain = json.loads(run("evaluate", files.model, files.test, "--json").stdout)
    assert errors["by_config_type"]["hot"] == pytest.approx(plain["by_config_type"]["hot"], rel=1e-6)
    assert errors == json.loads(run("evaluate", output, test, "--json").stdout)
    assert set(errors["by_config_type"]) == {"cold", "hot"}


def test_an_interrupted_fit_leaves_the_old_model(
    files: Files, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "a.gapkit"
    output.write_bytes(b"an older model")
    monkeypatch.setattr(GAP, "fit", interrupted)
    result = run("fit", files.train, "--config", files.config, "--output", output)
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.gapkit"]
    assert output.read_bytes() == b"an older model"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("kept", [False, True])
def test_an_interrupt_says_how_to_go_on(
    kept: bool, number: int, code: int, files: Files, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(1.0)

    before = signal.getsignal(signal.SIGTERM)
    words = ["fit", files.train, "--config", files.config, "--output", tmp_path / "a.gapkit"]
    words += ["--checkpoint", tmp_path / "a.checkpoint"] if kept else []
    with monkeypatch.context() as patch:
        patch.setattr("gapkit.potential.training.fit.SparseModel.solve", interrupted)
        result = run(*words)
    assert result.exit_code == code
    assert signal.getsignal(signal.SIGTERM) is before
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("Interrupted")
    assert "`solve`" in last
    assert ("was kept" if kept else "no checkpoint was kept") in last
    assert not (tmp_path / "a.gapkit").exists()
    if kept:
        again = run(*words)
        assert again.exit_code == 0
        assert "goes on from the checkpoint" in again.stderr
        assert "12 of 12 frames" in again.stderr


def test_what_the_data_hold_is_told_before_the_fit(files: Files, run: Run, tmp_path: Path) -> None:
    result = run("fit", files.train, "--config", files.config, "--output", tmp_path / "a.gapkit")
    assert result.stderr.index("12 frames, 48 atoms") < result.stderr.index("sparse points: about")


def test_an_interrupted_save_leaves_the_old_model(
    files: Files, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    output = tmp_path / "a.gapkit"
    output.write_bytes(b"an older model")
    monkeypatch.setattr("gapkit.io.atomic.os.replace", interrupted)
    assert run("fit", files.train, "--config", files.config, "--output", output).exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["a.gapkit"]
    assert output.read_bytes() == b"an older model"


def test_a_disk_that_fills_during_the_fit_loses_no_model(
    files: Files, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = GAP.save

    def saves(model: GAP, path: Path, **options: bool) -> None:
        if Path(path).name in full:
            raise OutputError(f"cannot write {path}: No space left on device")
        save(model, path, **options)

    monkeypatch.setattr(GAP, "save", saves)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    words = ("fit", files.train, "--config", files.config, "--output", tmp_path / "cu.gapkit", "--quiet")
    full = {"cu.gapkit", "model.gapkit"}
    assert "not lost" not in run(*words).stderr
    assert list(tmp_path.iterdir()) == []
    full = {"cu.gapkit"}
    done = run(*words)
    assert done.exit_code == 2
    (kept,) = tmp_path.glob("gapkit-*/model.gapkit")
    assert f"No space left on device; the model is not lost: it is in {kept}" in done.stderr
    assert load(kept).n_sparse_ == load(files.model).n_sparse_

"""The examples run from the data that ship, without a warning."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(script, *arguments, folder=None):
    return python(str(ROOT / "examples" / script), *arguments, folder=folder)


def python(*arguments, folder=None):
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_silicon():
    result = run("silicon.py")
    assert result.returncode == 0, result.stderr
    last = result.stdout.splitlines()[-1]
    assert last.strip().startswith("100 fs")
    assert abs(float(last.split("total energy")[1].split()[0])) < 1.0  # meV/atom


def test_custom_descriptor(tmp_path):
    result = run("custom_descriptor.py", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    words = result.stdout.split()
    error, predicted = float(words[2]), float(words[-2])
    assert error < 0.6  # eV/Å, whose mean component is 1.4
    assert 0.3 < predicted / error < 5.0
    assert (tmp_path / "shells.gapkit").exists()


def test_uncertainty(tmp_path):
    result = run("uncertainty.py", "--picture", str(tmp_path / "a.png"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    strained, dimer, modulus = (result.stdout.splitlines()[i] for i in (-4, -2, -1))
    assert strained.endswith("known")
    assert dimer.endswith("extrapolation")
    mean, std = float(modulus.split()[2]), float(modulus.split()[4])
    assert abs(mean - 89.0) < 4.0  # GPa; PBE gives 88 to 90
    assert 0.0 < std < 10.0


def test_curate_silicon(tmp_path):
    result = run("curate_silicon.py", "--output", str(tmp_path / "out"), "--n-sparse", "100")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert sum(": found by" in line for line in lines) >= 7
    card = json.loads((tmp_path / "out" / "silicon" / "card.json").read_text(encoding="utf-8"))
    places = [frame["place"] for frame in card["frames"]]
    assert len(places) == 110
    assert places.count("train") > 50
    assert places.count("test") > 15
    assert (tmp_path / "out" / "silicon" / "index.html").read_text(encoding="utf-8").count("<img") == 4
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"influence.png", "pareto.png"}
    dynamics = next(line for line in lines if line.startswith("dynamics"))
    assert float(dynamics.split()[-2]) < 0.25  # eV/Å


def test_selection(tmp_path):
    options = "--sizes 10,30 --seeds 1 --json a.json --picture a.png"
    result = run("benchmarks/selection.py", *options.split(), folder=tmp_path)
    assert result.returncode == 0, result.stderr
    points = json.loads((tmp_path / "a.json").read_text())["points"]
    assert {(point["selector"], point["n_frames"]) for point in points} >= {("random", 10), ("v_optimal", 30)}
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_trust(tmp_path):
    options = ["--quick", "--methods", "gapkit,epistemic,draws,bootstrap", "--json", "a.json", "--picture", "a.png"]
    result = run("benchmarks/trust.py", *options, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert len(rows) == 8
    assert {row["split"] for row in rows} == {"without high_pressure", "without surface"}
    assert all(row["forces_rmse"][0] < 0.3 for row in rows)  # eV/Å
    calibrated, draws = (next(row for row in rows[4:] if row["method"] == name) for name in ("gapkit", "16 draws"))
    assert calibrated["forces_coverage"][0] > 0.8
    assert calibrated["flagged"][0] < 0.2 < calibrated["flagged"][1]
    assert draws["flagged"] == [None, None]
    assert draws["missed_forces"] > calibrated["missed_forces"] >= calibrated["missed_forces_by_frame"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    # a second run has nothing to fit, a run of other settings does not mix its figures in
    again = run("benchmarks/trust.py", *options, folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert " s;" not in again.stdout
    assert again.stdout.splitlines()[-12:] == result.stdout.splitlines()[-12:]
    other = run("benchmarks/trust.py", *options, "--seed", "1", folder=tmp_path)
    assert other.returncode == 1
    assert "seed 0, now 1" in other.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no Ctrl-C for a child process")
def test_trust_keeps_what_was_measured(tmp_path):
    command = [
        sys.executable,
        "-u",
        str(ROOT / "examples" / "benchmarks" / "trust.py"),
        "--quick",
        "--methods",
        "gapkit",
    ]
    with subprocess.Popen(
        [*command, "--json", "a.json"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().startswith("[1/2] without high_pressure")  # the first split is done
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "stopped; the same command goes on from a.json" in rest
    assert rest.splitlines()[-1].startswith("| without high_pressure | gapkit |")
    assert [row["split"] for row in json.loads((tmp_path / "a.json").read_text())["rows"]] == ["without high_pressure"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--kinds", "metal"], "got metal"), (["--without-pair", "Si-O"], "got Si-O"),
        (["--methods", "gap"], "got gap"), (["--atoms", "0"], "at least 1, got 0"),
        (["--train", "no"], "no such file: no"), (["--json", "a/b"], "no folder to write a/b to"),
    ],
)  # fmt: skip
def test_trust_names_what_it_cannot_use(options, message, tmp_path):
    result = run("benchmarks/trust.py", *options, folder=tmp_path)
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_planted_damage(tmp_path):
    result = python(
        "-m", "tests.bench.planted_damage", "--seeds", "1", "--n-sparse", "100", "--json", "a.json", folder=tmp_path
    )
    assert result.returncode == 0, result.stderr
    (trial,) = json.loads((tmp_path / "a.json").read_text())
    assert {item["kind"]: item["found"] for item in trial["planted"]} == {"energy": True, "duplicate": True}
    assert len(trial["false_alarms"]) <= 4
    assert trial["undamaged"] == 84


def test_comparison(tmp_path):
    # the alloys are labelled by effective medium theory, which every supported ASE has
    options = "--quick --without quip,snap --only fit,species --json cost.json --picture cost.png"
    result = run("benchmarks/compare.py", *options.split(), folder=tmp_path)
    assert result.returncode == 0, result.stderr
    sections = json.loads((tmp_path / "cost.json").read_text())["sections"]
    assert sections["fit"]["rows"][0]["forces_mae"] < 0.12  # eV/Å
    assert [row["species"] for row in sections["species"]["rows"]] == [1, 2]
    assert all(row["E+F+stress"] > 0.0 for row in sections["species"]["rows"])
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("option", "value"), [("--only", "fits"), ("--without", "gap"), ("--e0", "Cu=x"), ("--train", "no")]
)
def test_comparison_names_what_it_cannot_use(option, value):
    result = run("benchmarks/compare.py", option, value)
    assert result.returncode == 2
    assert value in result.stderr

"""The parts of the benchmark of trust; `test_examples.py` runs the whole."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit import read_frames
from gapkit.interop import quip
from gapkit.structures import to_batch

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "benchmarks"))

import trust
from comparison.process import ProcessError
from trusting.ace import LinearACE, write_labels
from trusting.figures import figures
from trusting.methods import Bootstrap, Calibrated, Draws, Epistemic, Judgement, Method, Training
from trusting.quip import LocalVariance
from trusting.record import Record, RecordError
from trusting.splits import DataSet, SplitError, sample


def crystal(a: float, kind: str | None = None, *, symbols: str = "Cu2", seed: int = 0) -> Atoms:
    """Two atoms of a cubic cell."""
    atoms = Atoms(symbols, [[0, 0, 0], [a / 2, a / 2, a / 2]], cell=[a] * 3, pbc=True)
    atoms.positions += np.random.default_rng(seed).normal(0.0, 0.02, (2, 3))
    if kind is not None:
        atoms.info["config_type"] = kind
    return atoms


def free_atom(symbol: str = "Cu") -> Atoms:
    return Atoms(symbol, cell=[20.0] * 3, pbc=True, info={"config_type": "free"})


def data_set(train: list[Atoms], test: list[Atoms], clusters: int = 2) -> DataSet:
    return DataSet.of(train, test, clusters, 0)


@pytest.fixture
def of_kinds() -> DataSet:
    train = [crystal(3.0, "a", seed=k) for k in range(22)] + [crystal(3.2, "b", seed=k) for k in range(3)]
    return data_set([free_atom(), *train], [crystal(3.0, "a"), crystal(3.2, "b"), free_atom()])


def test_a_kind_is_left_out_whole(of_kinds):
    assert of_kinds.kinds == ["a", "b"]  # the free atom is of none
    split = of_kinds.without_kind("b")
    assert [atoms.info["config_type"] for atoms in split.train] == ["free"] + ["a"] * 22
    assert [atoms.info["config_type"] for atoms in split.known] == ["a"]
    assert [atoms.info["config_type"] for atoms in split.unknown] == ["b"] * 4  # of both sets


def test_too_few_are_left(of_kinds):
    with pytest.raises(SplitError, match="at least 20 frames to fit, found 4"):
        of_kinds.without_kind("a")
    with pytest.raises(SplitError, match="are a, b; got c"):
        of_kinds.without_kind("c")


def test_frames_of_one_type_are_clustered():
    train = [crystal(3.0 if k % 2 else 3.5, "all", seed=k) for k in range(50)]
    data = data_set(train, [crystal(3.0), crystal(3.5)])
    assert data.kinds == ["cluster 1", "cluster 2"]
    split = data.without_kind(data.kinds_test[0])
    assert {atoms.cell[0, 0] for atoms in split.train} == {3.5}
    assert {atoms.cell[0, 0] for atoms in split.unknown} == {3.0}
    assert [atoms.cell[0, 0] for atoms in split.known] == [3.5]


def test_a_pair_is_left_out_and_its_species_stay():
    train = [crystal(3.0, s, symbols=s, seed=k) for s in ("Cu2", "Ag2", "CuAg") for k in range(12)]
    data = data_set(train, train[::6])
    split = data.without_pair("Ag-Cu")
    assert {str(atoms.symbols) for atoms in split.train + split.known} == {"Cu2", "Ag2"}
    assert {str(atoms.symbols) for atoms in split.unknown} == {"CuAg"}
    assert len(split.unknown) == 14
    for pair in ("Cu", "Cu-Cu", "Cu-Au", "Cu-Ag-Au"):
        with pytest.raises(SplitError, match=f"two of the species Ag, Cu, such as Mo-W; got {pair}"):
            data.without_pair(pair)
    with pytest.raises(SplitError, match="without Ag2: Ag would be in no training frame"):
        data_set([a for a in train if str(a.symbols) != "CuAg"] * 2, train[::6]).without_kind("Ag2")


def test_one_volume_is_that_of_the_composition():
    sizes = {"Cu2": 3.0, "Au2": 3.3, "CuAu": ((3.0**3 + 3.3**3) / 2) ** (1 / 3)}
    train = [crystal(a * s, symbols=n, seed=k) for n, a in sizes.items() for k in range(9) for s in (1.0, 1.005)]
    out = [crystal(a * 1.02, symbols=n) for n, a in sizes.items()]  # 6 % more volume
    molecule = Atoms("Cu2", [[0, 0, 0], [2.2, 0, 0]])
    split = data_set([free_atom(), *train, *out, molecule], train[:4]).one_volume()
    assert len(split.train) == 1 + len(train)
    assert split.unknown == [*out, molecule]


def test_frames_to_judge_on_are_drawn(of_kinds):
    split = of_kinds.without_kind("b")
    drawn = sample(split, 4, 0)
    assert (len(drawn.train), len(drawn.known), len(drawn.unknown)) == (23, 1, 2)
    assert sample(split, 1, 0).unknown  # one at least
    assert sample(split, 8, 0).unknown == split.unknown
    assert {sample(split, 2, seed).unknown[0].positions.tobytes() for seed in range(9)} != {
        split.unknown[0].positions.tobytes()
    }


# ---------------------------------------------------------------------- figures


def labelled_batch():
    """Four frames of two atoms with labels of zero; the last two are out of kind."""
    frames = []
    for _ in range(4):
        atoms = bulk("Cu", cubic=True)[:2]
        atoms.info["energy"], atoms.arrays["forces"] = 0.0, np.zeros((2, 3))
        frames.append(atoms)
    return to_batch(frames), np.array([False, False, True, True])


def judgement(**changes) -> Judgement:
    forces_std = np.ones((8, 3))
    said = Judgement(
        energy=np.array([1.6, 1.7, 3.1, 3.1]), energy_std=np.ones(4),
        forces=np.array([[0.1] * 3] * 4 + [[4.0, 0.0, 0.0], [0.0, 4.0, 4.0], [2.0, 0.0, 0.0], [0.0] * 3]),
        forces_std=forces_std, atom_std=np.array([1.0, 1, 1, 1, 2, 3, 4, 1]),
        sign=np.array([0.1, 0.2, 0.3, 0.4, 0.2, 2.0, 0.1, 0.35]), flagged=np.arange(8) == 5,
    )  # fmt: skip
    return replace(said, **changes)


def test_figures():
    found = figures(judgement(), *labelled_batch())
    assert found.energy_coverage == [0.5, 0.0]
    assert found.forces_coverage == pytest.approx([1.0, 1 - 4 / 12])
    assert found.flagged == [0.0, 0.5]
    assert found.missed_energies == 0.5  # the first frame out of kind is flagged
    assert found.missed_forces == pytest.approx(1 / 12)  # two of the three are of the flagged atom
    assert found.missed_forces_by_frame == 0.0
    assert found.forces_rmse == pytest.approx([0.1, np.sqrt((3 * 16 + 4) / 12)])
    assert found.energy_rmse == pytest.approx([np.sqrt((1.6**2 + 1.7**2) / 2) / 2, 3.1 / 2])
    # largest signs of frames: 0.2, 0.4 in distribution, 2.0, 0.35 out of kind
    assert found.auroc_kind == 0.75
    # atoms 4, 5 and 6 err by more than 3 x 0.1
    assert found.auroc_std == 1.0
    assert found.auroc_sign == pytest.approx((1.5 + 5 + 0.5) / 15)


def test_figures_of_a_method_without_flags_and_force_stds():
    found = figures(judgement(sign=None, flagged=None, forces_std=None), *labelled_batch())
    assert found.flagged == [None, None]
    assert found.missed_energies == 1.0
    assert found.forces_coverage == [None, None]
    assert found.missed_forces is None
    assert found.auroc_sign is None
    assert found.auroc_kind == 1.0  # by the largest std of the atoms: 1, 1 and 3, 4


def test_what_has_no_label_does_not_count():
    batch, is_unknown = labelled_batch()
    frames = [Atoms("Cu2", batch.positions[:2], cell=[20.0] * 3) for _ in range(4)]
    frames[0].info["energy"] = 0.0
    found = figures(judgement(), to_batch(frames), is_unknown)
    assert found.energy_coverage == [1.0, None]
    assert found.forces_coverage == [None, None]
    assert found.forces_rmse == [None, None]
    assert found.missed_energies is None
    assert found.auroc_std is None


def test_errors_of_rounding_are_within_a_std_of_zero():
    zero = judgement(forces=np.full((8, 3), 1e-14), forces_std=np.zeros((8, 3)), atom_std=np.zeros(8))
    found = figures(zero, *labelled_batch())
    assert found.forces_coverage == [1.0, 1.0]
    assert found.missed_forces == 0.0


def test_infinite_signs_are_the_largest():
    sign = np.array([0.1, 0.2, 0.3, 0.4, np.inf, 2.0, 0.1, np.inf])
    assert figures(judgement(sign=sign), *labelled_batch()).auroc_kind == 1.0


# ---------------------------------------------------------------------- record


def test_a_record_goes_on_where_it_was(tmp_path):
    file, found = tmp_path / "a.json", figures(judgement(), *labelled_batch())
    record = Record.of({"seed": 0}, file)
    record.add("without a", "gapkit", found, seconds=1.0)
    again = Record.of({"seed": 0}, file)
    assert again.has("without a", "gapkit")
    assert not again.has("without a", "draws")
    assert not again.has("without b", "gapkit")
    again.add("without b", "gapkit", found)
    assert [row["split"] for row in json.loads(file.read_text())["rows"]] == ["without a", "without b"]
    assert again.table().splitlines()[2:] == [
        f"| {name} | gapkit | 100.0 % / 66.7 % | 50.0 % / 0.0 % | 0.0 % / 50.0 % | 50.0 % | 8.3 % / 0.0 % | 0.75 | "
        "1.00 / 0.47 | 0.1 / 2.08 | 825 / 1.55e+03 |"
        for name in ("without a", "without b", "mean of 2")
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(RecordError, match="seed 0, now 1: remove it"):
        Record.of({"seed": 1}, file)


@pytest.mark.parametrize("text", ["", "[]", "{}", "no", '{"settings": 1, "rows": []}'])
def test_what_is_no_record_is_refused(tmp_path, text):
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(RecordError, match=r"a\.json must be a record"):
        Record.of({}, file)
    assert file.read_text() == text


# ---------------------------------------------------------------------- methods


@pytest.fixture(scope="module")
def training(tmp_path_factory) -> Training:
    frames = read_frames(Path(__file__).parents[1] / "data" / "silicon" / "train.extxyz")
    return Training(frames[::2], tmp_path_factory.mktemp("training"), n_sparse=30, n_jobs=1)


@pytest.mark.parametrize("method", [Calibrated, Epistemic, Draws, Bootstrap])
def test_methods_of_gapkit(method, training):
    frames = training.frames[5:8]
    said = method().fit(training)(frames)
    n_atoms = sum(map(len, frames))
    np.testing.assert_allclose(said.energy, training.model.predict(frames).energy, atol=3.0)
    assert said.energy_std.shape == (3,)
    assert said.forces_std.shape == said.forces.shape == (n_atoms, 3)
    np.testing.assert_allclose(said.atom_std**2, (said.forces_std**2).sum(axis=1) / 3)
    assert (said.energy_std > 0.0).all()
    assert (said.flagged is None) == (said.sign is None) == (method in (Draws, Bootstrap))


def test_signs_are_those_of_atoms_and_of_their_frames(training):
    frames = [bulk("Si", a=4.2), training.frames[0], bulk("Si")]
    said, signs = Calibrated().fit(training)(frames), training.model.extrapolation(frames)
    assert said.flagged[:2].all()
    np.testing.assert_array_equal(said.flagged, signs.forces)
    largest = np.max([signs.novelty, signs.distance, signs.average[signs.frame_of_atom]], axis=0)
    known = signs.pair >= 1.0
    assert known.any()
    assert not known.all()
    np.testing.assert_allclose(said.sign[known], largest[known])
    assert (said.sign >= largest).all()


class Fails(Method):
    """As a program that ends with an error."""

    name = "fails"

    def fit(self, training):
        raise ProcessError("gap ended with 1:\nno memory")


def test_what_fails_is_left_out(capsys, of_kinds):
    frames = [*of_kinds.train, *of_kinds.test]
    for atoms in frames:
        atoms.info["energy"], atoms.arrays["forces"] = 0.0, np.zeros((len(atoms), 3))
    split, record = of_kinds.without_kind("b"), Record({})

    class Zeros(Method):
        name = "zeros"

        def fit(self, training):
            assert training.frames == split.train
            return lambda frames: Judgement(
                np.zeros(len(frames)), np.zeros((2 * len(frames), 3)), None, None, np.zeros(2 * len(frames))
            )

    trust.measure(split, [Fails(), Zeros()], Namespace(n_sparse=None, n_jobs=1, seed=0), record)
    assert capsys.readouterr().out == " fails failed and is left out: gap ended with 1: no memory; zeros 0 s;"
    (row,) = record.rows
    assert (row["method"], row["frames"]) == ("zeros", {"fitted": 23, "known": 1, "unknown": 4})
    assert row["forces_rmse"] == [0.0, 0.0]
    assert row["energy_coverage"] == [None, None]
    trust.measure(split, [Zeros()], Namespace(n_sparse=None, n_jobs=1, seed=0), record)
    assert capsys.readouterr().out == " measured before"


@pytest.mark.oracle
def test_local_variance_of_quip(training):
    method = LocalVariance()
    if (reason := method.missing()) is not None:
        pytest.skip(reason)
    frames = training.frames[5:8]
    said = method.fit(training)(frames)
    model = quip.load(training.folder / "gap.xml")
    variance = quip.gap_variance(model, frames)
    np.testing.assert_allclose(said.atom_std**2, variance, atol=1e-6)
    np.testing.assert_allclose(said.energy_std**2, np.add.reduceat(variance, to_batch(frames).offsets[:-1]), atol=1e-5)
    np.testing.assert_allclose(said.energy, model.predict(frames).energy, atol=1e-6)
    assert said.forces_std is None
    assert model.n_sparse_ == training.model.n_sparse_


def test_labels_for_ace(tmp_path, training):
    frames = [training.frames[0], crystal(3.0)]
    keys = write_labels(tmp_path / "a.extxyz", frames)
    assert keys == ["--energy-key", "ace_energy", "--force-key", "ace_forces", "--virial-key", "ace_virial"]
    written = read_frames(tmp_path / "a.extxyz")
    assert written[1].info == {}
    batch = to_batch(frames)
    assert written[0].info["ace_energy"] == pytest.approx(batch.labels.energy[0], abs=1e-6)
    np.testing.assert_allclose(written[0].info["ace_virial"], batch.labels.virial[0], atol=1e-6)
    np.testing.assert_allclose(written[0].arrays["ace_forces"], batch.labels.forces[: len(frames[0])], atol=1e-6)
    assert write_labels(tmp_path / "b.extxyz", [crystal(3.0)]) == []


@pytest.mark.parametrize(("method", "package"), [(LocalVariance, "quippy-ase"), (LinearACE, "ace-jax")])
def test_what_is_not_installed_is_said(method, package, monkeypatch):
    monkeypatch.setattr(sys.modules[method.__module__], "installed", lambda name: False)
    assert f"left out (pip install {package})" in method().missing()

"""Fits on a cluster are those of one process, whatever happens to the workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from gapkit import SOAP, LabelKeys, Noise, Term, TwoBody
from gapkit.exceptions import DataError, InputError
from gapkit.kernels import DotProduct
from gapkit.potential.training.estimate import Resources
from gapkit.structures import describe, to_batch
from gapkit.terms import ZBL, CalculatorTerm, EnergyTerm, TermValues
from gapkit.validation import evaluate as evaluate_here
from tests.potential.models import make_frames, small_model

distributed = pytest.importorskip("distributed", reason="needs dask.distributed: pip install gapkit[dask]")

from gapkit.interop import dask as cluster_of  # noqa: E402
from gapkit.interop.dask import DaskExecutor, evaluate, files, predict, source  # noqa: E402
from gapkit.interop.dask.triangles import atoms_per_chunk  # noqa: E402

SAME = 1e-8
ARRAYS = ("energy", "forces", "stress", "local_energies", "energy_std", "forces_std", "stress_std", "novelty")


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(2, processes=True, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def without(atoms, *kinds):
    new = atoms.copy()
    new.calc = SinglePointCalculator(new, **{k: v for k, v in atoms.calc.results.items() if k not in kinds})
    return new


@pytest.fixture(scope="module")
def frames():
    """Copper, then alloys: most chunks lack a species, some a kind of label, one frame has none at all."""
    frames = [*make_frames(16, seed=1), *make_frames(8, n_gold=3, seed=2)]
    gaps = {0: ["energy"], 3: ["forces"], 9: ["energy", "forces", "stress"], 20: ["forces"]}
    gaps |= {4: ["stress"], 5: ["stress"]}  # no stress in the whole chunk, the left one of a pair
    return [without(atoms, *gaps.get(i, [])) for i, atoms in enumerate(frames)]


@pytest.fixture(scope="module")
def test_frames():
    return make_frames(6, n_gold=3, seed=7)


@pytest.fixture(scope="module")
def plain(frames):
    return small_model(calibration="leave-one-out").fit(frames)


def assert_same(p, q, names=ARRAYS, atol=SAME, rtol=SAME):
    for name in names:
        np.testing.assert_allclose(getattr(p, name), getattr(q, name), rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("atoms", [8, 24, None])  # twelve chunks, four, one
def test_fit_on_a_cluster_is_the_plain_fit(atoms, client, frames, plain, test_frames):
    model = small_model(calibration="leave-one-out")
    model.fit(frames, client=client if atoms is None else DaskExecutor(client, atoms_per_chunk=atoms))
    assert_same(model.predict(test_frames, return_std=True), plain.predict(test_frames, return_std=True))
    assert model.metadata_["training_set"] == plain.metadata_["training_set"]
    assert model.log_marginal_likelihood_ == pytest.approx(plain.log_marginal_likelihood_, rel=1e-9)
    if atoms == 8:  # far more chunks than the plain fit has: not the same bits, and so not the same computation
        assert any(
            (model.state_.factors[kind].R != plain.state_.factors[kind].R).any() for kind in model.state_.factors
        )


def test_noise_and_scales_by_evidence(client, frames, test_frames):
    terms = [Term(TwoBody(4.0), n_sparse=6), Term(SOAP(4.0, 4, 3, 0.5), DotProduct(zeta=3), n_sparse=20)]
    given = {"terms": terms, "noise": None}
    here = small_model(**given).fit(frames)
    there = small_model(**given).fit(frames, client=DaskExecutor(client, atoms_per_chunk=16))
    assert_same(there.predict(test_frames), here.predict(test_frames), ("energy", "forces", "stress"), atol=1e-6)


def test_rounds_do_not_change_the_model(client, frames, plain, test_frames, monkeypatch):
    monkeypatch.setattr(source, "CHUNKS_PER_ROUND", 3)
    model = small_model(calibration="leave-one-out").fit(frames, client=DaskExecutor(client, atoms_per_chunk=8))
    assert_same(model.predict(test_frames, return_std=True), plain.predict(test_frames, return_std=True))


def test_the_result_does_not_depend_on_the_number_of_workers(client, frames):
    """The same bits with one worker as with two."""
    two = small_model().fit(frames, client=DaskExecutor(client, atoms_per_chunk=8))
    with (
        distributed.LocalCluster(1, processes=False, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as alone,
    ):
        one = small_model().fit(frames, client=DaskExecutor(alone, atoms_per_chunk=8))
    np.testing.assert_array_equal(one.model_.weights, two.model_.weights)


class Deadly(EnergyTerm):
    """An energy term of nothing, at whose second use on a worker that process is killed, once."""

    reach = 2.0

    def __init__(self, path: Path) -> None:
        self.path, self.here = str(path), os.getpid()

    def evaluate(self, batch, neighbours, *, centres=None, upstream=None, inputs=None):
        if os.getpid() != self.here and batch.numbers[0] == 29 and batch.n_frames == 2 and not Path(self.path).exists():
            Path(self.path).write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return TermValues(np.zeros(batch.n_atoms), np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3)))

    def get_params(self, deep=True):
        return {"path": self.path}


def test_a_killed_worker_costs_only_its_chunk(client, frames, plain, test_frames, tmp_path):
    path = tmp_path / "killed"
    before = set(client.run(os.getpid).values())
    model = small_model(energy_terms=[Deadly(path)]).fit(frames, client=DaskExecutor(client, atoms_per_chunk=8))
    assert int(path.read_text()) in before
    assert_same(model.predict(test_frames), plain.predict(test_frames), ("energy", "forces", "stress"))


@pytest.fixture(scope="module")
def paths(frames, tmp_path_factory):
    """Three files of unlike length, one of copper alone."""
    folder = tmp_path_factory.mktemp("files")
    names = [folder / f"{i}.extxyz" for i in range(3)]
    for name, part in zip(names, (frames[:5], frames[5:17], frames[17:]), strict=True):
        write(name, part)
    return names


@pytest.fixture(scope="module")
def from_files(paths):
    """The same frames as they come back from the files, whose numbers are rounded."""
    from gapkit import read_frames

    return [atoms for path in paths for atoms in read_frames(path)]


def test_files_instead_of_frames(client, paths, from_files, test_frames):
    here = small_model(calibration="leave-one-out").fit(from_files)
    there = small_model(calibration="leave-one-out").fit(paths, client=DaskExecutor(client, atoms_per_chunk=8))
    assert_same(there.predict(test_frames, return_std=True), here.predict(test_frames, return_std=True))
    assert str(there.report_) == str(here.report_)
    assert there.metadata_["training_set"] == here.metadata_["training_set"]


def test_files_that_this_process_does_not_hold(client, paths, from_files, test_frames, monkeypatch):
    """Sparse points come from a part of the frames; all rows count, and so do all energies of atoms."""
    monkeypatch.setattr(files, "ATOMS_HERE", 40)
    monkeypatch.setattr(files, "AT_LEAST", 1)
    sources = []
    original = files.open_files
    monkeypatch.setattr(files, "open_files", lambda *a: sources.append(original(*a)) or sources[-1])
    model = small_model(calibration="leave-one-out")
    model.fit([str(path) for path in paths], client=DaskExecutor(client, atoms_per_chunk=12))
    assert 40 <= sources[0].batch.n_atoms <= 52 < model.metadata_["training_set"]["n_atoms"] == 96
    labels = to_batch(from_files).labels
    assert model.state_.factors["energy"].n_rows == labels.has_energy.sum()
    assert model.state_.factors["forces"].n_rows == 3 * labels.has_forces.sum()
    # everything but the sparse points is that of the whole: the same points fitted here give the same model
    factors = {}
    model.state_.row_maker.fold(to_batch(from_files), factors, Resources())
    here = model.with_state(model.state_.solved(factors))
    assert_same(model.predict(test_frames), here.predict(test_frames), ("energy", "forces", "stress"))
    assert model.reference_energies_ == pytest.approx(small_model().fit(from_files).reference_energies_, abs=1e-9)
    report = describe(to_batch(from_files))
    for name in ("n_frames", "n_atoms", "species", "config_types", "unlabelled", "max_force", "nearest_distance"):
        assert getattr(model.report_, name) == getattr(report, name)


def test_energy_terms_of_files_elsewhere(client, paths, from_files, test_frames, monkeypatch):
    """Workers evaluate the terms; reference energies are found from what these leave, over all files."""
    monkeypatch.setattr(files, "ATOMS_HERE", 40)
    terms = [
        ZBL(2.8, 1.5),
        CalculatorTerm("ase.calculators.lj.LennardJones", {"sigma": 2.3, "epsilon": 0.1, "rc": 4.0}),
    ]
    model = small_model(energy_terms=terms).fit([str(path) for path in paths], client=client)
    here = small_model(energy_terms=terms).fit(from_files)
    assert model.reference_energies_ == pytest.approx(here.reference_energies_, abs=1e-9)
    assert abs(here.reference_energies_["Cu"] - small_model().fit(from_files).reference_energies_["Cu"]) > 0.1
    factors = {}
    model.state_.row_maker.fold(to_batch(from_files), factors, Resources())
    again = model.with_state(model.state_.solved(factors))
    assert_same(model.predict(test_frames), again.predict(test_frames), ("energy", "forces"))


def test_chunks_of_files_hold_every_frame_once(client, paths, frames, monkeypatch):
    monkeypatch.setattr(files, "ATOMS_HERE", 40)
    source = files.open_files(DaskExecutor(client), [str(path) for path in paths], LabelKeys())
    names = {id(file): i for i, file in enumerate(source._files)}
    for n_atoms in (1, 8, 12, 30, 1000):
        chunks = source.chunks(n_atoms)
        pieces = [piece for chunk in chunks for piece in zip(*chunk, strict=True)]
        seen = [(names[id(file)], frame) for file, span in pieces for frame in span]
        assert seen == [(i, frame) for i, n in enumerate((5, 12, 7)) for frame in range(n)]
        assert max(sum(map(len, spans)) for _, spans in chunks) <= max(n_atoms // 4, 1)


def test_predict_and_evaluate(client, plain, frames, test_frames, paths, from_files, monkeypatch):
    monkeypatch.setattr("gapkit.interop.dask.results.ATOMS_PER_TASK", 8)
    p, q = predict(plain, test_frames, client, True, interval=0.5), plain.predict(test_frames, True, interval=0.5)
    assert_same(p, q, ("energy", "forces", "stress", "virial", "local_energies", "unseen", "local_data_variance"))
    # error bars of forces differ as much between batches in one process: variances are differences of large numbers
    assert_same(p, q, ("energy_std", "forces_std", "stress_std", "forces_interval"), rtol=1e-5)
    np.testing.assert_array_equal(p.offsets, q.offsets)
    np.testing.assert_array_equal(p.extrapolating, q.extrapolating)
    p, q = (there(test_frames) for there in (
        lambda f: predict(plain, f, client, True, std="epistemic"), lambda f: plain.predict(f, True, std="epistemic"),
    ))  # fmt: skip
    np.testing.assert_allclose(p.variances.forces.data, q.variances.forces.data, rtol=1e-5, atol=1e-9)
    p, q = predict(plain, paths, client), plain.predict(from_files)
    assert_same(p, q, ("energy", "forces", "stress"))
    assert p.energy_std is None
    for data, same in ((frames, frames), (paths, from_files)):
        here, there = evaluate_here(plain, same).to_dict(), evaluate(plain, data, client).to_dict()
        assert there.pop("by_config_type")["default"] == pytest.approx(here.pop("by_config_type")["default"], rel=1e-9)
        assert there == pytest.approx(here, rel=1e-9)
    with pytest.raises(DataError, match="none of the 6 frames"):
        evaluate(plain, [without(atoms, "energy", "forces", "stress") for atoms in test_frames], client)


def test_a_fit_on_a_cluster_resumes(client, frames, tmp_path, monkeypatch):
    """Interrupted after the second of four rounds; the others give the bits of an uninterrupted fit."""
    from gapkit.potential.training import checkpoint

    path = tmp_path / "fit.checkpoint"
    monkeypatch.setattr(source, "CHUNKS_PER_ROUND", 3)
    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    whole = small_model().fit(frames, client=DaskExecutor(client, atoms_per_chunk=8))
    saves = []
    original = checkpoint.Checkpoint.save

    def save(self, *arguments, **options):
        original(self, *arguments, **options)
        saves.append(arguments[0][0].position)
        if len(saves) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(checkpoint.Checkpoint, "save", save)
    with pytest.raises(KeyboardInterrupt):
        small_model().fit(frames, client=DaskExecutor(client, atoms_per_chunk=8), checkpoint=path)
    with pytest.raises(InputError, match="other data"):  # shares of another kind
        small_model().fit(frames, checkpoint=path)
    done = len(saves)
    model = small_model().fit(frames, client=DaskExecutor(client, atoms_per_chunk=8), checkpoint=path)
    assert saves[done:] == list(range(saves[done - 1] + 1, 5))
    np.testing.assert_array_equal(model.model_.weights, whole.model_.weights)
    model.save(tmp_path / "cu.gapkit")
    assert not path.exists()


def test_errors_come_back(client, paths, frames, tmp_path):
    with pytest.raises(InputError, match=r"nothing\.extxyz"):
        small_model().fit([*paths, tmp_path / "nothing.extxyz"], client=client)
    with pytest.raises(InputError, match=r"`frames\[0\]` must be ase.Atoms"):
        small_model().fit([paths[0], frames[0]], client=client)
    with pytest.raises(InputError, match="REF_energy"):
        small_model(label_keys=LabelKeys(energy="REF_energy")).fit(paths, client=client)
    with pytest.raises(InputError, match="`client`"):
        small_model().fit(frames, client="tcp://host:1")
    bare = tmp_path / "bare.extxyz"
    write(bare, [atoms.copy() for atoms in frames[:2]])
    with pytest.raises(DataError, match="no label at all"):
        small_model().fit([bare], client=client)
    bad = without(frames[1])
    bad.calc.results["forces"][1, 2] = np.nan
    write(tmp_path / "bad.extxyz", [frames[2], bad])
    with pytest.raises(DataError, match=r"bad\.extxyz.*frame 1"):
        small_model().fit([tmp_path / "bad.extxyz"], client=client)


def test_no_scheduler_is_an_error_that_says_how_to_start_one():
    begin = time.monotonic()
    with pytest.raises(InputError, match="dask scheduler"):
        cluster_of.connect("tcp://127.0.0.1:1", timeout=0.5)
    assert time.monotonic() - begin < 20


def test_chunks_grow_with_the_model():
    assert atoms_per_chunk(1000, 100) == 100
    assert atoms_per_chunk(10**6, 1000) == 2000
    assert atoms_per_chunk(32_000, 1000) == 1000


def test_noise_per_config_type_reaches_the_workers(client, frames, test_frames):
    changed = [without(atoms) for atoms in frames]
    for atoms in changed[::2]:
        atoms.info["config_type"] = "loose"
    noise = Noise(energy=2e-3, forces=0.05, virial=0.05, per_config_type={"loose": Noise(forces=0.5)})
    here = small_model(noise=noise).fit(changed)
    there = small_model(noise=noise).fit(changed, client=DaskExecutor(client, atoms_per_chunk=8))
    assert_same(there.predict(test_frames), here.predict(test_frames), ("energy", "forces", "stress"))


def test_noise_by_config_type(client):
    frames = make_frames(40, seed=3)
    for i, atoms in enumerate(frames):
        atoms.info["config_type"] = "even" if i % 2 else "odd"
        scatter = np.random.default_rng(i).normal(scale=0.3 if i % 2 else 0.01, size=(len(atoms), 3))
        atoms.calc.results["forces"] = atoms.calc.results["forces"] + scatter
    noise = Noise(by_config_type=True)
    here = small_model(noise=noise).fit(frames)
    there = small_model(noise=noise).fit(frames, client=DaskExecutor(client, atoms_per_chunk=16))
    assert set(there.evidence_.config_types) == {"even", "odd"}
    for name, own in here.noise_.per_config_type.items():
        assert there.noise_.per_config_type[name].as_dict() == pytest.approx(own.as_dict(), rel=1e-5)
    new = make_frames(6, seed=7)
    assert_same(there.predict(new), here.predict(new), ("energy", "forces", "stress"), atol=1e-5)


def test_on_the_command_line(client, paths, tmp_path):
    """`--scheduler` and `--checkpoint` give the model of the plain command."""
    from typer.testing import CliRunner

    from gapkit import load
    from gapkit.cli.app import app

    options = ("--n-sparse", "15", "--cutoff", "4.0", "--quiet", "--no-calibrate", "--forces-sigma", "0.05")
    models = []
    for more in ((), ("--scheduler", client.scheduler.address, "--checkpoint", str(tmp_path / "fit.checkpoint"))):
        output = tmp_path / f"{len(models)}.gapkit"
        result = CliRunner().invoke(app, ["fit", str(paths[1]), "--output", str(output), *options, *more])
        assert result.exit_code == 0, result.output
        models.append(load(output))
    frames = make_frames(2, seed=5)
    p, q = (model.predict(frames) for model in models)
    assert_same(p, q, ("energy", "forces", "stress"), atol=1e-6)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.gapkit", "1.gapkit"]
    result = CliRunner().invoke(app, ["fit", str(paths[1]), "--output", str(output), *options, "--scheduler", "x"])
    assert result.exit_code == 2
    assert "scheduler" in result.output

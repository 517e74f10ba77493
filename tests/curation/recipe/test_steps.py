"""Every step does to frames what the recipe says, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read as read_file

from gapkit import GAP
from gapkit.curation.recipe import Curated, curate
from gapkit.curation.weights import hull_distances
from gapkit.exceptions import ConfigError, DataError, InputError
from gapkit.report.page import curation_page
from gapkit.terms import ZBL
from tests.curation.recipe.data import copper, free_atom, label, make, moved, places, plain, put, read, turned

BARE = "duplicates: false\nsplit: false\nleakage: false\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    put(folder, "a.extxyz", copper(20))
    put(folder, "hot.extxyz", copper(8, seed=5, size=0.2, name="hot"))
    return folder


def close(atoms: Atoms) -> Atoms:
    """Two atoms nearly on top of each other, labels as before."""
    new = plain(atoms)
    new.positions[1] = new.positions[0] + [0.3, 0.0, 0.0]
    return new


def by_step(curated: Curated) -> dict[str, int]:
    return {step: out for step, _, out, _ in curated.ledger.steps}


def entry(curated: Curated, name: str):
    (found,) = [e for e in curated.ledger.entries if e.id == name]
    return found


# --- check ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["drop", "flag", "ignore"])
def test_a_finding_leaves_a_frame_out_or_is_written_down(folder: Path, action: str) -> None:
    put(folder, "close.extxyz", [*copper(9), close(copper(1, seed=7)[0])])
    curated = make(folder, f"sources: [{{file: close.extxyz}}]\ncheck: {{close_atoms: {action}}}\n" + BARE)
    bad = entry(curated, "close:9")
    assert (bad.place == "left out") == (action == "drop")
    assert any(flag.startswith("close_atoms: ") for flag in bad.flags) == (action == "flag")
    assert by_step(curated)["check"] == (action == "drop")
    if action == "drop":
        assert bad.step == "check"
        assert bad.reason.startswith("close_atoms: atoms closer than 0.5 Å")
    assert sum(e.place == "train" for e in curated.ledger.entries) == 10 - (action == "drop")


def test_a_finding_can_stop(folder: Path) -> None:
    put(folder, "close.extxyz", [*copper(9), close(copper(1, seed=7)[0])])
    with pytest.raises(DataError) as caught:
        make(folder, "sources: [{file: close.extxyz}]\ncheck: {close_atoms: stop}\n" + BARE)
    message = str(caught.value)
    assert "close.extxyz, frame 9 (counted from 0): close_atoms: atoms closer" in message
    assert "`check: {close_atoms: drop}`" in message
    assert "with `flag` to keep them" in message


def contradictory(folder: Path) -> None:
    frames = [plain(atoms) for atoms in copper(20)]
    for k in range(3, 14):
        frames[k].info["dft_energy"] = 1.0
    put(folder, "two.extxyz", frames)


def test_labels_that_contradict_each_other_stop(folder: Path) -> None:
    contradictory(folder)
    with pytest.raises(DataError) as caught:
        make(folder, 'sources: [{file: a.extxyz}, {file: two.extxyz, frames: "1:"}]\n' + BARE)
    message = str(caught.value)
    assert "two.extxyz, frames 3, 4, 5, 6, 7, 8, 9, 10, ... (counted from 0): conflicting_labels: " in message
    assert "`energy` and `dft_energy`; name one with `energy_key`" in message
    assert "`flag`" not in message  # such frames have no label that could be kept


@pytest.mark.parametrize("action", ["drop", "flag", "ignore"])
def test_what_cannot_be_read_does_not_stay(folder: Path, action: str) -> None:
    frames = [plain(atoms) for atoms in copper(12)]
    frames[2].info["dft_energy"] = 1.0
    frames[4].info["energy"] = np.nan
    frames[6].positions[1, 1] = np.nan
    frames[8].set_cell(np.zeros((3, 3)))
    frames[8].pbc = True
    put(folder, "bad.extxyz", frames)
    recipe = (
        f'sources: [{{file: bad.extxyz, frames: "1:"}}]\ncheck: {{conflicting_labels: {action}, unusable: {action}}}\n'
    )
    curated = make(folder, recipe + BARE)
    out = {e.id: e.reason for e in curated.ledger.of("left out")}
    assert list(out) == ["bad:2", "bad:4", "bad:6", "bad:8"]
    assert out["bad:2"].startswith("conflicting_labels: has different values")
    assert out["bad:4"].startswith("unusable: `energy` must be finite")
    assert out["bad:6"].startswith("unusable: `positions` must be finite")
    assert out["bad:8"].startswith("unusable: `cell` must have independent")
    if action == "drop":
        curated.write(folder / "unreadable", curation_page(curated))


def test_unlabelled_frames_are_left_out(folder: Path) -> None:
    frames = copper(10)
    frames[4].calc = None
    put(folder, "some.extxyz", frames)
    curated = make(folder, "sources: [{file: some.extxyz}]\n" + BARE)
    assert entry(curated, "some:4").reason == "unlabelled: no energy, forces or stress"
    assert places(curated) == {f"some:{k}": "check" if k == 4 else "train" for k in range(10)}


def test_nothing_left_is_an_error(folder: Path) -> None:
    frames = copper(5)
    for atoms in frames:
        atoms.calc = None
    put(folder, "bare.extxyz", frames)
    with pytest.raises(DataError) as caught:
        make(folder, "sources: [{file: bare.extxyz}]")
    assert (
        "no training frame is left after the step 'check'; left out are 5 by 'check', such as bare:0 (unlabelled: no"
        in (str(caught.value))
    )
    with pytest.raises(DataError, match="no training frame is left after the step 'check'"):
        make(folder, "sources: [{file: bare.extxyz}, {file: a.extxyz, role: test}]\noutliers: true\n")


# --- free atoms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["stop", "drop", "flag", "ignore"])
def test_free_atoms_are_trained_on_whatever_is_done_about_lost_atoms(folder: Path, action: str) -> None:
    put(folder, "free.extxyz", [*copper(10), free_atom()])
    text = f"sources: [{{file: free.extxyz}}]\ncheck: {{isolated_atoms: {action}}}\nsplit: {{test_fraction: 0.5}}\n"
    curated = make(folder, text + "select: {n: 2}\n")
    assert entry(curated, "free:10").place == "train"
    assert entry(curated, "free:10").reason == "a free atom: it sets the zero of energy"
    assert len(curated.train) == 3


@pytest.mark.parametrize("drop", ["train", "test"])
@pytest.mark.parametrize("duplicates", ["true", "false"])
def test_a_free_atom_of_the_test_set_takes_none_from_the_training_set(folder: Path, drop: str, duplicates: str) -> None:
    put(folder, "train.extxyz", [*copper(10), free_atom()])
    put(folder, "test.extxyz", [free_atom(), *copper(4, seed=3)])
    text = f"""\
        sources: [{{file: test.extxyz, role: test}}, {{file: train.extxyz, role: train}}]
        leakage: {{drop: {drop}}}
        duplicates: {duplicates}
        """
    assert places(make(folder, text))["train:10"] == "train"


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_copies_go_and_the_first_stays(folder: Path) -> None:
    frames = copper(12)
    put(folder, "more.extxyz", [turned(frames[3]), frames[5], *copper(3, seed=9)])
    put(folder, "first.extxyz", frames)
    curated = make(folder, "sources: [{file: first.extxyz}, {file: more.extxyz}]\nsplit: false\n")
    out = {e.id: (e.step, e.reason) for e in curated.ledger.of("left out")}
    assert set(out) == {"more:0", "more:1"}
    assert {step for step, _ in out.values()} == {"duplicates"}
    assert out["more:0"][1].startswith("the structure of first:3 (symmetry, distance ")
    assert out["more:0"][1].endswith(" standard deviations)")
    assert out["more:1"][1].startswith("the structure of first:5 (exact, distance ")
    assert out["more:1"][1].endswith(" Å)")
    assert by_step(curated)["duplicates"] == 2
    other = make(folder, "sources: [{file: more.extxyz}, {file: first.extxyz}]\nsplit: false\n")
    assert {e.id for e in other.ledger.of("left out")} == {"first:3", "first:5"}


def test_only_exact_copies_or_none_at_all(folder: Path) -> None:
    frames = copper(12)
    put(folder, "copies.extxyz", [*frames, turned(frames[3]), frames[5]])
    out = {}
    for name, options in (("exact", "{symmetry: false}"), ("none", "false")):
        curated = make(folder, f"sources: [{{file: copies.extxyz}}]\nduplicates: {options}\nsplit: false\n")
        out[name] = [e.id for e in curated.ledger.of("left out")]
    assert out == {"exact": ["copies:13"], "none": []}


@pytest.mark.parametrize(("drop", "gone"), [("train", {"old:2", "old:6"}), ("test", {"exam:0", "exam:1"})])
def test_copies_and_twins_across_train_and_test(folder: Path, drop: str, gone: set[str]) -> None:
    frames = copper(16)
    put(folder, "old.extxyz", frames)
    put(folder, "exam.extxyz", [turned(frames[2]), moved(frames[6]), *copper(4, seed=3)])
    text = f"""\
        sources: [{{file: old.extxyz, role: train}}, {{file: exam.extxyz, role: test}}]
        leakage: {{drop: {drop}}}
        """
    curated = make(folder, text)
    assert {e.id for e in curated.ledger.of("left out")} == gone
    assert by_step(curated) == {"read": 0, "check": 0, "duplicates": 1, "split": 0, "leakage": 1}
    (twin,) = [e for e in curated.ledger.of("left out") if e.step == "leakage"]
    other = {"train": ("test", "exam:1"), "test": ("train", "old:6")}[drop]
    assert twin.reason.startswith("near-twin of {} frame {} (distance ".format(*other))
    assert entry(curated, "old:0").reason == "its source is a train set"
    assert entry(curated, "exam:5").place == "test"


def test_one_test_frame_with_many_twins(folder: Path) -> None:
    frames = copper(16)
    put(folder, "old.extxyz", [*frames, *(turned(frames[6], seed) for seed in range(12))])
    put(folder, "exam.extxyz", [moved(frames[6]), *copper(4, seed=3)])
    text = """\
        sources: [{file: old.extxyz, role: train}, {file: exam.extxyz, role: test}]
        duplicates: false
        leakage: {drop: train}
        """
    curated = make(folder, text)
    assert {e.id for e in curated.ledger.of("left out")} == {"old:6", *(f"old:{k}" for k in range(16, 28))}
    assert curated.ledger.steps[-1][1:3] == ("13 near-twins between training and test frames", 13)


# --- split ------------------------------------------------------------------------------------------------------------


def test_a_part_of_every_type_becomes_test_frames(folder: Path) -> None:
    curated = make(folder, "sources: [{file: a.extxyz}, {file: hot.extxyz}]\nsplit: {test_fraction: 0.25}\n")
    assert curated.ledger.counts() == {
        "default": {"train": 15, "test": 5, "left out": 0}, "hot": {"train": 6, "test": 2, "left out": 0},
    }  # fmt: skip
    assert {e.reason for e in curated.ledger.of("test")} == {"by config_type"}
    again = make(folder, "sources: [{file: a.extxyz}, {file: hot.extxyz}]\nsplit: {test_fraction: 0.25}\nseed: 1\n")
    assert places(again) != places(curated)
    assert [len(again.train), len(again.test)] == [21, 7]


def test_trajectories_are_kept_whole(folder: Path) -> None:
    text = "sources: [{file: a.extxyz}, {file: hot.extxyz}]\nsplit: {by: trajectory, test_fraction: 0.3}\n"
    found = places(make(folder, text))
    assert {found[f"a:{k}"] for k in range(20)} == {"train"}
    assert {found[f"hot:{k}"] for k in range(8)} == {"test"}


def test_frames_that_cannot_be_divided(folder: Path) -> None:
    with pytest.raises(DataError, match=r"`split` cannot divide .*`split: false` .*two groups"):
        make(folder, 'sources: [{file: a.extxyz, frames: ":1"}]\n')


@pytest.mark.parametrize("rest", ["split: false\n", ""])
def test_no_test_frames_are_taken_from_the_pool(folder: Path, rest: str) -> None:
    role = "pool" if rest else "test"
    found = places(make(folder, f"sources: [{{file: a.extxyz}}, {{file: hot.extxyz, role: {role}}}]\n" + rest))
    assert {found[f"a:{k}"] for k in range(20)} == {"train"}
    assert {found[f"hot:{k}"] for k in range(8)} == {"train" if rest else "test"}


# --- select -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ("{n: 7}", 7),
        ("{fraction: 0.25}", 7),
        ("{n: 7, quotas: {hot: 5}}", {"default": 2, "hot": 5}),
        ("{n: 7, quotas: proportional}", {"default": 5, "hot": 2}),
        ("{n: 8, quotas: sqrt}", {"default": 5, "hot": 3}),
    ],
)
def test_a_number_of_training_frames(folder: Path, options: str, counts: int | dict[str, int]) -> None:
    text = f"sources: [{{file: a.extxyz}}, {{file: hot.extxyz}}]\nsplit: false\nselect: {options}\n"
    curated = make(folder, text)
    found = {name: c["train"] for name, c in curated.ledger.counts().items()}
    assert (sum(found.values()) if isinstance(counts, int) else found) == counts
    n = len(curated.train)
    out = curated.ledger.of("left out")
    assert {e.reason for e in out} == {f"not among the {n} of 28 chosen by v_optimal"}
    order = sorted(e.reason for e in curated.ledger.of("train"))
    assert order == [f"no test frames are taken from the pool; number {k} of {n} by v_optimal"
                     for k in range(1, n + 1)]  # fmt: skip


def test_methods_choose_differently_and_test_frames_are_not_touched(folder: Path) -> None:
    chosen = {}
    for method in ("farthest_point", "cur", "random"):
        text = f"sources: [{{file: a.extxyz}}, {{file: hot.extxyz, role: test}}]\nselect: {{n: 6, method: {method}}}\n"
        curated = make(folder, text)
        chosen[method] = frozenset(e.id for e in curated.ledger.of("train"))
        assert len(curated.test) == 8
    assert len(set(chosen.values())) == 3


def test_more_frames_than_there_are(folder: Path) -> None:
    with pytest.raises(
        InputError, match="`n` of `select` must be at most the 20 training frames that are left, got 30"
    ):
        make(folder, "sources: [{file: a.extxyz}]\nsplit: false\nselect: {n: 30}\n")


def test_quotas_of_types_of_which_no_frame_is_left(folder: Path) -> None:
    text = """\
        sources: [{file: a.extxyz}, {file: hot.extxyz, role: test}]
        select: {n: 6, quotas: {hot: 3}}
        """
    assert len(make(folder, text).train) == 6


@pytest.mark.parametrize(
    "options", ["select: {n: 6, quotas: {warm: 3}}", "weights: {config_types: {warm: {forces_sigma: 1}}}"]
)
def test_types_that_no_frame_has_are_typing_errors(folder: Path, options: str) -> None:
    with pytest.raises(InputError, match=r"configuration types of the frames \(default, hot\), got warm"):
        make(folder, f"sources: [{{file: a.extxyz}}, {{file: hot.extxyz}}]\n{options}\n")


def test_the_table_of_steps_counts_every_frame_once(folder: Path) -> None:
    """Leaks are looked for again after the selection, for the thresholds are those of the training set."""
    frames = copper(16)
    put(folder, "old.extxyz", [*frames, turned(frames[1])])
    put(folder, "exam.extxyz", [moved(frames[6]), moved(frames[9]), *copper(4, seed=3)])
    text = """\
        sources: [{file: old.extxyz, role: train}, {file: exam.extxyz, role: test}]
        leakage: {drop: train}
        select: {n: 8}
        weights: {scheme: hull}
        """
    curated = make(folder, text)
    steps = curated.ledger.steps
    assert [name for name, *_ in steps] == [
        "read", "check", "duplicates", "split", "leakage", "select", "leakage", "weights",
    ]  # fmt: skip
    assert [out for _, _, out, _ in steps] == [0, 0, 1, 0, 2, 6, 0, 0]
    assert [left for *_, left in steps] == [23, 23, 22, 22, 20, 14, 14, 14]
    assert str(curated).splitlines()[1].split()[:3] == ["read", "0", "23"]


# --- weights ----------------------------------------------------------------------------------------------------------


def written(folder: Path, weights: str) -> tuple[list[Atoms], list[Atoms]]:
    """Training frames from the file, and test frames."""
    text = f"sources: [{{file: a.extxyz}}, {{file: hot.extxyz}}]\nsplit: {{test_fraction: 0.2}}\nweights: {weights}\n"
    make(folder, text).write(folder / "weighted")
    return read_file(folder / "weighted/train.extxyz", ":"), read_file(folder / "weighted/test.extxyz", ":")


def assert_sigmas(frames: list[Atoms], factors, sigmas: tuple[float, float, float] = (1e-3, 0.1, 0.05)) -> None:
    energy, forces, virial = sigmas
    for atoms, factor in zip(frames, np.broadcast_to(factors, len(frames)), strict=True):
        assert atoms.info["energy_sigma"] == pytest.approx(2 * factor * energy, rel=1e-6)
        assert atoms.info["virial_sigma"] == pytest.approx(2 * factor * virial, rel=1e-6)
        np.testing.assert_allclose(atoms.arrays["force_sigma"], factor * forces, rtol=1e-6)


def test_sigmas_by_type(folder: Path) -> None:
    train, test = written(folder, "{config_types: {hot: {forces_sigma: 0.3}}, energy_sigma: 2e-3}")
    hot = [atoms.info.get("config_type") == "hot" for atoms in train]
    assert sum(hot) == 6
    assert_sigmas([a for a, is_hot in zip(train, hot, strict=True) if not is_hot], 1.0, (2e-3, 0.1, 0.05))
    assert_sigmas([a for a, is_hot in zip(train, hot, strict=True) if is_hot], 1.0, (2e-3, 0.3, 0.05))
    assert all("energy_sigma" not in atoms.info and "force_sigma" not in atoms.arrays for atoms in test)


def test_sigmas_by_distance_from_the_hull(folder: Path) -> None:
    train, _ = written(folder, "{scheme: hull, scale: 0.05, forces_sigma: 0.2}")
    factors = 1.0 + hull_distances(train) / 0.05
    assert factors.max() > 1.5
    assert_sigmas(train, factors, (1e-3, 0.2, 0.05))


def test_sigmas_by_windows_of_energy(folder: Path) -> None:
    train, _ = written(folder, "{scheme: energy_window, windows: {0.05: 1, 0.1: 3}, beyond: 7}")
    above = hull_distances(train)
    factors = np.select([above <= 0.05, above <= 0.1], [1.0, 3.0], 7.0)
    assert set(factors) == {1.0, 3.0, 7.0}
    assert_sigmas(train, factors)


def test_sigmas_of_types_of_which_no_frame_is_left(folder: Path) -> None:
    text = """\
        sources: [{file: a.extxyz}, {file: hot.extxyz, role: test}]
        weights: {config_types: {hot: {forces_sigma: 0.3}}}
        """
    assert len(make(folder, text).train) == 20


# --- outliers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pruned(folder: Path) -> dict[str, Curated]:
    """With a wrong energy, once with and once without weights."""
    frames = copper(20)
    frames[7] = label(frames[7])
    frames[7].calc.results["energy"] += 0.6
    put(folder, "wrong.extxyz", frames)
    text = "sources: [{file: wrong.extxyz}]\noutliers: {n_sparse: 20, cutoff: 4WHOLE}\n"
    labels, whole = text.replace("WHOLE", ""), text.replace("WHOLE", ", whole_frames: true")
    weights = "weights: {scheme: hull, scale: 0.02}\n"
    return {"labels": make(folder, labels), "plain": make(folder, whole), "weighted": make(folder, whole + weights)}


def test_frames_that_no_model_follows_are_left_out(pruned: dict[str, Curated]) -> None:
    for curated in (pruned["plain"], pruned["weighted"]):
        (out,) = curated.ledger.of("left out")
        assert (out.id, out.step) == ("wrong:7", "outliers")
        assert out.reason.startswith("robust z beyond 6: ")
        assert "energy " in out.reason
        assert curated.pruned is not None
        assert curated.pruned.after["energy_rmse"] < curated.pruned.before["energy_rmse"]
        assert curated.modelled == tuple(f"wrong:{k}" for k in range(20) if k != 7)


def test_or_only_the_label_is(pruned: dict[str, Curated]) -> None:
    curated = pruned["labels"]
    assert not curated.ledger.of("left out")
    assert len(curated.modelled) == 20
    entry = curated.ledger.entries[7]
    assert entry.flags[-1].startswith("without energy: robust z beyond 6: energy ")
    (atoms,) = (a for a in [*curated.train, *curated.test] if a.info["frame_id"] == "wrong:7")
    assert set(atoms.calc.results) == {"forces", "stress"}
    assert "single labels of 1" in next(what for name, what, *_ in curated.ledger.steps if name == "outliers")


def test_influence_is_that_of_the_model_and_not_of_the_weights(pruned: dict[str, Curated]) -> None:
    reports = [pruned[name].influence for name in ("plain", "weighted")]
    assert reports[0] is not None
    assert reports[1] is not None
    np.testing.assert_allclose([f.cook for f in reports[0].frames], [f.cook for f in reports[1].frames], rtol=1e-9)


def test_a_missing_crystal_is_found_before_the_fit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gapkit.curation.recipe.steps.GAP", lambda *_, **__: pytest.fail("fitted first"))
    with pytest.raises(InputError, match=r"nowhere\.xyz"):
        make(folder, "sources: [{file: a.extxyz}]\noutliers: {crystal: nowhere.xyz}\n")


def test_the_model_of_outliers_may_have_energy_terms(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {}

    def made(**parameters: object) -> None:
        given.update(parameters)
        raise KeyboardInterrupt

    monkeypatch.setattr("gapkit.curation.recipe.steps.GAP", made)
    text = "sources: [{file: a.extxyz}]\noutliers: {energy_terms: [{type: ZBL, inner: 0.5}]}\n"
    with pytest.raises(KeyboardInterrupt):
        make(folder, text)
    assert given["energy_terms"] == [ZBL(inner=0.5)]
    with pytest.raises(ConfigError, match=r"`energy_terms` in .*line 2 must be names"):
        make(folder, text.replace("type: ZBL, ", ""))


def test_the_check_of_a_crystal_comes_from_the_caller(folder: Path, tmp_path: Path) -> None:
    put(tmp_path, "cu.extxyz", copper(1, size=0.0))
    put(tmp_path, "a.extxyz", copper(20))
    outliers = "outliers: {crystal: cu.extxyz, max_rounds: 1, n_sparse: 30}\n"
    recipe = read(tmp_path, "sources: [{file: a.extxyz}]\nsplit: false\n" + outliers)
    with pytest.raises(InputError, match=r"`crystal` of the recipe needs a check.*crystal_check"):
        curate(recipe, tmp_path)
    seen = []

    def crystal_check(atoms: Atoms) -> Callable[[GAP], dict[str, float]]:
        seen.append(len(atoms))
        return lambda model: {"n_sparse": float(model.n_sparse_)}

    made = curate(recipe, tmp_path, crystal_check=crystal_check)
    assert seen == [4]
    assert made.pruned is not None
    assert made.pruned.before["n_sparse"] == made.pruned.after["n_sparse"] > 0

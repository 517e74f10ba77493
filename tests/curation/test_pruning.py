"""Planted outliers: their labels are left out, or all of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk

from gapkit.curation.influence import ALL
from gapkit.curation.pruning import _wrong, prune
from gapkit.curation.weights import copy_frame
from gapkit.exceptions import InputError
from gapkit.structures import LabelKeys, to_batch
from gapkit.validation.crystal import crystal_check
from tests.potential.models import make_frames, small_model

BAD = [3, 10, 20, 33]


def damaged(n=40, size=0.1):
    frames = make_frames(n, seed=3, size=size)
    forces = frames[10].calc.results["forces"].copy()
    forces[2] += [0.0, 0.0, 3.0]
    frames[3] = copy_frame(frames[3], energy=frames[3].calc.results["energy"] + 0.8)
    frames[10] = copy_frame(frames[10], forces=forces)
    frames[20] = copy_frame(frames[20], stress=frames[20].calc.results["stress"] + 0.03)
    swollen = frames[33].copy()
    swollen.set_cell(1.03 * swollen.cell.array, scale_atoms=True)
    frames[33] = copy_frame(swollen, **frames[33].calc.results)
    return frames


@pytest.fixture(scope="module")
def pruned():
    frames = damaged()
    return frames, prune(small_model().fit(frames), frames, check=crystal_check(bulk("Cu", cubic=True)))


def rmse(model, frames):
    return np.sqrt(np.mean((model.predict(frames).forces - to_batch(frames).labels.forces) ** 2))


@pytest.fixture(scope="module")
def whole():
    frames = damaged()
    return frames, prune(small_model().fit(frames), frames, whole_frames=True)


def held(frames):
    """Kinds of labels of each frame."""
    labels = to_batch(frames).labels
    forces = labels.has_forces.reshape(len(frames), 4).all(axis=1)
    return np.transpose([labels.has_energy, forces, labels.has_virial])


def test_planted_outliers_are_left_out_and_no_others(pruned):
    frames, found = pruned
    assert {m.frame: m.kinds for m in found.masked} == {3: ("energy",), 10: ("forces",), 20: ("virial",)}
    assert [d.frame for d in found.dropped] == [33]  # the wrong cell
    kept = np.delete(np.arange(len(frames)), 33)
    assert found.kept.tolist() == kept.tolist()
    by = {out.frame: out.scores for out in (*found.masked, *found.dropped)}
    assert max(by[3], key=by[3].get) in ("energy", "all")
    assert max(by[20], key=by[20].get) in ("virial", "all", "sign")
    worst = [max(m.scores.values()) for m in found.masked]
    assert worst == sorted(worst, reverse=True)
    assert found.after["energy_rmse"] < 0.5 * found.before["energy_rmse"]
    assert found.after["forces_rmse"] < found.before["forces_rmse"]


def test_whole_frames(whole):
    frames, found = whole
    assert sorted(d.frame for d in found.dropped) == BAD
    assert found.masked == ()
    assert found.kept.tolist() == [i for i in range(len(frames)) if i not in BAD]
    assert [id(atoms) for atoms in found.frames] == [id(frames[i]) for i in found.kept]
    assert found.model.metadata_["training_set"]["n_frames"] == 36
    assert found.after["energy_rmse"] < 0.5 * found.before["energy_rmse"]


def test_what_the_model_was_fitted_to(pruned):
    frames, found = pruned
    assert held(frames).all()  # the originals are as they were
    assert np.argwhere(~held(found.frames)).tolist() == [[3, 0], [10, 1], [20, 2]]  # 33 comes after
    again = small_model().fit(found.frames)
    np.testing.assert_array_equal(again.model_.weights, found.model.model_.weights)
    assert all(atoms is frames[i] for i, atoms in zip(found.kept, found.frames, strict=True) if i not in (3, 10, 20))
    np.testing.assert_array_equal(found.frames[3].calc.results["forces"], frames[3].calc.results["forces"])


def test_labels_are_less_lost_than_frames(pruned, whole):
    test = make_frames(20, seed=9)
    perfect = damaged()
    perfect[3], perfect[10], perfect[20] = (
        copy_frame(perfect[i], **{name: None}) for i, name in ((3, "energy"), (10, "forces"), (20, "stress"))
    )
    del perfect[33]
    assert rmse(pruned[1].model, test) == pytest.approx(rmse(small_model().fit(perfect), test), rel=1e-9)


def test_report_names_frames_and_labels(pruned):
    _, found = pruned
    text = str(found)
    assert "dropped 1 of 40 frames, and labels of 3 others" in text
    assert "frame 3 (default) without energy: energy" in text
    assert "frame 33 (default): " in text
    plain = found.to_dict()
    assert plain["kept"] == found.kept.tolist()
    assert json.loads(json.dumps(plain)) == plain
    assert {m["frame"]: m["kinds"] for m in plain["masked"]} == {3: ["energy"], 10: ["forces"], 20: ["virial"]}
    assert plain["dropped"] == [{"frame": 33, "config_type": "default", "scores": found.dropped[0].scores}]


def test_table_is_of_the_models_and_the_labels_kept(pruned):
    frames, found = pruned
    np.testing.assert_allclose(
        found.after["forces_rmse"], np.sqrt(np.mean(found.model.leave_one_out(found.frames).forces.errors ** 2))
    )
    start = small_model().fit(frames).leave_one_out(frames)
    for name, out in (("energy", [3, 33]), ("forces", [10, 33]), ("stress", [20, 33])):
        residuals = getattr(start, name)
        errors = residuals.errors[~np.isin(residuals.frames, out)]
        assert found.before[f"{name}_rmse"] == pytest.approx(np.sqrt(np.mean(errors**2)))
    expected = crystal_check(bulk("Cu", cubic=True))(found.model)
    assert {k: found.after[k] for k in expected} == expected
    assert abs(found.after["volume"] - 11.57) < abs(found.before["volume"] - 11.57) + 0.02  # EMT's own


def scores_of(**changes):
    """Scores of one frame as `outlier_scores` has them."""
    z = {"energy": 0.0, "forces": 0.0, "virial": 0.0, "atom": 0.0, "sign": 0.0} | changes
    z["all"] = ALL * np.sqrt(sum(max(z[kind], 0.0) ** 2 for kind in ("energy", "forces", "virial")))
    return {name: np.array([value]) for name, value in z.items()}


@pytest.mark.parametrize(
    ("scores", "wrong"),
    [
        ({"energy": 5.9, "atom": 5.9, "sign": 5.9}, ""),
        ({"energy": 50.0}, "energy"),  # although "all" is 43
        ({"energy": 50.0, "forces": 1.5, "virial": 2.0}, "energy"),
        ({"energy": 50.0, "virial": 3.0}, "energy forces virial"),  # 2.6, and 2.4 is suspect
        ({"energy": 50.0, "forces": -9.0, "virial": -9.0}, "energy"),
        ({"forces": 7.0}, "forces"),
        ({"atom": 9.0, "forces": 3.0}, "forces"),
        ({"virial": 20.0, "sign": 30.0}, "virial"),
        ({"sign": 7.0}, "virial"),
        ({"sign": 7.0, "virial": 5.0}, "virial"),  # the same label
        ({"atom": 7.0, "forces": 5.0}, "forces"),
        ({"sign": 11.0, "virial": 4.0, "energy": 3.0, "forces": 3.0}, "virial"),  # the other sign explains it
        ({"virial": 11.0, "energy": 3.0, "forces": 3.0}, "energy forces virial"),
        ({"sign": 11.0, "energy": 5.0, "forces": 5.0}, "energy forces virial"),
        ({"sign": 7.0, "energy": 7.0}, "energy forces virial"),
        ({"atom": 7.0, "virial": 7.0}, "energy forces virial"),
        ({"energy": 5.0, "virial": 5.0}, "forces energy virial"),  # 6.06 together, none alone
    ],
)
def test_what_is_wrong(scores, wrong):
    found = _wrong(scores_of(**scores), 6.0, False)
    assert {kind for kind, own in found.items() if own[0]} == set(wrong.split())
    found = _wrong(scores_of(**scores), 6.0, True)
    assert {bool(own[0]) for own in found.values()} == {bool(wrong)}


@pytest.mark.parametrize(("off", "spared"), [(0.01, True), (0.2, False)])  # eV
def test_rare_structures_are_spared_unless_far_beyond(off, spared):
    frames = make_frames(40, seed=3, size=0.04)
    frames[3] = copy_frame(frames[3], energy=frames[3].calc.results["energy"] + off)
    plain = prune(small_model().fit(frames), frames)
    assert 3 in {m.frame for m in (*plain.masked, *plain.dropped)}
    frames[3].info["config_type"] = "rare"
    found = prune(small_model().fit(frames), frames)
    assert (3 in {m.frame for m in (*found.masked, *found.dropped)}) is not spared
    assert (3 in {s.frame for s in found.spared}) is spared
    assert ("others stand out" in str(found)) is bool(found.spared)
    assert len(json.loads(json.dumps(found.to_dict()))["spared"]) == len(found.spared)
    for k, atoms in enumerate(frames):  # where all types are rare they are compared as if none were
        atoms.info["config_type"] = str(k)
    found = prune(small_model().fit(frames), frames)
    assert 3 in {m.frame for m in (*found.masked, *found.dropped)}


def test_frames_without_a_label_left_are_dropped_and_few_are_left_out():
    frames = damaged()
    frames[3] = copy_frame(frames[3], forces=None, stress=None)
    model = small_model().fit(frames)
    found = prune(model, frames, max_rounds=2)
    assert {d.frame for d in found.dropped} == {3, 33}
    assert {m.frame for m in found.masked} == {10, 20}
    few = prune(model, frames, max_fraction=0.05, max_rounds=2)  # two of forty
    assert len(few.dropped) + len(few.masked) == 2
    first = prune(model, frames, max_rounds=1)
    assert {out.frame for out in (*few.dropped, *few.masked)} < {out.frame for out in (*first.dropped, *first.masked)}


def test_labels_are_left_out_under_their_own_names_and_wherever_they_are():
    keys = LabelKeys(energy="E", virial="W", forces="F")
    frames = damaged()
    for i, atoms in enumerate(frames):
        results = atoms.calc.results
        atoms.info["E"] = results["energy"]
        atoms.set_array("F", results["forces"])
        if i % 2 == 0:  # one of the two, or both
            stress = results["stress"]
            atoms.info["W"] = -atoms.get_volume() * stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    found = prune(small_model(label_keys=keys).fit(frames), frames)
    assert {m.frame: m.kinds for m in found.masked} == {3: ("energy",), 10: ("forces",), 20: ("virial",)}
    assert "E" not in found.frames[3].info
    assert "F" not in found.frames[10].arrays
    assert "W" not in found.frames[20].info
    assert "stress" not in found.frames[20].calc.results
    assert "E" in frames[3].info
    assert "F" in frames[10].arrays
    assert "W" in frames[20].info
    assert "stress" in frames[20].calc.results
    missing = to_batch(found.frames, keys=keys).labels
    assert np.flatnonzero(~missing.has_energy).tolist() == [3]
    assert np.flatnonzero(~missing.has_virial).tolist() == [20]


def test_clean_data_keep_all():  # larger displacements than most stand out too: the model cannot follow them
    frames = make_frames(40, seed=3, size=0.04)
    model = small_model().fit(frames)
    found = prune(model, frames)
    assert found.dropped == found.masked == ()
    assert all(a is b for a, b in zip(found.frames, frames, strict=True))
    assert found.model is model
    assert found.before == found.after


def test_refusals(pruned):
    frames, found = pruned
    with pytest.raises(InputError, match="threshold"):
        prune(found.model, frames, threshold=-1.0)
    with pytest.raises(InputError, match="same order"):
        prune(found.model, frames)

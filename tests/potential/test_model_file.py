"""Saving and loading: equal to the bit, and every kind of damage is told from a good file."""

from __future__ import annotations

import json
import pickle
import zipfile

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from sklearn.base import clone

from gapkit import SOAP, Term, TwoBody, load
from gapkit.exceptions import InputError, ModelFileError, NotFittedModelError, OutputError
from gapkit.io.registry import classes
from gapkit.potential import ZBL
from tests.descriptors.cases import CASES
from tests.potential.models import make_frames, small_model, small_terms
from tests.potential.test_gap import assert_identical


@pytest.fixture
def saved(fitted, tmp_path_factory):
    # Not `tmp_path`: the names of tests are in it, and messages that name the path would match themselves.
    path = tmp_path_factory.mktemp("m") / "model.gapkit"
    fitted.save(path)
    return path


def rewrite(path, change, name="header.json"):
    """The same archive with one member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for item, content in members.items():
            if content is not None:
                archive.writestr(item, content)


def test_round_trip_to_the_bit(fitted, saved, new_frames):
    loaded = load(saved)
    assert_identical(fitted.predict(new_frames, return_std=True), loaded.predict(new_frames, return_std=True))
    assert loaded.score(new_frames) == fitted.score(new_frames)
    for name in ("species_", "scales_", "noise_", "n_sparse_", "reference_energies_", "log_marginal_likelihood_"):
        assert getattr(loaded, name) == getattr(fitted, name)
    assert loaded.summary() == fitted.summary()
    assert repr(loaded.get_params()) == repr(fitted.get_params())


@pytest.mark.parametrize("name", list(CASES))
def test_every_descriptor_is_saved(name, copper, tmp_path):
    model = small_model(terms=[Term(clone(CASES[name]), n_sparse=5)]).fit(copper[:4])
    model.save(tmp_path / "m.gapkit")
    loaded = load(tmp_path / "m.gapkit")
    assert repr(loaded.get_params()) == repr(model.get_params())
    assert_identical(model.predict(copper[4:], return_std=True), loaded.predict(copper[4:], return_std=True))


@pytest.mark.parametrize("name", list(classes("SparseSelector")))
def test_every_selector_is_saved(name, copper, tmp_path):
    options = {"indices": [0, 3, 5]} if name == "from_list" else {}
    selector = classes("SparseSelector")[name](**options)
    descriptor = TwoBody(4.0) if name in ("uniform", "grid") else SOAP(4.0, 4, 3, 0.5)
    model = small_model(terms=[Term(descriptor, n_sparse=3, selector=selector)]).fit(copper[:4])
    model.save(tmp_path / "m.gapkit")
    loaded = load(tmp_path / "m.gapkit")
    assert repr(loaded.terms[0].selector) == repr(selector)
    assert_identical(model.predict(copper[4:]), loaded.predict(copper[4:]))


def test_pickle(fitted, new_frames):
    """For processes of a pool; files are for keeping."""
    copy = pickle.loads(pickle.dumps(fitted))
    assert_identical(fitted.predict(new_frames, return_std=True), copy.predict(new_frames, return_std=True))


def test_a_loaded_model_can_be_saved_again_and_cloned(saved, alloy, fitted, new_frames, tmp_path):
    loaded = load(saved)
    loaded.save(tmp_path / "again.gapkit")
    again = load(tmp_path / "again.gapkit")
    assert_identical(loaded.predict(new_frames), again.predict(new_frames))
    assert_identical(clone(loaded).fit(alloy).predict(new_frames), fitted.predict(new_frames))


def test_energy_terms_are_saved(alloy, new_frames, tmp_path):
    model = small_model(energy_terms=[ZBL(cutoff=2.8, inner=1.5)]).fit(alloy)
    model.save(tmp_path / "zbl.gapkit")
    loaded = load(tmp_path / "zbl.gapkit")
    assert loaded.energy_terms == (ZBL(cutoff=2.8, inner=1.5),)
    assert_identical(model.predict(new_frames), loaded.predict(new_frames))


def test_factors_are_saved_on_request(fitted, saved, new_frames, tmp_path):
    with pytest.raises(NotFittedModelError, match="factors=True"):
        load(saved).partial_fit(new_frames)
    with pytest.raises(InputError, match="factors"):
        load(saved).save(tmp_path / "no.gapkit", factors=True)
    fitted.save(tmp_path / "with.gapkit", factors=True)
    one, other = load(tmp_path / "with.gapkit"), load(tmp_path / "with.gapkit")
    before = fitted.predict(new_frames)
    assert_identical(one.partial_fit(new_frames).predict(new_frames), other.partial_fit(new_frames).predict(new_frames))
    assert np.abs(one.predict(new_frames).forces - before.forces).max() > 1e-4


def test_partial_fit_after_loading_is_partial_fit_before(alloy, new_frames, tmp_path):
    model = small_model(terms=small_terms(10)).fit(alloy)
    model.save(tmp_path / "m.gapkit", factors=True)
    loaded = load(tmp_path / "m.gapkit")
    assert_identical(model.partial_fit(new_frames).predict(alloy), loaded.partial_fit(new_frames).predict(alloy))


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated(saved, part):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ModelFileError, match=r"truncated|not a complete"):
        load(saved)


def test_any_flipped_byte_is_noticed_or_harmless(fitted, saved, new_frames):
    """One byte at a time, all over the file: never a model that predicts something else, never a strange error."""
    content = saved.read_bytes()
    expected = fitted.predict(new_frames[:1])
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.integers(0, len(content), 40), len(content) - 1 - np.arange(0, 1200, 13)])
    noticed = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        saved.write_bytes(bytes(damaged))
        try:
            model = load(saved)
        except ModelFileError:
            noticed += 1
            continue
        np.testing.assert_array_equal(model.predict(new_frames[:1]).forces, expected.forces)
    assert noticed > 30


def test_edited_header(saved):
    def edit(text):
        header = json.loads(text)
        header["reference_energies"]["29"] += 1.0
        return json.dumps(header).encode()

    rewrite(saved, edit)
    with pytest.raises(ModelFileError, match=r"header .* was edited"):
        load(saved)


def test_edited_array(saved):
    rewrite(saved, lambda content: content[:-8] + np.float64(1.0).tobytes(), "weights.npy")
    with pytest.raises(ModelFileError, match=r"'weights'.* changed"):
        load(saved)


def test_missing_array(saved):
    rewrite(saved, lambda content: None, "weights.npy")
    with pytest.raises(ModelFileError, match="weights"):
        load(saved)


def test_newer_version(saved):
    def newer(text):
        header = json.loads(text)
        header["format_version"] += 1
        return json.dumps(header).encode()

    rewrite(saved, newer)
    with pytest.raises(ModelFileError, match=r"newer version.*upgrade"):
        load(saved)


def test_not_a_model_file(tmp_path):
    text = tmp_path / "notes.gapkit"
    text.write_text("not a model")
    with pytest.raises(ModelFileError, match=r"notes\.gapkit"):
        load(text)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("header.json", "{}")
        archive.writestr("seal.txt", "")
    with pytest.raises(ModelFileError, match="not a gapkit model"):
        load(other)
    with pytest.raises(ModelFileError, match="does not exist"):
        load(tmp_path / "nothing.gapkit")
    with pytest.raises(ModelFileError):
        load(tmp_path)


def test_saving_into_nowhere(fitted, tmp_path):
    with pytest.raises(OutputError, match="folder"):
        fitted.save(tmp_path / "no" / "model.gapkit")


def test_an_older_file_survives_a_failed_save(fitted, saved, new_frames, monkeypatch):
    content = saved.read_bytes()

    def fail(self, *arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(zipfile.ZipFile, "open", fail)
    with pytest.raises(KeyboardInterrupt):
        fitted.save(saved)
    assert saved.read_bytes() == content
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_no_pickle_inside(saved):
    with zipfile.ZipFile(saved) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            assert name.endswith((".npy", ".json", ".txt"))
            assert not name.endswith(".npy") or b"'descr': '<f8'" in content[:100] or b"'descr': '<i8'" in content[:100]


def test_header_says_what_it_holds(saved, alloy):
    with zipfile.ZipFile(saved) as archive:
        header = json.loads(archive.read("header.json"))
    assert header["units"]["energy"] == "eV"
    assert header["species"] == [29, 79]
    assert header["metadata"]["training_set"]["n_frames"] == len(alloy)
    assert len(header["metadata"]["training_set"]["sha256"]) == 64


def test_the_digest_is_that_of_the_data():
    frames = make_frames(3)
    changed = make_frames(3)
    results = changed[1].calc.results | {"energy": changed[1].calc.results["energy"] + 1e-9}
    changed[1].calc = SinglePointCalculator(changed[1], **results)
    models = [small_model(terms=small_terms(4)).fit(f) for f in (frames, frames, changed)]
    digests = [model.metadata_["training_set"]["sha256"] for model in models]
    assert digests[0] == digests[1] != digests[2]


def test_the_same_model_is_the_same_bytes(alloy, tmp_path, monkeypatch):
    model = small_model().fit(alloy)
    model.save(tmp_path / "one.gapkit")
    monkeypatch.setattr("time.time", lambda: 2.0e9)
    model.save(tmp_path / "two.gapkit")
    assert (tmp_path / "one.gapkit").read_bytes() == (tmp_path / "two.gapkit").read_bytes()

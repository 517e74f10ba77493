"""What a model and its predictions show of themselves: tables, single frames, sparse points and their origins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gapkit import GAP, SOAP, LabelKeys, Noise, Term, TwoBody, load
from gapkit.exceptions import InputError
from gapkit.kernels import SquaredExponential
from gapkit.potential.predictions import OF_FRAMES
from tests.potential.files_of_0_1 import make
from tests.potential.models import make_frames, small_model
from tests.potential.test_old_files import FOLDER


@pytest.fixture(scope="module")
def frames():
    """Of four and of eight atoms."""
    return [atoms * (1, 1, 1 + i % 2) for i, atoms in enumerate(make_frames(5, n_gold=3, seed=5))]


@pytest.fixture(scope="module")
def model():
    """Calibrated, with whole vectors; tests must not change it."""
    return small_model(calibration="leave-one-out", truncation=0.0).fit(make_frames(14, n_gold=3, seed=1))


# ---------------------------------------------------------------------- predictions


@pytest.mark.parametrize("options", [{}, {"return_std": True, "interval": 0.9}, {"return_std": "local"}])
def test_one_frame_at_a_time(model, frames, options):
    p = model.predict(frames, **options)
    assert len(p) == len(frames)
    assert [len(q.forces) for q in p] == [len(atoms) for atoms in frames]
    for i in (0, 3, -1, np.int64(2)):
        one, alone = p[i], model.predict(frames[i], **options)
        for field in dataclasses.fields(p):
            values, expected = getattr(one, field.name), getattr(alone, field.name)
            if isinstance(expected, np.ndarray):
                assert values.shape == expected.shape, field.name
                scale = np.abs(expected.astype(float)).max()
                np.testing.assert_allclose(values, expected, rtol=0, atol=1e-6 * scale, err_msg=field.name)
            elif field.name != "variances":
                assert values == expected
        if one.variances is not None:
            for kind, part in alone.variances.parts.items():
                assert one.variances.parts[kind].data.shape == part.data.shape
                np.testing.assert_allclose(one.variances.parts[kind].data, part.data, rtol=1e-6, atol=1e-9)


def test_some_frames(model, frames):
    p = model.predict(frames, return_std=True)
    assert [q.energy[0] for q in p[1:4]] == p.energy[1:4].tolist()
    np.testing.assert_array_equal(p[::2].offsets, [0, 4, 8, 12])
    assert (len(p[:0]), len(p[9:])) == (0, 0)
    for index in (5, -6):
        with pytest.raises(IndexError, match="of 5 frames"):
            p[index]
    with pytest.raises(TypeError):
        p["energy"]


def test_every_array_is_of_frames_or_of_atoms(model, frames):
    p = model.predict(frames, return_std=True, interval=0.9)
    for field in dataclasses.fields(p):
        values = getattr(p, field.name)
        if isinstance(values, np.ndarray) and field.name != "offsets":
            assert len(values) == (len(frames) if field.name in OF_FRAMES else len(p.forces)), field.name


def test_tables(model, frames):
    lines = repr(model.predict(frames)).splitlines()
    assert lines[0] == "predictions for 5 frames, 28 atoms"
    assert len(lines) == 7
    assert "std" not in lines[1]
    whole = repr(model.predict(frames, return_std=True))
    for words in ("standard deviations are calibrated", "std, meV/atom", "novelty", "extrapolating", "pressure, GPa"):
        assert words in whole
    many = repr(model.predict(frames * 20)).splitlines()
    assert len(many) < 30
    assert "..." in many[12]
    molecule = frames[0].copy()
    molecule.pbc, molecule.cell = False, None
    assert repr(model.predict(molecule)).splitlines()[-1].endswith(" -")


def test_tables_of_others(model, frames):
    found = repr(model.extrapolation(frames))
    assert "28 atoms" in found
    assert all(sign in found for sign in ("novelty", "distance", "pair"))
    left = repr(model.leave_one_out(make_frames(14, n_gold=3, seed=1)))
    assert left.startswith("14 frames, each predicted without itself")
    assert "meV/atom" in left
    members = repr(model.sample(3).predict(frames))
    assert members.startswith("predictions of 3 members for 5 frames, 28 atoms")
    assert "largest std" in members
    assert "largest std" not in repr(model.sample(1).predict(frames))
    assert " s (" in repr(small_model().estimate(make_frames(3)))


# ---------------------------------------------------------------------- sparse points


def test_sparse_points_are_the_vectors_of_the_atoms_that_they_came_from(model):
    training = make_frames(14, n_gold=3, seed=1)
    points = model.sparse_points_
    assert [part.species for part in points] == ["Cu-Cu", "Cu-Au", "Au-Au", "Cu", "Au"]
    assert sum(map(len, points)) == model.n_sparse_
    np.testing.assert_array_equal(np.concatenate([part.weights for part in points]), model.model_.weights)
    descriptor = model.terms_[1].descriptor.fit(training)
    for part in points[3:]:
        assert (part.term, part.descriptor) == (1, "SOAP")
        assert len(np.unique(part.frames)) > 1
        for vector, frame, atom in zip(part.vectors, part.frames, part.atoms, strict=True):
            assert training[frame].symbols[atom] == part.species
            np.testing.assert_allclose(descriptor.transform(training[frame])[atom], vector, rtol=0, atol=1e-12)
    assert (np.concatenate([part.frames for part in points[:3]]) == -1).all()  # a grid is of no atom
    assert points["Au"][0].species == "Au"
    with pytest.raises(InputError, match="Cu-Cu, Cu-Au, Au-Au, Cu, Au"):
        points["Ag"]
    assert "SOAP" in repr(points)
    assert "SOAP" not in repr(points[0])


def test_energies_of_sparse_points(model):
    part = model.sparse_points_["Cu"][0]
    training = make_frames(14, n_gold=3, seed=1)
    soap = model.terms_[1].descriptor.fit(training)
    kernel = model.terms_[1].kernel.unit_scale()
    np.testing.assert_allclose(part.energies, kernel(part.vectors, part.vectors) @ part.weights, rtol=1e-9, atol=1e-9)
    assert soap.transform(training[0]).shape[1] == part.vectors.shape[1]


def test_origins_of_points_that_are_added_and_in_files(tmp_path):
    first, second = make_frames(8, seed=1), make_frames(5, seed=2, size=0.3)
    model = small_model(truncation=0.0).fit(first)
    model.partial_fit(second, n_new=4, training_frames=first)
    model.save(tmp_path / "m.gapkit")
    together = [*first, *second]
    for one in (model, load(tmp_path / "m.gapkit")):
        (part,) = one.sparse_points_["Cu"]
        assert part.frames.max() >= len(first)
        descriptor = one.terms_[1].descriptor.fit(together)
        for vector, frame, atom in zip(part.vectors, part.frames, part.atoms, strict=True):
            np.testing.assert_allclose(descriptor.transform(together[frame])[atom], vector, rtol=0, atol=1e-12)


def test_older_files_do_not_know_the_atoms():
    for part in make.load_model(FOLDER, "one_species").sparse_points_:
        assert (part.atoms == -1).all()
        assert np.isfinite(part.vectors).all()
        assert "unknown" in repr(part) or part.frames.max() >= 0


# ---------------------------------------------------------------------- summaries


def test_a_summary_names_all_that_decides_the_results():
    noise = Noise(2e-3, None, 0.05, per_config_type={"liquid": Noise(forces=0.3)})
    terms = [
        Term(TwoBody(3.9), SquaredExponential(1.0, 0.77, delta_bounds="fixed"), n_sparse=6),
        Term(SOAP(3.9, n_max=5, l_max=4, sigma=0.45), n_sparse=20),
    ]
    training = make_frames(12, n_gold=2, seed=1)
    for i, atoms in enumerate(training):
        atoms.info["kind"] = "liquid" if i % 2 else "solid"
    keys = LabelKeys(config_type="kind", virial=None)
    model = GAP(terms, noise=noise, label_keys=keys, n_jobs=1, truncation=1e-6).fit(training)
    liquid = f"of 'liquid': forces {3 * model.noise_.forces:.3g} eV/Å"  # its ratio to the reference, 0.1 eV/Å, stays
    text = model.summary()
    for words in (
        "cutoff=3.9", "n_max=5", "l_max=4", "sigma=0.45", "transition=None", "basis='gaussian'", "length_scale=0.77",
        "zeta=4", "delta 1 eV (given)", "(chosen by evidence)", "CUR(", "Cu-Au", "energy 0.002 eV/atom",
        "chosen by evidence: forces", liquid, "config_type from 'kind'", "virial not read",
        "truncation: 1e-06", "threshold of Cu", "sqrt(m^2 (a^2 + b^2 s^2) + v)", "e0: Cu",
    ):  # fmt: skip
        assert words in text, words
    assert "extrapolation is not told" in small_model().fit(make_frames(6)).summary()

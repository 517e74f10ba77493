"""Updates with new sparse points: equal to a fit with the union, new species, novelty, memory, files."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from gapkit import SOAP, Noise, Term, ThreeBody, TwoBody, load
from gapkit.exceptions import DataWarning, InputError, NotFittedModelError, UnknownSpeciesError
from gapkit.gp.tape import ArrayStore
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential.model import SparseModel
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.kept_rows import KeptRows
from gapkit.potential.training.rows import RowMaker
from gapkit.sparse import CUR, FromList
from gapkit.structures import to_batch
from gapkit.terms import KnownEnergy
from tests.potential.models import NOISE, label, make_frames, small_model, small_terms

SAME = 1e-8
EMT = {"Cu": 0.02, "Au": -0.3}


@pytest.fixture
def double(monkeypatch):
    """All features in double precision, also in rows that are made again: fits repeat no more digits than rows have."""
    monkeypatch.setattr("gapkit.gp.basis.MIN_SINGLE", 10**9)


@pytest.fixture(scope="module")
def distinct():
    """Frames of which each shows something new."""
    return make_frames(8, size=0.25, seed=31)


@pytest.fixture(params=["memory", "file", "frames"])
def route(request, tmp_path):
    """How old rows are had: kept in memory or in a file, or made again from the frames."""
    return {"memory": True, "file": tmp_path / "rows", "frames": False}[request.param]


def fitted(frames, keep_rows=True, **changes):
    arguments = {"reference_energies": EMT, "terms": small_terms(12)} | changes
    return small_model(**arguments).fit(frames, keep_rows=keep_rows)


def again(route, frames):
    """Options of an update of a model that was fitted to `frames`."""
    return {"training_frames": frames} if route is False else {}


def batch_fit(model, frames):
    """A model fitted to all frames at once, with the basis, noise, scales and way of keeping rows of `model`."""
    state = model.state_
    maker = RowMaker(state.sparse.basis, state.known, state.given_noise)
    factors = {}
    if state.rows is None:
        maker.fold(to_batch(frames), factors, Resources(n_jobs=1))
    else:
        factors = KeptRows(ArrayStore()).with_frames(maker, to_batch(frames), Resources(n_jobs=1)).model_factors()
    scales = [state.scales[term] for term in state.sparse.basis.term_of_block]
    sparse, evidence = SparseModel.solve(state.sparse.basis, state.sparse.basis.prior(), factors, state.noise, scales)
    return model.with_state(replace(state, sparse=sparse, log_marginal_likelihood=evidence))


def assert_same(one, other, frames, tolerance=SAME):
    p, q = (model.predict(frames, return_std=True, std="epistemic") for model in (one, other))
    for name in ("energy", "forces", "stress", "local_energies", "energy_std", "forces_std", "stress_std"):
        np.testing.assert_allclose(getattr(q, name), getattr(p, name), rtol=tolerance, atol=tolerance, err_msg=name)
    assert other.log_marginal_likelihood_ == pytest.approx(one.log_marginal_likelihood_, rel=tolerance)


# ---------------------------------------------------------------------- equal to a fit with the union


def test_frames_and_points_equal_a_fit_with_the_union(route, distinct):
    model = fitted(distinct[:4], route)
    before = model.n_sparse_
    model.partial_fit(distinct[4:6], n_new=7, **again(route, distinct[:4]))
    model.partial_fit(distinct[6:7])
    frames = make_frames(3, seed=5)
    assert model.n_sparse_ == before + 7
    assert_same(batch_fit(model, distinct[:7]), model, frames)
    model.extend(distinct[7:], n_new=3, **again(route, distinct[:7]))
    assert model.n_sparse_ == before + 10
    assert_same(batch_fit(model, distinct[:7]), model, frames)
    assert np.abs(model.predict(frames).forces - fitted(distinct[:7]).predict(frames).forces).max() > 1e-4


def test_the_union_through_the_public_door(double, route, distinct):
    """A fit that is given all points with `FromList`, as a user would make it."""
    model = fitted(distinct[:4], route, truncation=0.0)
    model.partial_fit(distinct[4:], n_new=8, **again(route, distinct[:4]))
    terms = []
    for term, basis in zip(model.terms_, model.model_.basis.terms, strict=True):
        (block,) = basis.blocks
        points = block.points[:, basis.engine.public_order]
        terms.append(Term(term.descriptor, term.kernel, len(points), FromList(points)))
    reference = fitted(distinct, bool(route), terms=terms, truncation=0.0)
    assert_same(reference, model, make_frames(3, seed=5))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_many_kinds_of_terms_masks_and_sigmas(tmp_path, n_jobs):
    """Triplets, scaled features, labels that are absent, sigmas of their own, frames taken in parts, two shares."""
    frames = [*make_frames(6, n_gold=2, seed=4), label(make_frames(1)[0].repeat((4, 4, 2)), "energy", "forces")]
    for i, atoms in enumerate(frames):
        atoms.info["config_type"] = "odd" if i % 2 else "even"
    frames[1] = label(frames[1], "forces")
    frames[2] = label(frames[2], "energy")
    terms = [
        *small_terms(8),
        Term(ThreeBody(3.2), SquaredExponential(0.3, (1.5, 2.0, 1.5), delta_bounds="fixed"), n_sparse=4),
    ]
    noise = Noise(2e-3, 0.05, 0.05, per_config_type={"odd": Noise(forces=0.2)})
    changes = {"terms": terms, "noise": noise, "n_jobs": n_jobs}
    # frames of the first fit have no virial at all: the kind is new in an update
    first = [label(frames[3], "energy", "forces"), label(frames[4], "energy", "forces"), frames[6]]
    model = small_model(reference_energies=EMT, **changes).fit(first, keep_rows=tmp_path / "rows")
    model.state_ = replace(model.state_, noise=model.state_.noise | {"virial": 0.05})
    added = [frames[0], frames[1], frames[2], frames[5]]
    model.partial_fit(added[:3], n_new=9)
    model.partial_fit(added[3:], n_new=4)
    assert set(model.state_.factors) == {"energy", "forces", "virial"}
    assert_same(batch_fit(model, first + added), model, make_frames(2, n_gold=2, seed=8))


def test_a_projected_basis_gains_directions(double, monkeypatch, route):
    """Inner products are projected even where it does not pay; the calibration's axes go along."""
    for module in ("basis", "extension"):
        monkeypatch.setattr(f"gapkit.gp.{module}.WORTHWHILE", 5.0)
    terms = [Term(SOAP(4.0, 6, 4, 0.5), DotProduct(0.5, 2, delta_bounds="fixed"), n_sparse=25)]
    copper = make_frames(20, size=0.02)
    model = fitted(copper, route, terms=terms, truncation=1e-5, calibration="leave-one-out")
    ((block,),) = (term.blocks for term in model.model_.basis.terms)
    assert block.projection is not None
    distance = model.extrapolation(copper).distance
    assert distance.max() < 1e-9  # they are known
    new = make_frames(4, seed=3, size=0.3)
    model.partial_fit(new, n_new=4, **again(route, copper))
    ((wider,),) = (term.blocks for term in model.model_.basis.terms)
    assert wider.projection.shape[1] > block.projection.shape[1]
    assert_same(batch_fit(model, copper + new), model, make_frames(2, seed=8, size=0.3))
    np.testing.assert_allclose(model.extrapolation(copper).distance, distance, rtol=0, atol=1e-9)


# ---------------------------------------------------------------------- species


@pytest.mark.parametrize("truncation", [0.0, 1e-6])
def test_new_species(double, route, copper, alloy, truncation, tmp_path):
    alloy = [atoms for atoms in alloy if 79 in atoms.numbers]
    model = fitted(copper, route, truncation=truncation)
    old, plain = model.predict(copper), model.state_.log_marginal_likelihood
    with pytest.raises(UnknownSpeciesError, match="Au"):
        model.partial_fit(alloy)
    assert model.state_.log_marginal_likelihood == plain
    model.partial_fit(alloy, n_new=20, reference_energies={"Au": -0.3}, **again(route, copper))
    assert model.species_ == ("Cu", "Au")
    assert model.reference_energies_ == EMT
    blocks = {block.species for term in model.model_.basis.terms for block in term.blocks}
    assert blocks == {(29, 29), (29, 79), (79, 79), (29,), (79,)} or len(blocks) >= 4
    assert (79,) in blocks
    frames = make_frames(3, n_gold=3, seed=5)
    reference = batch_fit(model, copper + alloy)
    assert_same(reference, model, frames)
    errors = model.predict(alloy).forces - np.concatenate([atoms.get_forces() for atoms in alloy])
    assert np.sqrt(np.mean(errors**2)) < 0.3  # it learned
    assert np.abs(model.predict(copper).forces - old.forces).max() < 0.3
    model.save(tmp_path / "model", factors=True)
    loaded = load(tmp_path / "model")
    p, q = (m.predict(frames) for m in (model, loaded))
    np.testing.assert_allclose(q.forces, p.forces, rtol=0, atol=1e-10)
    loaded.partial_fit(frames[:1])
    assert_same(loaded, model.partial_fit(frames[:1]), frames)


def test_reference_energy_of_a_new_species_from_the_data(copper):
    model = fitted(copper)
    alloy = make_frames(4, n_gold=4, seed=1)
    table = model.state_.known.reference
    model.partial_fit(alloy, n_new=8)
    counts = np.array([(atoms.numbers == 79).sum() for atoms in alloy])
    rest = [atoms.get_potential_energy() - EMT["Cu"] * (atoms.numbers == 29).sum() for atoms in alloy]
    expected = np.dot(counts / 4, np.array(rest) / 4) / np.dot(counts / 4, counts / 4)
    assert model.reference_energies_["Cu"] == EMT["Cu"]
    # least squares of the deviation from the mean, as `fit` does it
    assert model.reference_energies_["Au"] == pytest.approx(expected, abs=0.3)
    assert table == {29: EMT["Cu"]} or table == {29: EMT["Cu"], 79: EMT["Au"]}
    isolated = label(make_frames(1)[0][:1], "energy")
    isolated.numbers[:] = 79
    isolated.set_cell(None)
    isolated.pbc = False
    isolated = label(isolated, "energy")
    model = fitted(copper).partial_fit([*alloy, isolated], n_new=8)
    assert model.reference_energies_["Au"] == pytest.approx(isolated.get_potential_energy())


# ---------------------------------------------------------------------- novelty


@pytest.fixture(scope="module")
def calibrated():
    frames = make_frames(30, seed=11, size=0.08)
    model = small_model(calibration="leave-one-out", terms=small_terms(25), reference_energies=EMT)
    return model.fit(frames, keep_rows=True)


def test_what_was_flagged_and_added_is_not_flagged_again(calibrated):
    model = calibrated.with_state(calibrated.state_)
    strange = make_frames(1, seed=2, size=0.08)[0]
    strange.set_cell(strange.cell.array * 1.12, scale_atoms=True)
    strange.positions[0] += 0.35
    strange = label(strange)
    found = model.extrapolation(strange)
    assert found.frames.all()
    assert found.novelty.max() > 2
    labelled = model.with_state(model.state_).partial_fit([strange])
    assert labelled.extrapolation(strange).novelty.max() == pytest.approx(found.novelty.max(), rel=1e-6)
    thresholds = model.novelty_detector_.thresholds()
    model.partial_fit([strange], n_new="novel")
    assert 0 < model.n_sparse_ - calibrated.n_sparse_ <= 4 + 4 * 20
    after = model.extrapolation(strange)
    assert after.novelty.max() < 1
    assert not after.frames.any()
    assert model.novelty_detector_.thresholds() == thresholds
    assert calibrated.extrapolation(strange).frames.all()  # the old state is what it was


def test_thresholds_and_calibration_on_request(calibrated):
    model = calibrated.with_state(calibrated.state_)
    new = make_frames(3, seed=2, size=0.3)
    model.partial_fit(new, n_new=10)
    assert model.calibration_ is not None
    before = model.predict(new, return_std=True)
    model.partial_fit(make_frames(1, seed=7, size=0.4), n_new=2, calibrate=True)
    assert model.metadata_["calibrated"]["n_frames"] == 34
    assert model.metadata_["calibrated"]["calibrate"] > 0
    assert model.calibration_.n_configurations == 20  # as many as intervals need
    after = model.predict(new, return_std=True)
    assert np.abs(after.forces_std - before.forces_std).max() > 1e-4
    entries = model.metadata_["partial_fit"]
    assert [entry["new_points"] for entry in entries] == [10, 2]
    assert set(entries[0]["seconds"]) == {"rows", "solve"}
    assert model.state_.origins.max() == 33


def test_old_calibration_after_new_points(calibrated):
    """Whitened coordinates of the training set do not change with the basis: neither do difficulties and distances."""
    model = calibrated.with_state(calibrated.state_)
    frames = make_frames(3, seed=9)
    before = model.extrapolation(frames)
    model.extend(make_frames(3, seed=2, size=0.3), n_new=12)
    after = model.extrapolation(frames)
    np.testing.assert_allclose(after.distance, before.distance, rtol=1e-6)
    assert np.all(after.novelty <= before.novelty * (1 + 1e-6))


# ---------------------------------------------------------------------- 200 updates


def test_after_200_updates_the_model_is_the_batch_fit_and_memory_is_flat(tmp_path):
    """One frame each, twenty of them with a new point.  What a row takes is in the file."""
    terms = [Term(SOAP(4.0, 6, 4, 0.5), DotProduct(0.5, 4, delta_bounds="fixed"), n_sparse=40)]
    frames = make_frames(215, seed=21, size=0.25)
    model = fitted(frames[:15], tmp_path / "rows", terms=terms, noise=Noise(0.01, 0.2, 0.2))
    for i, atoms in enumerate(frames[15:]):
        model.partial_fit([atoms], n_new=1 if i < 100 and i % 5 == 0 else None)
        if i == 99:
            kept, written = len(pickle.dumps(model.state_)), (tmp_path / "rows").stat().st_size
    assert model.n_sparse_ == 60
    assert_same(batch_fit(model, frames), model, make_frames(3, seed=5))
    rows = 100 * (1 + 12 + 6) * 8 * 60  # bytes of the rows of the last 100 updates
    assert (tmp_path / "rows").stat().st_size - written > rows
    assert len(pickle.dumps(model.state_)) - kept < 0.3 * rows


# ---------------------------------------------------------------------- choice of points, errors


def test_a_selector_and_given_points(copper):
    frames = make_frames(4, seed=5, size=0.25)
    model = fitted(copper, truncation=0.0).partial_fit(frames, n_new=6, selector=CUR())
    assert [sum(len(block.points) for block in term.blocks) for term in model.model_.basis.terms] == [6, 18]
    assert_same(batch_fit(model, copper + frames), model, frames)
    points = SOAP(4.0, 4, 3, 0.5).fit(copper).transform(frames)[:3]
    given = fitted(copper, truncation=0.0).extend([{"Cu-Cu": [[2.0]]}, {"Cu": points}])
    blocks = [block for term in given.model_.basis.terms for block in term.blocks]
    assert blocks[0].points[-1, 0] == 2.0
    order = given.model_.basis.terms[1].engine.public_order
    np.testing.assert_allclose(blocks[1].points[-3:, order], points, rtol=0, atol=1e-14)
    assert given.state_.origins[-3:].tolist() == [-1] * 3
    assert_same(batch_fit(given, copper), given, frames)
    with pytest.raises(InputError, match="'Au' must be finite vectors"):
        given.extend([{}, {"Au": points}])
    with pytest.raises(InputError, match="one mapping for each of the 2 terms"):
        given.extend([{"Cu": points}])
    with pytest.raises(InputError, match="truncation=0"):
        fitted(copper, truncation=1e-4).extend([{}, {"Cu": points}])


def test_fewer_new_environments_than_points(copper):
    model = fitted(copper, terms=[Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=32)])
    with pytest.warns(DataWarning, match="only 0 environments"):
        model.partial_fit(copper[:2], n_new=5)
    with pytest.warns(DataWarning, match=r"`n_new` = 9 .* only [1-4] environments"):
        model.extend(make_frames(1, seed=5, size=0.3), n_new=9)


def test_errors_leave_the_model_as_it_was(copper, tmp_path):
    new = make_frames(2, seed=5)
    model = fitted(copper, False)
    state = model.state_
    with pytest.raises(InputError, match="`training_frames`"):
        model.partial_fit(new, n_new=3)
    with pytest.raises(InputError, match="got 7 frames that are not the same"):
        model.partial_fit(new, n_new=3, training_frames=copper[1:])
    with pytest.raises(InputError, match="frames that are not the same"):
        model.extend(new, n_new=3, training_frames=copper[::-1])
    for bad in (0, 2.5, True, "all"):
        with pytest.raises(InputError, match="`n_new` must be a whole number >= 1, or"):
            model.partial_fit(new, n_new=bad, training_frames=copper)
    with pytest.raises(InputError, match="`selector` needs the number"):
        model.partial_fit(new, selector=CUR())
    with pytest.raises(InputError, match="`selector` needs a number"):
        model.extend(new, selector=CUR(), training_frames=copper)
    with pytest.raises(NotFittedModelError, match="thresholds of novelty"):
        model.extend(new, training_frames=copper)
    assert model.state_ is state
    with pytest.raises(InputError, match="`keep_rows` must be False"):
        small_model().fit(copper, keep_rows=True, checkpoint=tmp_path / "c")
    with pytest.raises(NotFittedModelError, match="not fitted"):
        small_model().extend(new)


def test_a_loaded_model_needs_the_frames_again(copper, tmp_path):
    """Kept rows are no part of a model file, but of a pickle."""
    frames = make_frames(3, seed=5)
    model = fitted(copper[:5], tmp_path / "rows")
    copied = pickle.loads(pickle.dumps(model))
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    with pytest.raises(InputError, match="`training_frames`"):
        loaded.partial_fit(copper[5:], n_new=4)
    loaded.partial_fit(copper[5:], n_new=4, training_frames=copper[:5])
    model.partial_fit(copper[5:], n_new=4)
    copied.partial_fit(copper[5:], n_new=4)
    assert_same(loaded, model, frames)
    assert_same(copied, model, frames)
    (tmp_path / "rows").unlink()
    with pytest.raises(InputError, match=r"rows can't be read"):
        model.partial_fit(frames, n_new=2)


def test_rows_of_other_factors_are_not_kept(copper):
    state = fitted(copper).state_
    assert state.solved({kind: factor.copy() for kind, factor in state.factors.items()}).rows is None
    assert state.solved(noise={kind: 2 * sigma for kind, sigma in state.noise.items()}).rows is state.rows
    assert NOISE.energy == state.noise["energy"]
    assert isinstance(state.known, KnownEnergy)
    assert TwoBody(4.0).engine((29,)).n_features == 1

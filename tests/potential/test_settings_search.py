"""Search over settings: names, objectives, and what becomes of candidates, frames and the estimator."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.linalg import solve_triangular
from scipy.stats import norm, randint
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from gapkit import GAP, SOAP, Noise, Term, TwoBody
from gapkit.exceptions import DataError, InputError, NotFittedModelError
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential import ZBL, Committee
from gapkit.potential.search import settings_search
from gapkit.potential.search.settings import UnknownSettingError, with_settings
from gapkit.potential.search.settings_search import OBJECTIVES, SettingsSearch
from gapkit.sparse import CUR, FarthestPoint
from tests.potential.models import NOISE, label, make_frames, small_model, small_terms

CUTOFF, ZETA = "terms__1__descriptor__cutoff", "terms__1__kernel__zeta"
SAME = 1e-12  # the same numbers, summed in another order


def small(**changes):
    return small_model(calibration=None, **changes)


@pytest.fixture(scope="module")
def searched(copper):
    """Four candidates by the default objective; tests must not change it."""
    return SettingsSearch(small(), {CUTOFF: [3.2, 4.5], ZETA: [1, 3]}).fit(copper)


# ---------------------------------------------------------------------------------------------------- names


READERS = {
    "n_sparse": lambda m: m.n_sparse,
    "noise": lambda m: m.noise,
    "noise__forces": lambda m: m.noise.forces,
    "energy_terms__0__inner": lambda m: m.energy_terms[0].inner,
    "terms__0__n_sparse": lambda m: m.terms[0].n_sparse,
    "terms__0__kernel__length_scale": lambda m: m.terms[0].kernel.length_scale,
    "terms__1__descriptor__sigma": lambda m: m.terms[1].descriptor.sigma,
    "terms__1__kernel__zeta": lambda m: m.terms[1].kernel.zeta,
    "terms__1__selector": lambda m: m.terms[1].selector,
}


@pytest.mark.parametrize("name", READERS)
def test_a_setting_is_changed_in_a_copy_and_nothing_else_is(name):
    values = {"noise": Noise(forces=0.3), "terms__1__selector": FarthestPoint(), "noise__forces": 0.3}
    value, read = values.get(name, 0.7 if name.endswith(("inner", "scale", "sigma")) else 7), READERS[name]
    model = small(energy_terms=[ZBL()])
    before = repr(model.get_params())
    changed = with_settings(model, {name: value})
    assert read(changed) == value
    assert repr(model.get_params()) == before
    others = [other for other in READERS if not (other.startswith(name) or name.startswith(other))]
    assert len(others) >= 6
    assert all(repr(READERS[other](changed)) == repr(READERS[other](model)) for other in others)
    assert [type(term) for term in changed.terms] == [Term, Term]
    assert changed.terms[0].descriptor.cutoff == 4.0
    assert changed.terms[1].kernel.delta == 0.5


def test_parts_that_are_none_are_those_that_a_fit_would_take():
    model = GAP([TwoBody(4.0), SOAP(4.0)])
    settings = {"terms__0__kernel__delta": 0.3, "terms__1__selector__duplicate_tolerance": 1e-6, "noise__energy": 0.1}
    changed = with_settings(model, settings)
    assert changed.terms[0].kernel == SquaredExponential(0.3, 0.7)
    assert isinstance(changed.terms[1].selector, CUR)
    assert changed.noise == Noise(energy=0.1)


def test_whole_parts_come_before_what_is_inside_them():
    settings = {"terms__1__selector__duplicate_tolerance": 1e-5, "terms__1__selector": FarthestPoint()}
    selector = with_settings(small(), settings).terms[1].selector
    assert isinstance(selector, FarthestPoint)
    assert selector.duplicate_tolerance == 1e-5


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("n_spars", "n_sparse"),
        ("terms__2__n_sparse", "terms__0, terms__1$"),
        ("terms__1__cutoff", "terms__1__descriptor, terms__1__kernel, "),
        ("terms__1__descriptor__cutof", "terms__1__descriptor__cutoff, "),
        ("noise__force", "noise__energy, noise__forces, "),
        ("n_sparse__C", "`n_sparse` is None, which has no parameters"),
    ],
)
def test_unknown_names_are_told_before_anything_is_fitted(copper, monkeypatch, name, listed):
    monkeypatch.setattr(GAP, "fit", lambda *_: pytest.fail("a model was fitted"))
    with pytest.raises(UnknownSettingError, match=listed):
        SettingsSearch(small(), {"truncation": [0.0], name: [1, 2]}).fit(copper)


# ---------------------------------------------------------------------------------------------------- objectives


@pytest.fixture(scope="module")
def varied():
    """Frames of 4 and 8 atoms, a configuration type with a noise of its own, an energy with its own sigma."""
    frames = make_frames(6, seed=3)
    large = bulk("Cu", cubic=True) * (2, 1, 1)
    large.rattle(0.1, seed=1)
    frames += [label(large), label(large, "forces")]
    frames[1].info["config_type"] = "strained"
    frames[2].info["energy_sigma"] = 0.1
    return frames


def test_objectives_are_those_computed_by_hand(varied):
    strained = Noise(energy=5e-3, forces=0.2, virial=0.3)
    model = small(noise=Noise(2e-3, 0.05, 0.07, {"strained": strained}))
    (candidate,) = SettingsSearch(model, {ZETA: [2]}).fit(varied).results_
    fitted = with_settings(model, {ZETA: 2}).fit(varied)
    found = fitted.leave_one_out(varied)
    n_atoms = np.array([len(frame) for frame in varied])
    volumes = np.array([frame.get_volume() for frame in varied])
    energy = 2e-3 / np.sqrt(n_atoms)
    energy[1], energy[2] = 5e-3 / 2.0, 0.1 / 4.0
    forces = np.repeat(np.where(np.arange(len(varied)) == 1, 0.2, 0.05), n_atoms)
    stress = np.where(np.arange(len(varied)) == 1, 0.3, 0.07) * np.sqrt(n_atoms) / volumes
    parts = [(found.energy, energy[:-1]), (found.forces, forces), (found.stress, stress[:-1])]  # the last: forces only
    by_hand = sum(norm.logpdf(r.errors, scale=np.sqrt(r.variances + sigma[:, None] ** 2)).sum() for r, sigma in parts)
    scores = candidate.scores
    assert candidate.objective == scores.loo_log_score == pytest.approx(by_hand, rel=SAME)
    assert scores.evidence == pytest.approx(fitted.log_marginal_likelihood_, rel=SAME)
    assert scores.loo_energy == pytest.approx(-np.sqrt((found.energy.errors**2).mean()), rel=SAME)
    assert scores.loo_forces == pytest.approx(-np.sqrt((found.forces.errors**2).mean()), rel=SAME)
    assert candidate.n_sparse == fitted.n_sparse_
    assert candidate.seconds > 0.0


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_largest_objective_is_the_best(copper, searched, objective):
    search = SettingsSearch(small(), searched.settings, objective=objective, refit=False).fit(copper)
    values = [getattr(one.scores, objective) for one in searched.results_]
    assert len(set(values)) == 4
    assert [one.objective for one in search.results_] == values
    assert search.best_objective_ == max(values)
    assert search.best_settings_ == search.results_[int(np.argmax(values))].settings
    assert not hasattr(search, "best_estimator_")


def soap(cutoff, zeta):
    return [Term(SOAP(cutoff, 4, 3, 0.5), DotProduct(20.0, zeta, delta_bounds="fixed"), n_sparse=30)]


@pytest.mark.parametrize("objective", ["evidence", "loo_log_score"])
@pytest.mark.parametrize(
    ("name", "values"), [("terms__0__descriptor__cutoff", [3.5, 4.5]), ("terms__0__kernel__zeta", [1, 4])]
)
@pytest.mark.parametrize("truth", [0, 1])
def test_settings_that_made_the_labels_are_found(objective, name, values, truth):
    """Labels drawn from the prior of either candidate, with noise."""
    rng = np.random.default_rng(truth)
    frames = make_frames(12, size=0.25)
    # no reference energy to absorb the mean of a draw, which is no draw from the prior any more then
    base = small(terms=soap(4.0, 2), reference_energies={"Cu": 0.0})
    model = with_settings(base, {name: values[truth]}).fit(frames)
    L = model.model_.posterior.prior[0].L
    weights = model.scales_[0] * solve_triangular(L, rng.standard_normal(len(L)), lower=True, trans="T")
    drawn = Committee(model, weights[None])[0].predict(frames)
    energies = drawn.energy + NOISE.energy * 2.0 * rng.standard_normal(drawn.energy.shape)
    forces = drawn.forces + NOISE.forces * rng.standard_normal(drawn.forces.shape)
    for i, frame in enumerate(frames):
        frame.calc = SinglePointCalculator(frame, energy=energies[i], forces=forces[4 * i : 4 * i + 4])
    search = SettingsSearch(base, {name: values}, objective=objective, refit=False).fit(frames)
    assert search.best_settings_ == {name: values[truth]}


def test_an_objective_needs_its_labels():
    frames = [label(frame, "energy") for frame in make_frames(5)]
    with pytest.raises(DataError, match="needs frames with forces, found none among 5"):
        SettingsSearch(small(), {ZETA: [2]}, objective="loo_forces").fit(frames)
    (candidate,) = SettingsSearch(small(), {ZETA: [2]}, objective="loo_energy").fit(frames).results_
    assert candidate.scores.loo_forces is None
    assert candidate.objective == candidate.scores.loo_energy < 0.0


# ---------------------------------------------------------------------------------------------------- the search


def test_a_candidate_that_fails_is_noted_and_does_not_stop_the_others(copper):
    # points of an unknown species are found out by the fit, points below one by the term
    search = SettingsSearch(small(), {"terms__1__n_sparse": [{"Au": 3}, 0, 20]}).fit(copper)
    many, none, good = search.results_
    assert "names 'Au', expected one of Cu" in many.error
    assert "must be a whole number >= 1" in none.error
    assert many.objective is None
    assert many.scores is None
    assert search.best_settings_ == good.settings == {"terms__1__n_sparse": 20}
    assert good.error is None
    report = search.report()
    assert "3 candidates by loo_log_score, 2 failed" in report
    assert report.index("terms__1__n_sparse = 20") < report.index("terms__1__n_sparse = {'Au': 3}")
    assert "names 'Au'" in report


def test_where_all_fail_it_says_why_and_keeps_no_older_model(copper):
    search = SettingsSearch(small(), {ZETA: [2]}).fit(copper)
    assert search.best_estimator_.n_sparse_ == 26
    search.settings = {"terms__1__n_sparse": [{"Au": 3}, {"Ag": 3}]}
    with pytest.raises(InputError, match=r"got 2 that cannot, the first because: InputError: `n_sparse` names 'Au'"):
        search.fit(copper)
    assert [one.settings["terms__1__n_sparse"] for one in search.results_] == [{"Au": 3}, {"Ag": 3}]
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "best_settings_")


def test_other_errors_and_ctrl_c_pass_and_leave_the_results_so_far(copper, monkeypatch):
    scored = settings_search.score_candidate
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scored(*arguments)

    monkeypatch.setattr(settings_search, "score_candidate", interrupted)
    search = SettingsSearch(small(), {ZETA: [1, 2, 3, 4]})
    with pytest.raises(KeyboardInterrupt):
        search.fit(copper)
    assert [one.settings[ZETA] for one in search.results_] == [1, 2]
    assert search.best_objective_ == max(one.objective for one in search.results_)
    assert "2 candidates" in search.report()


def test_the_best_is_fitted_to_all_frames_with_the_estimators_calibration(alloy):
    model = small_model(terms=small_terms(10), calibration="leave-one-out")
    search = SettingsSearch(model, {ZETA: [1, 2]}, n_frames=9).fit(alloy)
    best = search.best_estimator_
    assert best.calibration_ is not None
    assert best.metadata_["training_set"]["n_frames"] == len(alloy) == 12
    assert best.terms[1].kernel.zeta == search.best_settings_[ZETA]


def test_candidates_see_the_frames_chosen_and_the_reference_energies_of_all(alloy, monkeypatch):
    seen = []
    fit = GAP.fit

    def spy(model, frames):
        seen.append((frames, model.reference_energies, model.calibration))
        return fit(model, frames)

    monkeypatch.setattr(GAP, "fit", spy)
    model = small_model(terms=small_terms(10), calibration="leave-one-out")
    SettingsSearch(model, {ZETA: [1, 2]}, n_frames=5, refit=False).fit(alloy)
    energies = fit(small(), alloy).reference_energies_
    (first, *_), (second, *_) = seen
    places = [next(i for i, frame in enumerate(alloy) if frame is one) for one in first]
    assert len(set(places)) == 5
    assert places == sorted(places)
    assert places != list(range(5))
    assert first == second
    assert all(given == energies and calibration is None for _, given, calibration in seen)


def test_the_same_seed_gives_the_same_results(alloy):
    settings = {CUTOFF: [3.5, 4.0, 4.5], ZETA: randint(1, 5), "noise__forces": [0.03, 0.05, 0.1]}

    def search(seed):
        model = small(terms=small_terms(10), random_state=None)
        return SettingsSearch(model, settings, n_iter=3, n_frames=6, random_state=seed, refit=False).fit(alloy).results_

    first, again, other = search(1), search(1), search(2)
    assert len(first) == 3
    assert first == again
    assert [one.settings for one in first] != [one.settings for one in other]
    assert all(a.objective != b.objective for a, b in zip(first, other, strict=True))


def test_the_estimator_and_the_frames_stay_as_they_are(copper):
    model = small(random_state=np.random.RandomState(3))
    before, state = repr(model.get_params()), model.random_state.get_state()[1].copy()
    positions = [frame.positions.copy() for frame in copper]
    search = SettingsSearch(model, {"terms__1__n_sparse": [10, 12], "noise__forces": [0.1]}).fit(copper)
    assert search.estimator is model
    assert not hasattr(model, "model_")
    assert repr(model.get_params()) == before
    assert np.array_equal(model.random_state.get_state()[1], state)
    assert all(np.array_equal(frame.positions, old) for frame, old in zip(copper, positions, strict=True))
    assert clone(search).get_params()["settings"] == search.settings
    assert not hasattr(clone(search), "results_")


def test_terms_not_given_are_the_default_ones_and_their_switch_follows_the_cutoff(copper):
    # NumPy's scalars, as a grid of arange or linspace holds, are no int
    settings = {CUTOFF: np.array([4.0, 6.5]), "n_sparse": np.arange(8, 10)}
    search = SettingsSearch(GAP(calibration=None, noise=NOISE, n_jobs=1), settings).fit(copper)
    assert [one.error for one in search.results_] == [None] * 4
    first, second = search.best_estimator_.terms
    assert isinstance(first.descriptor, TwoBody)
    assert second.descriptor.cutoff == search.best_settings_[CUTOFF] != first.descriptor.cutoff
    second.descriptor.transition = second.descriptor.cutoff
    by_hand = clone(search.best_estimator_).fit(copper)
    assert by_hand.log_marginal_likelihood_ == pytest.approx(search.best_estimator_.log_marginal_likelihood_)


def test_the_report_begins_with_the_best(searched):
    rows = searched.report().split("best")[1]
    ranked = sorted(searched.results_, key=lambda one: one.objective, reverse=True)
    places = [rows.index(f"{one.scores.loo_log_score:,.1f}") for one in ranked]
    assert places == sorted(places)
    assert rows.index(f"{CUTOFF} = {searched.best_settings_[CUTOFF]}") < places[1]
    assert f"{-1e3 * ranked[0].scores.loo_energy:.2f}" in rows
    assert f"{-ranked[0].scores.loo_forces:.4f}" in rows
    assert f"{ranked[0].scores.evidence:,.1f}" in rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimator": SOAP()}, "`estimator` must be a GAP, got SOAP"),
        ({"objective": "loo"}, "`objective` must be one of evidence, loo_energy"),
        ({"settings": {"n_sparse": 5}}, "`settings` must map names to lists"),
        ({"settings": {"label_keys__energy": ["e"]}}, "must not name `label_keys`"),
        ({"n_frames": 9}, "`n_frames` must be at most the 8 frames given, got 9"),
        ({"n_frames": 0}, "`n_frames` must be a whole number >= 1, or None, got 0"),
        ({"n_iter": 2.0}, "`n_iter` must be a whole number >= 1, or None, got 2.0"),
    ],
)
def test_arguments_out_of_range(copper, changes, message):
    arguments = {"estimator": small(), "settings": {ZETA: [1]}} | changes
    with pytest.raises(InputError, match=message):
        SettingsSearch(**arguments).fit(copper)


def test_a_search_that_has_not_run_says_so():
    search = SettingsSearch(small(), {ZETA: [1]})
    with pytest.raises(NotFittedModelError, match="call `fit`"):
        search.report()
    with pytest.raises(NotFittedModelError, match="call `fit`"):
        _ = search.best_settings_


# ---------------------------------------------------------------------------------------------------- scikit-learn


def test_scikit_learns_own_search_takes_a_gap(copper):
    model = small(terms=[TwoBody(4.0), SOAP(4.0, 4, 3, 0.5)])
    search = GridSearchCV(model, {"n_sparse": [2, 12]}, cv=2).fit(copper)
    folds = {}
    for n in (2, 12):
        one = clone(model).set_params(n_sparse=n)
        folds[n] = [
            clone(one).fit([copper[i] for i in a]).score([copper[i] for i in b]) for a, b in KFold(2).split(copper)
        ]
        assert cross_val_score(one, copper, cv=2) == pytest.approx(folds[n])
        assert 0.5 < min(folds[n]) < max(folds[n]) < 1.0
    means = [np.mean(folds[2]), np.mean(folds[12])]
    assert search.cv_results_["mean_test_score"] == pytest.approx(means)
    assert search.best_params_ == {"n_sparse": (2, 12)[int(np.argmax(means))]}
    assert search.best_estimator_.n_sparse_ == 15 + search.best_params_["n_sparse"]

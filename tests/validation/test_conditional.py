"""The groups of conditional coverage, of a comparison made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.errors import Comparison, Pairs, compare
from gapkit.exceptions import InputError
from gapkit.validation import conditional_coverage
from gapkit.validation.conditional import beyond_3_std_unflagged, names_of_groups
from tests.potential.models import make_frames, small_model

FORCE = np.array([0.01, 0.2, 0.2, 0.4, 0.9, 3.0, 3.0, 8.0])
NOVELTY = np.array([0.05, 0.1, np.nan, 0.2, 2.0, np.inf, np.nan, np.nan])


def made(**changes: object) -> Comparison:
    """Three frames of 2, 4 and 2 atoms; the errors are 1, 2, ... std, and the std is 1."""
    atoms, frames = np.arange(8), np.repeat([0, 1, 2], [2, 4, 2])
    reference = FORCE[:, None] * np.array([0.0, 1.0, 0.0])
    errors = np.array([0.5, 1.0, 1.6, 1.7, 2.0, 2.9, 3.1, 4.0])[:, None] * np.ones(3)
    forces = Pairs(frames, reference, reference + errors, np.ones((8, 3)), 2.5 * np.ones((8, 3)), atoms)
    energy = Pairs(np.arange(3), np.zeros((3, 1)), np.array([[1.0], [-2.0], [5.0]]), np.ones((3, 1)))
    found = Comparison(
        ("b", "a", "b"), np.array([2, 4, 2]), np.array([29, 79] * 4), {"energy": energy, "forces": forces},
        "calibrated", np.array([0, 0, 0, 0, 1, 1, 0, 0], bool), NOVELTY,
    )  # fmt: skip
    return replace(found, **changes)  # type: ignore[arg-type]


def table(comparison: Comparison, kind: str, grouping: str, **options: bool) -> dict[str, tuple[float, int, int]]:
    rows = conditional_coverage(comparison, **options)[kind][grouping]
    return {name: (row.coverage, row.n_frames, row.n_components) for name, row in rows.items()}


def test_atoms_are_grouped_by_what_is_theirs() -> None:
    assert table(made(), "forces", "all") == {"all": (3 / 8, 3, 24)}
    assert table(made(), "forces", "config_type") == {"a": (1 / 4, 1, 12), "b": (2 / 4, 2, 12)}
    assert table(made(), "forces", "species") == {"Au": (1 / 4, 3, 12), "Cu": (2 / 4, 3, 12)}
    assert table(made(), "forces", "flagged") == {"not flagged": (3 / 6, 3, 18), "flagged": (0.0, 1, 6)}


def test_bins_of_novelty_hold_their_upper_edges_and_nan_is_unknown() -> None:
    assert table(made(), "forces", "novelty") == {
        "up to 0.1": (1.0, 1, 6), "0.1-0.3": (0.0, 1, 3), "above 1": (0.0, 1, 6), "unknown": (1 / 3, 2, 9)
    }  # fmt: skip


def test_frames_have_the_novelty_of_their_largest_atom_and_the_flag_of_any() -> None:
    assert table(made(), "energy", "novelty") == {
        "up to 0.1": (1.0, 1, 1), "above 1": (0.0, 1, 1), "unknown": (0.0, 1, 1)
    }  # fmt: skip
    assert table(made(), "energy", "flagged") == {"not flagged": (0.5, 2, 2), "flagged": (0.0, 1, 1)}


def test_bins_of_force_hold_about_equally_many_reference_forces() -> None:
    # quartiles 0.2, 0.65 and 3.0
    assert table(made(), "forces", "force_magnitude") == {
        "up to 0.2": (1.0, 2, 9), "0.2-0.65": (0.0, 1, 3), "0.65-3": (0.0, 2, 9), "above 3": (0.0, 1, 3)
    }  # fmt: skip
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 3))
    many = Pairs(np.arange(400), vectors, vectors + 3.0, np.ones((400, 3)), None, np.arange(400))
    comparison = Comparison(("a",) * 400, np.ones(400, int), np.ones(400, int), {"forces": many}, "calibrated")
    counts = [n for _, n, _ in table(comparison, "forces", "force_magnitude").values()]
    assert len(counts) == 4
    assert min(counts) > 80
    still = replace(many, reference=np.zeros((400, 3)))
    assert list(table(replace(comparison, pairs={"forces": still}), "forces", "force_magnitude")) == ["up to 0"]


def test_intervals_in_place_of_stds() -> None:
    assert table(made(), "forces", "all", intervals=True) == {"all": (5 / 8, 3, 24)}
    assert list(conditional_coverage(made(), intervals=True)) == ["forces"]


def test_what_the_model_cannot_tell_is_left_out() -> None:
    plain = conditional_coverage(made(novelty=None, extrapolating=None))
    assert list(plain["energy"]) == ["all", "config_type"]
    assert list(plain["forces"]) == ["all", "config_type", "species", "force_magnitude"]
    assert "novelty" not in conditional_coverage(made(novelty=np.full(8, np.nan)))["forces"]
    bare = {name: replace(pairs, std=None) for name, pairs in made().pairs.items()}
    assert conditional_coverage(made(pairs=bare)) == {}


def test_groups_of_all_quantities_are_in_one_order() -> None:
    names = names_of_groups(conditional_coverage(made()))
    assert names["novelty"] == ["up to 0.1", "0.1-0.3", "above 1", "unknown"]
    assert names["config_type"] == ["a", "b"]
    assert list(names) == ["all", "config_type", "species", "force_magnitude", "novelty", "flagged"]
    assert "config_type" not in names_of_groups(conditional_coverage(made(config_type=("a",) * 3)))


def test_large_errors_that_nothing_warns_of() -> None:
    assert beyond_3_std_unflagged(made()) == {"energy": 1 / 2, "forces": 2 / 6}
    assert beyond_3_std_unflagged(made(extrapolating=None)) == {}
    assert beyond_3_std_unflagged(made(extrapolating=np.ones(8, bool))) == {}


def test_comparisons_carry_the_novelty_of_predictions() -> None:
    model = small_model(calibration="leave-one-out").fit(make_frames(14))
    frames = make_frames(3, seed=5)
    found = compare(model, frames, uncertainty=True)
    np.testing.assert_array_equal(found.novelty, model.predict(frames, return_std=True).novelty)
    assert compare(model, frames).novelty is None


def test_a_comparison_is_needed() -> None:
    with pytest.raises(InputError, match="`comparison` must be a Comparison"):
        conditional_coverage(None)  # type: ignore[arg-type]

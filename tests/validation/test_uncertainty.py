"""Measures of error bars against those worked out from `predict`, with and without a calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms

from gapkit import GAP
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.uncertainty import coverage, uncertainty_metrics
from gapkit.validation import Comparison, compare, evaluate, evaluate_uncertainty, uncertainty_of
from tests.potential.models import label, make_frames, small_model

METRICS = (
    "coverage68", "coverage90", "coverage95", "interval_coverage90", "miscalibration_area", "ence", "nll", "crps",
    "sharpness", "spearman", "spearman_ratio", "auroc", "enrichment",
)  # fmt: skip


@pytest.fixture(scope="module")
def calibrated() -> GAP:
    return small_model(calibration="leave-one-out").fit(make_frames(14, n_gold=2))


@pytest.fixture(scope="module")
def epistemic() -> GAP:
    return small_model(calibration=None).fit(make_frames(14))


def frames_to_test() -> list[Atoms]:
    frames = make_frames(12, n_gold=2, seed=5)
    frames[3] = label(frames[3].repeat((2, 1, 1)))  # sizes differ
    frames[7].positions[0] += 0.8  # unlike the training set
    frames[7] = label(frames[7])
    for i, atoms in enumerate(frames):
        atoms.info["config_type"] = "even" if i % 2 == 0 else "odd"
    return frames


def strict(content: dict) -> dict:
    """Through JSON and back, as a strict parser sees it."""
    return json.loads(json.dumps(content, allow_nan=False))


def test_numbers_are_those_of_the_predictions(calibrated: GAP) -> None:
    frames = frames_to_test()
    found = strict(evaluate_uncertainty(calibrated, frames).to_dict())
    p = calibrated.predict(frames, return_std=True, interval=0.9)
    size = np.array([len(atoms) for atoms in frames])
    errors = {
        "energy": (p.energy - [atoms.get_potential_energy() for atoms in frames]) / size,
        "forces": p.forces - np.concatenate([atoms.get_forces() for atoms in frames]),
        "stress": p.stress - np.array([atoms.get_stress() for atoms in frames]),
    }
    stds = {"energy": p.energy_std / size, "forces": p.forces_std, "stress": p.stress_std}
    widths = {"energy": p.energy_interval / size, "forces": p.forces_interval, "stress": p.stress_interval}
    for kind, error in errors.items():
        expected = uncertainty_metrics(error, stds[kind], half_widths=widths[kind]).to_dict()
        assert expected["n"] == len(error)
        for name in METRICS:
            wanted = None if expected[name] is None else pytest.approx(expected[name], rel=1e-6)
            assert found[f"{kind}_{name}"] == wanted, (kind, name)
    assert found["forces_sharpness"] > 0
    assert found["std"] == "calibrated"
    assert found["extrapolating_fraction"] == pytest.approx(p.extrapolating.mean())
    per_frame = [p.extrapolating[a:b].any() for a, b in zip(p.offsets[:-1], p.offsets[1:], strict=True)]
    assert found["n_extrapolating_frames"] == sum(per_frame)
    assert per_frame[7]
    np.testing.assert_array_equal(compare(calibrated, frames, uncertainty=True).extrapolating_frames, per_frame)

    of_atom = np.repeat(np.arange(12), size)
    z90 = 1.6448536269514722
    odd = of_atom % 2 == 1
    by_type = found["by_config_type"]
    assert by_type["odd"]["forces_coverage90"] == coverage(errors["forces"][odd], z90 * p.forces_std[odd])
    assert by_type["even"]["energy_coverage90"] == coverage(errors["energy"][::2], z90 * stds["energy"][::2])
    symbols = np.concatenate([atoms.symbols for atoms in frames])
    assert set(found["forces_coverage90_by_species"]) == {"Au", "Cu"}
    gold = symbols == "Au"
    assert found["forces_coverage90_by_species"]["Au"] == coverage(errors["forces"][gold], z90 * p.forces_std[gold])

    wide = widths["forces"][odd]
    for name, half_widths in (("coverage90", z90 * p.forces_std[odd]), ("interval_coverage90", wide)):
        row = found[f"forces_{name}_by_group"]["config_type"]["odd"]
        assert list(row) == ["coverage", "lower", "upper", "n_frames", "n_components"]
        assert row["coverage"] == coverage(errors["forces"][odd], half_widths)
        assert (row["n_frames"], row["n_components"]) == (6, 3 * odd.sum())
    assert found["stress_coverage90_by_group"]["all"]["all"]["n_components"] == 12 * 6
    assert list(found["energy_coverage90_by_group"]) == ["all", "config_type", "novelty", "flagged"]
    assert list(found["forces_coverage90_by_group"]) == [
        "all", "config_type", "species", "force_magnitude", "novelty", "flagged"
    ]  # fmt: skip
    known = ~p.extrapolating
    beyond = np.abs(errors["forces"][known]) > 3 * p.forces_std[known]
    assert found["forces_beyond_3_std_unflagged"] == pytest.approx(beyond.mean())
    in_known = ~np.array(per_frame)
    beyond = np.abs(errors["energy"][in_known]) > 3 * stds["energy"][in_known]
    assert found["energy_beyond_3_std_unflagged"] == pytest.approx(beyond.mean())


def test_the_errors_are_the_same_as_without(calibrated: GAP) -> None:
    plain = evaluate(calibrated, frames_to_test()).to_dict()
    found = evaluate_uncertainty(calibrated, frames_to_test()).to_dict()
    by_type = plain.pop("by_config_type")
    assert {name: found[name] for name in plain} == pytest.approx(plain, rel=1e-9)
    for name, row in by_type.items():
        assert {key: found["by_config_type"][name][key] for key in row} == pytest.approx(row, rel=1e-9)


def test_nothing_is_predicted_twice(calibrated: GAP, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    predict = GAP.predict

    def counted(self: GAP, *args: object, **kwargs: object) -> object:
        calls.append(kwargs)
        return predict(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(GAP, "predict", counted)
    uncertainty_of(compare(calibrated, frames_to_test(), uncertainty=True))
    assert calls == [{"return_std": True, "interval": 0.9}]
    compare(calibrated, frames_to_test())
    assert calls[1:] == [{}]


def test_a_model_without_calibration_says_so(epistemic: GAP) -> None:
    frames = make_frames(4, seed=5)
    table = evaluate_uncertainty(epistemic, frames)
    found = strict(table.to_dict())
    p = epistemic.predict(frames, return_std=True, std="epistemic")
    assert found["std"] == "epistemic"
    assert found["energy_interval_coverage90"] is None
    assert found["energy_interval_coverage90_by_group"] == {}
    assert list(found["energy_coverage90_by_group"]) == ["all", "config_type"]
    assert found["forces_beyond_3_std_unflagged"] is None
    assert found["n_extrapolating_frames"] is None
    assert found["extrapolating_fraction"] is None
    assert found["energy_sharpness"] == pytest.approx(np.sqrt(np.mean((p.energy_std / 4) ** 2)))
    assert "no calibration" in str(table)
    assert "Extrapolating" not in str(table)


def test_absent_labels_stay_absent(calibrated: GAP) -> None:
    frames = [label(atoms, "forces") for atoms in make_frames(4, seed=5)]
    frames[0] = label(frames[0], "forces", "energy")
    cluster = make_frames(1, seed=6)[0]
    cluster.calc, cluster.pbc = None, False
    cluster.cell = None
    frames.append(label(cluster))
    for i, atoms in enumerate(frames):
        atoms.info["config_type"] = f"type {i}"
    comparison = compare(calibrated, frames, uncertainty=True)
    assert list(comparison.labelled) == ["energy", "forces"]
    assert (len(comparison.energy.reference), len(comparison.stress.reference)) == (2, 0)
    found = strict(uncertainty_of(comparison).to_dict())
    assert [found[f"stress_{name}"] for name in METRICS] == [None] * len(METRICS)
    assert found["stress_coverage90_by_group"] == {}
    assert found["stress_beyond_3_std_unflagged"] is None
    assert found["by_config_type"]["type 1"]["energy_coverage90"] is None
    assert found["by_config_type"]["type 1"]["forces_coverage90"] is not None
    assert found["by_config_type"]["type 4"]["energy_coverage90"] is not None
    assert found["energy_ence"] is None  # two frames fill no bin


def test_a_masked_atom_counts_for_no_species(calibrated: GAP) -> None:
    frames = make_frames(2, seed=5)
    frames[0].numbers[0] = 79
    frames[0] = label(frames[0])
    frames[0].arrays["force_mask"] = np.array([True, False, False, False])  # True excludes
    comparison = compare(calibrated, frames, uncertainty=True)
    assert comparison.forces.atoms.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert list(uncertainty_of(comparison).coverage90_by_group["forces"]["species"]) == ["Cu"]
    assert list(uncertainty_of(comparison).to_dict()["forces_coverage90_by_species"]) == ["Cu"]


def test_what_is_infinite_is_null(calibrated: GAP) -> None:
    comparison = compare(calibrated, frames_to_test(), uncertainty=True)
    certain = replace(comparison.forces, std=np.zeros_like(comparison.forces.reference))
    table = uncertainty_of(replace(comparison, pairs=comparison.pairs | {"forces": certain}))
    assert table.metrics["forces"].nll == np.inf
    assert strict(table.to_dict())["forces_nll"] is None


def test_the_table_shows_quantities_types_and_species(calibrated: GAP) -> None:
    table = evaluate_uncertainty(calibrated, frames_to_test())
    text = str(table)
    for part in ("calibrated std", "ENCE", "CRPS", "AUROC", "even", "odd", "Au", "Cu", "of 12 frames", "MAE / RMSE"):
        assert part in text, part
    for part in ("Within 1.64 std, ideally 90 %", "Within 90 % intervals", "not flagged", "novelty ", "force "):
        assert part in text, part
    for found in (table.coverage90_by_group, table.interval_coverage90_by_group):
        assert str(found["forces"]["species"]["Au"]) in text
        assert str(found["stress"]["config_type"]["even"]) in text
    assert "12 frames resolve energy ±" in text


def test_groups_that_exclude_90_percent_are_marked(calibrated: GAP) -> None:
    comparison = compare(calibrated, frames_to_test(), uncertainty=True)
    none = replace(comparison.forces, std=np.full_like(comparison.forces.reference, 1e-9))
    text = str(uncertainty_of(replace(comparison, pairs=comparison.pairs | {"forces": none})))
    table = text[text.index("Within 1.64 std") : text.index("Within 90 % intervals")]
    marked = [line for line in table.splitlines() if "*" in line]
    assert any(line.lstrip().startswith("all ") and " 0 % (0-" in line for line in marked)
    assert "*: 90 % is outside" in text


def test_stds_are_needed(calibrated: GAP) -> None:
    comparison = compare(calibrated, frames_to_test())
    assert isinstance(comparison, Comparison)
    assert comparison.energy.std is None
    assert comparison.extrapolating_frames is None
    with pytest.raises(InputError, match="uncertainty=True"):
        uncertainty_of(comparison)


def test_a_model_that_is_not_fitted() -> None:
    with pytest.raises(NotFittedModelError, match="not fitted"):
        evaluate_uncertainty(GAP(), frames_to_test())

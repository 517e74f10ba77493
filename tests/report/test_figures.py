"""Pictures hold the axes, labels and artists that they should, and leave no global state."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from gapkit import GAP, Term, TwoBody
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.kernels import SquaredExponential
from gapkit.report import (
    conditional_figure,
    error_figure,
    novelty_figure,
    parity_figure,
    reliability_figure,
    scan_figure,
    uncertainty_figure,
)
from gapkit.uncertainty import reliability_curve
from gapkit.validation import Comparison, Pairs, compare, dimer_scan, uncertainty_of, volume_scan
from tests.potential.models import NOISE, label, make_frames, small_model


def with_pairs(comparison, **pairs):
    return replace(comparison, pairs=comparison.pairs | pairs)


@pytest.fixture(scope="module")
def model() -> GAP:
    return small_model(calibration="leave-one-out").fit(make_frames(14))


def frames_to_test() -> list[Atoms]:
    frames = make_frames(6, seed=5)
    for i, atoms in enumerate(frames):
        atoms.info["config_type"] = "even" if i % 2 == 0 else "odd"
    return frames


@pytest.fixture(scope="module")
def comparison(model: GAP) -> Comparison:
    return compare(model, frames_to_test(), uncertainty=True)


def bars(axes: Axes) -> list[ErrorbarContainer]:
    return [container for container in axes.containers if isinstance(container, ErrorbarContainer)]


def test_parity_has_error_bars_where_there_are_stds(model: GAP, comparison: Comparison) -> None:
    figure = parity_figure(comparison)
    assert [len(bars(axes)) for axes in figure.axes] == [2, 2, 2]  # one for each configuration type
    ((lines,),) = (bar[2] for bar in bars(figure.axes[1])[:1])
    lengths = np.array([np.ptp(segment[:, 1]) for segment in lines.get_segments()])
    even = comparison.forces.frames % 2 == 0
    np.testing.assert_allclose(lengths, 2 * comparison.forces.std[even].ravel(), rtol=1e-6)
    low, high = figure.axes[1].get_ylim()
    assert high - low < 1.1 * np.ptp([comparison.forces.reference, comparison.forces.predicted])
    plain = parity_figure(compare(model, frames_to_test()))
    assert [len(bars(axes)) for axes in plain.axes] == [0, 0, 0]


def test_reliability(comparison: Comparison) -> None:
    figure = reliability_figure(comparison)
    assert [axes.get_xlabel() for axes in figure.axes] == ["expected coverage"] * 3
    assert "force" in figure.axes[1].get_ylabel()
    diagonal, curve = figure.axes[1].get_lines()
    np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    expected, observed = reliability_curve(comparison.forces.errors, comparison.forces.std)
    np.testing.assert_array_equal(curve.get_xdata(), expected)
    np.testing.assert_array_equal(curve.get_ydata(), observed)


def test_errors_over_stds(comparison: Comparison) -> None:
    figure = error_figure(comparison)
    axes = figure.axes[1]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlabel() == "predicted std (calibrated), eV/Å"
    points, *sigmas, binned = axes.get_lines()
    assert points.get_xdata().size == comparison.forces.std.size
    for k, line in enumerate(sigmas, start=1):
        np.testing.assert_allclose(line.get_ydata(), k * line.get_xdata())
    assert len(sigmas) == 3
    assert len(binned.get_xdata()) == 7  # 72 components, at least ten in each
    np.testing.assert_allclose(np.mean(binned.get_ydata() ** 2), np.mean(comparison.forces.errors**2), rtol=0.05)
    assert len(figure.axes[0].get_lines()) == 4  # six energies fill no bin


def test_stds_that_are_zero_by_symmetry_do_not_stretch_the_axes(comparison: Comparison) -> None:
    std, predicted = comparison.forces.std.copy(), comparison.forces.predicted.copy()
    std[:4], predicted[:4] = 1e-9, comparison.forces.reference[:4]
    changed = with_pairs(comparison, forces=replace(comparison.forces, std=std, predicted=predicted))
    assert error_figure(changed).axes[1].get_xlim()[0] > 1e-4
    nothing = with_pairs(comparison, forces=replace(comparison.forces, std=np.zeros_like(std)))
    assert not error_figure(nothing).axes[1].axison


def test_coverage_of_groups(comparison: Comparison) -> None:
    groups = uncertainty_of(comparison).coverage90_by_group["forces"]
    axes = conditional_figure(comparison).axes[1]
    labels = [text.get_text() for text in axes.get_yticklabels()]
    assert labels[:3] == ["all (6)", "even (3)", "odd (3)"]
    assert "Cu (6)" not in labels  # the only species
    assert sum(words.startswith("force ") for words in labels) == 4
    *lines, ideal = axes.get_lines()
    np.testing.assert_array_equal(ideal.get_xdata(), [90, 90])
    even = groups["config_type"]["even"]
    bar, point = lines[2:4]
    np.testing.assert_allclose(bar.get_xdata(), [100 * even.lower, 100 * even.upper])
    np.testing.assert_allclose(point.get_xdata(), [100 * even.coverage])
    assert (bar.get_ydata() == axes.get_yticks()[1]).all()
    low, high = axes.get_ylim()
    assert low > max(axes.get_yticks()) > min(axes.get_yticks()) > high  # the first is on top


def test_groups_that_exclude_90_percent_are_red(comparison: Comparison) -> None:
    zero = replace(comparison.forces, std=np.full_like(comparison.forces.std, 1e-9))
    red = conditional_figure(with_pairs(comparison, forces=zero)).axes[1].get_lines()[0]
    blue = conditional_figure(comparison).axes[0].get_lines()[0]
    assert (red.get_color(), blue.get_color()) == ("C3", "C0")


def test_groups_without_room_are_counted(comparison: Comparison) -> None:
    names = tuple("a_type_with_a_very_long_name_" * 2 + str(i) for i in range(6))
    many = replace(comparison, config_type=names)
    text = [label.get_text() for label in conditional_figure(many).axes[0].get_yticklabels()]
    assert all(len(words) < 30 for words in text)
    rows = Pairs(np.arange(30), np.zeros((30, 1)), np.zeros((30, 1)), np.ones((30, 1)))
    types = tuple(f"type {i:02}" for i in range(30))
    crowded = Comparison(types, np.ones(30, int), np.ones(30, int), {"energy": rows}, "calibrated")
    (axes,) = conditional_figure(crowded).axes
    assert len(axes.get_yticks()) == 13
    assert "18 groups with the fewest" in axes.get_title()


def test_all_in_one(comparison: Comparison, model: GAP) -> None:
    figure = uncertainty_figure(comparison)
    assert len(figure.axes) == 12
    words = [axes.get_xlabel().split()[0] for axes in figure.axes[::3]]
    assert words == ["reference", "expected", "predicted", "within"]
    assert figure.axes[0].get_legend() is not None
    without = with_pairs(comparison, stress=replace(comparison.stress, std=None))
    drawn = [True] * 5 + [False, True, True, False, True, True, False]
    assert [axes.axison for axes in uncertainty_figure(without).axes] == drawn
    assert len(reliability_figure(without).axes) == 2
    forces = compare(model, [label(atoms, "forces") for atoms in frames_to_test()], uncertainty=True)
    assert len(uncertainty_figure(forces).axes) == 4


@pytest.mark.parametrize("draw", [reliability_figure, error_figure, conditional_figure, uncertainty_figure])
def test_stds_are_needed(model: GAP, draw: object) -> None:
    with pytest.raises(InputError, match="uncertainty=True"):
        draw(compare(model, frames_to_test()))  # type: ignore[operator]


def test_novelty(model: GAP) -> None:
    far = make_frames(3, seed=5, size=0.5)
    figure = novelty_figure(model, {"train": make_frames(14), "far": far})
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "novelty / threshold", "distance to the training set / threshold"
    ]  # fmt: skip
    found = model.extrapolation(far)
    for axes, values in zip(figure.axes, (found.novelty, found.distance), strict=True):
        assert axes.get_xscale() == "log"
        (threshold,) = [line for line in axes.get_lines() if np.ptp(line.get_xdata()) == 0]
        assert threshold.get_xdata()[0] == 1.0
        names = [text.get_text().split(",")[0] for text in axes.get_legend().get_texts()]
        assert names == ["train", "far"]
        assert axes.get_xlim()[1] > values.max()
    assert f"far {100 * found.atoms.mean():.2g} %" in figure.get_suptitle()
    assert found.atoms.any()


def test_novelty_without_sense(model: GAP) -> None:
    for sets in ({}, make_frames(2)):
        with pytest.raises(InputError, match="mapping"):
            novelty_figure(model, sets)  # type: ignore[arg-type]
    with pytest.raises(NotFittedModelError, match="threshold"):
        novelty_figure(small_model(calibration=None).fit(make_frames(5)), {"a": make_frames(1)})
    pairs = [Term(TwoBody(4.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), n_sparse=6)]
    with pytest.raises(InputError, match="atomic term"):
        novelty_figure(GAP(pairs, noise=NOISE, n_jobs=1).fit(make_frames(14)), {"a": make_frames(1)})


def test_scans(model: GAP) -> None:
    scan = dimer_scan(model, "Cu", "Cu")
    (axes,) = scan_figure(replace(scan, reference=scan.energy + 0.1)).axes
    assert (axes.get_xlabel(), axes.get_title()) == ("distance, Å", "Cu-Cu")
    assert axes.get_ylabel() == "energy of the pair, eV"
    wide, narrow = axes.collections
    assert np.ptp(wide.get_paths()[0].vertices[:, 1]) > np.ptp(narrow.get_paths()[0].vertices[:, 1])
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["2 σ (calibrated)", "1 σ (calibrated)", "model", "reference", "extrapolating"]
    flagged = axes.get_lines()[-1]
    np.testing.assert_array_equal(flagged.get_xdata(), scan.x[scan.extrapolating])
    bare = replace(scan, energy_std=None, extrapolating=None)
    assert [text.get_text() for text in scan_figure(bare).axes[0].get_legend().get_texts()] == ["model"]
    (axes,) = scan_figure(volume_scan(model, make_frames(1)[0])).axes
    assert axes.get_xlabel() == "volume, Å³/atom"


def test_figures_can_be_saved(model: GAP, comparison: Comparison, tmp_path: object) -> None:
    path = tmp_path / "a.png"  # type: ignore[operator]
    for figure in (uncertainty_figure(comparison), novelty_figure(model, {"a": frames_to_test()})):
        figure.savefig(path)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_matplotlib_is_imported_late_and_pyplot_never() -> None:
    code = """
import sys
import numpy as np
import gapkit.report as report
assert "matplotlib" not in sys.modules
from gapkit.validation import Comparison, Pairs, Scan
rows = np.arange(12)
pairs = Pairs(rows, rows[:, None] * 1.0, rows[:, None] * 1.1, np.ones((12, 1)))
none = Pairs(rows[:0], np.zeros((0, 3)), np.zeros((0, 3)))
quantities = {"energy": pairs, "forces": none, "stress": none}
comparison = Comparison(("a",) * 12, np.ones(12, int), np.ones(12, int), quantities, "calibrated")
report.uncertainty_figure(comparison).draw_without_rendering()
report.scan_figure(Scan("a", rows * 1.0, "x, Å", rows * 1.0, rows * 0.1, None)).draw_without_rendering()
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

"""The picture of coverage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.exceptions import InputError
from gapkit.report import coverage_figure
from tests.report.made import PAIRS, TYPES, coverage


def test_distances_are_steps_by_pair() -> None:
    made = coverage()
    pairs, _ = coverage_figure(made).axes
    assert (pairs.get_xlabel(), pairs.get_ylabel(), pairs.get_yscale()) == ("distance, Å", "pairs per 0.1 Å", "log")
    assert pairs.get_xlim() == (0.0, 6.0)
    assert pairs.get_ylim()[0] < 1  # a single pair is seen
    assert [step.get_label() for step in pairs.patches] == ["C-Si", "C-C"]  # the most frequent first
    for step, name in zip(pairs.patches, [("C", "Si"), ("C", "C")], strict=True):
        np.testing.assert_array_equal(step.get_data().values, made.pairs[name])
        np.testing.assert_array_equal(step.get_data().edges, made.edges)


def test_many_pairs_are_summed_and_absent_ones_are_told() -> None:
    pairs = coverage_figure(coverage(8)).axes[0]
    assert [step.get_label() for step in pairs.patches] == ["-".join(name) for name in PAIRS[:1:-1]] + ["others"]
    np.testing.assert_array_equal(pairs.patches[-1].get_data().values, 1 + 2)
    assert len(coverage_figure(coverage(6)).axes[0].patches) == 6
    made = coverage()
    none = replace(made, pairs=made.pairs | {("C", "C"): np.zeros(60, int)})
    assert [text.get_text() for text in coverage_figure(none).axes[0].get_legend().get_texts()] == [
        "C-Si",
        "C-C (none)",
    ]


def test_strains_are_percent_by_type() -> None:
    made = coverage()
    figure = coverage_figure(made, TYPES)
    strains = figure.axes[1]
    assert (strains.get_xlabel(), strains.get_ylabel()) == ("volumetric strain, %", "equivalent shear strain, %")
    a, b = strains.get_lines()
    np.testing.assert_allclose(a.get_xydata(), [[-2.0, 1.0], [5.0, 0.2]])
    np.testing.assert_allclose(b.get_xydata(), [[0.0, 3.0]])  # the other frame of this type has no strain
    assert strains.get_title() == "3 of 4 frames have a strain"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    plain = coverage_figure(made)
    assert len(plain.axes[1].get_lines()) == 1
    assert plain.legends == []
    with pytest.raises(InputError, match="config_type"):
        coverage_figure(made, TYPES[:3])


def test_huge_strains_leave_room_for_the_others() -> None:
    made = coverage()
    assert coverage_figure(made).axes[1].get_xscale() == "linear"
    huge = coverage_figure(replace(made, volumetric_strain=np.array([-0.02, 0.0, 600.0, np.nan]))).axes[1]
    assert (huge.get_xscale(), huge.get_yscale()) == ("symlog", "linear")
    sheared = coverage_figure(replace(made, shear_strain=np.array([0.01, 0.0, 6.0, np.nan]))).axes[1]
    assert (sheared.get_xscale(), sheared.get_yscale()) == ("linear", "symlog")


def test_panels_without_data_are_left_out() -> None:
    made = coverage()
    nothing = np.full(4, np.nan)
    (pairs,) = coverage_figure(replace(made, volumetric_strain=nothing, shear_strain=nothing)).axes
    assert pairs.get_xlabel() == "distance, Å"
    without = replace(made, pairs={("C", "C"): np.zeros(60, int)})
    (strains,) = coverage_figure(without).axes
    assert strains.get_xlabel() == "volumetric strain, %"
    with pytest.raises(InputError, match="up to 6 Å in 4 frames"):
        coverage_figure(replace(without, volumetric_strain=nothing, shear_strain=nothing))


def test_what_is_covered_of_a_pool_is_in_the_title() -> None:
    made = coverage()
    assert coverage_figure(made).get_suptitle() == ""
    pooled = replace(made, covered={"C": 0.985, "Si": 1.0}, covered_frames=0.25)
    assert coverage_figure(pooled).get_suptitle() == "covered atoms of the pool: C 98.5 %, Si 100 %; whole frames 25 %"

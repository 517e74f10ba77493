"""The picture of influence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.curation.influence import InfluenceReport, KindInfluence
from gapkit.exceptions import InputError
from gapkit.report import influence_figure
from tests.report.made import influence


def test_cook_over_leverage() -> None:
    made = influence()
    figure = influence_figure(made)
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("leverage, effective parameters", "Cook's distance")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    a, b = axes.get_lines()
    expected = np.array([(frame.leverage, frame.cook) for frame in made.frames[:7]])
    np.testing.assert_allclose(a.get_xydata(), expected[::2])
    np.testing.assert_allclose(b.get_xydata(), expected[1::2])
    assert axes.get_title() == "1 of 8 frames have no influence"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    whole = InfluenceReport(made.frames[:7], 12.0)
    assert influence_figure(whole).axes[0].get_title() == ""


def test_the_most_influential_frames_have_their_numbers() -> None:
    made = influence()
    frames = [replace(frame, frame=100 + frame.frame) for frame in made.frames[::-1]]
    axes = influence_figure(InfluenceReport(tuple(frames), 12.0)).axes[0]
    assert [text.get_text() for text in axes.texts] == ["100", "101", "102", "103", "104"]
    for text, frame in zip(axes.texts, frames[::-1], strict=False):
        assert text.xy == (frame.leverage, frame.cook)
    few = InfluenceReport(made.frames[5:], 12.0)
    assert [text.get_text() for text in influence_figure(few).axes[0].texts] == ["5", "6"]


def test_misfit_by_kind_over_the_number_of_the_frame() -> None:
    made = influence()
    panels = influence_figure(made).axes[1:]
    assert [panel.get_ylabel() for panel in panels] == [f"χ² / rows, {kind}" for kind in ("energy", "forces", "virial")]
    assert [panel.get_xlabel() for panel in panels] == ["", "", "number of the frame"]
    for panel, misfit in zip(panels, (0.5 + np.arange(7), 1.0 + np.arange(7), np.full(7, 0.5)), strict=True):
        assert panel.get_yscale() == "log"
        line, a, b = panel.get_lines()
        np.testing.assert_array_equal(line.get_ydata(), 1.0)
        found = dict(np.concatenate([a.get_xydata(), b.get_xydata()]))
        numbers = [i for i in range(7) if i != 3 or panel is not panels[2]]
        assert sorted(found) == numbers
        np.testing.assert_allclose([found[i] for i in numbers], misfit[numbers])
    forces = [replace(frame, kinds={"forces": frame.kinds["forces"]}) for frame in made.frames[:7]]
    _, panel = influence_figure(InfluenceReport(tuple(forces), 12.0)).axes
    assert (panel.get_ylabel(), panel.get_xlabel()) == ("χ² / rows, forces", "number of the frame")


def test_misfits_that_are_zero_by_symmetry_do_not_stretch_the_axis() -> None:
    frames = [
        replace(frame, kinds={"forces": KindInfluence(12, 0.2, 12e-32 if frame.frame == 2 else 12.0, 4.0, None)})
        for frame in influence().frames
    ]
    panel = influence_figure(InfluenceReport(tuple(frames), 12.0)).axes[1]
    assert panel.get_ylim()[0] == 1e-3
    assert panel.get_title() == "1 frames below 0.001"
    assert influence_figure(influence()).axes[1].get_title() == ""


def test_nothing_to_draw() -> None:
    for frames in ((), influence().frames[7:]):
        with pytest.raises(InputError, match="influence"):
            influence_figure(InfluenceReport(frames, 12.0))

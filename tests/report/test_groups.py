"""Groups of frames are drawn alike in all pictures."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from gapkit.exceptions import InputError
from gapkit.report.groups import add_groups_legend, draw_frames, groups_of, kept_mask


def test_one_group_for_each_type_by_name() -> None:
    groups = groups_of(["b", "a", "b"], 3)
    assert [(group.name, group.colour, group.frames.tolist()) for group in groups] == [
        ("a", "C0", [False, True, False]), ("b", "C1", [True, False, True])
    ]  # fmt: skip
    assert groups_of([], 0) == []


def test_the_rarest_of_many_types_share_a_group() -> None:
    types = [f"t{i:02d}" for i in range(12) for _ in range(i + 1)]
    groups = groups_of(types, len(types))
    assert [group.name for group in groups] == [f"t{i:02d}" for i in range(3, 12)] + ["others"]
    assert groups[-1].frames.sum() == 1 + 2 + 3
    assert len({group.colour for group in groups}) == 10
    np.testing.assert_array_equal(np.sum([group.frames for group in groups], axis=0), 1)
    assert len(groups_of(types[: sum(range(11))], sum(range(11)))) == 10  # ten have a colour each


def test_types_and_masks_are_checked() -> None:
    for types in (["a"], "abc"):
        with pytest.raises(InputError, match="each of the 3 frames"):
            groups_of(types, 3)
    assert kept_mask(None, 2).all()
    for kept in ([0, 2], np.array([True]), np.array([True, False])[None]):
        with pytest.raises(InputError, match="`kept`"):
            kept_mask(kept, 2)


def test_kept_are_filled_and_left_out_are_crosses_and_nan_is_nowhere() -> None:
    axes = Figure().subplots()
    x, y = np.array([1.0, 2.0, 3.0, 4.0, np.nan]), np.array([5.0, 6.0, 7.0, np.nan, 8.0])
    draw_frames(axes, x, y, groups_of(["a", "b", "a", "a", "a"], 5), np.array([True, True, False, True, True]))
    drawn = [(line.get_marker(), line.get_color(), line.get_xydata().tolist()) for line in axes.get_lines()]
    assert drawn == [("o", "C0", [[1, 5]]), ("o", "C1", [[2, 6]]), ("x", "C0", [[3, 7]])]


def test_legend_only_where_there_is_a_choice() -> None:
    for types, left_out, names in (
        (["a", "b"], False, ["a", "b"]),
        (["a", "b"], True, ["a", "b", "left out"]),
        (["a", "a"], True, ["a", "left out"]),
        (["a", "a"], False, None),
    ):
        figure = Figure(layout="constrained")
        add_groups_legend(figure, groups_of(types, 2), left_out)
        found = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
        assert found == ([] if names is None else [names])
        if left_out:
            assert figure.legends[0].legend_handles[-1].get_marker() == "x"

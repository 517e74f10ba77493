"""The trials themselves: what they let pass and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.trial import Server


def test_a_refusal(server: Server, folder: Path) -> None:
    server.run(folder, "predict", "cu.gapkit", "missing.extxyz", "--output", "out.extxyz").assert_refused("missing")


@pytest.mark.parametrize(
    "code",
    ["1 / 0", "b'x' * 1_200_000_000", "open('train.extxyz', 'w').close()", "import os; os.abort()", "pass"],
    ids=["traceback", "memory", "loss", "crash", "silence"],
)
def test_what_is_no_refusal(server: Server, folder: Path, code: str) -> None:
    with pytest.raises(AssertionError):
        server.call(folder, code).assert_raised()


def test_a_use_that_is_right(server: Server, folder: Path) -> None:
    done = server.run(folder, "predict", "cu.gapkit", "test.extxyz", "--output", "out.extxyz")
    done.assert_bounded()
    assert done.code == 0
    assert set(done.after) - set(done.before) == {"out.extxyz"}

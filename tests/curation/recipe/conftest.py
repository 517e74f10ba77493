"""What the tests of recipes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Matrices of small frames are slower on many threads."""
    with threadpool_limits(1):
        yield

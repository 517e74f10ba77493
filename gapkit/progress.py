"""Progress: bars, a line for every stage, and what an interrupt leaves; silent by default."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gapkit._core.compiling import LISTENERS
from gapkit.exceptions import Interrupted
from gapkit.printing import printable


@contextmanager
def track(total: int | None, description: str, unit: str, show: bool) -> Iterator[Any]:
    """A tqdm bar on standard error; a Ctrl-C inside leaves the terminal clean."""
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=description, unit=unit, disable=not show, leave=False) as bar:
        yield bar


def write_line(text: str) -> None:
    """A line on standard error, above the bars."""
    from tqdm.auto import tqdm

    tqdm.write(printable(text, keep="\n"), file=sys.stderr)


@contextmanager
def telling_of_compilation(show: bool) -> Iterator[None]:
    """Say once when kernels are compiled: the first call of a new installation takes that much longer."""
    said = not show

    def tell() -> None:
        nonlocal said
        if not said:
            said = True
            write_line("compiling, once: later runs find the machine code on disk")

    LISTENERS.append(tell)
    try:
        yield
    finally:
        LISTENERS.remove(tell)


class Stages:
    """The stages of a long calculation, one after another: a line for each with its time, where it is to be shown."""

    def __init__(self, name: str = "fit", show: bool = False) -> None:
        self.name, self.show = name, show
        self.seconds: dict[str, float] = {}
        self._under_way: tuple[str, float] | None = None
        self._notes: list[str] = []

    def say(self, text: str) -> None:
        """Write lines, where they are to be shown."""
        if self.show:
            write_line(text)

    def note(self, text: str) -> None:
        """Add to the line of the stage under way."""
        self._notes.append(text)

    @contextmanager
    def stage(self, name: str, *, total: int | None = None, unit: str = "step", bar: bool = True) -> Iterator[Any]:
        """A stage, and its bar unless it has one of its own; its seconds add to those of an earlier one."""
        begin = time.perf_counter()
        self._under_way, self._notes = (name, begin), []
        with track(total, name, unit, self.show and bar) as shown:
            yield shown
        took = time.perf_counter() - begin
        self._under_way = None
        self.seconds[name] = self.seconds.get(name, 0.0) + took
        self.say(f"{self.name}: {', '.join([f'{name} {self.seconds[name]:.1f} s', *self._notes])}")

    @contextmanager
    def interruptible(self, kept: Callable[[], str]) -> Iterator[None]:
        """Tell of compilations, and in an interrupt where it came and what is `kept`."""
        try:
            with telling_of_compilation(self.show):
                yield
        except KeyboardInterrupt as error:
            place = "between two stages"
            if self._under_way is not None:
                name, begin = self._under_way
                place = f"in its stage `{name}`, {time.perf_counter() - begin:.1f} s after that began"
            raise Interrupted(f"the {self.name} was interrupted {place}; {kept()}") from error

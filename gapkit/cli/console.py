"""What the user sees: results on stdout, messages on stderr, errors in one paragraph and an exit code."""

from __future__ import annotations

import functools
import json
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec

import typer

from gapkit.exceptions import GapkitError, GapkitWarning, Interrupted
from gapkit.inputs import watching
from gapkit.io.atomic import naming
from gapkit.printing import printable
from gapkit.progress import telling_of_compilation

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

Parameters = ParamSpec("Parameters")


def guarded(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turn what a user can cause into one paragraph on stderr and an exit code; bugs keep their traceback."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            with _plain_warnings(), watching(), _terminable(), telling_of_compilation(not kwargs.get("quiet")):
                command(*args, **kwargs)
        except BrokenPipeError:  # `gapkit info ... | head`: typer ends it quietly
            raise
        except (GapkitError, OSError, MemoryError) as error:
            say(f"Error: {_one_paragraph(error)}")
            raise typer.Exit(EXIT_BAD_INPUT) from error
        except KeyboardInterrupt as interrupt:
            what = f" ({interrupt})" if isinstance(interrupt, Interrupted) else ""
            say(f"Interrupted; no file was left half-written{what}")
            raise typer.Exit(EXIT_TERMINATED if _came_from(interrupt, _Terminated) else EXIT_INTERRUPTED) from None

    return wrapper


class _Terminated(KeyboardInterrupt):
    """A SIGTERM came, which is obeyed as Ctrl-C is."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Obey SIGTERM as Ctrl-C."""

    def end(number: int, frame: object) -> None:
        raise _Terminated

    before = signal.getsignal(signal.SIGTERM)
    if before in (signal.SIG_IGN, None) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _came_from(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error is not None


def say(text: str) -> None:
    """Write a line to stderr."""
    typer.echo(printable(text, keep="\n"), err=True)


def show(item: Any) -> None:
    """Write something that rich can draw, or text as it is, to stdout."""
    with naming("standard output"):
        if isinstance(item, str):
            typer.echo(printable(item, keep="\n"))
            return
        from rich.console import Console

        Console(file=sys.stdout, markup=False, emoji=False, highlight=False).print(item)


def show_json(content: dict[str, Any]) -> None:
    """Write exactly one JSON object to stdout."""
    with naming("standard output"):
        typer.echo(json.dumps(content, indent=2, allow_nan=False))


def _one_paragraph(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "out of memory; use fewer sparse points (--n-sparse) or fewer frames"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, GapkitError):
        names = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        return f"{names}: {error.strerror}" if names else error.strerror
    return " ".join(str(error).split())


@contextmanager
def _plain_warnings() -> Iterator[None]:
    def write(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, GapkitWarning):
            say(f"Warning: {' '.join(str(message).split())}")
        else:
            show_as_usual(message, category, *place, **more)

    with warnings.catch_warnings():
        show_as_usual = warnings.showwarning
        warnings.simplefilter("always", GapkitWarning)
        warnings.showwarning = write
        yield

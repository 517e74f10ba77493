"""Flags of a command from declared options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields
from inspect import Parameter, signature
from typing import Annotated, Any, TypeVar

import typer

from gapkit.options import Options

Command = TypeVar("Command", bound=Callable[..., None])
_TYPES = {"str": str, "int": int, "float": float, "bool": bool}


def flags(options: type[Options]) -> Callable[[Command], Command]:
    """Give a command, in place of its ``**given``, a flag for each option that fits one; None where it is not given."""

    def decorate(command: Command) -> Command:
        declared = signature(command, eval_str=True)
        own = [item for item in declared.parameters.values() if item.kind is not Parameter.VAR_KEYWORD]
        new = [
            Parameter(item.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, _flag(item)])
            for item in fields(options)  # type: ignore[arg-type]
            if (kind := _TYPES.get(str(item.type).split(" | ")[0])) is not None
        ]
        command.__signature__ = declared.replace(parameters=[*own, *new])  # type: ignore[attr-defined]
        return command

    return decorate


def _flag(item: Field[Any]) -> Any:
    name, has_default = item.name.replace("_", "-"), item.default is not None and item.default is not False
    text = item.metadata["help"] + (f" Default: {item.default}." if has_default else "")
    declared = f"--{name}/--no-{name}" if isinstance(item.default, bool) else f"--{name}"
    panel = "Labels" if item.metadata["sets"] == "label_keys" else None
    return typer.Option(declared, help=text, metavar=item.metadata["metavar"], rich_help_panel=panel)

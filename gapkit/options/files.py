"""YAML and TOML files as values that know the line they stand on."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gapkit.exceptions import ConfigError


@dataclass(frozen=True)
class Located:
    """A value of a file: a scalar, a list of Located, or a dict of str to Located."""

    value: Any
    line: int | None = None  # counted from 1, that of its name where it has one; None in TOML

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {name: item.plain() for name, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def place(self, file: object) -> str:
        """Where it is, for a message."""
        return f"{file}" if self.line is None else f"{file}, line {self.line}"


def read_options(path: Path) -> Located:
    """Read a YAML or TOML file that holds a mapping; an empty file is an empty mapping.

    Raises
    ------
    ConfigError
        If the suffix is neither, the content is not a mapping in that language, or a name is there twice.
    """
    parse = {".yaml": _parse_yaml, ".yml": _parse_yaml, ".toml": _parse_toml}.get(path.suffix.lower())
    if parse is None:
        raise ConfigError(f"{path} must end in .yaml, .yml or .toml, got {path.suffix or 'no suffix'}; rename it")
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid {path.suffix[1:].upper()}: {' '.join(str(error).split())}") from error
    if content.value is None:
        return Located({}, content.line)
    if not isinstance(content.value, dict):
        kind = type(content.value).__name__
        raise ConfigError(f"{path} must hold options and their values, such as `cutoff: 5.0`, got a {kind}")
    return content


def require_known(name: object, known: Iterable[str], what: str, where: str) -> None:
    """Raise ConfigError where a name is not one of `known`; the message says `what` and `where`, and the nearest."""
    names = {item.lower(): item for item in known}
    if name in names.values():
        return
    # Hyphens are the commonest slip, since the flags are written with them.
    nearest = difflib.get_close_matches(str(name).lower().replace("-", "_"), names, n=1)
    hint = f"did you mean `{names[nearest[0]]}`? " if nearest else ""
    raise ConfigError(f"unknown {what} `{name}` in {where}; {hint}Valid are: {', '.join(names.values())}")


def _parse_yaml(text: str) -> Located:
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads 1e-3 as a number, as YAML 1.2 does; PyYAML keeps to YAML 1.1, where it is text."""

    exponent = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    loader, around = Loader(text), list[Any]()

    def located(node: Any, line: int) -> Located:
        if any(node is each for each in around):
            raise ValueError(f"an alias stands inside of what it stands for (line {node.start_mark.line + 1})")
        around.append(node)
        if isinstance(node, yaml.MappingNode):
            value: Any = mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            value = [located(item, item.start_mark.line + 1) for item in node.value]
        else:
            value = loader.construct_object(node, deep=True)
        around.pop()
        return Located(value, line)

    def mapping(node: Any) -> dict[Any, Located]:
        own, merged = dict[Any, Located](), dict[Any, Located]()
        for key_node, value_node in node.value:
            at = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":  # <<: *anchor, of which the first of a list wins
                for each in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    part = located(each, at).value
                    if not isinstance(part, dict):
                        raise ValueError(f"`<<` must be followed by mappings, such as *name, got {part!r} (line {at})")
                    merged = {**part, **merged}
                continue
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float):
                raise ValueError(f"a name must be text, got {key!r} (line {at})")
            if key in own:
                raise ValueError(f"`{key}` is given twice, in lines {own[key].line} and {at}")
            own[key] = located(value_node, at)
        return {**merged, **own}

    try:
        node = loader.get_single_node()
        return Located(None, 1) if node is None else located(node, node.start_mark.line + 1)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise ValueError(f"{error.problem or error.context}{place}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    finally:
        loader.dispose()


def _parse_toml(text: str) -> Located:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    def located(value: Any) -> Located:
        if isinstance(value, dict):
            return Located({name: located(item) for name, item in value.items()})
        if isinstance(value, list):
            return Located([located(item) for item in value])
        return Located(value)

    return located(tomllib.loads(text))

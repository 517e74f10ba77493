"""YAML and TOML files as values that know the line they stand on."""

from __future__ import annotations

import codecs
import datetime
import difflib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gapkit.exceptions import ConfigError
from gapkit.inputs import read_input
from gapkit.options.located import DEEPEST, Located
from gapkit.printing import quoted

_LARGEST = 1 << 19  # bytes, which take seconds to parse
# tomllib takes a time that is quadratic in the parts of a dotted name.
_LONG_NAME = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{DEEPEST}}}""")


def read_options(path: Path) -> Located:
    """Read a YAML or TOML file that holds a mapping; an empty file is an empty mapping.

    Raises
    ------
    ConfigError
        If it is no file, too large, no text, or has a suffix that is neither; if the content is not a mapping in that
        language, nests too deeply, or has a name twice.
    """
    parse = {".yaml": _parse_yaml, ".yml": _parse_yaml, ".toml": _parse_toml}.get(path.suffix.lower())
    content = read_input(path, "the file of options", at_most=_LARGEST, error=ConfigError)
    if parse is None:
        raise ConfigError(f"{path} must end in .yaml, .yml or .toml, got {path.suffix or 'no suffix'}; rename it")
    try:
        found = parse(_text(content))
    except ValueError as error:
        raise ConfigError(f"{path} is not valid {path.suffix[1:].upper()}: {' '.join(str(error).split())}") from error
    if found.value is None:
        return Located({}, found.line)
    if not isinstance(found.value, dict):
        kind = type(found.value).__name__
        raise ConfigError(f"{path} must hold options and their values, such as `cutoff: 5.0`, got a {kind}")
    return found


def _text(content: bytes) -> str:
    """The text of a file, with the ends of lines of any system."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is text in UTF-16; save it in UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"byte {content[error.start]:#04x} is not text in UTF-8 (line {line}); save it in UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def require_known(name: object, known: Iterable[str], what: str, where: str) -> None:
    """Raise ConfigError where a name is not one of `known`; the message says `what` and `where`, and the nearest."""
    names = {item.lower(): item for item in known}
    if name in names.values():
        return
    # Hyphens are the commonest slip, since the flags are written with them.
    nearest = difflib.get_close_matches(str(name).lower().replace("-", "_"), names, n=1)
    hint = f"did you mean `{names[nearest[0]]}`? " if nearest else ""
    shown = name if isinstance(name, str) and len(name) <= 100 else quoted(name)
    raise ConfigError(f"unknown {what} `{shown}` in {where}; {hint}Valid are: {', '.join(names.values())}")


def _parse_yaml(text: str) -> Located:
    from gapkit.options.yaml_text import parse_yaml

    return parse_yaml(text)


def _parse_toml(text: str) -> Located:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    def located(value: Any, depth: int = 0) -> Located:
        if depth >= DEEPEST:
            raise ValueError(too_deep)
        if isinstance(value, dict):
            return Located({name: located(item, depth + 1) for name, item in value.items()})
        if isinstance(value, list):
            return Located([located(item, depth + 1) for item in value])
        if isinstance(value, datetime.date | datetime.time):
            raise ValueError(f"the date or time {value} has no meaning here; write it in quotation marks")
        return Located(value)

    too_deep = f"lists and tables must not nest deeper than {DEEPEST}; write it flat"
    if _LONG_NAME.search(text):
        raise ValueError(too_deep)
    try:
        return located(tomllib.loads(text))
    except RecursionError:  # tomllib has no bound of its own
        raise ValueError(too_deep) from None

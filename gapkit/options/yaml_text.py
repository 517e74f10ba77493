"""YAML: numbers, text, true and false, null, lists and mappings, and no more of them than the text has room for.

Aliases may stand for 10,000 values beyond those that are written, and lists and mappings may nest to `DEEPEST`.  Dates
are text, as in YAML 1.2, and other tags are refused.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from gapkit.options.located import DEEPEST, Located
from gapkit.printing import quoted

_ROOM = 10_000
_CORE = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as YAML 1.2 does; PyYAML keeps to YAML 1.1, where it is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in known if tag != f"{_CORE}timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _too_deep(self.peek_event().start_mark.line)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.add_implicit_resolver(
    f"{_CORE}float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> Located:
    """The content of a file, None in an empty one; ValueError says what is wrong and where."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return Located(None, 1) if node is None else _Reader(loader, len(text) + _ROOM).located(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
        raise ValueError(f"{error.problem or error.context}{place}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"it holds the character U+{error.character:04X}, which is not text (line {line})") from error


def _too_deep(line: int) -> ValueError:
    return ValueError(f"lists and mappings must not nest deeper than {DEEPEST} (line {line + 1}); write it flat")


class _Reader:
    """From nodes to values."""

    def __init__(self, loader: _Loader, room: int) -> None:
        self.loader, self.room = loader, room
        self.around: list[Any] = []

    def located(self, node: Any, line: int | None = None) -> Located:
        """A node and what is in it; `line` is that of its name."""
        line = node.start_mark.line + 1 if line is None else line
        if any(node is each for each in self.around):
            raise ValueError(f"an alias stands inside of what it stands for (line {node.start_mark.line + 1})")
        if len(self.around) >= DEEPEST:
            raise _too_deep(node.start_mark.line)
        self.room -= 1
        if self.room < 0:
            raise ValueError(f"its aliases stand for more than {_ROOM:,} values (line {line}); write fewer of them")
        self.around.append(node)
        if isinstance(node, yaml.MappingNode):
            value: Any = self.mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            _require_tag(node, "seq")
            value = [self.located(item) for item in node.value]
        else:
            value = self.scalar(node)
        self.around.pop()
        return Located(value, line)

    def mapping(self, node: Any) -> dict[Any, Located]:
        _require_tag(node, "map")
        own, merged = dict[Any, Located](), dict[Any, Located]()
        for key_node, value_node in node.value:
            at = key_node.start_mark.line + 1
            if key_node.tag == f"{_CORE}merge":  # <<: *anchor, of which the first of a list wins
                for each in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    part = self.located(each, at)
                    if not isinstance(part.value, dict):
                        got = quoted(part.plain())
                        raise ValueError(f"`<<` must be followed by mappings, such as *name, got {got} (line {at})")
                    merged = {**part.value, **merged}
                continue
            key = self.located(key_node, at).plain()
            if key is None or isinstance(key, list | dict):
                raise ValueError(f"a name must be text, got {quoted(key)} (line {at})")
            if key in own:
                raise ValueError(f"{_named(key)} is given twice, in lines {own[key].line} and {at}")
            own[key] = self.located(value_node, at)
        return {**merged, **own}

    def scalar(self, node: Any) -> Any:
        """A number, text, true, false or None."""
        name = node.tag.removeprefix(_CORE)
        if name in ("str", "value", "merge"):
            return node.value
        _require_tag(node, "null", "bool", "int", "float")
        try:
            return self.loader.construct_object(node)
        except (ValueError, LookupError):  # what a tag of its own says it is, or a number that Python does not take
            got = quoted(node.value)
            raise ValueError(f"{got} cannot be read as {name} (line {node.start_mark.line + 1})") from None


def _require_tag(node: Any, *names: str) -> None:
    if node.tag.removeprefix(_CORE) not in names:
        line = node.start_mark.line + 1
        raise ValueError(
            f"the tag {quoted(node.tag)} has no meaning here (line {line}); write numbers, text, lists and mappings"
        )


def _named(key: Any) -> str:
    return f"`{key}`" if isinstance(key, str) and len(key) < 100 else quoted(key)

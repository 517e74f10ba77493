"""Values of every kind that a file of options can hold, and files that are hardly one, for the declared options."""

from __future__ import annotations

import random
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from gapkit.exceptions import ConfigError
from gapkit.options import read_options
from gapkit.options.declared import given

VALUES = {
    "nothing": "",
    "null": "null",
    "yes": "true",
    "zero": "0",
    "one": "1",
    "minus": "-1",
    "half": "1.5",
    "tiny": "1e-160",
    "huge": "1e308",
    "beyond": "1e999",
    "digits": "1" * 400,
    "long number": "1" * 5000,
    "hex": "0x" + "f" * 5000,
    "infinite": ".inf",
    "nan": ".nan",
    "empty": "''",
    "word": "x",
    "markup": '"[/red]"',
    "surrogate": r'"\ud800"',
    "half byte": r'"\udcff"',
    "escape": r'"\e[31m"',
    "zero byte": r'"a\0b"',
    "lines": r'"a\nb"',
    "long": "x" * 5000,
    "climbing": "../../../../../../etc/passwd",
    "device": "/dev/zero",
    "folder": ".",
    "bidi": r'"\u202ex"',
    "date": "2020-01-31",
    "time": "1:30",
    "binary": "!!binary aGk=",
    "set": "!!set {a}",
    "python": "!!python/object:os.system x",
    "list": "[]",
    "numbers": "[1, 2]",
    "words": "[x, y]",
    "mapping": "{}",
    "pairs": "{a: 1}",
    "no text": "{1: 2}",
    "true name": "{true: 1}",
    "within": "{a: {a: {a: 1}}}",
    "types": "[{type: x}]",
    "module": "[{type: os.path.X}]",
    "dots": '[{type: "..x"}]',
    "no type": "[{type: 1}]",
    "sigmas": "{x: {energy_sigma: .nan}}",
    "symbols": "{Xx: 1, Cu: .inf}",
    "deep": "[" * 60 + "]" * 60,
    "alias": "&a [*a]",
    "nowhere": "*b",
    "tab": "\t1",
}


def chosen(name: str, n: int) -> list[str]:
    """Some of the values, others for every option but the same in every run."""
    return random.Random(name).sample(sorted(VALUES), n)


def refused(cls: Any, name: str, text: str) -> bool:
    """Whether the declared check of an option refuses a value."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "options.yaml"
        file.write_text(f"{name}: {text}\n")
        try:
            given(cls, read_options(file), file)
        except ConfigError:
            return True
        return False


def options(cls: Any) -> list[str]:
    return [item.name for item in fields(cls)]


def multiplied(merge: bool) -> str:
    """A few hundred bytes whose aliases stand for 10^9 values."""
    begin, end = ("{<<: [", "]}") if merge else ("[", "]")
    lines = ["a0: &a0 {x: 1}" if merge else "a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} {begin}" + ", ".join([f"*a{i - 1}"] * 10) + end for i in range(1, 10)]
    return "\n".join(lines)


FILES: dict[str, bytes] = {
    "empty mapping of lists.yaml": b"[]",
    "a word.yaml": b"word",
    "a number.toml": b"1",
    "two documents.yaml": b"{}\n---\n{}",
    "open bracket.yaml": b"a: [",
    "open quote.yaml": b'a: "b',
    "open table.toml": b"[a",
    "open string.toml": b'a = "b',
    "tabs.yaml": b"\ta: 1",
    "control.yaml": b"a: \x01",
    "escape.yaml": b"\x1b[31ma: 1",
    "zero.yaml": b"a: \0",
    "zero.toml": b"a = '\0'",
    "latin.yaml": b"a: \xe9",
    "latin.toml": b"a = '\xe9'",
    "utf-16.yaml": "a: 1".encode("utf-16"),
    "utf-16.toml": "a = 1".encode("utf-16"),
    "utf-32.yaml": "a: 1".encode("utf-32"),
    "bytes.yaml": bytes(range(256)),
    "model.yaml": b"PK\x03\x04" + bytes(100),
    "aliases.yaml": multiplied(False).encode(),
    "merges.yaml": multiplied(True).encode(),
    "itself.yaml": b"a: &a {<<: *a}",
    "deep list.yaml": b"[" * 100_000,
    "deep mapping.yaml": b"{a: " * 20_000,
    "deep block.yaml": b"- " * 20_000,
    "deep name.yaml": b"? " * 20_000,
    "deep list.toml": b"a = " + b"[" * 100_000,
    "deep table.toml": b"a = " + b"{a=" * 20_000,
    "long name.toml": b"a." * 100_000 + b"a = 1",
    "long header.toml": b"[" + b"a." * 100_000 + b"a]",
    "quoted name.toml": b'"a".' * 50_000 + b"a = 1",
    "many.yaml": b"- x\n" * 400_000,
    "large.yaml": b"a: " + b"x" * (1 << 23),
    "large.toml": b"a = '" + b"x" * (1 << 23) + b"'",
    "twice.yaml": b"seed: 1\nseed: 2",
    "twice.toml": b"seed = 1\nseed = 2",
    "unhashable.yaml": b"? [a]\n: 1",
    "no name.yaml": b"~: 1",
    "date.toml": b"seed = 2020-01-31",
    "dates.toml": b"a = [2020-01-31T00:00:00]",
    "infinite.toml": b"seed = inf",
    "int tag.yaml": b"seed: !!int x",
    "bool tag.yaml": b"seed: !!bool x",
    "time tag.yaml": b"seed: !!timestamp x",
    "float tag.yaml": b"seed: !!float x",
    "null tag.yaml": b"seed: !!null x",
    "omap.yaml": b"!!omap [a: 1]",
    "directive.yaml": b"%YAML 9.9\n---\n{}",
    "anchors.yaml": b"&a &b c",
    "value.yaml": b"seed: =",
    "merge.yaml": b"<<: 1",
    "merges of none.yaml": b"<<: [1]",
    "no suffix": b"seed: 1",
    "other.json": b"{}",
    "other.YAML.txt": b"seed: 1",
}

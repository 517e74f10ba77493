"""Declared options: dataclasses whose fields state check, help and default; YAML and TOML files that know their lines.

Here are also the options of a fit (`fit`), and the checks of arguments that annotations tell (`checked`, `kinds`).
Classes by name, and the objects that options describe, are not here: see `io.registry`.  It imports `inputs`,
`printing` and `exceptions` alone, and nothing heavy: help waits for it.
"""

from gapkit.options.declared import Options, check_value, entries, given, option, parse, section, sections
from gapkit.options.files import read_options, require_known
from gapkit.options.located import Located

__all__ = [
    "Located", "Options", "check_value", "entries", "given", "option", "parse", "read_options",
    "require_known", "section", "sections",
]  # fmt: skip

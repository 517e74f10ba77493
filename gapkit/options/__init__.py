"""Options in files and in Python: dataclasses whose fields check their values, messages that name the line."""

from gapkit.options.declared import check_value, entries, given, help_of, option, parse, section, sections, validate
from gapkit.options.files import Located, read_options, require_known

__all__ = [
    "Located", "check_value", "entries", "given", "help_of", "option", "parse", "read_options", "require_known",
    "section", "sections", "validate",
]  # fmt: skip

"""XML of a bounded size: no entities, no document types, and only so many elements as a model can have."""

from __future__ import annotations

import os
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from gapkit.exceptions import ModelFileError
from gapkit.inputs import check_input

# The frames of the fit may lie in the file and are passed over.
PASSED_OVER = "XYZ_data"
MAX_BYTES = 1 << 30
MAX_TEXT = 300_000_000  # characters that are kept
MAX_ELEMENTS = 500_000
MAX_DEPTH = 64
_CHUNK = 1 << 20
_PER_ATTRIBUTE = 100  # characters that the bookkeeping of an attribute counts as


class _Refused(Exception):
    """What ended the reading."""


class _Limited:
    """Handlers that build a tree."""

    def __init__(self) -> None:
        self.builder = TreeBuilder()
        self.depth = self.n_elements = self.n_characters = 0
        self.passing = 0  # depth of the element that is passed over; 0: none
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.buffer_size = 1 << 16
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.data
        self.parser.StartDoctypeDeclHandler = self.doctype

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(f"elements within more than {MAX_DEPTH} others")
        if self.passing:
            return
        if tag == PASSED_OVER:
            self.passing = self.depth
            self.parser.CharacterDataHandler = None
            return
        self.n_elements += 1
        if self.n_elements > MAX_ELEMENTS:
            raise _Refused(f"more than {MAX_ELEMENTS:,} elements")
        self.count(sum(_PER_ATTRIBUTE + len(name) + len(value) for name, value in attributes.items()))
        self.builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        self.depth -= 1
        if not self.passing:
            self.builder.end(tag)
        elif self.depth < self.passing:
            self.passing = 0
            self.parser.CharacterDataHandler = self.data

    def data(self, text: str) -> None:
        self.count(len(text))
        self.builder.data(text)

    def doctype(self, *_: object) -> None:
        raise _Refused("a document type (<!DOCTYPE>)")

    def count(self, n: int) -> None:
        self.n_characters += n
        if self.n_characters > MAX_TEXT:
            raise _Refused(f"more than {MAX_TEXT:,} characters outside <{PASSED_OVER}>")


def parse(path: str | os.PathLike[str]) -> Element:
    """The root of a file.

    Raises
    ------
    ModelFileError
        If the file is missing, not well-formed, or beyond the limits of this module.
    """
    path = check_input(path, "the file of the model", error=ModelFileError)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ModelFileError(f"`{path}` must be of at most {MAX_BYTES:,} bytes, got {size:,}; leave <XYZ_data> out")
    limited = _Limited()
    try:
        with path.open("rb") as stream:
            left = MAX_BYTES  # the file may grow
            while left > 0 and (chunk := stream.read(_CHUNK)):
                left -= len(chunk)
                limited.parser.Parse(chunk, False)
        limited.parser.Parse(b"", True)
        return limited.builder.close()
    except _Refused as error:
        raise ModelFileError(f"`{path}` has {error}, which no model of QUIP has; check where it came from") from None
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise ModelFileError(f"`{path}` is not well-formed XML ({error}); it may be truncated: copy it again") from None

"""Curation of training sets: what to keep, what to add, how far to trust each label."""

from gapkit.curation import sampling

__all__ = ["sampling"]

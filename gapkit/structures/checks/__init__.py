"""Checks of training data: each finds faults of one kind, says them in words, and changes nothing.

Not here: checks that need descriptors or time order, which are in `gapkit.curation`.  They import batches, pair search
and units alone.
"""

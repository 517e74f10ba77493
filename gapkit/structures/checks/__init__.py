"""Checks of training data: each returns what it found, in words, and changes nothing."""

"""Calls of Python that could run on, or take the memory, if what they are given were not checked first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.trial import Server

START = """
import ase.io, gapkit, numpy as np
from gapkit import GAP, SOAP, GAPCalculator, Noise, Term, evaluate, load
from gapkit.sampling import alloys, rattle, random_search
frames = ase.io.read("train.extxyz", ":")
"""
NUMBERS = ["float('nan')", "float('inf')", "1e400", "10**400", "-1", "'a'", "b'x'", "{}", "object()"]
FIT = [f"GAP({name}={value}).fit(frames)" for name, extra in {
    "n_jobs": ["1.5", "0", "10**9"], "memory_limit": ["0", "1e-160"], "n_sparse": ["0", "1.5"],
    "random_state": ["2**32", "1.5"], "truncation": ["1"], "terms": ["SOAP", "[]", "[SOAP]", "[SOAP(n_max=10**9)]"],
    "calibration": ["True"], "progress": ["None"], "noise": ["0.1", "Noise"], "label_keys": ["'energy'"],
    "reference_energies": ["{'O': 1}", "{'Cu': float('nan')}", "{'Xx': 1}", "None"],
}.items() for value in [*NUMBERS, *extra] if (name, value) != ("n_jobs", "-1")]  # fmt: skip
CALLS = [
    *(f"load({value})" for value in ["None", "'.'", "3", "''", "'a\\0b'", "b'cu.gapkit'", "frames", "'x' * 10**6"]),
    *(f"GAPCalculator('cu.gapkit', skin={value})" for value in [*NUMBERS, "None", "1e5"]),
    *(f"load('cu.gapkit').predict(frames, True, interval={value})" for value in [*NUMBERS, "0", "1"]),
    *(f"load('cu.gapkit').predict({value})" for value in ["None", "'train.extxyz'", "{}", "[None]", "frames[0][0]"]),
    *(f"load('cu.gapkit').sample({value})" for value in [*NUMBERS, "0", "1.5", "10**12"]),
    *(f"rattle(frames[0], 0.1, {value})" for value in [*NUMBERS, "10**12"]),
    *(f"Noise(energy={value})" for value in [*NUMBERS, "0", "1e-160", "1e160"]),
    "evaluate(frames, load('cu.gapkit'))", "GAPCalculator(GAP())", "GAPCalculator(None)", "GAPCalculator('.')",
    "GAP(noise=Noise(per_config_type={'warm': Noise(forces=1.0)})).fit(frames)",
]  # fmt: skip


@pytest.mark.parametrize("call", FIT + CALLS)
def test_refused_at_once(server: Server, made: Path, call: str) -> None:
    server.call(made, START + call).assert_raised()


def test_swapped_arguments_are_told(server: Server, made: Path) -> None:
    call = "evaluate(frames, load('cu.gapkit'))"
    server.call(made, START + call).assert_raised("`model` and `frames` are swapped")

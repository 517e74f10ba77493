"""All public functions and classes, found by introspection, refuse what their annotations exclude: a GapkitError.

A new public parameter is tried with every value of `CANDIDATES` that its annotation does not allow.  A new type needs a
line in `ALLOWED`, and a new required parameter a value in `valid`.
"""

from __future__ import annotations

import importlib
import inspect
import io
import math
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from distributed import Client

import gapkit
from gapkit.curation import Recipe, Source, measure_coverage
from gapkit.descriptors import SOAP, Descriptor
from gapkit.exceptions import GapkitError
from gapkit.gp.noise import Noise
from gapkit.kernels import GapKernel
from gapkit.potential import GAP, SettingsSearch, Term, TwoBody
from gapkit.sparse import SparseSelector
from gapkit.structures import to_batch
from gapkit.validation import compare
from tests.cli.conftest import copper_frames

CANDIDATES: dict[str, Any] = {
    "None": None, "text": "a", "empty text": "", "half": 1.5, "nan": math.nan, "infinite": math.inf, "zero": 0,
    "minus one": -1, "huge": 10**400, "true": True, "bytes": b"x", "list": [], "dict": {}, "object": object(),
    "class": Atoms, "complex": 1j,
}  # fmt: skip
ANY = set(CANDIDATES)
REAL = {"half", "zero", "minus one"}
ALLOWED: dict[str, set[str]] = {
    "None": {"None"}, "Any": ANY, "object": ANY, "bool": {"true"}, "str": {"text", "empty text"}, "Text": {"text"},
    "PathLike": {"text"}, "float": REAL, "int": {"zero", "minus one"}, "Positive": {"half"}, "Cutoff": {"half"},
    "NotNegative": {"half", "zero"}, "Skin": {"half", "zero"}, "Reach": {"half"}, "Fraction": set(), "Count": set(),
    "Whole": {"zero"}, "SeedNumber": {"zero"}, "Seed": {"zero", "None"}, "Jobs": {"minus one"}, "Truncation": {"zero"},
    "Mapping": {"dict"}, "Grid": {"dict"}, "Rule": {"dict"}, "ReferenceEnergies": {"dict"}, "Sequence": {"list"},
    "Iterable": {"list"}, "Frames": {"list"}, "FloatArray": REAL | {"true", "list", "nan", "infinite"},
    "ArrayLike": REAL | {"true", "list", "nan", "infinite"}, "Callable": {"class"}, "Check": {"class"},
    "Chooser": {"class"}, "Lengths": {"half", "list"}, "P": ANY, "Path": {"text"}, "list": {"list", "text"},
}  # fmt: skip
ALLOWED |= {"IntArray": ALLOWED["ArrayLike"], "BoolArray": ALLOWED["ArrayLike"], "Number": {"zero"}}


def packages() -> Iterator[Any]:
    for found in pkgutil.walk_packages(gapkit.__path__, "gapkit."):
        # `options` and `cli` are what this test is about, or have no calls; neighbours are arrays in, arrays out
        if found.ispkg and found.name not in ("gapkit._core", "gapkit.options", "gapkit.cli", "gapkit.neighbours"):
            yield importlib.import_module(found.name)


EXCEPTIONS = {"Recipe.check": {"None"}, "Weights.windows": {"None"}, "SOAP.sigma": {"half"}}  # valid all the same

# Made by gapkit and not by its users, or arrays in a row: their constructors are not tried.
EXCEPTIONS = {"Recipe.check": {"None"}, "Weights.windows": {"None"}, "SOAP.sigma": {"half"}}  # valid all the same

# Made by gapkit and not by its users: their constructors are not tried, their methods are.
RESULTS = {
    "Allocation", "AtomsBatch", "Attachment", "Comparison", "Coverage", "Curated", "DaskExecutor", "DataReport",
    "DuplicateGroup", "EnergyTerm", "ErrorTable", "Errors", "Fault", "Features", "Finding", "GroupCoverage",
    "InfluenceReport", "KnownEnergy", "Labels", "Leak", "LearningCurve", "NeighbourList", "Pairs", "ParetoFront",
    "Predictions", "Pruned", "RobustFit", "Scan", "Selected", "Selection", "Shells", "TermValues", "UncertaintyMetrics",
    "UncertaintyTable", "Void", "Descriptor", "GapKernel", "SparseSelector",
}  # fmt: skip
# Of the contracts that subclasses write, arrays in and arrays out, or of scikit-learn and ASE.
METHODS = {
    GAP: "calibrate covariance difference estimate extend extrapolation fit is_extrapolating jackknife leave_one_out "
    "partial_fit predict sample save score to_quip",
    SettingsSearch: "fit", Noise: "from_gap_fit", SOAP: "fit transform",
}  # fmt: skip


def public() -> dict[str, Any]:
    """Functions, classes and methods by name."""
    found = {}
    for package in packages():
        for name in getattr(package, "__all__", ()):
            what = getattr(package, name)
            if callable(what) and name not in RESULTS and inspect.signature(what).parameters:
                found[f"{what.__module__}.{name}"] = what
    for owner, names in METHODS.items():
        found |= {f"{owner.__name__}.{name}": getattr(owner, name) for name in names.split()}
    return found


def allowed(annotation: str) -> set[str]:
    """Names of the candidates that an annotation allows, by the outermost types of its union."""
    depth, parts = 0, [""]
    for letter in annotation:
        depth += (letter == "[") - (letter == "]")
        parts = [*parts, ""] if letter == "|" and depth == 0 else [*parts[:-1], parts[-1] + letter]
    names = (re.match(r"\s*(?:\w+\.)*(\w+)", part) for part in parts)
    heads = [found[1] for found in names if found]
    found = set().union(*(ALLOWED.get(head, set()) for head in heads))
    special = {r"(whole_from|between)\(0": "zero", r"between\(0\.0": "half"}  # of Annotated
    return found | {name for pattern, name in special.items() if re.search(pattern, annotation)}


FRAMES = copper_frames(12, seed=1)


@pytest.fixture(scope="module")
def valid() -> dict[str, Any]:
    """Values of required parameters, by name."""
    terms = [Term(TwoBody(4.0), n_sparse=4), Term(SOAP(4.0, 3, 2), n_sparse=6)]
    model = GAP(terms, noise=Noise(1e-3, 0.05, 0.01), calibration=None, n_jobs=1).fit(FRAMES)
    crystal = bulk("Cu", cubic=True)
    return {
        "self": model, "model": model, "estimator": model, "frames": FRAMES, "frames_test": FRAMES, "train": FRAMES,
        "frames_a": FRAMES, "frames_b": FRAMES[:1],
        "test": FRAMES, "others": FRAMES, "snapshots": FRAMES, "atoms": crystal, "bulk": crystal, "lattice": crystal,
        "crystal": crystal, "batch": to_batch(FRAMES), "batches": [to_batch(FRAMES)], "noise": Noise(0.1, 0.1, 0.1),
        "descriptor": SOAP(4.0, 3, 2), "n": 2, "n_select": 2, "rng": np.random.default_rng(0), "X": np.eye(3),
        "tolerance": 1e-8, "counts": {"a": 3}, "n_total": 2, "width": 1.0, "exponent": 1.0, "scale": 1.0, "rate": 1.0,
        "n_channels": 2, "species": [29, 29], "distances": [1.0, 2.0], "energies": [1.0, 0.0], "calculator": EMT(),
        "settings": {"n_sparse": [4]}, "random_state": 0, "weights": np.ones((2, model.n_sparse_)), "sizes": [6],
        "windows": {1.0: 2.0}, "default_sigma": "1 1 1 0", "path": "missing", "errors": np.ones(5), "stds": np.ones(5),
        "half_widths": np.ones(5), "groups": ["a"] * 5, "first": "Cu", "second": "Cu", "composition": {"Cu": 1.0},
        "symbols": ["Cu"], "symbol": "Cu", "temperature": 300.0, "k_eff": 1.0, "largest": 0.1, "sigma": 0.1,
        "amplitude": 0.1, "n_steps": 2, "n_shells": 1, "minimum_distance": 1.0, "volume_per_atom": 12.0,
        "minimum_separations": 2.0, "budget": 3, "factors": [1.0], "miller_indices": [(1, 1, 1)], "layers": 2,
        "displacements": np.zeros((1, 2)), "calculator_or_hessian": EMT(), "n_vacancies": 1, "series": np.arange(9.0),
        "strain": np.eye(3), "rule": "sqrt", "sets": {"a": FRAMES}, "config_type": ["a"], "points": np.ones((5, 2)),
        "file": "a.xyz",
        "write_extxyz.file": io.StringIO(), "sources": [Source(file="a.xyz")], "folder": Path("missing"), "address": "tcp://nowhere:1",
        "client": Client.__new__(Client),
        "lmp": object(), "text": "", "attach": print, "recipe": Recipe(sources=[Source(file="a.xyz")]), "curated": None,
        "comparison": None, "coverage": measure_coverage(FRAMES), "curve": None, "front": None, "report": None,
        "scan": None, "plan.weights": {"a": 1.0}, "random_search.composition": "Cu",
        "conditional_coverage.comparison": compare(model, FRAMES, uncertainty=True),
    }  # fmt: skip


def used(made: Any) -> None:
    """Do with an object what checks its parameters."""
    if isinstance(made, GapKernel):
        made(np.eye(2))
    elif isinstance(made, SparseSelector):
        made.select(np.arange(4.0)[:, None], 2, rng=np.random.default_rng(0))
    elif isinstance(made, GAP | SettingsSearch | Descriptor):
        made.fit(FRAMES)


@pytest.mark.parametrize("name", public())
def test_what_annotations_exclude_is_refused(name: str, valid: dict[str, Any]) -> None:
    what = public()[name]
    parameters = inspect.signature(what).parameters.values()
    tried = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    own = name.rpartition(".")[2]
    values = {p.name: valid.get(f"{own}.{p.name}", valid.get(p.name)) for p in tried if p.default is p.empty}
    wrong = []
    for parameter in tried:
        if parameter.name in ("self", "cls"):
            continue
        where = f"{own}.{parameter.name}"
        for candidate in sorted(ANY - allowed(str(parameter.annotation)) - EXCEPTIONS.get(where, set())):
            given = values | {parameter.name: CANDIDATES[candidate]}
            first = [given.pop(p.name) for p in tried if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
            try:
                used(what(*first, **given))
            except GapkitError as error:
                if f"`{parameter.name}" not in str(error):
                    wrong.append(f"{where}={candidate}: does not name it: {error}")
            except Exception as error:  # noqa: BLE001  (what this test is about)
                wrong.append(f"{where}={candidate}: {type(error).__name__}: {error}")
            else:
                wrong.append(f"{where}={candidate}: no error")
    assert not wrong, "\n".join(wrong)


def test_nothing_public_is_left_out() -> None:
    parameters = [p for what in public().values() for p in inspect.signature(what).parameters.values()]
    assert sum(len(ANY - allowed(str(p.annotation))) for p in parameters if p.annotation is not p.empty) > 4000
    for owner in (GAP, SettingsSearch):
        methods = {name for base in owner.__mro__ if base.__module__.startswith("gapkit.") for name in vars(base)}
        takes = {
            name for name in methods - {"from_state", "with_state"}  # for those who know what a state is
            if not name.startswith(("_", "set_")) and inspect.isroutine(method := getattr(owner, name, None))
            and set(inspect.signature(method).parameters) - {"self", "cls"}
        }  # fmt: skip
        assert takes == {*METHODS[owner].split()}, owner

"""Classes by name: registered where they are defined, found by model files and by configuration files."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gapkit import SOAP, Term, TwoBody
from gapkit.descriptors import TripletDistances
from gapkit.exceptions import ConfigError, InputError
from gapkit.io.codec import decode, encode
from gapkit.io.registry import classes, find, made_arguments, make, registered


@registered("CutoffFunction")
@dataclass(frozen=True)
class ShiftedCutoff:
    """1 - r / r_c: for tests."""

    scale: float = 1.0

    def __call__(self, distances: np.ndarray, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        return 1.0 - self.scale * distances / cutoff, np.full_like(distances, -self.scale / cutoff)


def test_a_cutoff_of_ones_own_is_named_in_a_configuration() -> None:
    made = make({"type": "SOAP", "cutoff_function": {"type": "ShiftedCutoff", "scale": 0.5}}, "Descriptor", "here")
    assert made.cutoff_function == ShiftedCutoff(0.5)
    assert make({"type": "SOAP", "cutoff_function": "ShiftedCutoff"}, "Descriptor", "here").cutoff_function.scale == 1.0
    assert make({"type": "SOAP", "cutoff_function": None}, "Descriptor", "here").cutoff_function is None


def test_a_class_of_ones_own_goes_through_a_model_file_with_its_module() -> None:
    plain = encode(SOAP(cutoff_function=ShiftedCutoff(0.5)))
    assert plain["arguments"]["cutoff_function"]["module"] == ShiftedCutoff.__module__
    assert "module" not in plain
    assert decode(plain).cutoff_function == ShiftedCutoff(0.5)


def test_a_class_that_was_not_imported_is_asked_for_by_its_module() -> None:
    plain = {"class": "NeverSeen", "arguments": {}, "module": "their.descriptors"}
    with pytest.raises(InputError, match=r"'NeverSeen'; import their\.descriptors, which defines it"):
        decode(plain)
    with pytest.raises(InputError, match=r"'NeverSeen'; it may be of a newer gapkit"):
        decode({"class": "NeverSeen", "arguments": {}})


def test_a_class_that_is_not_registered_cannot_be_saved() -> None:
    with pytest.raises(InputError, match=r"cannot hold a Path|cannot hold a PosixPath"):
        encode({"a": [Path()]})


def test_former_names_are_read_and_not_written() -> None:
    plain = encode(TripletDistances(3.0))
    assert plain["class"] == "TripletDistances"
    assert isinstance(decode({**plain, "class": "Triangles"}), TripletDistances)
    assert "Triangles" not in classes("Descriptor")


def test_a_name_belongs_to_one_module() -> None:
    with pytest.raises(InputError, match=r"a class SOAP is registered already, by gapkit\.descriptors"):
        registered("Descriptor")(type("SOAP", (), {"__module__": "elsewhere"}))
    assert find("SOAP") is SOAP


def test_a_module_is_imported_by_a_name_with_a_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_switches.py").write_text(
        "from dataclasses import dataclass\nfrom gapkit.io.registry import registered\n"
        "@registered('CutoffFunction')\n@dataclass(frozen=True)\nclass Theirs:\n    width: float\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = make({"type": "their_switches.Theirs", "width": 2}, "CutoffFunction", "here")
    assert made.width == 2
    assert type(made) is sys.modules["their_switches"].Theirs
    with pytest.raises(ConfigError, match=r"`no_such_module\.X` in here cannot be imported"):
        make("no_such_module.X", "CutoffFunction", "here")


def test_arguments_are_checked_by_their_annotations() -> None:
    assert made_arguments(Term, {"n_sparse": {"Si": 3}, "selector": "cur"}, "here")["n_sparse"] == {"Si": 3}
    assert made_arguments(Term, {"n_sparse": None}, "here") == {"n_sparse": None}
    for wrong in ("many", {"Si": "many"}, True, 2.5):
        with pytest.raises(ConfigError, match=r"`n_sparse.* of here must be a whole number"):
            made_arguments(Term, {"n_sparse": wrong}, "here")
    with pytest.raises(
        ConfigError, match=r"TwoBody in here|`cutoff` of TwoBody in here must be a number from 0.5 to 20"
    ):
        make({"type": "TwoBody", "cutoff": "far"}, "Descriptor", "here")
    assert make({"type": "TwoBody", "cutoff": 3}, "Descriptor", "here").get_params() == TwoBody(3).get_params()


def test_every_descriptor_has_a_name() -> None:
    assert {"SOAP", "TwoBody", "ThreeBody", "TripletDistances", "DScribeSOAP", "DScribeACSF"} <= set(
        classes("Descriptor")
    )
    assert list(classes("RadialBasis")) == ["gaussian", "gto", "polynomial"]


def test_a_list_of_objects() -> None:
    tables = [{"type": "PairTable", "species": [14, 14], "distances": [1.0, 2.0], "energies": [1.0, 0.0]}]
    made = make({"type": "PairTables", "tables": tables}, "EnergyTerm", "here")
    assert made.reach == 2.0

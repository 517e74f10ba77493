"""What a configuration names becomes the objects of the library."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import pytest

from gapkit import GAP, SOAP, LabelKeys, Noise, Term, ThreeBody, TwoBody
from gapkit.cli.build import build_estimator, build_keys, build_noise, build_terms
from gapkit.descriptors import CosineCutoff
from gapkit.exceptions import ConfigError, InputError
from gapkit.kernels import DotProduct
from gapkit.options.fit import FitConfig, LabelOptions
from gapkit.potential.defaults import default_terms
from gapkit.sparse import KMeans
from gapkit.structures import to_batch
from gapkit.terms import ZBL, LennardJones
from tests.cli.conftest import copper_frames


def terms(*mappings: dict[str, Any], **options: Any) -> list[Term]:
    built = build_terms(FitConfig(terms=list(mappings), **options))
    assert built is not None
    return built


def test_arguments_reach_descriptor_kernel_and_selector() -> None:
    (term,) = terms(
        {
            "type": "SOAP",
            "cutoff": 5,
            "n_max": 4,
            "cutoff_function": {"type": "CosineCutoff", "width": 0.5},
            "kernel": {"type": "DotProduct", "zeta": 2},
            "selector": "kmeans",
            "n_sparse": 30,
        }
    )
    assert isinstance(term.descriptor, SOAP)
    assert (term.descriptor.cutoff, term.descriptor.n_max, term.n_sparse) == (5, 4, 30)
    assert term.descriptor.cutoff_function == CosineCutoff(0.5)
    assert isinstance(term.kernel, DotProduct)
    assert term.kernel.zeta == 2
    assert isinstance(term.selector, KMeans)


def test_what_is_not_given_is_left_to_the_library() -> None:
    (term,) = terms({"type": "ThreeBody"})
    assert isinstance(term.descriptor, ThreeBody)
    assert term.descriptor.get_params() == ThreeBody().get_params()
    assert (term.kernel, term.selector, term.n_sparse) == (None, None, None)


def test_the_cutoff_is_for_terms_that_name_none() -> None:
    two_body, soap = terms({"type": "TwoBody"}, {"type": "SOAP", "cutoff": 4.0}, cutoff=6.0)
    assert (two_body.descriptor.cutoff, soap.descriptor.cutoff) == (6.0, 4.0)
    with pytest.raises(ConfigError, match="no effect"):
        terms({"type": "SOAP", "cutoff": 4.0}, cutoff=6.0)


def test_a_cutoff_without_terms_replaces_the_one_of_the_chosen_terms() -> None:
    assert build_terms(FitConfig(cutoff=3.9)) is None
    chosen = [term.descriptor for term in default_terms(to_batch(copper_frames(2, seed=0), labels=False), 3.9)]
    assert [type(descriptor) for descriptor in chosen] == [TwoBody, SOAP]
    assert [descriptor.cutoff for descriptor in chosen] == [3.9, 3.9]


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({"type": "Soap"}, ["type of term `Soap`", "did you mean `SOAP`?"]),
        ({"type": "SOAP", "nmax": 4}, ["argument of SOAP `nmax`", "did you mean `n_max`?", "selector"]),
        ({"type": "SOAP", "n_max": "many"}, ["`n_max` of SOAP", "a whole number >= 1 and <= 24", "'many'"]),
        ({"type": "SOAP", "n_max": True}, ["`n_max` of SOAP", "a whole number >= 1 and <= 24", "True"]),
        ({"type": "SOAP", "n_max": 4.5}, ["`n_max` of SOAP", "a whole number >= 1 and <= 24", "4.5"]),
        ({"type": "SOAP", "n_sparse": "all"}, ["`n_sparse`", "'all'"]),
        ({"type": "SOAP", "n_sparse": 0}, ["`n_sparse`", "0"]),
        ({"type": "SOAP", "kernel": {"zeta": 2}}, ["kernel", "`type`"]),
        ({"type": "SOAP", "kernel": "RBF"}, ["kernel `RBF`", "SquaredExponential"]),
        ({"type": "SOAP", "kernel": {"type": "DotProduct", "zeta": "high"}}, ["`zeta` of DotProduct", "'high'"]),
        ({"type": "SOAP", "selector": {"type": "CUR"}}, ["selector `CUR`", "did you mean `cur`?"]),
        ({"type": "SOAP", "cutoff_function": {"type": "CosineCutoff", "width": -1}}, ["CosineCutoff", "`width`", "-1"]),
        ({"type": "SOAP", "cutoff_function": {"type": "CosineCutoff"}}, ["CosineCutoff", "width"]),
    ],
)
def test_a_mistake_is_named_with_its_term(mapping: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        terms({"type": "TwoBody"}, mapping)
    assert all(part in str(caught.value) for part in [*parts, "number 2"]), str(caught.value)


def test_noise_and_the_rest_reach_the_estimator() -> None:
    config = FitConfig(
        energy_sigma=0.002, config_types={"hot": {"forces_sigma": 1.0}}, n_sparse=7, seed=3, e0="isolated", n_jobs=1,
        forces_key="REF_forces",
    )  # fmt: skip
    assert build_noise(config) == Noise(energy=0.002, per_config_type={"hot": Noise(forces=1.0)})
    assert build_noise(FitConfig(noise_by_config_type=True)) == Noise(by_config_type=True)
    model = build_estimator(config)
    assert (model.n_sparse, model.random_state, model.reference_energies, model.n_jobs) == (7, 3, "isolated", 1)
    assert (model.label_keys.forces, model.label_keys.energy) == ("REF_forces", "energy")


# An option of the configuration for each parameter of GAP, with a value that is not the default, and what follows.
REACHED: dict[str, tuple[dict[str, Any], Any]] = {
    "terms": ({"terms": [{"type": "TwoBody", "cutoff": 3.0, "n_sparse": 5}]}, [Term(TwoBody(3.0), n_sparse=5)]),
    "n_sparse": ({"n_sparse": 7}, 7),
    "truncation": ({"truncation": 1e-5}, 1e-5),
    "noise": ({"energy_sigma": 0.002}, Noise(energy=0.002)),
    "reference_energies": ({"e0": "Si=-1"}, {"Si": -1.0}),
    "energy_terms": ({"energy_terms": [{"type": "ZBL", "inner": 0.5}]}, [ZBL(inner=0.5)]),
    "label_keys": ({"stress_key": "s"}, LabelKeys(stress="s")),
    "random_state": ({"seed": 3}, 3),
    "calibration": ({"calibrate": False}, None),
    "memory_limit": ({"memory_limit": 2}, 2.0),
    "n_jobs": ({"n_jobs": 2}, 2),
    "progress": ({"quiet": True}, False),
}


def test_every_parameter_is_set_by_an_option() -> None:
    declared = {item.metadata["sets"] for item in fields(FitConfig)} - {None}
    assert declared == set(inspect.signature(GAP).parameters) == set(REACHED)


@pytest.mark.parametrize("name", list(REACHED))
def test_every_parameter_is_reached(name: str) -> None:
    options, expected = REACHED[name]
    default, given = build_estimator(FitConfig()).get_params(deep=False), build_estimator(FitConfig(**options))
    assert repr(getattr(given, name)) == repr(expected)
    changed = {other for other, value in given.get_params(deep=False).items() if repr(value) != repr(default[other])}
    assert changed == {name}


def test_defaults_are_those_of_the_estimator() -> None:
    plain = {item.metadata["sets"]: item.default for item in fields(FitConfig) if item.metadata["sets"]}
    differ = {"noise", "label_keys", "energy_terms", "calibration", "progress"}  # of another form in a configuration
    for name, parameter in inspect.signature(GAP).parameters.items():
        if name not in differ:
            assert plain[name] == parameter.default, name


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"n_sparse": 0}, "`n_sparse` must be a whole number >= 1, or None, got 0"),
        ({"truncation": 0.5}, r"`truncation` must be a number from 0 to 0\.01, got 0\.5"),
        ({"truncation": None}, "`truncation` must be a number"),
        ({"memory_limit": -1.0}, "`memory_limit` must be a number > 0"),
        ({"n_jobs": 0}, "`n_jobs` must be a whole number >= 1"),
        ({"terms": []}, "`terms` must be a list with at least one"),
        ({"terms": ["SOAP"]}, r"`terms\[0\]` must be a Term, or a descriptor"),
        ({"terms": SOAP()}, "`terms` must be a list"),
        ({"energy_terms": ["ZBL"]}, "`energy_terms"),
        ({"energy_terms": None}, "`energy_terms"),
        ({"noise": 0.1}, "`noise` must be a Noise"),
        ({"label_keys": {}}, "`label_keys` must be LabelKeys"),
        ({"calibration": "cv"}, "`calibration` must be"),
    ],
)
def test_the_estimator_checks_what_the_options_declare(parameters: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        GAP(**parameters).fit(copper_frames(2, seed=0))


def test_further_keys_and_sigmas() -> None:
    keys = build_keys(FitConfig(label_keys={"force_mask": "frozen", "energy": "a"}, energy_key="b"))
    assert keys == LabelKeys(force_mask="frozen", energy="b")
    assert build_keys(LabelOptions(forces_key="f"), keys) == LabelKeys(force_mask="frozen", energy="b", forces="f")
    with pytest.raises(InputError, match="`others` of LabelKeys must name targets"):
        build_keys(FitConfig(label_keys={"dipol": "d"}))
    with pytest.raises(InputError, match="`others` must name targets"):
        build_noise(FitConfig(noise={"dipol": 0.1}))


def test_energy_terms_by_name_and_by_mapping() -> None:
    for given in ("ZBL, LennardJones", ["ZBL", "LennardJones"], [{"type": "ZBL"}, "LennardJones"]):
        found = build_estimator(FitConfig(energy_terms=given)).energy_terms
        assert found == [ZBL(), LennardJones()]
    with pytest.raises(ConfigError, match=r"unknown energy term `Zbl` in `energy_terms`, number 1; did you mean `ZBL`"):
        build_estimator(FitConfig(energy_terms="Zbl"))
    for wrong in ("", 3, [{"inner": 1.0}], [3], {"type": "ZBL"}):
        with pytest.raises(ConfigError, match="`energy_terms` must be names of energy terms, such as ZBL"):
            FitConfig(energy_terms=wrong)  # type: ignore[arg-type]

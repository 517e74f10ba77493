"""Terms of a configuration become the objects that they name."""

from __future__ import annotations

from typing import Any

import pytest

from gapkit import SOAP, Noise, Term, ThreeBody, TwoBody
from gapkit.cli.build import build_estimator, build_noise
from gapkit.cli.config import FitConfig
from gapkit.cli.terms import build_terms, choose_terms
from gapkit.descriptors import CosineCutoff
from gapkit.exceptions import ConfigError
from gapkit.kernels import DotProduct
from gapkit.sparse import KMeans
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
    chosen = [term.descriptor for term in choose_terms(3.9, copper_frames(2, seed=0))]
    assert [type(descriptor) for descriptor in chosen] == [TwoBody, SOAP]
    assert [descriptor.cutoff for descriptor in chosen] == [3.9, 3.9]


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({"type": "Soap"}, ["type of term `Soap`", "did you mean `SOAP`?"]),
        ({"type": "SOAP", "nmax": 4}, ["argument of SOAP `nmax`", "did you mean `n_max`?", "selector"]),
        ({"type": "SOAP", "n_max": "many"}, ["`n_max` of SOAP", "type int", "'many'"]),
        ({"type": "SOAP", "n_max": True}, ["`n_max` of SOAP", "type int", "True"]),
        ({"type": "SOAP", "n_max": 4.5}, ["`n_max` of SOAP", "type int", "4.5"]),
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
    model = build_estimator(config)
    assert (model.n_sparse, model.random_state, model.reference_energies, model.n_jobs) == (7, 3, "isolated", 1)
    assert (model.label_keys.forces, model.label_keys.energy) == ("REF_forces", "energy")

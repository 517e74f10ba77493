"""A small reader of the gap.xml and sparseX files of gap_fit: enough for soap, distance_2b and angle_3b."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np

from gapkit.descriptors import SOAP, CosineCutoff, ThreeBody, TwoBody
from gapkit.gp.basis import SparseBasis
from gapkit.gp.posterior import Posterior
from gapkit.gp.solver import PriorBlock
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential.linear_model import LinearModel


def options(text: str) -> tuple[str, dict[str, str]]:
    """Name and key=value pairs of a descriptor string; values in braces may hold spaces."""
    name, rest = text.split(maxsplit=1)
    return name, {key: value.strip("{} ") for key, value in re.findall(r"(\w+)=(\{[^}]*\}|\S+)", rest)}


def read_model(path: Path) -> LinearModel:
    """The potential of a gap.xml as a gapkit model with QUIP's weights."""
    root = ElementTree.parse(path).getroot()
    energies = {int(e.get("Z")): float(e.get("value")) for e in root.iter("e0") if float(e.get("value")) != 0.0}
    engines, kernels, points, weights = [], [], [], []
    for item in root.iter("gpCoordinates"):
        name, given = options(item.find("descriptor").text)
        width = CosineCutoff(float(given.get("cutoff_transition_width", 0.5)))
        cutoff = float(given["cutoff"])
        x = np.loadtxt(path.parent / item.get("sparseX_filename")).reshape(-1, int(item.get("dimensions")))
        if name == "soap":
            species = [int(z) for z in given.get("species_Z", given["Z"]).split()]
            n_max, l_max, sigma = int(given["n_max"]), int(given["l_max"]), float(given["atom_sigma"])
            descriptor = SOAP(cutoff, n_max, l_max, sigma, cutoff_function=width)
            block = (int(given["Z"]),)
            kernel = DotProduct(zeta=float(item.get("zeta")), sigma0=float(given.get("covariance_sigma0", 0.0)))
            internal = np.empty_like(x[:, :-1])
            internal[:, descriptor.engine(species).public_order] = x[:, :-1]
            x = internal
        else:
            keys = ("Z1", "Z2") if name == "distance_2b" else ("Z", "Z1", "Z2")
            block = tuple(int(given[key]) for key in keys)
            species = sorted(set(block))
            descriptor = {"distance_2b": TwoBody, "angle_3b": ThreeBody}[name](cutoff, cutoff_function=width)
            kernel = SquaredExponential(length_scale=np.array(item.find("theta").text.split(), float))
        sparse = item.findall("sparseX")
        alpha, factor = (np.array([float(s.get(key)) for s in sparse]) for key in ("alpha", "sparseCutoff"))
        engines.append(descriptor.engine(species))
        kernels.append(kernel)
        points.append([(block, x)])
        weights.append(float(item.get("signal_variance")) ** 2 * alpha * factor)
    basis = SparseBasis.build(engines, kernels, points)
    prior = [PriorBlock(b.columns, np.eye(len(b.points)), 0.0) for term in basis.terms for b in term.blocks]
    posterior = Posterior(np.eye(basis.n_columns), prior, None)
    return LinearModel(basis, posterior, np.concatenate(weights), energies)

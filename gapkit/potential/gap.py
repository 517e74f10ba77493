"""The Gaussian approximation potential: a scikit-learn estimator over lists of `ase.Atoms`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from gapkit.descriptors import Descriptor
from gapkit.descriptors.base import check_species
from gapkit.exceptions import DataError, NotFittedModelError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.evidence import maximise_evidence
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import DEFAULT_NOISE, KINDS, Noise
from gapkit.gp.posterior import Posterior
from gapkit.gp.prediction import predict
from gapkit.gp.solver import solve_weights
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.parallel import limit_blas
from gapkit.potential import defaults
from gapkit.potential.baselines import Baseline
from gapkit.potential.predictions import Predictions
from gapkit.potential.reference_energies import ReferenceEnergies, reference_energies
from gapkit.potential.sparsify import select_points
from gapkit.potential.terms import Term, as_term
from gapkit.potential.training import Targets, accumulate, make_targets
from gapkit.structures import AtomsBatch, LabelKeys, describe, to_batch
from gapkit.typing import FloatArray


class GAP(BaseEstimator):
    """Sparse Gaussian process potential for energies, forces and virials.

    Parameters
    ----------
    terms : list of Term or Descriptor, or None
        Parts of the energy; None: a two-body and a SOAP term with cutoffs chosen from the data.
    n_sparse : int or None
        Sparse points shared by the terms that do not name theirs; None: chosen from the data's size.
    noise : Noise or None
        Standard deviations of the labels; those left None are found by evidence.
    reference_energies : {"auto", "isolated", "least_squares"} or mapping of symbol to eV
        Energies of the free (or average) atoms.
    baseline : Baseline or None
        Subtracted before the fit and added back in prediction, for example ``ZBL()``.
    label_keys : LabelKeys or None
        Where the labels are found in `atoms.info` and `atoms.arrays`.
    random_state : int, RandomState or None
        Governs every draw; the same seed gives the same model.
    n_jobs : int or None
        Threads; None: all cores.
    progress : bool
        Show progress bars on standard error.

    Attributes
    ----------
    terms_ : list of Term
        The terms used.
    species_ : tuple of str
    reference_energies_ : dict of str to float
        eV.
    noise_ : Noise
        Noise used, per atom for energies and virials (eV), per component for forces (eV/Å).
    scales_ : dict of int to float
        delta in eV of each term, by its index.
    n_sparse_ : int
    weights_ : ndarray (M,)
        Multiply unit-scale kernel values, eV.
    log_marginal_likelihood_ : float
    report_ : DataReport
        What the training data hold.
    metadata_ : dict
        Times, digest of the training set, versions.

    Examples
    --------
    >>> model = GAP().fit(ase.io.read("train.extxyz", ":"))  # doctest: +SKIP
    >>> model.predict(frames).forces  # doctest: +SKIP
    """

    def __init__(
        self,
        terms: Sequence[Term | Descriptor] | None = None,
        *,
        n_sparse: int | None = None,
        noise: Noise | None = None,
        reference_energies: ReferenceEnergies = "auto",
        baseline: Baseline | None = None,
        label_keys: LabelKeys | None = None,
        random_state: int | np.random.RandomState | None = 0,
        n_jobs: int | None = None,
        progress: bool = False,
    ) -> None:
        self.terms = terms
        self.n_sparse = n_sparse
        self.noise = noise
        self.reference_energies = reference_energies
        self.baseline = baseline
        self.label_keys = label_keys
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.progress = progress

    def fit(self, frames: Atoms | Sequence[Atoms], y: object = None) -> GAP:
        """Fit to labelled frames."""
        begin = time.perf_counter()
        batch = self._labelled(frames)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1))
        report = describe(batch)
        energies = reference_energies(batch, self.reference_energies, report.isolated_atoms)
        terms = [as_term(item) for item in self.terms] if self.terms is not None else defaults.default_terms(batch)
        engines = [term.descriptor.engine(term.descriptor.species or batch.species) for term in terms]
        numbers, explicit = self._shares(terms, engines, batch)
        points = select_points(terms, engines, numbers, batch, rng, explicit=explicit)
        self._basis = SparseBasis.build(engines, [term.resolved_kernel() for term in terms], points)
        self._prior = self._basis.prior()
        selected = time.perf_counter()
        self._energies = energies
        self._species = batch.species
        noise = self.noise or Noise()
        self._factors: dict[str, TriangularFactor] = {}
        accumulate(
            self._basis, batch, self._targets(batch, noise), self._factors, n_jobs=self.n_jobs, progress=self.progress
        )
        accumulated = time.perf_counter()
        self.terms_ = terms
        self.report_ = report
        with limit_blas(self.n_jobs):
            self._choose_noise(noise, batch)
            optimised = time.perf_counter()
            self._solve()
        done = time.perf_counter()
        self.metadata_ = {
            "seconds": {
                "select": selected - begin, "rows": accumulated - selected, "evidence": optimised - accumulated,
                "solve": done - optimised,
            },
        }  # fmt: skip
        return self

    def _labelled(self, frames: Atoms | Sequence[Atoms]) -> AtomsBatch:
        batch = to_batch(frames, keys=self.label_keys or LabelKeys())
        labels = batch.labels
        if labels is None or not (labels.has_energy.any() or labels.has_forces.any() or labels.has_virial.any()):
            raise DataError(
                "training frames must have energies or forces, found no label at all; check the names of the keys "
                "(`label_keys`, on the command line --energy-key and --forces-key)"
            )
        return batch

    def _shares(self, terms: list[Term], engines: list[Any], batch: AtomsBatch) -> tuple[list[int], list[bool]]:
        numbers = []
        total = self.n_sparse or defaults.default_n_sparse(batch)
        open_terms = max(sum(term.n_sparse is None and engine.is_atomic for term, engine in zip(terms, engines, strict=True)), 1)
        for term, engine in zip(terms, engines, strict=True):
            if term.n_sparse is not None:
                numbers.append(term.n_sparse)
            elif engine.is_atomic:
                numbers.append(max(total // open_terms, 1))
            else:
                numbers.append(defaults.N_SPARSE_PAIRS * len(engine.blocks) * engine.n_features)
        explicit = [
            term.n_sparse is not None or (self.n_sparse is not None and engine.is_atomic)
            for term, engine in zip(terms, engines, strict=True)
        ]
        return numbers, explicit

    def _targets(self, batch: AtomsBatch, noise: Noise) -> Targets:
        assert batch.labels is not None
        offset = batch.compositions(self._species) @ np.array([self._energies[z] for z in self._species])
        baseline = None
        if self.baseline is not None:
            local, forces, virials = self.baseline(batch, build_neighbour_list(batch, self.baseline.cutoff))
            offset = offset + np.bincount(batch.frame_of_atom, local, batch.n_frames)
            baseline = (forces, virials)
        return make_targets(batch, batch.labels, offset, baseline, noise)

    def _choose_noise(self, noise: Noise, batch: AtomsBatch) -> None:
        kernels = [term.resolved_kernel() for term in self.terms_]
        groups = self._basis.term_of_block
        used = sorted(set(groups))
        order = {term: i for i, term in enumerate(used)}
        start_scales = [kernels[term].delta for term in groups]
        start = {kind: value for kind, value in noise.filled(DEFAULT_NOISE).as_dict().items() if kind in self._factors}
        fixed_noise = [kind for kind in self._factors if kind not in noise.free]
        fixed_scales = [order[t] for t in used if kernels[t].hyperparameter_delta.fixed]
        result = maximise_evidence(
            self._factors, start, self._prior, start_scales, groups=[order[t] for t in groups],
            fixed_noise=fixed_noise, fixed_scales=fixed_scales, random_state=0,
        )  # fmt: skip
        self.evidence_ = result
        self._noise = result.noise
        self._scales = list(result.scales)

    def _solve(self) -> None:
        solution = solve_weights(self._factors, self._noise, self._prior, self._scales)
        self._posterior = Posterior(solution.R, self._prior, self._scales)
        self.weights_ = solution.weights
        self.log_marginal_likelihood_ = solution.log_marginal_likelihood
        self.noise_ = Noise(**{kind: self._noise.get(kind) for kind in KINDS})
        self.species_ = tuple(chemical_symbols[z] for z in self._species)
        self.reference_energies_ = {chemical_symbols[z]: e for z, e in self._energies.items()}
        self.scales_ = dict(zip(self._basis.term_of_block, self._scales, strict=True))
        self.n_sparse_ = self._basis.n_columns

    def predict(self, frames: Atoms | Sequence[Atoms], return_std: bool = False) -> Predictions:
        """Energies, forces and stresses."""
        batch = to_batch(frames, labels=False)
        check_species(batch.species, self._species)
        reach = max(self._basis.reach, getattr(self.baseline, "cutoff", 0.0))
        return self._predict(batch, build_neighbour_list(batch, reach), return_std)

    def _predict(self, batch: AtomsBatch, neighbours: NeighbourList, return_std: bool) -> Predictions:
        result = predict(
            self._basis, self.weights_, batch, neighbours,
            posterior=self._posterior if return_std else None, n_jobs=self.n_jobs,
        )  # fmt: skip
        table = np.zeros(max(self._species) + 1)
        table[list(self._energies)] = list(self._energies.values())
        local = result.local_energies + table[batch.numbers]
        forces, virials = result.forces, result.virials
        if self.baseline is not None:
            extra = self.baseline(batch, neighbours)
            local, forces, virials = local + extra[0], forces + extra[1], virials + extra[2]
        stress = -0.5 * (virials + virials.transpose(0, 2, 1)) / batch.volumes[:, None, None]
        v = result.variance
        return Predictions(
            energy=np.add.reduceat(local, batch.offsets[:-1]),
            forces=forces,
            stress=stress[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
            virial=virials,
            local_energies=local,
            offsets=batch.offsets,
            **(
                {}
                if v is None
                else {
                    "local_energies_std": np.sqrt(v.data + v.prior_residual),
                    "local_data_variance": v.data,
                    "local_prior_variance": v.prior_residual,
                    "novelty": v.novelty,
                }
            ),
        )

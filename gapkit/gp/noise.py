"""How far each label can be trusted: the standard deviation of every training row.

Each target has one global sigma, per atom for energies and virials, per component for forces.  The absolute standard
deviation of a row is, in order of precedence,

1. the label's own, where it is not NaN: `energy_sigma` (eV, whole frame), `force_sigma` (eV/Å, each component),
   `virial_sigma` (eV, each component of the whole frame);
2. that of the configuration type: sigma_type * sqrt(N) for energies and virials of N atoms, sigma_type for forces;
3. the global one, likewise.

Rows are folded into factors with relative sigmas, sigma_row / sigma, so that the global sigma can be changed later
without a second pass over the data.  Where evidence chooses it, relative sigmas are taken with respect to a reference,
and keep that ratio to the optimum.  Sigmas include what the model cannot represent, which is not the same everywhere:
nothing in perfect crystals, much in hot or rare structures.  `by_config_type` finds it for every configuration type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.options.checked import Checked, checked
from gapkit.options.kinds import Positive
from gapkit.structures.labels import Labels
from gapkit.targets import TARGETS
from gapkit.typing import FloatArray, IntArray


@registered("Noise")
@dataclass(frozen=True)
class Noise(Checked):
    """Global noise of each kind of target; None means: choose it by evidence.

    Parameters
    ----------
    energy : float, optional
        eV/atom; a frame of N atoms gets energy * sqrt(N).
    forces : float, optional
        eV/Å, each component.
    virial : float, optional
        eV/atom, each component; a frame of N atoms gets virial * sqrt(N).
    per_config_type : mapping of str to Noise
        Values that replace the global ones for frames of a configuration type. None there means: as the global one.
    others : mapping of str to float
        Sigmas of further targets, by their names in `gapkit.targets.TARGETS`.
    by_config_type : bool
        Let evidence find the noise of the forces for every configuration type with enough of them; the noise of the
        energies follows it.  See `gapkit.potential.training.types_of_noise`.
    """

    energy: Positive | None = None
    forces: Positive | None = None
    virial: Positive | None = None
    per_config_type: Mapping[str, Noise] = field(default_factory=dict)
    others: Mapping[str, Positive] = field(default_factory=dict)
    by_config_type: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by_config_type and self.forces is not None:
            raise InputError(
                "`by_config_type` lets evidence find the noise of the forces, so that `forces` must be None, got "
                f"{self.forces!r}; leave one of them out, or give `per_config_type`"
            )
        if unknown := set(self.others) - set(TARGETS):
            raise InputError(f"`others` must name targets ({', '.join(TARGETS)}), got {sorted(unknown)}")
        for name, override in self.per_config_type.items():
            if override.per_config_type:
                raise InputError(f"`per_config_type[{name!r}]` must not have a `per_config_type` of its own")

    @classmethod
    @checked
    def from_gap_fit(cls, default_sigma: str, config_type_sigma: str = "") -> Noise:
        """Noise as users of gap_fit write it; energies, forces, virials and Hessians mean the same there.

        Parameters
        ----------
        default_sigma : str
            "energy force virial hessian", as in ``default_sigma={0.001 0.1 0.05 0.0}``; braces may stay.
        config_type_sigma : str
            "type:energy:force:virial:hessian:type:...", as in ``config_type_sigma={liquid:0.01:0.2:0.2:0.0}``.

        Raises
        ------
        InputError
            If a string cannot be read, or a sigma of an energy, force or virial is not >= 0; 0 means "not given".

        Examples
        --------
        >>> Noise.from_gap_fit("0.001 0.1 0.05 0.0", "liquid:0.01:0.2:0.2:0.0").per_config_type["liquid"].forces
        0.2
        """
        parts = config_type_sigma.strip().strip("{}").split(":") if config_type_sigma.strip(" {}") else []
        if len(parts) % 5:
            raise InputError(
                "`config_type_sigma` must repeat type:energy:force:virial:hessian, five items each, got "
                f"{len(parts)} items in {config_type_sigma!r}"
            )
        table = {parts[i].strip(): _sigmas(parts[i + 1 : i + 5], "config_type_sigma") for i in range(0, len(parts), 5)}
        default = _sigmas(default_sigma.strip().strip("{}").split(), "default_sigma")
        return replace(default, per_config_type=table)

    @classmethod
    def of_kinds(cls, sigmas: Mapping[str, float | None], per_config_type: Mapping[str, Noise] | None = None) -> Noise:
        """Noise of sigmas by name of the target; those left out are chosen by evidence."""
        named: dict[str, Any] = {own.name: sigmas.get(own.name) for own in fields(cls) if own.name in TARGETS}
        others = {kind: sigma for kind, sigma in sigmas.items() if kind not in named and sigma is not None}
        return cls(**named, per_config_type=per_config_type or {}, others=others)

    def of(self, kind: str) -> float | None:
        """Global sigma of a target, None where evidence chooses it."""
        return self.others.get(kind, getattr(self, kind, None))

    def filled(self, reference: Noise | None = None) -> Noise:
        """A copy in which None is replaced by the value of `reference`, and else by that of the table of targets."""
        reference = reference or Noise()
        sigmas = {kind: self.of(kind) or reference.of(kind) or target.noise for kind, target in TARGETS.items()}
        return self.of_kinds(sigmas, self.per_config_type)

    def with_ratios(self, ratios: Mapping[str, Mapping[str, float]]) -> Noise:
        """A copy in which types have these ratios, by type and kind, to the global noise (or its reference)."""
        sigmas = self.filled().as_dict()
        table = {
            name: self.of_kinds({kind: ratio * sigmas[kind] for kind, ratio in own.items()})
            for name, own in ratios.items()
        }
        return replace(self, per_config_type={**self.per_config_type, **table})

    def used(self, found: Mapping[str, float]) -> Noise:
        """The noise of a fit for which these global sigmas were found: types keep their ratio to the reference."""
        reference = self.filled().as_dict()

        def of_type(own: Noise) -> Noise:
            given = {kind: sigma for kind, sigma in own.as_dict().items() if kind in found}
            return self.of_kinds({kind: sigma / reference[kind] * found[kind] for kind, sigma in given.items()})

        return self.of_kinds(found, {name: of_type(own) for name, own in self.per_config_type.items()})

    def as_dict(self) -> dict[str, float]:
        """The global sigmas that are given, by kind."""
        return {kind: float(sigma) for kind in TARGETS if (sigma := self.of(kind)) is not None}

    @property
    def free(self) -> tuple[str, ...]:
        """The kinds whose sigma is to be chosen by evidence."""
        return tuple(kind for kind in TARGETS if self.of(kind) is None)


def row_sigmas(
    noise: Noise, labels: Labels, kind: str, n_atoms: IntArray, *, reference: Noise | None = None
) -> FloatArray:
    """Relative standard deviation of each label, (n_frames,), or (n_atoms,) for forces: absolute over global sigma.

    `n_atoms` (n_frames,) are the numbers of atoms of the frames.  A global sigma that `noise` leaves to evidence is
    that of `reference`, and else of the table of targets.
    """
    if kind not in TARGETS:
        raise InputError(f"`kind` must be one of {', '.join(TARGETS)}, got {kind!r}")
    target = TARGETS[kind]
    counts = np.asarray(n_atoms, dtype=np.int64)
    if len(labels.config_type) != len(counts):
        raise InputError(f"`labels.config_type` must hold {len(counts)} names, got {len(labels.config_type)}")
    sigma = noise.filled(reference).as_dict()[kind]
    overrides = {name: own.of(kind) or sigma for name, own in noise.per_config_type.items()}
    per_frame = np.array([overrides.get(name, sigma) for name in labels.config_type], dtype=float)
    absolute = np.repeat(per_frame, counts) if target.per_atom else per_frame * np.sqrt(counts if target.grows else 1)
    own = np.asarray(getattr(labels, target.sigma), dtype=np.float64)
    if own.shape != absolute.shape:
        raise InputError(f"`labels.{target.sigma}` must have shape {absolute.shape}, got {own.shape}")
    given = ~np.isnan(own)
    if (bad := given & ~((own > 0) & np.isfinite(own))).any():
        first = int(np.argmax(bad))
        raise InputError(f"`{target.sigma}` must be finite and > 0 (or NaN), got {own[first]} at index {first}")
    absolute[given] = own[given]
    return absolute / sigma


def _sigmas(words: Sequence[str], name: str) -> Noise:
    """Noise of four words, 0 for "not given"; the last, of Hessians, is not used."""
    try:
        energy, forces, virial, _ = (float(word.replace("d", "e").replace("D", "e")) or None for word in words)
    except ValueError as error:
        raise InputError(
            f"`{name}` must hold four numbers (energy, force, virial, hessian), got {' '.join(words)!r}"
        ) from error
    return Noise(energy, forces, virial)


DEFAULT_NOISE = Noise().filled()
"""Starting values, eV/atom, eV/Å and eV/atom: those commonly used for densely sampled condensed phases."""

"""The noise of every configuration type by evidence (`Noise(by_config_type=True)`).

Rows of a type with enough forces go into triangles of their own, `key_of(kind, index)`, whose noise evidence can change
one by one.  First all types share one noise, which is found as without this option.  Then that of every type is free,
shrunk to the common one as though `PSEUDO_ROWS` more of its rows had that; types of few rows keep the common one.  Last
the triangles are divided by the ratios of their noise to the common one and merged, one for each kind: all that follows
knows types by `Noise.per_config_type` alone.

Energies follow the forces of their type; virials have one noise, as one for each type gave no smaller errors.  Labels
with a sigma of their own, and types with a given noise, are not part of this.

Source: Gelman et al., Bayesian Data Analysis (2013), sections 3.2 and 5.1, for the scaled inverse chi-squared prior.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gapkit.exceptions import HyperparameterWarning
from gapkit.gp.evidence.maximise import EvidenceResult, Freedom, SearchSettings, maximise
from gapkit.gp.evidence.objective import EvidenceObjective
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.noise import Noise
from gapkit.printing import quoted
from gapkit.structures.report import ConfigTypeCount
from gapkit.targets import TARGETS

# Kinds with a noise for every type: the first that the data have is found, the others follow it.
BY_TYPE = ("forces", "energy")
# Labels (atoms, or frames where there are only energies) that a type needs for triangles of its own, and the most types
# that get them, the largest ones: each takes two M x M triangles, and six while evidence is evaluated.
LEAST, MOST = 50, 24
# Rows of the common noise that each type has besides its own: several frames' worth, as the rows of a frame are alike.
# With 100, types that are easy to fit took so much weight that errors of all together grew by up to 15 %.
PSEUDO_ROWS = 1000.0

_MARK = "-"


def key_of(kind: str, index: int) -> str:
    """Name of the triangle of a kind and the type of an index; -1: of all other types."""
    return kind if index < 0 else f"{kind}{_MARK}{index}"


def kind_of(key: str) -> str:
    """The kind of a triangle."""
    return key.partition(_MARK)[0]


def in_order(keys: Iterable[str]) -> list[str]:
    """Names of triangles in an order that does not depend on that of the rows: kinds, and types within them."""
    order = list(TARGETS)
    return sorted(keys, key=lambda key: (order.index(kind_of(key)), int(key.partition(_MARK)[2] or -1)))


def is_key(name: str) -> bool:
    """Whether a triangle can have this name."""
    kind, mark, index = name.partition(_MARK)
    return kind in TARGETS and (not mark or (kind in BY_TYPE and index.isdecimal()))


def types_of_noise(noise: Noise, counts: Iterable[ConfigTypeCount]) -> tuple[str, ...]:
    """Configuration types whose noise evidence is to find, in alphabetical order."""
    counts = list(counts)
    leader = next((kind for kind in BY_TYPE if any(own.n_labels[kind] for own in counts)), BY_TYPE[0])
    if not noise.by_config_type or leader not in noise.free or len(counts) < 2:
        return ()
    enough = [own for own in counts if own.n_labels[leader] >= LEAST and own.config_type not in noise.per_config_type]
    largest = sorted(enough, key=lambda own: (-own.n_labels[leader], own.config_type))[:MOST]
    return tuple(sorted(own.config_type for own in largest))


def said_of(types: Sequence[str], counts: Iterable[ConfigTypeCount]) -> str:
    """Which types get a noise of their own and which do not; HyperparameterWarning if none does."""
    others = [own.config_type for own in counts if own.config_type not in types]
    if not types:
        warnings.warn(
            f"`by_config_type` has no effect: it needs two configuration types or more, one of them with {LEAST} "
            f"labels of {' or '.join(BY_TYPE)} or more and no given noise, and the training set has "
            f"{', '.join(map(quoted, others))}; see `config_type` of `LabelKeys`",
            HyperparameterWarning,
            stacklevel=4,
        )
    shared = f"; common or given for {', '.join(map(quoted, others))}" if others else ""
    return f"fit: noise of their own for {', '.join(map(quoted, types)) or 'no types'}{shared}"


def kinds_by_type(noise: Noise) -> tuple[str, ...]:
    """Kinds whose rows go into triangles of their types."""
    return tuple(kind for kind in BY_TYPE if kind in noise.free) if noise.by_config_type else ()


def search_by_type(
    objective: EvidenceObjective, noise: Mapping[str, float], scales: Sequence[float], groups: Sequence[int],
    freedom: Freedom, settings: SearchSettings,
) -> tuple[EvidenceResult, dict[str, float]]:  # fmt: skip
    """Hyperparameters with the common noise of every kind, and the noise of every triangle.

    `noise` has a start for every kind, and `freedom` is that of the kinds.
    """
    keys = objective.kinds
    led = {key: freedom.ties.get(kind_of(key), (kind_of(key), 1.0)) for key in keys}  # kind that leads, and ratio to it
    first = {leader: next(key for key in keys if kind_of(key) == leader) for leader, _ in led.values()}
    ties = {key: (first[leader], ratio) for key, (leader, ratio) in led.items() if key != first[leader]}
    start = {key: noise[kind_of(key)] for key in keys}
    common = maximise(objective, start, scales, groups, replace(freedom, ties=ties), settings)

    typed = {kind_of(key) for key in keys if key != kind_of(key)}
    shared = [key for key in keys if key == kind_of(key) and led[key][0] in typed]  # of all types without their own
    own = {key: (key.replace(kind_of(key), led[key][0], 1), led[key][1]) for key in keys if key not in shared}
    ties = {key: (leader, ratio) for key, (leader, ratio) in own.items() if leader in keys and leader != key}
    shrunk = {key: (common.noise[key], PSEUDO_ROWS) for key in keys if key != kind_of(key) and key not in ties}
    freedom = replace(freedom, ties=ties, fixed_noise=[*freedom.fixed_noise, *shared], shrinkage=shrunk)
    settings = replace(settings, n_starts=1)
    found = maximise(objective, common.noise, common.scales, groups, freedom, settings)
    of_kinds = {
        kind_of(key): (common if led[key][0] in typed else found).noise[first[leader]] * ratio
        for key, (leader, ratio) in led.items()
    }
    n_evaluations = common.n_evaluations + found.n_evaluations
    at_bound = {name: limit for name, limit in found.at_bound.items() if _MARK not in name}
    return replace(found, noise=of_kinds, n_evaluations=n_evaluations, at_bound=at_bound), found.noise


def ratios_of(
    noise: Mapping[str, float], common: Mapping[str, float], types: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Noise of the triangles over the common one, by type and kind."""
    found: dict[str, dict[str, float]] = {}
    for i, name in enumerate(types):
        keys = {kind: key_of(kind, i) for kind in BY_TYPE}
        found[name] = {kind: noise[key] / common[kind] for kind, key in keys.items() if key in noise}
    return {name: own for name, own in found.items() if own}


def sigmas_of(ratios: Mapping[str, Mapping[str, float]], common: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Noise by type and kind."""
    return {name: {kind: ratio * common[kind] for kind, ratio in own.items()} for name, own in ratios.items()}


def merged(
    factors: dict[str, TriangularFactor], noise: Mapping[str, float], common: Mapping[str, float]
) -> dict[str, TriangularFactor]:
    """One triangle for each kind, whose rows have the ratios of these noises in their relative sigmas.

    The triangles given are used up.
    """
    out: dict[str, TriangularFactor] = {}
    for key in in_order(factors):
        kind, factor = kind_of(key), factors.pop(key)
        factor.rescale(noise[key] / common[kind])
        if kind in out:
            out[kind].merge(factor, overwrite_other=True)
        else:
            out[kind] = factor
    return {kind: out[kind] for kind in TARGETS if kind in out}

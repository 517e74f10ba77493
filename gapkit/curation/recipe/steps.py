"""The steps of a recipe; each closes its own line of the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from gapkit.curation.checks import check
from gapkit.curation.findings import DEFAULT_ACTIONS, Finding
from gapkit.curation.leakage import Leak, find_twins
from gapkit.curation.pruning import Check, Pruned, prune
from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, Entry, Ledger, batch_of, frames_of
from gapkit.curation.recipe.recipe import Leakage, Recipe, Select, Split, Weights
from gapkit.curation.recipe.sources import is_labelled, without_frame
from gapkit.curation.splits import split_indices
from gapkit.curation.weights import energy_window_sigmas, hull_distance_sigmas, noise_sigmas
from gapkit.exceptions import DataError, InputError
from gapkit.gp.noise import Noise
from gapkit.io.registry import make_all
from gapkit.potential import GAP
from gapkit.potential.defaults import default_terms
from gapkit.selection.duplicates import DuplicateGroup, find_duplicates
from gapkit.selection.select import FrameVectors, select

N_NAMED = 8
UNREADABLE = ("conflicting_labels", "unusable")


def check_frames(ledger: Ledger, recipe: Recipe) -> list[Finding]:
    """Leave frames out, flag them, or stop, by the findings of the checks."""
    actions = {**DEFAULT_ACTIONS, **recipe.check}
    entries = ledger.entries
    found = [Finding(k, e.problem, "error", e.message) for k, e in enumerate(entries) if e.problem]
    readable = [k for k, e in enumerate(entries) if not e.problem]
    bare = [k for k in readable if not is_labelled(entries[k].atoms)]
    found += [Finding(k, "unlabelled", "error", "no energy, forces or stress") for k in bare]
    if readable:
        usable = [entries[k] for k in readable]
        names = [recipe.sources[e.source].label for e in usable]
        for finding in check(frames_of(usable), sources=names):
            found.append(replace(finding, frame=readable[finding.frame]))
    for k, finding in enumerate(found):
        if finding.kind in UNREADABLE:
            entry = entries[finding.frame]
            entry.problem, entry.message = finding.kind, without_frame(finding.message)
            found[k] = replace(finding, message=entry.message)
    found.sort(key=lambda f: (f.frame, f.kind, f.message))
    _stop(ledger, [f for f in found if actions[f.kind] == "stop" and f.severity != "info"])
    for finding in found:
        entry, action = entries[finding.frame], actions[finding.kind]
        # what stands out may be rare; what is far beyond is wrong
        if action == "flag" and finding.severity == "error" and finding.kind not in recipe.check:
            action = "drop"
        if finding.severity == "info":
            entry.is_free_atom |= finding.kind == "isolated_atoms"
            continue
        # what cannot be read cannot stay, whatever the recipe says
        if action == "drop" or entry.problem == finding.kind:
            if entry.place != LEFT_OUT:
                entry.decide(LEFT_OUT, "check", f"{finding.kind}: {finding.message}")
        elif action == "flag":
            entry.flags.append(f"{finding.kind}: {finding.message}")
    ledger.close("check", f"labels, units, signs and geometry; {sum(bool(e.flags) for e in entries)} frames flagged")
    return found


def _stop(ledger: Ledger, findings: list[Finding]) -> None:
    if not findings:
        return
    grouped: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for finding in findings:
        entry = ledger.entries[finding.frame]
        grouped[entry.file, finding.kind, finding.message].append(entry.index)
    lines = [
        f"{file}, {'frame' if len(frames) == 1 else 'frames'} {', '.join(map(str, frames[:N_NAMED]))}"
        f"{', ...' if len(frames) > N_NAMED else ''} (counted from 0): {kind}: {message}"
        for (file, kind, message), frames in grouped.items()
    ]
    more = f"; and {len(lines) - N_NAMED} more" if len(lines) > N_NAMED else ""
    kinds = list(dict.fromkeys(f.kind for f in findings))
    units = " (`energy_unit`, `forces_unit`, `stress_unit`)" if any("units" in kind for kind in kinds) else ""
    keep = "" if set(kinds) & set(UNREADABLE) else ", with `flag` to keep them"
    raise DataError(
        f"the data cannot be used as they are: {'; '.join(lines[:N_NAMED])}{more}. Correct the data or the options of "
        f"the source{units}; or write `check: {{{', '.join(f'{kind}: drop' for kind in kinds)}}}` into the recipe to "
        f"leave these frames out{keep}"
    )


def drop_duplicates(ledger: Ledger, recipe: Recipe) -> list[DuplicateGroup]:
    """Keep the first frame of each structure; test frames come first where they may not be lost as twins."""
    options = recipe.duplicates
    assert options is not None
    first = TEST if recipe.leakage is None or recipe.leakage.drop == TRAIN else TRAIN
    # free atoms are no test of anything, and without them the zero of energy is lost
    entries = sorted(ledger.open(), key=lambda e: e.role == TEST if e.is_free_atom else e.role != first)
    groups = find_duplicates(
        batch_of(entries), symmetry=options.symmetry, supercells=options.supercells, tolerance=options.tolerance,
        energy_tolerance=options.energy_tolerance,
    )  # fmt: skip
    for group in groups:
        kept, *others = (entries[frame] for frame in group.frames)
        for entry, distance in zip(others, group.distances[1:], strict=True):
            unit = "Å" if group.kind == "exact" else "standard deviations"
            what = f"the structure of {kept.id} ({group.kind}, distance {distance:.2g} {unit})"
            entry.decide(LEFT_OUT, "duplicates", what)
    ledger.close("duplicates", f"{len(groups)} structures that are there more than once")
    return groups


def drop_outliers(ledger: Ledger, recipe: Recipe, crystal: Check | None) -> Pruned:
    """Leave out outliers of a model of all others; `crystal` is in the table before and after."""
    options = recipe.outliers
    assert options is not None
    entries = ledger.open("pool", "train")
    batch, frames = batch_of(entries), frames_of(entries)
    model = GAP(
        terms=default_terms(batch, options.cutoff), n_sparse=options.n_sparse, random_state=recipe.seed,
        energy_terms=make_all(options.energy_terms or (), "EnergyTerm", "`outliers`", what="energy term"),
        calibration=None, n_jobs=recipe.n_jobs,
    ).fit(frames)  # fmt: skip
    pruned = prune(
        model, frames, threshold=options.threshold, max_fraction=options.max_fraction, max_rounds=options.max_rounds,
        whole_frames=options.whole_frames, check=crystal,
    )  # fmt: skip
    for k, atoms in zip(pruned.kept, pruned.frames, strict=True):
        entries[k].atoms = atoms
    for out in (*pruned.dropped, *pruned.masked, *pruned.spared):
        beyond = ", ".join(f"{kind} {z:.1f}" for kind, z in out.scores.items() if z > options.threshold)
        entry, scores = entries[out.frame], f"robust z beyond {options.threshold:g}: {beyond}"
        if out in pruned.dropped:
            entry.decide(LEFT_OUT, "outliers", scores)
        elif out in pruned.masked:
            entry.flags.append(f"without {' and '.join(out.kinds)}: {scores}")
        else:
            entry.flags.append(f"outliers: {scores}; kept, for its type is rare or too many stand out")
    ledger.close(
        "outliers", f"{len(pruned.dropped)} frames do not fit to all others, nor single labels of {len(pruned.masked)}"
    )
    return pruned


def split_pool(ledger: Ledger, options: Split | None, seed: int) -> None:
    """Give every frame its place: by its role, or from the pool."""
    for entry in ledger.open("train", "test"):
        entry.decide(entry.role, "role", f"its source is a {entry.role} set")
    for entry in ledger.open("pool"):
        if entry.is_free_atom:
            entry.decide(TRAIN, "split", "a free atom: it sets the zero of energy")
    pool = [e for e in ledger.open("pool") if not e.place]
    if options is None or ledger.open("test"):
        for entry in pool:
            entry.decide(TRAIN, "split", "no test frames are taken from the pool")
    elif pool:
        try:
            _, test = split_indices(frames_of(pool), options.test_fraction, options.by, random_state=seed)
        except DataError as error:
            raise DataError(
                f"`split` cannot divide the frames that are left (`split: false` switches it off): {error}"
            ) from error
        chosen = set(test.tolist())
        for k, entry in enumerate(pool):
            entry.decide(TEST if k in chosen else TRAIN, "split", f"by {options.by}")
    ledger.close("split", f"{len(ledger.of(TRAIN))} training frames, {len(ledger.of(TEST))} test frames")


def drop_twins(ledger: Ledger, options: Leakage) -> None:
    """Leave out one of every two near-twins between training and test set, until there are none."""
    n_found = 0
    # thresholds are those of the training set, which may have lost frames: look again; every round leaves out one
    while leaks := _twins(ledger, options.false_alarm):
        n_found += len(leaks)
        for ours, theirs, leak in leaks:
            entry, twin, place = (ours, theirs, TEST) if options.drop == TRAIN else (theirs, ours, TRAIN)
            if entry.place != LEFT_OUT:
                distance = f"distance {leak.distance:.2g} of {leak.threshold:.2g} standard deviations"
                entry.decide(LEFT_OUT, "leakage", f"near-twin of {place} frame {twin.id} ({distance})")
    ledger.close("leakage", f"{n_found} near-twins between training and test frames")


def _twins(ledger: Ledger, false_alarm: float) -> list[tuple[Entry, Entry, Leak]]:
    """Training frame, test frame and distance of near-twins; free atoms have none."""
    train, test = ([e for e in ledger.of(place) if not e.is_free_atom] for place in (TRAIN, TEST))
    if not train or not test:
        return []
    leaks = find_twins(batch_of(train), batch_of(test), false_alarm=false_alarm)
    return [(train[leak.train_frame], test[leak.test_frame], leak) for leak in leaks]


def choose(ledger: Ledger, options: Select, seed: int) -> None:
    """Keep some of the training frames."""
    train = [e for e in ledger.of(TRAIN) if not e.is_free_atom]
    n = options.n if options.n is not None else max(1, round(options.fraction * len(train)))  # type: ignore[operator]
    if n > len(train):
        raise InputError(
            f"`n` of `select` must be at most the {len(train)} training frames that are left, got {n}; ask for fewer, "
            "or give a `fraction`"
        )
    quotas = options.quotas
    if isinstance(quotas, Mapping):  # types without a frame left can have no part
        present = {e.config_type for e in train}
        quotas = {name: number for name, number in quotas.items() if name in present}
    chosen = select(
        frames_of(train), n, options.method, descriptor=FrameVectors(per=options.per), quotas=quotas, random_state=seed
    ).indices.tolist()
    rank = {frame: k for k, frame in enumerate(chosen)}
    for k, entry in enumerate(train):
        if k in rank:
            entry.reason += f"; number {rank[k] + 1} of {n} by {options.method}"
        else:
            entry.decide(LEFT_OUT, "select", f"not among the {n} of {len(train)} chosen by {options.method}")
    ledger.close("select", f"{n} training frames by {options.method}")


def weigh(ledger: Ledger, options: Weights) -> None:
    """Write sigmas into the training frames."""
    train = ledger.of(TRAIN)
    table = {
        name: Noise(own.get("energy_sigma"), own.get("forces_sigma"), own.get("virial_sigma"))
        for name, own in options.config_types.items()
    }
    # types without a frame left need no sigmas
    present = {e.config_type for e in train}
    noise = Noise(
        options.energy_sigma, options.forces_sigma, options.virial_sigma,
        per_config_type={name: own for name, own in table.items() if name in present},
    )  # fmt: skip
    frames = frames_of(train)
    if options.scheme == "hull":
        weighted = hull_distance_sigmas(frames, noise, scale=options.scale)
    elif options.scheme == "energy_window":
        weighted = energy_window_sigmas(frames, options.windows, noise, beyond=options.beyond)
    else:
        weighted = noise_sigmas(frames, noise)
    for entry, atoms in zip(train, weighted, strict=True):
        entry.atoms = atoms
    ledger.close("weights", f"sigmas by {options.scheme}")

"""The steps of a recipe; each closes its own line of the ledger."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from gapkit.curation.checks import Finding, check
from gapkit.curation.duplicates import DuplicateGroup, find_duplicates
from gapkit.curation.leakage import find_leakage
from gapkit.curation.pipeline.actions import DEFAULT_ACTIONS
from gapkit.curation.pipeline.labels import is_labelled
from gapkit.curation.pipeline.ledger import LEFT_OUT, TEST, TRAIN, Ledger, batch_of, frames_of
from gapkit.curation.pipeline.recipe import Leakage, Recipe, Select, Split, Weights
from gapkit.curation.robust import Pruned, crystal_check, prune
from gapkit.curation.selection import select
from gapkit.curation.splits import split_indices
from gapkit.curation.weights import energy_window_sigmas, hull_distance_sigmas, noise_sigmas
from gapkit.exceptions import DataError
from gapkit.gp.noise import Noise
from gapkit.potential import GAP
from gapkit.potential.defaults import default_terms
from gapkit.structures import read_frames

N_NAMED = 8
MAX_ROUNDS = 10


def check_frames(ledger: Ledger, recipe: Recipe) -> list[Finding]:
    """Leave out, flag, or stop at, what the checks find.

    Raises
    ------
    DataError
        If a finding stops the recipe; the message names files and frames.
    """
    actions = {**DEFAULT_ACTIONS, **recipe.check}
    entries = ledger.entries
    found = [Finding(k, e.problem, "error", e.message) for k, e in enumerate(entries) if e.problem]
    readable = [k for k, e in enumerate(entries) if not e.problem]
    found += [
        Finding(k, "unlabelled", "error", "no energy, forces or stress")
        for k in readable
        if not is_labelled(entries[k].atoms)
    ]
    if readable:
        usable = [entries[k] for k in readable]
        names = [recipe.sources[e.source].label for e in usable]
        for finding in check(frames_of(usable), sources=names):
            found.append(Finding(readable[finding.frame], *_rest(finding)))
    _stop(ledger, [f for f in found if actions.get(f.kind, "flag") == "stop"])
    for finding in sorted(found):
        entry, action = entries[finding.frame], actions.get(finding.kind, "flag")
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
    return sorted(found)


def _rest(finding: Finding) -> tuple[str, str, str, float | None, float | None]:
    return finding.kind, finding.severity, finding.message, finding.value, finding.threshold


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
    kinds = ", ".join(dict.fromkeys(f"{f.kind}: drop" for f in findings))
    raise DataError(
        f"the data cannot be used as they are: {'; '.join(lines[:N_NAMED])}{more}. Correct the data or the options of "
        f"the source; or write `check: {{{kinds}}}` into the recipe to leave these frames out, with `flag` to keep them"
    )


def drop_duplicates(ledger: Ledger, recipe: Recipe) -> list[DuplicateGroup]:
    """Of frames that hold one structure, keep the first; those of a test set come first where twins may not be lost."""
    options = recipe.duplicates
    assert options is not None
    first = TEST if recipe.leakage is None or recipe.leakage.drop == TRAIN else TRAIN
    entries = sorted(ledger.open(), key=lambda e: e.role != first)
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


def drop_outliers(ledger: Ledger, recipe: Recipe, folder: Path) -> Pruned:
    """Leave out frames that no model of all others can follow."""
    options = recipe.outliers
    assert options is not None
    entries = ledger.open("pool", "train")
    batch, frames = batch_of(entries), frames_of(entries)
    model = GAP(
        terms=default_terms(batch, options.cutoff), n_sparse=options.n_sparse, random_state=recipe.seed,
        calibration=None, n_jobs=recipe.n_jobs,
    ).fit(frames)  # fmt: skip
    crystal = None if options.crystal is None else crystal_check(read_frames(folder / options.crystal)[0])
    pruned = prune(
        model, frames, threshold=options.threshold, max_fraction=options.max_fraction, max_rounds=options.max_rounds,
        check=crystal,
    )  # fmt: skip
    for dropped in pruned.dropped:
        scores = ", ".join(f"{kind} {z:.1f}" for kind, z in dropped.scores.items() if z > options.threshold)
        entries[dropped.frame].decide(LEFT_OUT, "outliers", f"robust z beyond {options.threshold:g}: {scores}")
    ledger.close("outliers", f"{len(pruned.dropped)} frames whose labels do not fit to all others")
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
        _, test = split_indices(frames_of(pool), options.test_fraction, options.by, random_state=seed)
        chosen = set(test.tolist())
        for k, entry in enumerate(pool):
            entry.decide(TEST if k in chosen else TRAIN, "split", f"by {options.by}")
    ledger.close("split", f"{len(ledger.of(TRAIN))} training frames, {len(ledger.of(TEST))} test frames")


def drop_twins(ledger: Ledger, options: Leakage) -> None:
    """Leave out one of every two near-twins of training and test set, until there are none."""
    n_found = 0
    for _ in range(MAX_ROUNDS):
        train, test = ledger.of(TRAIN), ledger.of(TEST)
        leaks = find_leakage(batch_of(train), batch_of(test), false_alarm=options.false_alarm) if train and test else []
        if not leaks:
            break
        n_found += len(leaks)
        for leak in leaks:
            ours, theirs = train[leak.train_frame], test[leak.test_frame]
            entry, twin = (ours, theirs) if options.drop == TRAIN else (theirs, ours)
            if entry.place != LEFT_OUT:
                distance = f"distance {leak.distance:.2g} of {leak.threshold:.2g} standard deviations"
                entry.decide(LEFT_OUT, "leakage", f"near-twin of {twin.place} frame {twin.id} ({distance})")
    else:
        raise DataError(f"training and test frames are still near-twins after {MAX_ROUNDS} rounds; split them again")
    ledger.close("leakage", f"{n_found} near-twins between training and test frames")


def choose(ledger: Ledger, options: Select, seed: int) -> None:
    """Keep some of the training frames."""
    train = [e for e in ledger.of(TRAIN) if not e.is_free_atom]
    n = options.n if options.n is not None else max(1, round(options.fraction * len(train)))  # type: ignore[operator]
    chosen = select(
        frames_of(train), n, options.method, per=options.per, quotas=options.quotas, random_state=seed
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

"""Damage a part of a training set on purpose, and count how much of it is found.

    python -m tests.bench.planted_damage                                  # the data that ship, about a minute
    python -m tests.bench.planted_damage --train my.extxyz --seeds 1 2 3 4 5 --n-sparse 500
    python -m tests.bench.planted_damage --train my.extxyz --test my_test.extxyz --seeds 1 2 --refit

Each seed damages 2 % of the frames, as many of each kind as can be: energy off by 0.2 eV/atom, force on one atom three
times too large, sign of the stress, a cell vector off by 3 to 5 %, a rotated and permuted copy.  What counts as
finding is `check` and `find_duplicates` without a model, then `prune`: of a wrong energy, force or stress that this
label or the whole frame is left out, of a wrong cell that the frame is.  Where `check` names energies or forces, they
alone are left out, else the frame; `--whole-frames` leaves out whole frames only.  False alarms are undamaged frames
that any of them names; duplicates that the set had before are none.

`--refit` compares test errors of five fits: to the undamaged frames, to the damaged ones, to what `check` and `prune`
leave of them ("pruned"), to the same structures with all labels and those undamaged ("right"), and to what perfect
finding would leave: all but the wrong labels, and no frame of a wrong cell.  Errors of few test frames differ by ten
per cent from one draw of sparse points to another: `--repeats` takes the mean.  "pruned" and "right" have the same.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

from gapkit import GAP
from gapkit.curation.checks import check
from gapkit.curation.pruning import Pruned, prune
from gapkit.curation.weights import without_labels
from gapkit.selection.duplicates import find_duplicates
from gapkit.structures import to_batch
from tests.curation.damage import KINDS, Damage, plant

DATA = Path(__file__).resolve().parents[2] / "data" / "silicon"


# What is wrong where the structure is right, by kind of damage and of finding.
LABEL = {"energy": "energy", "force": "forces", "stress": "virial"}
NAMED = {
    "energy_outlier": "energy", "energy_outliers": "energy", "force_outlier": "forces", "net_force": "forces",
    "net_force_outlier": "forces", "net_torque": "forces",
}  # fmt: skip


class Trial:
    """One seed: what was damaged, what was found, and by which means."""

    def __init__(self, frames: list[Atoms], before: list[tuple[int, ...]], options: argparse.Namespace, seed: int):
        self.seed, start = seed, time.perf_counter()
        n = math.ceil(options.fraction * len(frames))
        self.frames, self.done = plant(frames, n, kinds=options.kinds, seed=seed)
        self.alarms: dict[int, str] = {}
        named: dict[int, set[str]] = {}
        for finding in check(self.frames):
            if finding.severity != "info":
                self.alarms.setdefault(finding.frame, finding.kind)
                named.setdefault(finding.frame, set()).add(NAMED.get(finding.kind, "structure"))
        self.groups = [group.frames for group in find_duplicates(self.frames)]
        self.masked = {i: own for i, own in named.items() if own <= set(LABEL.values()) and len(own) == 1}
        if options.whole_frames:
            self.masked = {}
        self.dropped = set(named) - set(self.masked)
        rest = [i for i in range(len(self.frames)) if i not in self.dropped]
        used = [without_labels(self.frames[i], self.masked.get(i, ())) for i in rest]
        self.pruned: Pruned = prune(
            model(options).fit(used), used, max_rounds=options.rounds, whole_frames=options.whole_frames
        )
        for out in (*self.pruned.dropped, *self.pruned.masked):
            frame, kind = rest[out.frame], max(out.scores, key=lambda name: out.scores[name])
            self.alarms[frame] = f"prune: {kind} {out.scores[kind]:.1f}"
            if out in self.pruned.masked:
                self.masked.setdefault(frame, set()).update(out.kinds)
            else:
                self.dropped.add(frame)
        # what `check` and `prune` suspect for different reasons has a wrong structure
        self.dropped |= {i for i, own in self.masked.items() if len(own) > 1}
        self.masked = {i: own for i, own in self.masked.items() if i not in self.dropped}
        of_kept = (rest[i] for i in self.pruned.kept)
        kept = [(i, a) for i, a in zip(of_kept, self.pruned.frames, strict=True) if i not in self.dropped]
        self.left = [atoms for _, atoms in kept]
        self.right = [frames[i] if i < len(frames) else self.frames[i] for i, _ in kept]  # copies are at the end
        self.seconds = time.perf_counter() - start

        copies = {d.frame for d in self.done if d.kind == "duplicate"}
        bad = {d.frame for d in self.done}
        self.found = [d for d in self.done if self._is_found(d)]
        self.false = {i: why for i, why in self.alarms.items() if i not in bad}
        for group in self.groups:
            own = tuple(i for i in group if i not in copies)
            if len(own) > 1 and not any(set(own) <= set(known) for known in before):
                self.false.update({i: "duplicate" for i in own[1:] if i not in bad})
        self.n_undamaged = len(self.frames) - len(bad)

    def _is_found(self, damage: Damage) -> bool:
        if damage.kind == "duplicate":
            return any(damage.frame in group and damage.source in group for group in self.groups)
        return damage.frame in self.dropped or LABEL.get(damage.kind) in self.masked.get(damage.frame, ())

    def left_out(self, frame: int) -> str:
        """What was left out of a frame, in words."""
        return "dropped" if frame in self.dropped else " and ".join(sorted(self.masked.get(frame, {"nothing"})))

    @property
    def false_masks(self) -> int:
        """False alarms that cost labels, not the frame."""
        return sum(frame in self.masked for frame in self.false)

    def perfect(self) -> list[Atoms]:
        """What perfect finding would leave; forces of a frame are all right or wrong, copies stay."""
        kinds = {d.frame: d.kind for d in self.done if d.kind != "duplicate"}
        return [
            without_labels(atoms, (LABEL[kinds[i]],)) if i in kinds else atoms
            for i, atoms in enumerate(self.frames)
            if kinds.get(i) != "cell"
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain figures."""
        return {
            "seed": self.seed,
            "planted": [
                {"frame": d.frame, "kind": d.kind, "detail": d.detail, "found": d in self.found,
                 "by": self.alarms.get(d.frame), "left_out": self.left_out(d.frame)} for d in self.done
            ],
            "false_alarms": {
                str(frame): {"by": why, "left_out": self.left_out(frame)} for frame, why in self.false.items()
            },
            "undamaged": self.n_undamaged,
            "seconds": self.seconds,
        }  # fmt: skip


def model(options: argparse.Namespace, draw: int = 0) -> GAP:
    return GAP(n_sparse=options.n_sparse, calibration=None, n_jobs=options.n_jobs, random_state=draw)


def errors(options: argparse.Namespace, train: list[Atoms], test: list[Atoms]) -> dict[str, float]:
    """Errors on the test set, mean over draws of sparse points."""
    draws = [errors_of(model(options, draw).fit(train), test) for draw in range(options.repeats)]
    return {name: float(np.mean([values[name] for values in draws])) for name in draws[0]}


def errors_of(fitted: GAP, frames: list[Atoms]) -> dict[str, float]:
    """Mean absolute and root mean square errors: energies in meV/atom, forces in eV/Å."""
    batch, found = to_batch(frames), fitted.predict(frames)
    assert batch.labels is not None
    energy = 1e3 * (found.energy - batch.labels.energy) / batch.n_atoms_per_frame
    forces = found.forces - batch.labels.forces
    return {
        "energy_mae": float(np.nanmean(np.abs(energy))),
        "energy_rmse": float(np.sqrt(np.nanmean(energy**2))),
        "forces_mae": float(np.nanmean(np.abs(forces))),
        "forces_rmse": float(np.sqrt(np.nanmean(forces**2))),
    }


def show_trial(trial: Trial, frames: list[Atoms]) -> None:
    """Print what was missed and what was a false alarm."""
    print(
        f"seed {trial.seed}: found {len(trial.found)} of {len(trial.done)}, {len(trial.false)} false alarms "
        f"({trial.false_masks} cost labels only) among {trial.n_undamaged}, {trial.seconds:.0f} s",
        flush=True,
    )
    for damage in trial.done:
        if damage not in trial.found:
            kind, out = frames[damage.source].info.get("config_type", ""), trial.left_out(damage.frame)
            print(f"  missed {damage.kind}: frame {damage.frame} ({kind}), {damage.detail}; left out: {out}")
    for frame, why in sorted(trial.false.items()):
        kind = frames[frame].info.get("config_type", "") if frame < len(frames) else ""
        print(f"  false alarm: frame {frame} ({kind}), {why}; left out: {trial.left_out(frame)}")


def show_errors(fits: dict[str, dict[str, float]]) -> None:
    """Print test errors of all fits, and those over the errors of the first."""
    names = list(fits["undamaged"])
    print(f"  {'fit to':12}" + "".join(f"{name:>22}" for name in names))
    for fit, values in fits.items():
        cells = (f"{values[name]:12.4f} ({values[name] / fits['undamaged'][name]:7.3f})" for name in names)
        print(f"  {fit:12}" + "".join(cells), flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", default=str(DATA / "train.extxyz"), help="frames to damage")
    add("--test", default=str(DATA / "test.extxyz"), help="for --refit")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of damage (default: all)")
    add("--fraction", type=float, default=0.02, help="of the frames that are damaged, rounded up (default: 0.02)")
    add("--n-sparse", type=int, help="sparse points of the fits (default: from the size of the data)")
    add("--rounds", type=int, default=4, help="fits of `prune` at most (default: 4)")
    add("--whole-frames", action="store_true", help="leave out frames, not single labels")
    add("--n-jobs", type=int, default=1)
    add("--refit", action="store_true", help="compare test errors")
    add("--repeats", type=int, default=1, help="fits of each kind for --refit, with other sparse points (default: 1)")
    add("--json", metavar="FILE", help="write all figures")
    options = parser.parse_args()
    if not 0 < options.fraction < 1 or options.repeats < 1 or options.rounds < 1:
        parser.error("--fraction must be between 0 and 1, --repeats and --rounds at least 1")
    for file in (options.train, *([options.test] if options.refit else [])):
        if not Path(file).is_file():
            parser.error(f"no such file: {file}")
    if options.json and not Path(options.json).resolve().parent.is_dir():
        parser.error(f"no folder to write {options.json} to")
    return options


def main() -> None:
    options = arguments()
    frames = read(options.train, ":")
    before = [group.frames for group in find_duplicates(frames)]
    trials, results = [], []
    if options.refit:
        test = read(options.test, ":")
        undamaged = errors(options, frames, test)
    for seed in options.seeds:
        trial = Trial(frames, before, options, seed)
        show_trial(trial, frames)
        trials.append(trial)
        results.append(trial.to_dict())
        if options.refit:
            fits = {"undamaged": undamaged, "damaged": errors(options, trial.frames, test)}
            fits["pruned"] = errors(options, trial.left, test)
            fits["right"] = errors(options, trial.right, test)
            fits["perfect"] = errors(options, trial.perfect(), test)
            show_errors(fits)
            results[-1]["errors"] = fits
        if options.json:  # what was measured until then is kept
            Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    planted = Counter(d.kind for trial in trials for d in trial.done)
    found = Counter(d.kind for trial in trials for d in trial.found)
    n_false, n_undamaged = sum(len(t.false) for t in trials), sum(t.n_undamaged for t in trials)
    print("\nkind        planted  found")
    for kind in options.kinds:
        print(f"{kind:12}{planted[kind]:7d}{found[kind]:7d}")
    print(f"{'all':12}{planted.total():7d}{found.total():7d}  {100 * found.total() / max(planted.total(), 1):.1f} %")
    n_masks = sum(t.false_masks for t in trials)
    print(
        f"false alarms {n_false} of {n_undamaged} undamaged frames, {100 * n_false / n_undamaged:.2f} %, of which "
        f"{n_masks} cost labels only"
    )


if __name__ == "__main__":
    main()

"""How far error bars can be trusted on structures of a kind that was not in the training set.

    python examples/benchmarks/trust.py --quick                                       # on the data that ship
    python examples/benchmarks/trust.py --train my.extxyz --test my_test.extxyz --json trust.json --picture trust.png
    python examples/benchmarks/trust.py --train my.extxyz --test my_test.extxyz --without-pair Mo-W --one-volume

Every kind of structure (`config_type`, or clusters of similar frames where all have the same) is left out in turn.
What is fitted to the rest is judged on the frames left out, and on test frames of the other kinds.  Methods that are
not installed are left out.  README.md beside this file explains the columns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from comparison.process import ProcessError, installed
from listed import listed
from trusting.ace import LinearACE
from trusting.figures import figures
from trusting.methods import Bootstrap, Calibrated, Draws, Epistemic, Method, Training
from trusting.quip import LocalVariance
from trusting.record import Record, RecordError
from trusting.splits import DataSet, Split, SplitError, sample

from gapkit import read_frames
from gapkit.exceptions import GapkitError
from gapkit.structures import to_batch

DATA = Path(__file__).resolve().parents[2] / "data" / "silicon"
METHODS: dict[str, type[Method]] = {
    "gapkit": Calibrated, "epistemic": Epistemic, "quip": LocalVariance, "draws": Draws, "bootstrap": Bootstrap,
    "ace": LinearACE,
}  # fmt: skip
LEFT_OUT = "MACE committees are left out: the fits of one split take hours without a GPU"
QUICK_KINDS, QUICK_SPARSE = ["high_pressure", "surface"], 100


def at_least(least: int):
    """Parser of a whole number."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text}")
        return int(text)

    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", default=str(DATA / "train.extxyz"), help="frames to fit, and to leave out")
    add("--test", default=str(DATA / "test.extxyz"), help="frames to judge on")
    add(
        "--kinds", help="kinds to leave out, one after another, with commas (default: all, if nothing else is left out)"
    )
    add("--without-pair", default="", metavar="A-B", help="leave out frames that hold both species; more with commas")
    add("--one-volume", action="store_true", help="leave out volumes more than 2 %% from the usual one")
    add("--clusters", type=at_least(2), default=4, help="where all frames are of one config_type (default: 4)")
    add(
        "--methods",
        type=listed("methods", METHODS, in_order=True),
        help=f"of {','.join(METHODS)} (default: all; with --quick all but ace)",
    )
    add("--n-sparse", type=at_least(1), help="sparse points of each fit (default: as gapkit chooses)")
    add("--atoms", type=at_least(1), default=1500, help="to judge on of either sort, at most (default: 1500)")
    add("--seed", type=at_least(0), default=0, help="of samples, clusters, fits and committees (default: 0)")
    add("--n-jobs", type=at_least(1), default=1, help="threads of each fit (default: 1)")
    add("--quick", action="store_true", help="small model, and two kinds of the data that ship: about a minute")
    add("--json", metavar="FILE", help="write figures after each method; a run with the same file goes on")
    add("--picture", metavar="FILE", help="write a picture (PNG)")
    options = parser.parse_args()
    if options.picture and not installed("matplotlib"):
        parser.error("--picture needs matplotlib: pip install matplotlib")
    for file in filter(None, (options.json, options.picture)):
        if not Path(file).resolve().parent.is_dir():
            parser.error(f"no folder to write {file} to")
    for file in (options.train, options.test):
        if not Path(file).is_file():
            parser.error(f"no such file: {file}")
    if options.quick:
        options.n_sparse = options.n_sparse or QUICK_SPARSE
        ships = options.train == parser.get_default("train")
        if ships and not (options.kinds or options.without_pair or options.one_volume):
            options.kinds = ",".join(QUICK_KINDS)
    return options


def splits(options: argparse.Namespace) -> list[Split]:
    """What is left out, one after another; SplitError names what the data do not have."""
    data = DataSet.of(read_frames(options.train), read_frames(options.test), options.clusters, options.seed)
    kinds = [] if options.kinds is None else options.kinds.split(",")
    made = []
    if options.kinds == "all" or not (kinds or options.without_pair or options.one_volume):
        for kind in data.kinds:
            try:
                made.append(data.without_kind(kind))
            except SplitError as error:  # nobody asked for this one
                print(f"passed over: {error}")
    else:
        made += [data.without_kind(kind) for kind in kinds]
    made += [data.without_pair(pair) for pair in filter(None, options.without_pair.split(","))]
    if options.one_volume:
        made.append(data.one_volume())
    return [sample(split, options.atoms, options.seed) for split in made]


def measure(split: Split, methods: list[Method], options: argparse.Namespace, record: Record) -> None:
    """Fit and judge with each method that the record does not have."""
    wanted = [method for method in methods if not record.has(split.name, method.name)]
    frames = split.known + split.unknown
    batch = to_batch(frames)
    is_unknown = np.arange(len(frames)) >= len(split.known)
    if not wanted:
        print(" measured before", end="")
    with tempfile.TemporaryDirectory() as folder:
        training = Training(split.train, Path(folder), options.n_sparse, options.n_jobs, options.seed)
        for method in wanted:
            begin = time.perf_counter()
            try:
                said = method.fit(training)(frames)
            except (ProcessError, GapkitError) as error:
                reason = " ".join(str(error).split())[-300:]
                print(f" {method.name} failed and is left out: {reason};", end="", flush=True)
                continue
            seconds = time.perf_counter() - begin
            print(f" {method.name} {seconds:.0f} s;", end="", flush=True)
            counts = {"fitted": len(split.train), "known": len(split.known), "unknown": len(split.unknown)}
            record.add(split.name, method.name, figures(said, batch, is_unknown), frames=counts, seconds=seconds)


def main() -> None:
    options = arguments()
    if options.methods is None:
        print(LEFT_OUT)
    chosen = options.methods or [name for name in METHODS if not (options.quick and name == "ace")]
    methods = [METHODS[name]() for name in chosen]
    for method in methods:
        if (reason := method.missing()) is not None:
            print(reason)
    methods = [method for method in methods if method.missing() is None]
    settings = {name: getattr(options, name) for name in ("clusters", "n_sparse", "atoms", "seed")}
    settings |= {name: str(Path(getattr(options, name)).resolve()) for name in ("train", "test")}
    stopped = False
    try:
        record = Record.of(settings, Path(options.json) if options.json else None)
    except RecordError as error:
        raise SystemExit(str(error)) from None
    try:
        left_out = splits(options)
        for number, split in enumerate(left_out, start=1):
            print(f"[{number}/{len(left_out)}] {split}:", end="", flush=True)
            measure(split, methods, options, record)
            print()
    except (GapkitError, SplitError) as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        stopped = True
        print("\nstopped" + (f"; the same command goes on from {options.json}" if options.json else ""))
    if record.rows:
        print(f"\n{record.table()}")
        if options.picture:
            from trusting.picture import draw

            draw(record.rows, options.picture)
    if stopped:
        sys.exit(130)


if __name__ == "__main__":
    main()

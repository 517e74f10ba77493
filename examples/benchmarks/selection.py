r"""Learning curves of ways to choose training frames: test errors against the number of frames labelled.

    python examples/benchmarks/selection.py                                  # on the data that ship, half a minute
    python examples/benchmarks/selection.py --train my.extxyz --test my_test.extxyz --sizes 15,30,60,120 \
        --selectors random,farthest_point,v_optimal --seeds 5 --n-sparse 500 --json curve.json --picture curve.png

Every selection sees structures only.  Each is fitted with the same settings and tested on the same frames; the last
line is the fit to all frames.  Stresses are fitted if they are there.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import ase.io
from listed import listed

from gapkit import GAP
from gapkit.curation.learning_curve import LearningCurve, learning_curve
from gapkit.exceptions import InputError
from gapkit.selection.select import METHODS

DATA = Path(__file__).resolve().parents[2] / "data" / "silicon"
SHARES = (0.065, 0.125, 0.25, 0.5)  # of the training frames, where no sizes are given
SELECTORS = [method for method in METHODS if method not in ("uncertainty", "diverse")]  # those need a fitted model
# error: heading and factor of its column
COLUMNS = {
    "energy_rmse": ("E RMSE meV/atom", 1e3),
    "energy_mae": ("E MAE meV/atom", 1e3),
    "forces_rmse": ("F RMSE eV/Å", 1.0),
    "forces_mae": ("F MAE eV/Å", 1.0),
}


def show(curve: LearningCurve) -> None:
    """Print means and standard deviations over seeds."""
    print(f"{'selector':16}{'frames':>7}" + "".join(f"{heading:>20}" for heading, _ in COLUMNS.values()))
    for selector, n in dict.fromkeys((point.selector, point.n_frames) for point in curve.points):
        cells = []
        for error, (_, factor) in COLUMNS.items():
            mean, std = curve.mean(selector, n, error)
            cells.append(f"{factor * mean:.4g} ± {factor * std:.1g}".rjust(20))
        print(f"{selector:16}{n:7d}{''.join(cells)}")


def integers(text: str) -> list[int]:
    """Numbers from a list with commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers such as 15,30,60, got {text}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", default=str(DATA / "train.extxyz"), help="frames to choose from")
    add("--test", default=str(DATA / "test.extxyz"), help="labelled frames")
    add("--sizes", type=integers, help="numbers of frames, such as 15,30,60 (default: 6.5, 12.5, 25 and 50 %% of them)")
    add(
        "--selectors",
        type=listed("selectors", SELECTORS),
        default=["random", "v_optimal"],
        help=f"of {','.join(SELECTORS)}",
    )
    add("--seeds", type=int, default=5, help="selections of each kind (default: 5)")
    add("--quotas", choices=("sqrt", "proportional"), help="shares of configuration types (default: they do not count)")
    add("--n-sparse", type=int, help="sparse points of each fit (default: as gapkit chooses; 500 is faster)")
    add("--n-jobs", type=int, default=1, help="threads of each fit (default: 1)")
    add("--json", metavar="FILE", help="write all figures")
    add("--picture", metavar="FILE", help="write a picture of the curves (PNG)")
    options = parser.parse_args()
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    for file in filter(None, (options.json, options.picture)):
        if not Path(file).resolve().parent.is_dir():
            parser.error(f"no folder to write {file} to")
    for file in (options.train, options.test):
        if not Path(file).is_file():
            parser.error(f"no such file: {file}")
    return options


def main() -> None:
    options = arguments()
    frames, frames_test = ase.io.read(options.train, ":"), ase.io.read(options.test, ":")
    sizes = options.sizes or sorted({max(2, round(share * len(frames))) for share in SHARES})
    model = GAP(n_sparse=options.n_sparse, calibration=None, n_jobs=options.n_jobs)
    chosen = {"quotas": options.quotas} if options.quotas else {}
    begin = time.perf_counter()
    everything = {"all": lambda frames, n, seed: list(range(n))}
    try:
        curve = learning_curve(
            model, frames, frames_test, sizes, selectors=options.selectors, seeds=range(options.seeds), options=chosen
        )
        whole = learning_curve(model, frames, frames_test, [len(frames)], selectors=everything, seeds=[0])
    except InputError as error:
        raise SystemExit(str(error)) from None
    curve = LearningCurve(curve.points + whole.points)
    show(curve)
    seconds = time.perf_counter() - begin
    print(f"{len(curve.points)} fits and selections in {seconds:.0f} s")
    if options.json:
        settings = {"n_sparse": options.n_sparse, "quotas": options.quotas, "n_test": len(frames_test)}
        content = {"settings": settings, "seconds": seconds, **curve.to_dict()}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        from gapkit.report import learning_curve_figure

        learning_curve_figure(curve).savefig(options.picture, dpi=150)


if __name__ == "__main__":
    main()

"""Curate silicon: damage some frames, find them, make a data set by a recipe, and choose the noise of its labels."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from gapkit import GAP, read_frames
from gapkit.curation import Recipe, check, curate, find_duplicates, find_leakage, influence, pareto, prune
from gapkit.report import curation_page, influence_figure, pareto_figure

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the damage is planted by a helper of the tests

from tests.curation.damage import plant  # noqa: E402

DATA = HERE.parent / "data" / "silicon"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="folder to keep the data set and the pictures in")
    parser.add_argument("--n-sparse", type=int, default=200, help="sparse points of the fits (default: 200)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(Path(scratch) if options.output is None else options.output, options.n_sparse)


def run(output: Path, n_sparse: int) -> None:
    output.mkdir(exist_ok=True)
    frames, test = read_frames(DATA / "train.extxyz"), read_frames(DATA / "test.extxyz")

    # Ten frames are damaged on purpose. Checks find some without a model, a model of all others finds more.
    damaged, damage = plant(frames, 10, seed=0)
    checked = {finding.frame for finding in check(damaged) if finding.severity != "info"}
    checked |= {frame for group in find_duplicates(damaged) for frame in group.frames[1:]}
    pruned = prune(GAP(n_sparse=n_sparse, calibration=None).fit(damaged), damaged)
    modelled = {out.frame for out in (*pruned.dropped, *pruned.masked)}
    for item in damage:
        how = "found by checks" if item.frame in checked else "found by a model" if item.frame in modelled else "missed"
        print(f"frame {item.frame}, {item.detail}: {how}")
    others = (checked | modelled) - {item.frame for item in damage}
    print(f"{len(others)} of {len(frames)} sound frames stand out as well")
    print(f"{len(find_leakage(frames, test))} test frames are near-twins of training frames")

    # The data set: every frame has its place and a reason. `gapkit curate examples/silicon.yaml` does the same.
    curated = curate(Recipe.read(HERE / "silicon.yaml"), HERE)
    print(curated)
    curated.write(output / "silicon", curation_page(curated))

    # What each frame does to the fit, and which errors can be had together.
    train = curated.train
    model = GAP(n_sparse=n_sparse, calibration=None).fit(train)
    report = influence(model, train)
    for frame in report.ranked()[:3]:
        print(f"Cook's distance {frame.cook:.2g}: {train[frame.frame].info['name']}")
    influence_figure(report).savefig(output / "influence.png")
    front = pareto(model, curated.test)
    pareto_figure(front).savefig(output / "pareto.png")
    print(front)
    for purpose in ("dynamics", "thermodynamics", "elasticity"):
        errors = front.pick(purpose).errors
        print(f"{purpose}: {1e3 * errors['energy']:.1f} meV/atom, {errors['forces']:.3f} eV/Å")


if __name__ == "__main__":
    main()

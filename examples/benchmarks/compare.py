"""Compare gapkit with QUIP (gap_fit and quippy) and LAMMPS SNAP on one machine, in one run.

    pip install ".[bench]"
    python examples/benchmarks/compare.py --quick                  # about a minute
    python examples/benchmarks/compare.py --picture cost.png       # everything, on the data that ship
    python examples/benchmarks/compare.py --only fit,predict --train my.extxyz --test my_test.extxyz --n-sparse 1000

Fits and predictions run one after another, each in a process of its own with a fixed number of threads: one where
nothing else is said.  Programs that are not installed are left out.  README.md beside this file explains the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from comparison import quip, snap
from comparison.models import QUICK, Comparison, Sizes
from comparison.process import ProcessError, installed, task
from comparison.sections import SECTIONS, Table
from listed import listed

DATA = Path(__file__).resolve().parents[2] / "data" / "silicon"

# key of a row: heading and format of its column
COLUMNS = {
    "program": ("", "<27s"),
    "elements": ("elements", "<12s"),
    "sparse": ("sparse", ">7,d"),
    "atoms": ("atoms", ">8,d"),
    "threads": ("threads", ">8d"),
    "fit_s": ("fit s", ">8.1f"),
    "fit_gb": ("fit GB", ">8.2f"),
    "energy_mae": ("E meV/atom", ">11.2f"),
    "forces_mae": ("F eV/Å", ">8.4f"),
    "E+F": ("E+F", ">9.1f"),
    "E+F+stress": ("E+F+stress", ">11.1f"),
    "with std": ("with std", ">9.1f"),
    "one by one": ("one by one", ">10.1f"),
    "speedup": ("speed-up", ">9.2f"),
    "gb": ("GB", ">7.2f"),
    "md": ("per step", ">9.1f"),
    "ratio": ("ratio", ">8.2f"),
}


def show(table: Table) -> None:
    """Print a table with the columns that its rows have."""
    columns = [key for key in COLUMNS if any(row.get(key) is not None for row in table.rows)]
    widths = {key: int("".join(filter(str.isdigit, COLUMNS[key][1].split(".")[0]))) for key in columns}
    print(f"\n{table.title}")
    print(" ".join(f"{COLUMNS[key][0]:{'<' if 's' in COLUMNS[key][1] else '>'}{widths[key]}s}" for key in columns))
    for row in table.rows:
        cells = [f"{row[k]:{COLUMNS[k][1]}}" if row.get(k) is not None else " " * widths[k] for k in columns]
        print(" ".join(cells).rstrip())
    for note in table.notes:
        print(f"  {note}")
    sys.stdout.flush()


def energies(text: str) -> float | dict[str, float]:
    """One energy, or one of each species: -0.65 or Cu=-3.5,Ag=-2.8."""
    try:
        if "=" not in text:
            return float(text)
        return {symbol: float(energy) for symbol, energy in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an energy in eV or Cu=-3.5,Ag=-2.8, got {text}") from None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        "--only",
        type=listed("sections", SECTIONS, in_order=True),
        default=list(SECTIONS),
        metavar="NAMES",
        help=f"of {','.join(SECTIONS)}",
    )
    add("--quick", action="store_true", help="small sizes")
    add("--without", default="", metavar="PEERS", help="leave out: quip, snap or quip,snap")
    add("--train", default=str(DATA / "train.extxyz"), help="for fit and predict")
    add("--test", default=str(DATA / "test.extxyz"), help="for fit and predict")
    add("--n-sparse", type=int, default=300, help="for fit and predict (default: 300)")
    add("--e0", type=energies, help="energy of the free atom in eV, or Cu=-3.5,Ag=-2.8 (default: from the energies)")
    add("--n-jobs", type=int, default=1, help="threads of the gapkit fit (gap_fit from PyPI has one)")
    add("--threads", default="1,2", help="of the section atoms (default: 1,2)")
    add("--model", help="gapkit model of silicon for atoms and md (default: one that is made)")
    add("--json", metavar="FILE", help="write all figures")
    add("--picture", metavar="FILE", help="write a picture of cost against atoms, sparse points and species (PNG)")
    options = parser.parse_args()
    options.threads = tuple(int(n) for n in options.threads.split(","))
    options.without = set(filter(None, options.without.split(",")))
    if options.without - {"quip", "snap"}:
        parser.error(f"--without takes quip, snap or both, got {', '.join(sorted(options.without))}")
    if options.picture and not installed("matplotlib"):
        parser.error("--picture needs matplotlib: pip install matplotlib")
    if options.picture and not {"atoms", "sparse", "species"} & set(options.only):
        parser.error("--picture shows the sections atoms, sparse and species: --only leaves nothing to draw")
    for file in filter(None, (options.json, options.picture)):
        if not Path(file).resolve().parent.is_dir():
            parser.error(f"no folder to write {file} to")
    for file in filter(None, (options.train, options.test, options.model)):
        if not Path(file).is_file():
            parser.error(f"no such file: {file}")
    return options


def main() -> None:
    options = arguments()
    taking_part = {}
    for name, missing in (("quip", quip.missing()), ("snap", snap.missing())):
        taking_part[name] = name not in options.without and missing is None
        if missing and name not in options.without:
            print(missing)
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(
            folder=Path(folder),
            train=str(Path(options.train).resolve()),
            test=str(Path(options.test).resolve()),
            n_sparse=options.n_sparse,
            e0=options.e0,
            n_jobs=options.n_jobs,
            threads=options.threads,
            sizes=QUICK if options.quick else Sizes(),
            with_quip=taking_part["quip"],
            with_snap=taking_part["snap"],
            model=options.model and str(Path(options.model).resolve()),
        )
        tables: dict[str, Table] = {}
        try:
            task("own.warm_up")
            for name in options.only:
                tables[name] = SECTIONS[name](comparison)
                show(tables[name])
        except ProcessError as error:
            raise SystemExit(str(error)) from None
        finally:  # what was measured until then is kept
            write(options, tables)


def write(options: argparse.Namespace, tables: dict[str, Table]) -> None:
    """Write the figures and the picture, if wanted."""
    if options.json:
        machine = {"platform": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count()}
        sections = {name: {"title": t.title, "rows": t.rows, "notes": t.notes} for name, t in tables.items()}
        content = {"machine": machine, "python": platform.python_version(), "sections": sections}
        Path(options.json).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if options.picture and {"atoms", "sparse", "species"} & set(tables):
        from comparison.picture import draw

        draw({name: table.rows for name, table in tables.items()}, options.picture)


if __name__ == "__main__":
    main()

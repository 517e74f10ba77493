"""Sections of the comparison: each measures and returns a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from comparison import snap
from comparison.models import Comparison, Row
from comparison.process import task


@dataclass
class Table:
    """Rows of one section, and what a reader has to know about them."""

    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fit(c: Comparison) -> Table:
    """Fit and test errors at one setting."""
    data, test = c.data, str(c.folder / "test.extxyz")
    n_sparse, n_atoms = sum(data["n_sparse"].values()), sum(data["atoms"].values())
    table = Table(f"Fit: {n_sparse} sparse points, {data['frames']} frames, {n_atoms} atoms")
    task("structures.copy_labelled", source=c.test, output=test)
    for program, (model, usage) in c.fits.items():
        row = {"program": program, "threads": c.n_jobs if program == "gapkit" else 1}
        row |= {"fit_s": usage.seconds, "fit_gb": usage.gigabytes}
        errors = c.call(program, "errors", model=model, test=test)
        table.rows.append(row | (errors.value if errors else {}))
    add_ratios(table, "fit_s", "fit_gb")
    return table


def predict(c: Comparison) -> Table:
    """Predictions of the fitted models on the largest test frame, repeated."""
    table = Table(f"Prediction: {sum(c.data['n_sparse'].values())} sparse points, one thread, µs per atom and step")
    quantities = ["E+F", "E+F+stress", "with std", "one by one"]
    for program, (model, _) in c.fits.items():
        row = {"program": program}
        add_prediction(c, table, row, model, {"file": c.test, "atoms": c.sizes.test_atoms}, quantities)
    add_ratios(table, *quantities)
    table.notes.append("with std: E+F+stress and local standard deviations (QUIP: local_gap_variance, of the prior)")
    table.notes.append("one by one: energy, forces and stress in three calls, as ASE's getters make them")
    return table


def sparse(c: Comparison) -> Table:
    """Cost against the number of sparse points."""
    table = Table("Sparse points: silicon, one thread, µs per atom and step")
    structure = {"elements": ["Si"], "repeat": c.sizes.cells}
    for n_sparse in c.sizes.sparse:
        for program, model, usage in c.made(("Si",), n_sparse):
            row = {"program": program, "sparse": n_sparse, "fit_s": usage.seconds, "fit_gb": usage.gigabytes}
            add_prediction(c, table, row, model, structure, ["E+F+stress", "with std"])
    return table


def species(c: Comparison) -> Table:
    """Cost against the number of species, with the same lattice and the same sparse points in all."""
    table = Table(f"Species: {c.sizes.standard} sparse points in all, one thread, µs per atom and step")
    for elements in c.sizes.alloys:
        structure = {"elements": elements, "repeat": c.sizes.alloy_cells}
        for program, model, usage in c.made(elements, c.sizes.standard):
            row = {"program": program, "species": len(elements), "elements": "-".join(elements)}
            row |= {"fit_s": usage.seconds, "fit_gb": usage.gigabytes}
            add_prediction(c, table, row, model, structure, ["E+F+stress"])
    return table


def atoms(c: Comparison) -> Table:
    """Cost and memory against the number of atoms and threads, gapkit alone."""
    table = Table("Atoms and threads: silicon, E+F+stress, µs per atom and step; peak memory of the whole process")
    model = c.silicon()
    for box in c.sizes.boxes:
        first = len(table.rows)
        for threads in c.threads:
            structure = {"elements": ["Si"], "repeat": box}
            add_prediction(c, table, {"program": "gapkit"}, model, structure, ["E+F+stress"], threads)
        one = table.rows[first]["E+F+stress"]
        for row in table.rows[first:]:
            row["speedup"] = one / row["E+F+stress"]
    return table


def md(c: Comparison) -> Table:
    """Molecular dynamics: gapkit in ASE, ASE alone, and LAMMPS SNAP."""
    table = Table("Molecular dynamics: silicon, one thread, µs per atom and step")
    cells, n_steps = c.sizes.cells, c.sizes.steps
    run = task(
        "own.dynamics", model=c.silicon(), structure={"elements": ["Si"], "repeat": cells}, n_steps=n_steps
    ).value
    table.rows = [
        {"program": name, "atoms": run["atoms"], "md": run[key]["median"]}
        for name, key in (("gapkit in ASE", "gapkit"), ("of which ASE", "stored"))
    ]
    table.notes.append(f"gapkit: {run['gapkit']['temperature']:.0f} K; of which ASE: the same run with stored forces")
    for quadratic in (False, True) if c.with_snap else ():
        name = f"LAMMPS SNAP 2J = {snap.TWO_J}" + (" quadratic" if quadratic else "")
        usage = c.attempt(name, lambda q=quadratic: snap.dynamics(c.folder, cells, n_steps, quadratic=q))
        if usage is not None:
            table.rows.append({"program": name} | usage.value)
    for row in table.rows:
        row["ratio"] = row["md"] / table.rows[0]["md"]
    if c.with_snap:
        table.notes.append("SNAP: LAMMPS's own loop time; random coefficients, atoms at rest, no neighbour rebuilds")
    return table


def add_prediction(
    c: Comparison, table: Table, row: Row, model: str, structure: Row, quantities: list[str], threads: int = 1
) -> None:
    """Time predictions and complete `row` with medians and quartiles, atoms, threads and peak memory."""
    arguments = {"model": model, "structure": structure, "quantities": quantities, "budget": c.sizes.budget}
    if row["program"] == "gapkit":
        arguments["n_jobs"] = threads
    usage = c.call(row["program"], "predict", threads=threads, **arguments)
    if usage is None:
        return
    timed = {name: usage.value[name] for name in quantities if usage.value[name]}
    row |= {"atoms": usage.value["atoms"], "threads": threads, "gb": usage.gigabytes}
    row |= {name: value["median"] for name, value in timed.items()}
    table.rows.append(row | {"quartiles": {name: value["quartiles"] for name, value in timed.items()}})


def add_ratios(table: Table, *columns: str) -> None:
    """Add a row with the other program's figures over those of gapkit."""
    if len(table.rows) == 2:
        own, other = table.rows
        ratio = {key: other[key] / own[key] for key in columns if key in own and key in other}
        table.rows.append({"program": f"{other['program']} / gapkit"} | ratio)


SECTIONS: dict[str, Callable[[Comparison], Table]] = {
    "fit": fit, "predict": predict, "sparse": sparse, "species": species, "atoms": atoms, "md": md,
}  # fmt: skip

"""What the sections of the comparison share: sizes, files in a temporary folder, and models that are made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from comparison import quip
from comparison.process import ProcessError, Usage, task

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    cells: tuple[int, int, int] = (5, 5, 5)  # of silicon: 1,000 atoms
    frames: int = 64  # of 64 silicon atoms each, 4,096 environments
    sparse: tuple[int, ...] = (100, 1000, 4000)
    standard: int = 1000  # sparse points where something else varies
    alloy_frames: int = 40  # of 32 atoms each
    alloys: tuple[tuple[str, ...], ...] = (("Cu",), ("Cu", "Ag"), ("Cu", "Ag", "Au", "Pd"))
    alloy_cells: tuple[int, int, int] = (6, 6, 7)  # 1,008 atoms
    boxes: tuple[tuple[int, int, int], ...] = ((2, 2, 3), (5, 5, 5), (10, 5, 25), (25, 25, 20))
    test_atoms: int = 1000
    budget: float = 10.0  # seconds for each prediction that is timed, as far as three steps allow
    steps: int = 200  # of molecular dynamics
    quip_sparse: int = 1000  # made models with more are fitted by gapkit alone: gap_fit takes long


QUICK = Sizes(
    cells=(2, 3, 3), frames=16, sparse=(50, 200), standard=200, alloy_frames=16, alloys=(("Cu",), ("Cu", "Ag")),
    alloy_cells=(3, 3, 3), boxes=((2, 2, 3), (5, 5, 5)), test_atoms=200, budget=1.0, steps=20, quip_sparse=200,
)  # fmt: skip


@dataclass
class Comparison:
    """Options of a run, its files and its models."""

    folder: Path
    train: str
    test: str
    n_sparse: int
    e0: dict[str, float] | float | None
    n_jobs: int
    threads: tuple[int, ...]
    sizes: Sizes
    with_quip: bool
    with_snap: bool
    model: str | None = None
    say: Callable[[str], None] = print
    _made: dict[Path, Any] = field(default_factory=dict)

    def attempt(self, what: str, measure: Callable[[], Usage]) -> Usage | None:
        """Result of a part that another program takes, or None, said in one line, if that program fails."""
        try:
            return measure()
        except ProcessError as error:
            self.say(f"{what} failed and is left out: {' '.join(str(error).split())[-300:]}")
            return None

    def call(self, program: str, function: str, *, threads: int = 1, **arguments: Any) -> Usage | None:
        """A task of gapkit, which must succeed, or of QUIP, which may fail."""
        if program == "gapkit":
            return task(f"own.{function}", threads=threads, **arguments)
        return self.attempt(f"quippy ({function})", lambda: task(f"quip.{function}", threads=threads, **arguments))

    @cached_property
    def data(self) -> Row:
        """Training data under the names of both programs: file, species, sparse points and energies of species."""
        file = str(self.folder / "train.extxyz")
        data: Row = task("structures.copy_labelled", source=self.train, output=file).value
        if isinstance(self.e0, float):
            if len(data["e0"]) > 1:
                raise SystemExit(f"--e0 must name each of {', '.join(data['e0'])}, as in --e0 Si=-0.65")
            data["e0"] = dict.fromkeys(data["e0"], self.e0)
        elif self.e0 is not None:
            data["e0"] = self.e0
        return data | {"file": file, "n_sparse": shares(data["atoms"], self.n_sparse)}

    @cached_property
    def fits(self) -> dict[str, tuple[str, Usage]]:
        """Model file and cost of each program's fit to the user's data."""
        data, own, xml = self.data, str(self.folder / "own.gapkit"), str(self.folder / "gap.xml")
        arguments = {key: data[key] for key in ("n_sparse", "e0")}
        usage = task(
            "own.fit", threads=self.n_jobs, train=data["file"], output=own, n_jobs=self.n_jobs, **arguments
        )  # fmt: skip
        fits = {"gapkit": (own, usage)}
        if self.with_quip:
            usage = self.attempt("gap_fit", lambda: quip.fit(data["file"], xml, numbers=data["numbers"], **arguments))
            if usage is not None:
                fits["QUIP"] = (xml, usage)
        return fits

    def made(self, elements: tuple[str, ...], n_sparse: int) -> Iterator[tuple[str, str, Usage]]:
        """Program, model file and cost of fits to a set made here; models are made once."""
        name = "-".join(elements)
        n_frames = self.sizes.frames if elements == ("Si",) else self.sizes.alloy_frames
        file = self.folder / f"{name}.extxyz"
        if file not in self._made:
            self._made[file] = task(
                "structures.training_set", output=str(file), elements=elements, n_frames=n_frames, repeat=(2, 2, 2)
            ).value
        data = self._made[file]
        sparse = shares(data["atoms"], n_sparse)
        own, xml = self.folder / f"{name}-{n_sparse}.gapkit", self.folder / f"{name}-{n_sparse}.xml"
        if own not in self._made:
            self._made[own] = task(
                "own.fit", train=str(file), output=str(own), n_sparse=sparse, e0=data["e0"], n_jobs=1, cur=False
            )
        yield "gapkit", str(own), self._made[own]
        if self.with_quip and n_sparse <= self.sizes.quip_sparse:
            if xml not in self._made:
                self._made[xml] = self.attempt(
                    f"gap_fit for {name}",
                    lambda: quip.fit(str(file), str(xml), sparse, data["e0"], data["numbers"], False),
                )
            if self._made[xml] is not None:
                yield "QUIP", str(xml), self._made[xml]

    def silicon(self) -> str:
        """The model of the sections that vary atoms: the one given, or one made here."""
        return self.model or next(self.made(("Si",), self.sizes.standard))[1]


def shares(atoms: dict[str, int], n_sparse: int) -> dict[str, int]:
    """Sparse points of each species, the same for all as far as there are environments."""
    return {symbol: min(n_sparse // len(atoms), n) for symbol, n in atoms.items()}

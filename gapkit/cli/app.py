"""The commands and their flags. What a long one does is in the module of its name, imported when it runs."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gapkit.cli.console import guarded, say, show, show_json
from gapkit.exceptions import InputError
from gapkit.options import Options
from gapkit.options.fit import FitConfig, LabelOptions

app = typer.Typer(
    name="gapkit", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Gaussian-process interatomic potentials. Units: eV, Å, eV/Å, eV/Å³ (ASE's sign of the stress).",
)  # fmt: skip

_FILES = "in any format that ASE reads, in one file or several; of FILE@::10 every tenth frame."
Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Model file.")]
Jobs = Annotated[int | None, typer.Option(help=FitConfig.help("n_jobs"))]
Labelled = typer.Argument(help=f"Labelled structures {_FILES}", show_default=False)
_OUTPUT = ("--output", "-o")
Command = TypeVar("Command", bound=Callable[..., None])
_TYPES = {"str": str, "int": int, "float": float, "bool": bool}


def flags(options: type[Options]) -> Callable[[Command], Command]:
    """Give a command, in place of its ``**given``, a flag for each option that fits one; None where it is not given."""

    def decorate(command: Command) -> Command:
        declared = signature(command, eval_str=True)
        own = [item for item in declared.parameters.values() if item.kind is not Parameter.VAR_KEYWORD]
        new = [
            Parameter(item.name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, _flag(item)])
            for item in fields(options)  # type: ignore[arg-type]
            if (kind := _TYPES.get(str(item.type).split(" | ")[0])) is not None
        ]
        command.__signature__ = declared.replace(parameters=[*own, *new])  # type: ignore[attr-defined]
        return command

    return decorate


def _flag(item: Field[Any]) -> Any:
    name, has_default = item.name.replace("_", "-"), item.default is not None and item.default is not False
    text = item.metadata["help"] + (f" Default: {item.default}." if has_default else "")
    declared = [f"--{name}/--no-{name}" if isinstance(item.default, bool) else f"--{name}"]
    if letter := item.metadata.get("letter"):
        declared.append(f"-{letter}")
    panel = "Labels" if item.metadata["sets"] == "label_keys" else None
    return typer.Option(*declared, help=text, metavar=item.metadata["metavar"], rich_help_panel=panel)


def run_app() -> None:
    """Run the command line."""
    gc.set_threshold(100_000)  # the imports make that many objects, none of them garbage: a quarter of a short command
    try:
        app()
    finally:
        gc.freeze()  # the process ends: nothing is worth a last collection


@app.callback(invoke_without_command=True)
@guarded
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
    modules: Annotated[
        list[str] | None, typer.Option("--import", metavar="MODULE", help="Module with classes of your own.")
    ] = None,
) -> None:
    """Print the version, or import modules whose classes a model or configuration names."""
    if modules:
        sys.path.insert(0, "")  # as for python -m
        from gapkit.io.registry import import_named

        for module in modules:
            import_named(module, "`--import`")
    if version:
        from gapkit import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
@guarded
@flags(FitConfig)
def fit(
    train: Annotated[list[Path], Labelled],
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML or TOML file of options; flags win.")
    ] = None,
    **given: Any,
) -> None:
    """Fit a potential to labelled structures. What is not given is chosen from the data."""
    from gapkit.cli.fit import run

    run(train, FitConfig.resolve(config, given), config)


@app.command()
@guarded
def predict(
    model: Model,
    structures: Annotated[list[Path], typer.Argument(metavar="IN", help=f"Structures {_FILES}")],
    output: Annotated[Path, typer.Option(*_OUTPUT, metavar="FILE", help="Extended XYZ file to write.")],
    std: Annotated[bool, typer.Option("--std", help="Write standard deviations and extrapolation as well.")] = False,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help='Begin of the names; "": as results, in place of the labels.')
    ] = "gap_",
    n_jobs: Jobs = None,
) -> None:
    """Predict energies, forces and stresses, and write them as gap_energy, gap_forces, ... beside labels of old."""
    from gapkit.cli.predict import run

    run(model, structures, output, std=std, prefix=prefix, n_jobs=n_jobs)


@app.command()
@guarded
@flags(LabelOptions)
def evaluate(
    model: Model,
    structures: Annotated[list[Path], Labelled],
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Compare errors with standard deviations.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the errors as one JSON object.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Picture of the errors, or error bars.")] = None,
    n_jobs: Jobs = None,
    **keys: Any,
) -> None:
    """Compute the errors of a model on labelled structures, overall and per configuration type.

    Labels are looked for under the keys that the model was fitted with, unless others are given.
    """
    from gapkit.cli.build import build_keys
    from gapkit.cli.inputs import files_of, read_model, read_structures
    from gapkit.io.atomic import check_output, replacing
    from gapkit.validation import compare, uncertainty_of

    if plot is not None:
        from gapkit.report.picture import check_picture

        check_picture(plot)
        check_output(plot, model, *files_of(structures))
    potential = read_model(model, structures, n_jobs)
    of_labels = build_keys(LabelOptions(**keys), potential.label_keys)
    comparison = compare(potential, read_structures(structures), of_labels, uncertainty=uncertainty)
    if plot is not None:
        from gapkit.report import parity_figure, uncertainty_figure

        draw = uncertainty_figure if uncertainty else parity_figure
        with replacing(plot) as temporary:
            draw(comparison).savefig(temporary, dpi=200)
        say(f"Wrote {plot}")
    table = uncertainty_of(comparison) if uncertainty else comparison.errors()
    if json:
        show_json(table.to_dict())
    else:
        show(table)


@app.command()
@guarded
def curate(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML or TOML file: sources, steps and output.")],
    output: Annotated[
        Path | None, typer.Option(*_OUTPUT, metavar="FOLDER", help="Folder in place of the recipe's.")
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Write a page with pictures (matplotlib).")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the data card as one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print errors only.")] = False,
) -> None:
    """Make a training and a test set from raw calculations, with a card that gives the reason for every frame."""
    from gapkit.cli.curate import run

    run(recipe, output=output, page=page, dry_run=dry_run, as_json=json, quiet=quiet)


@app.command()
@guarded
def lammps(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="LAMMPS input without pair_style and pair_coeff.")],
    model: Annotated[Path, typer.Option(metavar="FILE", help="Model file.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="-- ARGUMENTS", help="Arguments for LAMMPS, such as -log none.")
    ] = None,
    types: Annotated[str | None, typer.Option(help="Species of the atom types, Cu,Au. Default: the only one.")] = None,
    halt_on_novelty: Annotated[float | None, typer.Option(help="Novelty over threshold that ends the run.")] = None,
    novelty_every: Annotated[int | None, typer.Option(help="Steps from one look at the novelty to the next.")] = None,
    n_jobs: Annotated[int, typer.Option(help="Threads of each rank.")] = 1,
) -> None:
    """Run molecular dynamics with LAMMPS, also in parallel: mpirun -n 4 gapkit lammps SCRIPT --model FILE.

    The model is attached at a line `gapkit` of the script, or else after the command that makes the box.
    """
    from gapkit.cli.lammps import run

    options = {"halt_on_novelty": halt_on_novelty, "novelty_every": novelty_every, "n_jobs": n_jobs}
    run(script, model, arguments or (), types, options)


@app.command()
@guarded
@flags(LabelOptions)
def info(
    files: Annotated[list[Path], typer.Argument(metavar="MODEL|FILE", help=f"A model file, or structures {_FILES}")],
    **keys: Any,
) -> None:
    """Describe a model, or what is in a file of structures and looks suspicious there."""
    from gapkit.cli.build import build_keys
    from gapkit.cli.inputs import is_model, read_model, read_structures
    from gapkit.structures import describe, to_batch

    if len(files) == 1 and (files[0].suffix == ".xml" or is_model(files[0])):
        show(read_model(files[0]).summary())
    else:
        show(str(describe(to_batch(read_structures(files), keys=build_keys(LabelOptions(**keys))))))


@app.command()
@guarded
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Model of QUIP (gap.xml), or a model file.")],
    to: Annotated[Path | None, typer.Argument(metavar="OUT", help="Model file, or gap.xml, to write.")] = None,
    output: Annotated[Path | None, typer.Option(*_OUTPUT, metavar="FILE", help="The same as OUT.")] = None,
    species: Annotated[
        str | None, typer.Option(help="Species of a gap.xml whose descriptors name none (Z=0), such as Si,O.")
    ] = None,
) -> None:
    """Convert a model of QUIP's gap_fit to a model file, or a model file to one for QUIP."""
    from gapkit.cli.inputs import read_model
    from gapkit.inputs import check_input
    from gapkit.interop import quip
    from gapkit.io.atomic import check_output

    if (to is None) == (output is None):
        raise InputError("one file to write must be named, as OUT or by --output")
    target = to or output or source
    check_input(source, "the model to convert")
    check_output(target, source)
    if (source.suffix == ".xml") == (target.suffix == ".xml"):
        raise InputError(f"one of the two files, and only one, must end in .xml, got {source.name} and {target.name}")
    if source.suffix == ".xml":
        model = quip.load(source, species=None if species is None else species.replace(",", " ").split())
        model.save(target)  # not over the files of sparse points that were read
    else:
        if species is not None:
            raise InputError("`--species` is of a gap.xml that is read; a model file says its own, so leave it out")
        model = read_model(source)
        quip.write(model, target)
    say(f"Wrote {target}: {', '.join(model.species_)}, {model.n_sparse_} sparse points")

"""Make a data set by a recipe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

from ase import Atoms

from gapkit.curation.coverage import measure_coverage
from gapkit.curation.influence import influence
from gapkit.curation.pruning import Check
from gapkit.curation.recipe import steps
from gapkit.curation.recipe.ledger import LEFT_OUT, TEST, TRAIN, Entry, Ledger, batch_of, frames_of
from gapkit.curation.recipe.recipe import Recipe
from gapkit.curation.recipe.result import Curated
from gapkit.curation.recipe.sources import read_sources
from gapkit.exceptions import DataError, InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import PathLike
from gapkit.parallel import limit_blas
from gapkit.progress import track
from gapkit.structures import read_frames


@checked
def curate(
    recipe: Recipe, folder: PathLike = ".", *, progress: bool = False,
    crystal_check: Callable[[Atoms], Check] | None = None,
) -> Curated:  # fmt: skip
    """Read, check, remove duplicates and outliers, split, remove leaks, select and weigh, as a recipe says.

    Nothing is written; see `Curated.write`.

    Parameters
    ----------
    recipe : Recipe
    folder : path
        Folder of the recipe; its files are relative to it.
    progress : bool
        Show a bar on standard error.
    crystal_check : callable, optional
        Makes the check of the recipe's `outliers: {crystal: ...}`, such as `gapkit.validation.crystal_check`.

    Raises
    ------
    InputError
        If a file cannot be read, the recipe names unknown configuration types, or its `crystal` has no check.
    DataError
        If the data must not be used as they are: the message names files and frames; or if no training frame is left.
    """
    base = Path(folder)
    # products here are small, and bytes must not depend on the number of BLAS threads; fits have threads of their own
    with limit_blas(recipe.n_jobs, 0), track(9, "curate", "step", progress) as bar:

        def begin(name: str) -> None:
            bar.set_description(name)
            bar.update()

        begin("read")
        files, entries = read_sources(recipe.sources, base)
        ledger = Ledger(entries)
        _check_names(recipe, ledger)
        crystal = _crystal(recipe, base, crystal_check)
        ledger.close("read", f"{len(entries)} frames of {len(files)} files")
        begin("check")
        findings = steps.check_frames(ledger, recipe)
        _check_left(ledger, "check")
        begin("duplicates")
        groups = steps.drop_duplicates(ledger, recipe) if recipe.duplicates is not None else []
        begin("outliers")
        pruned = steps.drop_outliers(ledger, recipe, crystal) if recipe.outliers is not None else None
        modelled = ledger.open("pool", "train")
        modelled_frames = frames_of(modelled)  # before they get other sigmas
        sound = ledger.open()
        begin("split")
        steps.split_pool(ledger, recipe.split, recipe.seed)
        begin("leakage")
        if recipe.leakage is not None:
            steps.drop_twins(ledger, recipe.leakage)
        _check_left(ledger, "leakage")
        begin("select")
        if recipe.select is not None:
            steps.choose(ledger, recipe.select, recipe.seed)
            # what is a twin is judged by the training set, which is another one now
            if recipe.leakage is not None:
                steps.drop_twins(ledger, recipe.leakage)
        if recipe.weights is not None:
            steps.weigh(ledger, recipe.weights)
        _check_left(ledger, "select")
        begin("coverage")
        coverage = measure_coverage(batch_of(ledger.of(TRAIN)), batch_of(sound))
        begin("influence")
        report = None if pruned is None else influence(pruned.model, modelled_frames)
    return Curated(
        recipe=recipe, files=tuple(files), ledger=ledger, findings=tuple(findings), duplicates=tuple(groups),
        pruned=pruned, modelled=tuple(e.id for e in modelled), influence=report, coverage=coverage,
        inputs=tuple(recipe.inputs(base)),
    )  # fmt: skip


def _crystal(recipe: Recipe, folder: Path, make: Callable[[Atoms], Check] | None) -> Check | None:
    file = None if recipe.outliers is None else recipe.outliers.crystal
    if file is None:
        return None
    atoms = read_frames(folder / file)[0]
    if make is None:
        raise InputError(
            f"`crystal` of the recipe needs a check, got none; call `curate` with `crystal_check`, such as "
            f"gapkit.validation.crystal_check, or leave out `crystal: {file}`"
        )
    return make(atoms)


def _check_names(recipe: Recipe, ledger: Ledger) -> None:
    """Before the work: configuration types of the recipe that no frame has are typing errors."""
    known = sorted({e.config_type for e in ledger.entries})
    named: dict[str, Iterable[str]] = {} if recipe.weights is None else {"config_types": recipe.weights.config_types}
    if recipe.select is not None and not isinstance(recipe.select.quotas, str | None):
        named["quotas"] = recipe.select.quotas
    for option, names in named.items():
        if unknown := sorted(set(names) - set(known)):
            raise InputError(
                f"`{option}` of the recipe must name configuration types of the frames ({', '.join(known)}), got "
                f"{', '.join(unknown)}"
            )


def _check_left(ledger: Ledger, step: str) -> None:
    if ledger.open("pool", "train") if step == "check" else ledger.of(TRAIN):
        return
    by_step: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger.of(LEFT_OUT):
        by_step[entry.step].append(entry)
    out = [f"{len(own)} by {name!r}, such as {own[0].id} ({own[0].reason})" for name, own in by_step.items()]
    test = f" ({len(ledger.of(TEST))} are test frames)" if ledger.of(TEST) else ""
    raise DataError(
        f"no training frame is left after the step {step!r}{test}; left out are {'; '.join(out) or 'none'}; "
        "correct the data, or change the options of the steps"
    )

"""Tasks of QUIP: `gap_fit` and the calculator of quippy."""

from __future__ import annotations

from functools import partial
from typing import Any

from comparison import setting
from comparison.process import Usage, installed, program, run

# Every quantity that is wanted is asked for in one call: one call for energies and a second for forces would cost both.
QUANTITIES = {
    "E+F": (["energy", "forces"], None),
    "E+F+stress": (["energy", "forces", "stress"], None),
    "with std": (["energy", "forces", "stress"], "local_gap_variance"),
}


def missing() -> str | None:
    """Why QUIP cannot take part, or None."""
    if program("gap_fit") and installed("quippy"):
        return None
    return "QUIP is not installed and left out (pip install quippy-ase)"


def fit(
    train: str, output: str, n_sparse: dict[str, int], e0: dict[str, float], numbers: dict[str, int], cur: bool = True
) -> Usage:
    """Run `gap_fit` at the setting of the comparison, in one thread: the build from PyPI has no more."""
    channels = " ".join(str(z) for z in numbers.values())
    s = setting.SOAP
    terms = [
        f"soap cutoff={s['cutoff']} cutoff_transition_width={setting.TRANSITION} n_max={s['n_max']} "
        f"l_max={s['l_max']} atom_sigma={s['sigma']} zeta={setting.ZETA} delta=1.0 covariance_type=dot_product "
        f"sparse_method={'cur_points' if cur else 'random'} n_sparse={n_sparse[symbol]} add_species=F "
        f"n_Z=1 Z={{{z}}} n_species={len(numbers)} species_Z={{{{{channels}}}}}"
        for symbol, z in numbers.items()
    ]
    command = [
        str(program("gap_fit")), f"at_file={train}", f"gap={{{' : '.join(terms)}}}",
        "e0={" + ":".join(f"{symbol}:{energy}" for symbol, energy in e0.items()) + "}",
        f"default_sigma={{{setting.SIGMA_ENERGY} {setting.SIGMA_FORCES} 0.0 0.0}}",
        "energy_parameter_name=dft_energy", "force_parameter_name=dft_forces",
        "do_copy_at_file=F", "sparse_separate_file=T", f"gp_file={output}", "sparse_jitter=1e-10",
    ]  # fmt: skip
    return run(command)


def errors(model: str, test: str) -> dict[str, float]:
    """Errors on a test set."""
    from quippy.potential import Potential

    from comparison import steps

    return steps.errors(Potential(param_filename=model), test)


def predict(model: str, structure: dict[str, Any], quantities: list[str], budget: float) -> dict[str, Any]:
    """Time per atom and step of each of `quantities`, in about `budget` seconds each."""
    from ase.calculators.calculator import all_changes
    from quippy.potential import Potential

    from comparison import steps, structures

    atoms = structures.make(**structure)
    calculator = Potential(param_filename=model)
    result: dict[str, Any] = {"atoms": len(atoms)}
    for name in quantities:
        step, arguments = steps.one_by_one(calculator), None
        if name in QUANTITIES:
            properties, arguments = QUANTITIES[name]
            step = partial(calculator.calculate, properties=properties, system_changes=all_changes, calc_args=arguments)
        result[name] = steps.time_steps(atoms, step, budget)
        if arguments and arguments not in calculator.extra_results["atoms"]:
            result[name] = None  # this version does not return it
    return result

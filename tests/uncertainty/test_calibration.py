"""Calibration on synthetic residuals whose scale, difficulty and novelty are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.exceptions import CalibrationError, InputError
from gapkit.io.arrays import Arrays, Given
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.calibration import Calibration, Labels, Structures, fit_calibration
from gapkit.uncertainty.conformal import Intervals
from gapkit.uncertainty.neighbourhoods import Vectors
from gapkit.uncertainty.prior_scale import PriorScale, share_of_prior
from gapkit.uncertainty.scale import Scale, Z

SPECIES = (29, 79)
SCALES = {"energy": (1e-3, 2.0), "forces": (0.02, 3.0), "stress": (1e-4, 0.5)}
ATOMS = 8
UNLABELLED = 5  # every fifth atom has no force
NAMES = ("bulk",)


Residuals = dict[str, tuple[IntArray, FloatArray, FloatArray]]


def labels(residuals: Residuals, known: BoolArray | None = None) -> dict[str, Labels]:
    """Frames, errors and data variances by quantity as labels, all of structures like the training set."""
    mask = {kind: np.ones(len(frames), bool) if known is None else known for kind, (frames, _, _) in residuals.items()}
    return {kind: Labels(*part, mask[kind]) for kind, part in residuals.items()}


class Data:
    """Frames of eight atoms; gold in the right half of descriptor space has forces three times as wrong."""

    def __init__(self, n_frames: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        n = n_frames * ATOMS
        self.frame_of_atom: IntArray = np.arange(n) // ATOMS
        self.numbers: IntArray = np.tile(SPECIES, n // 2)
        self.kinds: IntArray = np.zeros(n_frames, np.int64)
        x = rng.normal(size=(n, 3))
        self.vectors: Vectors = {z: (np.flatnonzero(self.numbers == z), x[self.numbers == z]) for z in SPECIES}
        self.novelty: FloatArray = rng.uniform(0, 0.05, n)
        self.hard = (self.numbers == 79) & (x[:, 0] > 0)
        self.atoms: IntArray = np.flatnonzero(np.arange(n) % UNLABELLED)
        rows = {"energy": np.arange(n_frames), "forces": self.frame_of_atom[self.atoms], "stress": np.arange(n_frames)}
        self.residuals = {}
        for kind, c in (("energy", 1), ("forces", 3), ("stress", 6)):
            a, b = SCALES[kind]
            data = (a / b) ** 2 * np.exp(rng.uniform(-3, 3, (len(rows[kind]), c)))
            m = np.where(self.hard[self.atoms], 3.0, 1.0)[:, None] if kind == "forces" else 1.0
            errors = m * np.sqrt(a**2 + b**2 * data) * rng.standard_normal(data.shape)
            self.residuals[kind] = (rows[kind], errors, data)

    def factors(self, calibration: Calibration) -> FloatArray:
        """Factors of forces (n_atoms,)."""
        return calibration.factors("forces", self.vectors, self.frame_of_atom, self.kinds)

    def calibration(self, *kinds: str) -> Calibration:
        residuals = {kind: part for kind, part in self.residuals.items() if not kinds or kind in kinds}
        return fit_calibration(labels(residuals), self.structures(self.kinds, NAMES), "frames")

    def structures(self, kinds: IntArray, names: tuple[str, ...]) -> Structures:
        return Structures(self.numbers, self.novelty, self.vectors, self.atoms, kinds, names)


@pytest.fixture(scope="module")
def data() -> Data:
    return Data(400, 0)


@pytest.fixture(scope="module")
def calibration(data: Data) -> Calibration:
    return data.calibration()


def stds(calibration: Calibration, data: Data, kind: str) -> FloatArray:
    """Calibrated stds of residuals as a prediction makes them; no prior residual."""
    frames, _, variances = data.residuals[kind]
    if kind == "forces":
        m = data.factors(calibration)[data.atoms]
        return np.sqrt(calibration.variances(kind, variances, np.zeros_like(variances), data.novelty[data.atoms], m))
    return np.sqrt(calibration.variances(kind, variances, np.zeros_like(variances), np.zeros(len(frames))))


def test_share_of_the_prior() -> None:
    np.testing.assert_allclose(
        share_of_prior(np.array([0.0, 0.1, 1.0, 3.0])), [0.0, 1e-8 / (1 + 1e-8), 0.5, 6561 / 6562]
    )
    np.testing.assert_array_equal(share_of_prior(np.array([np.nan, np.inf, 1e12])), 1.0)
    assert (np.diff(share_of_prior(np.linspace(0, 5, 100))) > 0).all()


@pytest.mark.parametrize("kind", ["energy", "stress"])
def test_scales_are_found(calibration: Calibration, kind: str) -> None:
    scale = calibration.scales[kind]
    assert (scale.a, scale.b) == pytest.approx(SCALES[kind], rel=0.2 if kind == "energy" else 0.1)


@pytest.mark.parametrize("kind", SCALES)
def test_coverage_of_new_configurations(calibration: Calibration, kind: str) -> None:
    new = Data(400, 1)
    errors = np.abs(new.residuals[kind][1])
    sigma = stds(calibration, new, kind)
    assert np.mean(errors <= Z * sigma) == pytest.approx(0.9, abs=0.06 if kind == "energy" else 0.025)
    groups = (new.numbers[new.atoms], new.novelty[new.atoms]) if kind == "forces" else (None, None)
    for level in (0.68, 0.9, 0.95):
        widths = sigma * calibration.intervals[kind].factors(level, *groups)[:, None]
        assert np.mean(errors <= widths) == pytest.approx(level, abs=0.07 if kind == "energy" else 0.025)


def test_difficulty_tells_hard_neighbourhoods(calibration: Calibration) -> None:
    new = Data(100, 2)
    m = new.factors(calibration)
    gold = new.numbers == 79
    ratio = m[new.hard].mean() / m[gold & ~new.hard].mean()
    # three, to the power of what some fifteen neighbours weigh against five that believe in 1, and less at the border
    assert 1.6 < ratio < 2.8
    np.testing.assert_allclose(np.median(m[~gold]), 1.0, atol=0.1)


def test_coverage_depends_less_on_the_neighbourhood(calibration: Calibration) -> None:
    new = Data(400, 3)
    errors, sigma = np.abs(new.residuals["forces"][1]), stds(calibration, new, "forces")
    m = new.factors(calibration)[new.atoms, None]
    hard, gold = new.hard[new.atoms], new.numbers[new.atoms] == 79

    def gap(stds: FloatArray) -> float:
        factor = np.quantile(errors / stds, 0.9)
        return np.mean(errors[gold & ~hard] <= factor * stds[gold & ~hard]) - np.mean(
            errors[hard] <= factor * stds[hard]
        )

    assert gap(sigma) < 0.65 * gap(sigma / m)
    assert gap(sigma / m) > 0.3


def test_the_own_frame_does_not_help_itself() -> None:
    """Clusters of a frame each, every other one eight times as hard: only a frame's own atoms could tell that.

    With their help in the calibration, which new frames do not have, scores would be nearly of one size.
    """
    rng = np.random.default_rng(4)
    n_frames, crowd = 24, 80
    frames = np.repeat(np.arange(n_frames), crowd)
    angle = 2 * np.pi * frames / n_frames
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 1e-2 * rng.normal(size=(len(frames), 2))
    errors = np.where(frames % 2, 8.0, 1.0)[:, None] * rng.standard_normal((len(frames), 3))
    atoms = np.arange(len(frames))
    structures = Structures(
        np.full(len(frames), 29), np.zeros(len(frames)), {29: (atoms, x)}, atoms, np.zeros(n_frames, np.int64), NAMES
    )
    fitted = fit_calibration(labels({"forces": (frames, errors, np.ones_like(errors))}), structures, "frames")
    intervals = fitted.intervals["forces"]
    spread = intervals.factors(0.9)[0] / intervals.factors(0.5)[0]
    assert spread > 0.8 * np.quantile(np.abs(errors), 0.9) / np.quantile(np.abs(errors), 0.5)


def test_variances_are_their_formula() -> None:
    intervals = Intervals(np.zeros(1, int), np.zeros((1, 2)), np.ones((1, 3, 190)), 10)
    fitted = Calibration({"forces": Scale(0.1, 2.0)}, {"forces": intervals}, {}, 10, "frames")
    data, prior = np.array([[1.0, 4.0], [1.0, 4.0]]), np.array([[3.0, 5.0], [3.0, 5.0]])
    novelty, m = np.array([0.0, 1.0]), np.array([3.0, 0.5])
    plain = fitted.variances("forces", data, prior, novelty)
    np.testing.assert_allclose(plain, [[4.01, 16.01], [4.01 + 1.5, 16.01 + 2.5]])
    np.testing.assert_allclose(
        fitted.variances("forces", data, prior, novelty, m), [[9 * 4.01, 9 * 16.01], [1.0025 + 1.5, 4.0025 + 2.5]]
    )
    np.testing.assert_allclose(fitted.variances("forces", data, prior, np.full(2, np.nan))[0], [7.01, 21.01])
    vectors = {29: (np.arange(4), np.ones((4, 2)))}
    for kind, n in (("forces", 4), ("energy", 2)):
        found = fitted.factors(kind, vectors, np.array([0, 0, 1, 1]), np.array([0, -1]))
        np.testing.assert_array_equal(found, np.ones(n))


@pytest.mark.parametrize("kinds", [("energy",), ("forces",), ("energy", "stress")])
def test_kinds_without_labels_are_absent(data: Data, kinds: tuple[str, ...]) -> None:
    fitted = data.calibration(*kinds)
    assert set(fitted.scales) == set(fitted.intervals) == set(kinds)
    assert bool(fitted.difficulty) == ("forces" in kinds)
    assert fitted.n_configurations == 400
    lines = fitted.summary().splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == list(kinds)


def test_kinds_do_not_influence_each_other(data: Data, calibration: Calibration) -> None:
    alone = data.calibration("energy")
    assert alone.scales["energy"] == calibration.scales["energy"]
    np.testing.assert_array_equal(alone.intervals["energy"].table, calibration.intervals["energy"].table)


def test_too_few_configurations() -> None:
    with pytest.raises(CalibrationError, match="at least 10 configurations, got 9"):
        Data(9, 0).calibration()
    assert Data(10, 0).calibration().n_configurations == 10


def test_summary_has_units(calibration: Calibration) -> None:
    scale = calibration.scales
    assert calibration.summary() == (
        "calibrated on 400 configurations (frames)\n"
        f"  energy: a = {1e3 * scale['energy'].a:.3g} meV/atom, b = {scale['energy'].b:.3g}\n"
        f"  forces: a = {scale['forces'].a:.3g} eV/Å, b = {scale['forces'].b:.3g}\n"
        f"  stress: a = {1e3 * scale['stress'].a:.3g} meV/Å³, b = {scale['stress'].b:.3g}"
    )


@pytest.mark.parametrize("kinds", [(), ("energy", "stress"), ("forces",)])
def test_arrays_and_back(data: Data, kinds: tuple[str, ...]) -> None:
    before = data.calibration(*kinds)
    dimensions = {z: len(whitening.mean) for z, (whitening, _) in before.difficulty.items()}
    arrays = Arrays(Given(before.to_arrays()), {})
    after = Calibration.from_arrays(arrays, before.n_configurations, before.source, dimensions, NAMES)
    assert after.scales == before.scales
    assert (after.n_configurations, after.source) == (400, "frames")
    for kind, intervals in before.intervals.items():
        for name in ("species", "edges", "table", "n_configurations"):
            np.testing.assert_array_equal(getattr(after.intervals[kind], name), getattr(intervals, name))
    assert list(after.difficulty) == list(before.difficulty)
    new = Data(20, 5)
    np.testing.assert_array_equal(new.factors(after), new.factors(before))


def whole(data: Data) -> Calibration:
    """Two kinds, priors of two quantities and a factor of differences."""
    kinds = np.where(np.arange(len(data.kinds)) % 4 > 0, 0, 1)
    fitted = fit_calibration(labels(data.residuals), data.structures(kinds, ("a", "b")), "frames")
    priors = {"energy": PriorScale(2.0, 0.25, 4), "forces": PriorScale(3.0, np.inf, 0)}
    return replace(fitted, priors=priors, difference=1.25)


def read(arrays: dict[str, np.ndarray], kinds: tuple[str, ...] = ()) -> Calibration:
    source = Arrays(Given(arrays), {})
    found = Calibration.from_arrays(source, 400, "frames", dict.fromkeys(SPECIES, 3), kinds)
    source.check_all_taken()
    return found


def test_kinds_priors_and_differences_are_kept(data: Data) -> None:
    before = whole(data)
    after = read(before.to_arrays(), ("a", "b"))
    assert after.priors == before.priors
    assert after.difference == 1.25
    assert before.kinds is not None
    assert after.kinds is not None
    assert after.kinds.names == ("a", "b")
    np.testing.assert_array_equal(after.kinds.counts, [300, 100])
    some = np.array([0, 1, -1])
    for kind in SCALES:
        np.testing.assert_array_equal(after.kinds.of(kind, some), before.kinds.of(kind, some))
        assert (after.kinds.of(kind, some)[:2] != 1.0).all()
    assert after.summary() == before.summary()


def test_files_of_before_have_neither_kinds_nor_priors_nor_differences(data: Data) -> None:
    arrays = whole(data).to_arrays()
    new = [name for name in arrays if name.startswith(("kind_", "prior_")) or name == "difference"]
    assert len(new) == 7  # counts, three times factors, two priors
    after = read({name: array for name, array in arrays.items() if name not in new})
    assert (after.priors, after.difference, after.kinds) == ({}, 1.0, None)
    np.testing.assert_array_equal(after.factors("energy", {}, np.zeros(0, int), np.array([0, 1, -1])), 1.0)
    prior, novelty = np.array([[3.0]]), np.array([1.0])
    np.testing.assert_allclose(after.prior("forces")(prior, novelty), 1.5)  # the prior itself


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("difference", np.zeros(1), "`difference` must hold"),
        ("prior_forces", np.array([-1.0, 1.0, 1.0]), "`prior_forces` must hold"),
        ("prior_forces", np.array([1.0, np.nan, 1.0]), "`prior_forces` must hold"),
        ("prior_forces", np.array([np.inf, 1.0, 1.0]), "`prior_forces` must be a finite factor"),
        ("prior_forces", np.array([1.0, 0.0, 1.0]), "`prior_forces` must be a finite factor"),
        ("prior_forces", np.array([1.0, 1.0, np.inf]), "`prior_forces` must be a finite factor"),
        ("prior_forces", np.array([1.0, 1.0, 1.5]), "`prior_forces` must be a finite factor"),
        ("kind_factors_forces", np.array([1.0, 0.0]), "`kind_factors_forces` must hold"),
        ("kind_factors_forces", np.ones(3), r"`kind_factors_forces` must have shape \(2,\), got \(3,\)"),
        ("kind_counts", np.array([3, -1]), "`kind_counts` must hold"),
    ],
)
def test_damaged_files_are_refused(data: Data, name: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(whole(data).to_arrays() | {name: value}, ("a", "b"))


def test_the_summary_tells_kinds_and_priors(data: Data) -> None:
    fitted = whole(data)
    assert fitted.kinds is not None
    lines = fitted.summary().splitlines()
    assert lines[4:7] == [f"  {kind} by kind, times: {fitted.kinds.in_words(kind)}" for kind in SCALES]
    assert lines[7].startswith("  energy of new kinds: c = 2 (from 4 kinds left out")
    assert lines[7].endswith("at most 500 meV/atom")
    assert lines[8] == "  forces of new kinds: c = 3 (no kind was novel when it was left out)"


def test_only_known_structures_set_the_level(data: Data) -> None:
    """Every other label has an error a hundred times as large, and is of a structure that is novel."""
    frames, errors, variances = data.residuals["energy"]
    known = np.arange(len(frames)) % 2 == 0

    def scale(residuals: tuple[IntArray, FloatArray, FloatArray], mask: BoolArray) -> Scale:
        fitted = fit_calibration(labels({"energy": residuals}, mask), data.structures(data.kinds, NAMES), "frames")
        assert fitted.n_configurations == np.count_nonzero(mask)
        return fitted.scales["energy"]

    wrong = np.where(known[:, None], errors, 100.0 * errors)
    everything = scale((frames[known], errors[known], variances[known]), np.ones(np.count_nonzero(known), bool))
    assert scale((frames, wrong, variances), known) == everything

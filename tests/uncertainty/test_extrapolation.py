"""Signs of extrapolation in words, and the score of frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.typing import FloatArray, IntArray
from gapkit.uncertainty.averages import FrameAverages, KnownAverages
from gapkit.uncertainty.extrapolation import PAIR_MARGIN, PRINTED, Extrapolation, closeness
from gapkit.uncertainty.novelty import NO_ATOM, KnownSpecies, NoveltyDetector

SYMBOLS = ("Si", "Si", "C", "Si", "C")


def signs(frame_of_atom: IntArray, n_frames: int) -> Extrapolation:
    """No sign at all."""
    n = len(frame_of_atom)
    return Extrapolation(
        novelty=np.full(n, 0.2), distance=np.full(n, 0.3), pair=np.full(n, 1.1), average=np.full(n_frames, 0.4),
        atoms=np.zeros(n, bool), frames=np.zeros(n_frames, bool), false_alarm=1e-3, numbers=np.full(n, 14),
        frame_of_atom=frame_of_atom, nearest_frame=np.full(n, NO_ATOM), nearest_atom=np.full(n, NO_ATOM),
        forces=np.zeros(n, bool), kinds=np.full(n_frames, -1),
    )  # fmt: skip


def flagged(found: Extrapolation, **values: dict[int, float]) -> Extrapolation:
    """The same with other values of some atoms or frames, which are flagged."""
    changed = {name: getattr(found, name).copy() for name in (*values, "atoms", "frames")}
    for name, of in values.items():
        for at, value in of.items():
            changed[name][at] = value
            if name == "average":
                changed["frames"][at] = True
            elif not name.startswith("nearest"):
                changed["atoms"][at] = True
                changed["frames"][found.frame_of_atom[at]] = True
    return replace(found, **changed)


@pytest.fixture
def three() -> Extrapolation:
    """Frames of two, two and one atoms."""
    return replace(signs(np.array([0, 0, 1, 1, 2]), 3), symbols=SYMBOLS)


def test_nothing_to_say(three: Extrapolation) -> None:
    assert three.reasons() == three.reasons(1) == []
    assert repr(three).startswith("extrapolation: 0 of 5 atoms and 0 of 3 frames are unlike the training set")
    assert "reasons" not in repr(three)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"novelty": {3: 2.5}}, "frame 1, atom 1 (Si): novelty 2.5 times the threshold"),
        (
            {"distance": {3: 1.25}},
            "frame 1, atom 1 (Si): distance to the training set 1.25 times the threshold",
        ),
        ({"pair": {2: 0.9}}, "frame 1, atom 0 (C): a neighbour at 0.9 of the closest known pair"),
        ({"pair": {4: 0.0}}, "frame 2, atom 0 (C): a pair of species that the training set lacks"),
        ({"novelty": {1: np.inf}}, "frame 0, atom 1 (Si): its species has no threshold"),
        (
            {"average": {2: 3.5}},
            "frame 2: its average neighbourhood is 3.5 times the threshold away from that of any training frame",
        ),
        (
            {"novelty": {3: 2.5}, "nearest_frame": {3: 17}, "nearest_atom": {3: 4}},
            "frame 1, atom 1 (Si): novelty 2.5 times the threshold; most like atom 4 of training frame 17, "
            "0.3 thresholds away",
        ),
        (
            {"distance": {3: 6.0}, "nearest_frame": {3: 17}},  # files of before
            "frame 1, atom 1 (Si): distance to the training set 6 times the threshold; most like training frame 17, "
            "6 thresholds away",
        ),
        (
            {"novelty": {0: 1.5}, "distance": {0: 2.0}, "pair": {0: 0.5}},
            "frame 0, atom 0 (Si): novelty 1.5 times the threshold; distance to the training set 2 times the "
            "threshold; a neighbour at 0.5 of the closest known pair",
        ),
    ],
)
def test_every_sign_in_words(three: Extrapolation, values: dict[str, dict[int, float]], words: str) -> None:
    found = flagged(three, **values)
    assert found.reasons() == [words]
    assert words in repr(found).splitlines()
    frame = int(words.split()[1].strip(",:"))
    assert [found.reasons(f) for f in range(3)] == [[words] if f == frame else [] for f in range(3)]


def test_atoms_have_numbers_where_symbols_are_not_known(three: Extrapolation) -> None:
    assert "(Z = 14)" in flagged(replace(three, symbols=()), novelty={2: 2.0}).reasons()[0]


def test_the_average_comes_first_and_then_the_strongest_sign(three: Extrapolation) -> None:
    one = replace(signs(np.zeros(5, int), 1), symbols=SYMBOLS)
    found = flagged(one, average={0: 1.5}, novelty={0: 3.0, 4: 7.0}, distance={1: 5.0, 3: 1.5}, pair={2: 0.92})
    where = [line.split(" (")[0].split(":")[0] for line in found.reasons()]
    # closeness of a pair at 0.92 is 0.08 / 0.02 = 4
    assert where == ["frame 0", *(f"frame 0, atom {k}" for k in (4, 1, 2, 0, 3))]


def test_the_worst_frames_are_printed_first(three: Extrapolation) -> None:
    found = flagged(three, novelty={0: 2.0, 3: 5.0}, average={2: 3.0})
    starts = [line.split(",")[0].split(":")[0] for line in repr(found).splitlines() if line.startswith("frame")]
    assert starts == ["frame 1", "frame 2", "frame 0"]
    assert [line.split(",")[0].split(":")[0] for line in found.reasons()] == ["frame 0", "frame 1", "frame 2"]


def test_the_table_counts_signs_and_has_the_most_extreme(three: Extrapolation) -> None:
    found = flagged(three, novelty={0: 2.0, 3: 5.0}, distance={1: 1.5}, pair={4: 0.5}, average={2: 3.0})
    rows = [" ".join(line.split()) for line in repr(found).splitlines()[2:6]]
    assert rows == [
        "novelty 2 5 of the threshold", "distance 1 1.5 of the threshold", "pair 1 0.5 of the closest known",
        "average 1 3 of the threshold",
    ]  # fmt: skip
    assert "4 of 5 atoms and 3 of 3 frames" in repr(found)
    blind = replace(three, novelty=np.full(5, np.nan), distance=np.full(5, np.nan))
    assert repr(blind).splitlines()[2].split() == ["novelty", "0", "-"]


# ---------------------------------------------------------------------- the score


def test_the_score_by_hand(three: Extrapolation) -> None:
    np.testing.assert_array_equal(three.score, 0.4)  # the average
    found = flagged(three, novelty={0: 2.0}, distance={1: 2.5, 2: 1.5}, pair={3: 0.95}, average={2: 7.0})
    np.testing.assert_allclose(found.score, [2.5, 2.5, 7.0])  # 0.05 / 0.02
    assert flagged(three, novelty={4: np.inf}).score[2] == np.inf


@pytest.mark.parametrize(("pair", "sign"), [(1.0, 0.0), (0.98, 1.0), (0.9, 5.0), (0.0, 50.0), (np.inf, -np.inf)])
def test_closeness_of_pairs(pair: float, sign: float) -> None:
    assert closeness(np.array([pair]))[0] == pytest.approx(sign, abs=1e-12)


def random_detector(rng: np.random.Generator, *, blind: bool) -> tuple[NoveltyDetector, FloatArray]:
    x = rng.normal(size=(200, 3))
    frames = np.arange(200) // 4
    if blind:
        return NoveltyDetector({}, {(14, 14): 2.0}), x
    known = KnownSpecies.of(x, frames, rng.exponential(size=200) * 1e-3)
    averages = KnownAverages.of(FrameAverages.of({14: (np.arange(200), x)}, frames, 50), np.arange(50))
    return NoveltyDetector({14: known}, {(14, 14): 2.0}, averages), x


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_above_one_exactly_where_a_frame_is_flagged(seed: int, blind: bool) -> None:
    """Every mix of signs: pairs at and around the margin, unknown species, models without an atomic term."""
    rng = np.random.default_rng(seed)
    detector, _ = random_detector(rng, blind=blind)
    n, n_frames = 1200, 400
    numbers = np.where(rng.random(n) < 0.01, 6, 14)
    x = rng.normal(size=(n, 3)) * rng.choice([0.5, 3.0], (n, 1), p=[0.95, 0.05])
    unseen = np.full(n, np.nan) if blind else rng.exponential(size=n) * rng.choice([1e-4, 1e-1], n, p=[0.97, 0.03])
    margin = 1.0 - PAIR_MARGIN
    near = [0.0, np.nextafter(margin, 0), margin, np.nextafter(margin, 1), 1.0 - 2e-16, 1.0, np.inf]
    pair = rng.choice(near, n, p=[0.01, 0.01, 0.05, 0.05, 0.2, 0.3, 0.38])
    vectors = {} if blind else {14: (np.flatnonzero(numbers == 14), x[numbers == 14])}
    found = detector.detect(numbers, unseen, vectors, pair, np.arange(n) // 3, n_frames)
    np.testing.assert_array_equal(found.score > 1.0, found.frames)
    assert 0.05 < found.frames.mean() < 0.6
    # frames are flagged where an atom or the average is, and each has its reason
    of_atoms = found.atoms.reshape(-1, 3).any(axis=1)
    np.testing.assert_array_equal(found.frames, of_atoms | (found.average > 1.0))
    told = [line.split(",")[0].split(":")[0] for line in found.reasons()]
    assert set(told) == {f"frame {f}" for f in np.flatnonzero(found.frames)}
    assert all(line.split(": ", 1)[1] for line in found.reasons())
    assert len(told) == np.count_nonzero(found.atoms) + np.count_nonzero(found.average > 1.0)


def test_nearest_atoms_are_those_of_the_training_frame() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(40, 3))
    known = KnownSpecies.of(x, 10 + np.arange(40) // 4, np.full(40, 1e-3), np.arange(40) % 4)
    found = NoveltyDetector({14: known}, {}).detect(
        np.full(3, 14), np.ones(3), {14: (np.arange(3), x[[7, 23, 38]] + 1e-6)}, np.ones(3), np.zeros(3, int), 1
    )
    np.testing.assert_array_equal(found.nearest_frame, [11, 15, 19])
    np.testing.assert_array_equal(found.nearest_atom, [3, 3, 2])
    assert "most like atom 3 of training frame 15" in "\n".join(found.reasons())


@pytest.mark.parametrize("atoms_of_a_frame", [1, 10_000])
def test_ten_thousand_flagged_atoms_are_printed_briefly(atoms_of_a_frame: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most five reasons are written out: the work does not grow with the number of atoms."""
    n = 10_000
    found = signs(np.arange(n) // atoms_of_a_frame, n // atoms_of_a_frame)
    found = flagged(found, novelty={k: 2.0 + k for k in range(n)})
    assert len(found.reasons()) == n
    written, words = [], Extrapolation._of_atom
    monkeypatch.setattr(Extrapolation, "_of_atom", lambda self, atom: written.append(atom) or words(self, atom))
    text = repr(found)
    assert len(text) < 1500
    assert text.endswith("... (`reasons()` has all)")
    assert sum(line.startswith("frame") for line in text.splitlines()) == PRINTED
    assert len(written) <= PRINTED + 1
    assert f"atom {(n - 1) % atoms_of_a_frame} " in text  # the most novel

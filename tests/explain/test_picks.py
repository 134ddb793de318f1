"""Which tiles are chosen, on paper."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.explain.picks import RIGHT, TOLD, UNCERTAIN, WRONG, Pick, pick, pick_told

PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],  # 0: class 0, right
        [0.6, 0.3, 0.1],  # 1: class 0, right
        [0.1, 0.8, 0.1],  # 2: class 0, wrong
        [0.2, 0.35, 0.45],  # 3: class 0, wrong and the least certain
        [0.0, 1.0, 0.0],  # 4: class 1, right
        [0.9, 0.1, 0.0],  # 5: class 1, wrong
    ]
)
LABELS = np.array([0, 0, 0, 0, 1, 1])


def places(picks: tuple[Pick, ...], sheet: int, kind: str) -> list[int]:
    return [one.place for one in picks if (one.sheet, one.kind) == (sheet, kind)]


def test_picks_by_hand() -> None:
    picks = pick(PROBABILITIES, LABELS, 2)
    assert places(picks, 0, RIGHT) == [0, 1]
    assert places(picks, 0, WRONG) == [2, 3]
    assert places(picks, 0, UNCERTAIN) == [3, 1]
    assert places(picks, 1, RIGHT) == [4]
    assert places(picks, 1, WRONG) == [5]
    assert places(picks, 1, UNCERTAIN) == [5, 4]
    assert not [one for one in picks if one.sheet == 2]
    assert places(pick(PROBABILITIES, LABELS, 1), 0, WRONG) == [2]


def test_which_maps_are_shown() -> None:
    picks = {(one.place, one.kind): one.shown for one in pick(PROBABILITIES, LABELS, 4)}
    assert picks[0, RIGHT] == (0,)
    assert picks[2, WRONG] == (1, 0)  # what it was told, and what it is
    assert picks[3, UNCERTAIN] == (2, 1)  # the two most probable, though it is of class 0


def test_told_by_hand() -> None:
    picks = pick_told(PROBABILITIES, 2)
    assert [places(picks, label, TOLD) for label in range(3)] == [[0, 5], [4, 2], [3]]


def test_nothing_to_pick_from() -> None:
    assert pick(np.empty((0, 3)), np.empty(0, np.int64), 4) == ()
    assert pick_told(np.empty((0, 3)), 4) == ()


@given(st.integers(0, 30), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_what_is_picked_is_what_it_is_called_and_nothing_foremost_is_left(tiles: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(3), tiles), rng.integers(0, 3, tiles)
    told, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    picks = pick(probabilities, labels, most)
    for label in range(3):
        for kind, right in ((RIGHT, True), (WRONG, False)):
            own = places(picks, label, kind)
            pool = [at for at in range(tiles) if labels[at] == label and bool(told[at] == label) == right]
            assert len(own) == min(most, len(pool)) == len(set(own))
            assert set(own) <= set(pool)
            assert all(sure[at] >= sure[left] for at in own for left in pool if left not in own)

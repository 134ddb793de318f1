"""Combinations of members ranked by the same draws."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.metrics import classification as plain
from sarcoscope.metrics.subsets import SUBSET_METRICS, rank_subsets

Array = npt.NDArray[Any]
CODES = ("a", "b", "c")


def ranked(candidates: list[Array], labels: Array, units: Array, **changed: Any) -> Any:
    names = changed.pop("names", [(f"m{index}",) for index in range(len(candidates))])
    asked: dict[str, Any] = {"metric": "tile_accuracy", "draws": 100, "rng": np.random.default_rng(0)} | changed
    codes = CODES[: candidates[0].shape[1]] if candidates else CODES
    return rank_subsets(names, lambda number: candidates[number], labels, units, codes, **asked)


def rows(*said: int) -> Array:
    found = np.full((len(said), 2), 0.2)
    found[np.arange(len(said)), said] = 0.8
    return found


def test_a_ranking_worked_by_hand() -> None:
    """Slides s and t, two tiles each, all of class 0. m0: all of s, half of t; m1: half of s; m2: all of both.

    m0 lies 1/4 behind: 0 in draws of s alone, 1/2 of t alone. m1 lies 3/4 behind: 1/2 and 1.
    """
    labels, units = np.zeros(4, int), np.array(["s", "s", "t", "t"])
    found = ranked([rows(0, 0, 0, 1), rows(0, 1, 1, 1), rows(0, 0, 0, 0)], labels, units)
    assert [one.members for one in found] == [("m2",), ("m0",), ("m1",)]
    assert [one.value.value for one in found] == [1.0, 0.75, 0.25]
    assert [(one.value.low, one.value.high, one.value.n, one.value.units) for one in found] == [
        (1.0, 1.0, 4, 2),
        (0.5, 1.0, 4, 2),
        (0.0, 0.5, 4, 2),
    ]
    assert found[0].behind_best is None
    assert [one.behind_best.value for one in found[1:]] == [0.25, 0.75]
    for one in found[1:]:  # of one slide drawn twice each moves by 1/4, else by 0: in 95 % by 1/4 at most
        assert one.behind_best.low == pytest.approx(one.behind_best.value - 0.25)
        assert one.behind_best.high == pytest.approx(one.behind_best.value + 0.25)


def test_of_equal_ones_the_smaller_stands_first_and_then_the_one_named_first() -> None:
    same = rows(0, 1)
    names = [("a", "b", "c"), ("b", "c"), ("a", "c"), ("c",)]
    found = ranked([same] * 4, np.array([0, 0]), np.array(["s", "t"]), names=names)
    assert [one.members for one in found] == [("c",), ("b", "c"), ("a", "c"), ("a", "b", "c")]
    assert {(one.behind_best.low, one.behind_best.high) for one in found[1:]} == {(0.0, 0.0)}


def test_of_the_log_loss_the_least_is_the_best_and_behind_is_still_more() -> None:
    labels, units = np.array([0, 1]), np.array(["s", "t"])
    sure, unsure = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[0.6, 0.4], [0.4, 0.6]])
    found = ranked([unsure, sure], labels, units, metric="tile_log_loss")
    assert [one.members for one in found] == [("m1",), ("m0",)]
    assert found[1].behind_best.value == pytest.approx(np.log(0.9 / 0.6))
    assert found[1].behind_best.low == pytest.approx(np.log(0.9 / 0.6))  # in either slide


def test_a_difference_is_surer_than_the_values_it_is_between() -> None:
    """Six of ten slides are right, whole; the second misses a tile of each of those: six tiles of 100 behind."""
    right = np.repeat(np.arange(10) < 6, 10)
    worse = right & (np.arange(100) % 10 > 0)
    better_one, worse_one = rows(*np.where(right, 0, 1)), rows(*np.where(worse, 0, 1))
    labels, units = np.zeros(100, int), np.repeat(np.arange(10), 10)
    found = ranked([worse_one, better_one], labels, units, draws=500)
    value, behind = found[1].value, found[1].behind_best
    assert behind.value == pytest.approx(0.06)
    assert behind.low > 0.02
    assert behind.high - behind.low < (value.high - value.low) / 5


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([*SUBSET_METRICS]), st.integers(1, 5))
def test_values_and_intervals_are_those_of_the_plain_bootstrap(seed: int, metric: str, slides: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    labels, units = rng.integers(3, size=n), rng.integers(slides, size=n)
    candidates = [(raw := rng.integers(0, 4, (n, 3)) + 0.05) / raw.sum(axis=1, keepdims=True) for _ in range(3)]
    slow: dict[str, Any] = {
        "tile_accuracy": lambda true, one: plain.accuracy(true, one.argmax(axis=1)),
        "tile_balanced_accuracy": lambda true, one: plain.balanced_accuracy(true, one.argmax(axis=1), 3),
        "tile_macro_f1": lambda true, one: plain.macro_f1(true, one.argmax(axis=1), 3),
        "tile_macro_auc": plain.macro_auc,
        "tile_log_loss": plain.log_loss,
    }
    score, sign = slow[metric], 1 if metric == "tile_log_loss" else -1
    found = ranked(candidates, labels, units, metric=metric, draws=40, rng=np.random.default_rng(seed))
    number = {name: index for index, name in enumerate(["m0", "m1", "m2"])}
    best = candidates[number[found[0].members[0]]]
    assert {one.members[0] for one in found} == set(number)
    for one in found:
        mine = candidates[number[one.members[0]]]
        told = score(labels, mine)
        assert one.value.value == (None if told is None else pytest.approx(told))

        def value(at: Array, mine: Array = mine) -> float | None:
            found_one: float | None = score(labels[at], mine[at])
            return found_one

        wanted = plain.bootstrap_interval(value, units, np.random.default_rng(seed), 40)
        told_interval = None if one.value.low is None else (one.value.low, one.value.high)
        if told is not None:
            assert told_interval == (pytest.approx(wanted, abs=1e-9) if wanted else None)
    if found[0].value.value is None or slides < 2:
        return
    again, units_at = np.random.default_rng(seed), [np.flatnonzero(units == one) for one in np.unique(units)]
    draws = [
        np.concatenate([units_at[k] for k in again.integers(len(units_at), size=len(units_at))]) for _ in range(40)
    ]
    draws = [at for at in draws if score(labels[at], best[at]) is not None]
    if len(units_at) < 2 or not draws:
        return
    moves = {}
    for name, mine in zip(("m0", "m1", "m2"), candidates, strict=True):
        gap = score(labels, mine) - score(labels, best)
        moves[name] = [sign * (score(labels[at], mine[at]) - score(labels[at], best[at]) - gap) for at in draws]
    spreads = {name: float(np.sqrt(np.mean(np.square(moved)))) for name, moved in moves.items()}
    furthest = [
        max([abs(moves[k][at]) / spreads[k] for k in moves if spreads[k] > 1e-9] or [0.0]) for at in range(len(draws))
    ]
    for one in found[1:]:
        reach = np.percentile(furthest, 95) * spreads[one.members[0]]
        assert one.behind_best.value >= 0
        assert one.behind_best.low == pytest.approx(one.behind_best.value - reach, abs=1e-6)
        assert one.behind_best.high == pytest.approx(one.behind_best.value + reach, abs=1e-6)


def test_of_equally_good_combinations_few_are_said_to_be_behind() -> None:
    """Sixteen models, each by luck of its own on each of 20 slides: the best of them is so by luck alone.

    The interval of each difference by itself would put a quarter of them behind.
    """
    rng, behind = np.random.default_rng(3), 0
    labels, units = np.zeros(800, int), np.repeat(np.arange(20), 40)
    for seed in range(40):
        hard = rng.normal(0.8, 0.8, 20)
        chances = 1 / (1 + np.exp(-(hard + rng.normal(0, 0.5, (16, 20)))))
        candidates = [rows(*np.where(rng.random(800) < np.repeat(one, 40), 0, 1)) for one in chances]
        found = ranked(candidates, labels, units, rng=np.random.default_rng(seed))
        behind += sum(one.behind_best is not None and one.behind_best.low > 0 for one in found)
    assert behind / (40 * 15) < 0.12


def test_what_is_far_behind_is_said_to_be() -> None:
    """Among fifteen equal ones, one that is right on half as many tiles of every slide."""
    rng = np.random.default_rng(4)
    labels, units = np.zeros(800, int), np.repeat(np.arange(20), 40)
    candidates = [rows(*np.where(rng.random(800) < (0.4 if one == 5 else 0.8), 0, 1)) for one in range(16)]
    found = ranked(candidates, labels, units)
    assert found[-1].members == ("m5",)
    assert found[-1].behind_best.low > 0.2


def test_labels_in_a_byte_do_not_overflow() -> None:
    """Class 99 of 100 is cell 9,999 of the confusion matrix."""
    labels, units = np.array([99, 3], np.uint8), np.array(["s", "t"])
    rows_of_100 = np.eye(100)[[99, 4]]
    codes = [str(index) for index in range(100)]
    found = rank_subsets(
        [("m",)], lambda _: rows_of_100, labels, units, codes, metric="tile_balanced_accuracy", draws=5, rng=RNG
    )
    assert found[0].value.value == 0.5


def test_what_has_no_value_is_none() -> None:
    """All tiles are of one class: no area."""
    found = ranked([rows(0, 0)] * 2, np.array([0, 0]), np.array(["s", "t"]), metric="tile_macro_auc")
    assert [one.value.value for one in found] == [None, None]
    assert found[1].behind_best.value is None


def test_what_does_not_fit_is_refused() -> None:
    labels, units = np.array([0, 1]), np.array(["s", "t"])
    with pytest.raises(InputError, match="unknown metric 'slide_accuracy' of tiles"):
        ranked([rows(0, 1)], labels, units, metric="slide_accuracy")
    with pytest.raises(InputError, match="no combination"):
        ranked([], labels, units)
    with pytest.raises(InputError, match="1 units of 2 tiles"):
        ranked([rows(0, 1)], labels, units[:1])
    with pytest.raises(InputError, match="probabilities of 2 classes; give those of 3"):
        rank_subsets([("m",)], lambda _: rows(0, 1), labels, units, CODES, metric="tile_accuracy", draws=1, rng=RNG)
    with pytest.raises(InputError, match="sum to"):
        ranked([rows(0, 1) * 2], labels, units)


RNG = np.random.default_rng(0)

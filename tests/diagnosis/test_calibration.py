"""Temperature, conformal sets, distances: by hand, by simulation, and beside other libraries."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.calibration import (
    Calibration,
    Conformal,
    Distance,
    Regression,
    conformal_set,
    fit_conformal,
    fit_temperature,
    is_far,
    nearest,
    order_statistic,
    regressed,
    share_farther,
    slides_needed,
    tempered,
)
from sarcoscope.diagnosis.fusion import softmax
from sarcoscope.metrics.classification import expected_calibration_error, log_loss

Array = npt.NDArray[Any]


def rows(n: int, classes: int, seed: int) -> Array:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), n)


def test_temperatures_worked_by_hand() -> None:
    """0.8 : 0.2 at 2 is 2 : 1, at a half 16 : 1."""
    given_ones = np.array([[0.8, 0.2]])
    np.testing.assert_allclose(tempered(given_ones, 2), [[2 / 3, 1 / 3]])
    np.testing.assert_allclose(tempered(given_ones, 0.5), [[16 / 17, 1 / 17]])
    assert tempered(given_ones, 1)[0, 0] == 0.8
    assert np.isfinite(tempered(np.array([[1.0, 0.0]]), 3)).all()


@given(st.integers(0, 2**32), st.floats(0.1, 10))
def test_a_temperature_changes_no_label_and_only_how_sure(seed: int, temperature: float) -> None:
    given_ones = rows(20, 4, seed)
    found = tempered(given_ones, temperature)
    np.testing.assert_array_equal(found.argmax(axis=1), given_ones.argmax(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    surer = found.max(axis=1) - given_ones.max(axis=1)
    assert (surer >= -1e-12).all() if temperature < 1 else (surer <= 1e-12).all()
    if temperature > 1:  # below, what is hardly probable falls under the floor and does not come back
        np.testing.assert_allclose(tempered(found, 1 / temperature), given_ones, atol=1e-6)


def test_a_temperature_worked_by_hand() -> None:
    """0.9 : 0.1 throughout, three of four right: best at 3 : 1, and 9 to the 1 / T is 3 at T = 2."""
    given_ones = np.tile([0.9, 0.1], (4, 1))
    assert fit_temperature(given_ones, np.array([0, 0, 0, 1])) == pytest.approx(2)


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.floats(0.3, 4))
def test_the_temperature_has_the_least_loss(seed: int, sharpened: float) -> None:
    """Labels drawn by the probabilities themselves, which are then made too sure or too unsure."""
    rng = np.random.default_rng(seed)
    fair = rng.dirichlet(np.ones(3), 60)
    labels = (fair.cumsum(axis=1) < rng.random((60, 1))).sum(axis=1).clip(0, 2)
    given_ones = tempered(fair, sharpened)
    found = fit_temperature(given_ones, labels)

    def loss(logarithm: float) -> float:
        told = log_loss(labels, tempered(given_ones, math.exp(logarithm)))
        assert told is not None
        return told

    best = minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded", options={"xatol": 1e-7})
    assert loss(math.log(found)) == pytest.approx(best.fun, abs=1e-8)
    assert loss(math.log(found)) <= loss(0) + 1e-12


def test_what_was_made_too_sure_is_made_fair_again() -> None:
    rng = np.random.default_rng(1)
    fair = rng.dirichlet(np.ones(3), 20_000)
    labels = (fair.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1).clip(0, 2)
    over = tempered(fair, 0.4)
    found = fit_temperature(over, labels)
    assert found == pytest.approx(1 / 0.4, rel=0.05)
    before, after = (expected_calibration_error(labels, one) for one in (over, tempered(over, found)))
    assert before is not None
    assert after is not None
    assert after < before / 10


def test_a_temperature_has_bounds_and_stays_1_where_none_is_better() -> None:
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    assert fit_temperature(sure, np.array([0, 1])) == pytest.approx(0.05)
    assert fit_temperature(sure, np.array([1, 0])) == pytest.approx(20)
    assert fit_temperature(np.full((4, 2), 0.5), np.array([0, 0, 0, 1])) == 1
    with pytest.raises(InputError, match="no tile to fit a temperature on"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, int))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature"):
        Calibration(temperature=temperature)


def test_order_statistics_worked_by_hand() -> None:
    """Of 9 at 90 % the 9th; of 8 the 8.1th, which is none; of 19 at 95 % the 19th; of 10 at 50 % the 6th."""
    assert order_statistic(range(9, 0, -1), 0.9) == 9
    assert order_statistic(range(8), 0.9) is None
    assert order_statistic(range(19), 0.95) == 18
    assert order_statistic(range(1, 11), 0.5) == 6
    assert order_statistic([], 0.5) is None
    assert [slides_needed(level) for level in (0.5, 0.8, 0.9, 0.95)] == [1, 4, 9, 19]


@given(st.floats(0.05, 0.98))
def test_as_many_slides_as_are_needed_are_enough(level: float) -> None:
    needed = slides_needed(level)
    assert order_statistic(range(needed), level) is not None
    assert order_statistic(range(needed - 1), level) is None


def test_a_class_without_a_slide_is_never_left_out() -> None:
    """Nine slides of b and c make a threshold for these two; nothing says how probable d is on slides of d."""
    rows = np.array([[0.1, 0.8, 0.1, 0.0]] * 8 + [[0.1, 0.1, 0.8, 0.0]])
    found = fit_conformal(rows, np.array([1] * 8 + [2]), ("a", "b", "c", "d"), 0.9)
    assert found.own == ()
    assert found.thresholds == {"a": None, "b": pytest.approx(0.2), "c": pytest.approx(0.2), "d": None}
    assert conformal_set({"a": 0.0, "b": 0.1, "c": 0.9, "d": 0.0}, found) == ("c", "a", "d")


def test_thresholds_worked_by_hand() -> None:
    """At 50 % a class needs one slide. a: scores 0.1, 0.2, 0.3, the 2nd; b: 0.6; c has none and is in every set."""
    means = np.array([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    found = fit_conformal(means, np.array([0, 0, 0, 1]), ("a", "b", "c"), 0.5)
    assert found.thresholds == {"a": pytest.approx(0.2), "b": pytest.approx(0.6), "c": None}
    assert (found.slides, found.own, found.level) == ({"a": 3, "b": 1, "c": 0}, ("a", "b"), 0.5)
    assert conformal_set({"a": 0.8, "b": 0.1, "c": 0.1}, found) == ("a", "c")
    assert conformal_set({"a": 0.3, "b": 0.4, "c": 0.3}, found) == ("b", "c")


def test_classes_of_few_slides_share_a_threshold_of_theirs_alone() -> None:
    """At 90 % 9 are needed: a has 30, all at 0.1; b and c have 5 and 4, at 0.1 to 0.9, of which the 9th is theirs.

    Of all 39 the 36th would be 0.6, and leave c out of sets of slides like its worst three.
    """
    labels = np.array([0] * 30 + [1] * 5 + [2] * 4)
    mine = np.array([0.9] * 30 + [0.9, 0.8, 0.7, 0.6, 0.5] + [0.4, 0.3, 0.2, 0.1])
    means = np.stack([(1 - mine) / 2] * 3, axis=1)
    means[np.arange(39), labels] = mine
    found = fit_conformal(means, labels, ("a", "b", "c"))
    assert found.own == ("a",)
    assert found.thresholds == {"a": pytest.approx(0.1), "b": pytest.approx(0.9), "c": pytest.approx(0.9)}


def test_unscored_classes_have_no_threshold_and_their_slides_no_say() -> None:
    means = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = fit_conformal(means, np.array([0, 1]), ("a", "b"), 0.5, unscored=("b",))
    assert found.thresholds == {"a": pytest.approx(0.1)}
    assert (found.slides, found.own) == ({"a": 1}, ("a",))


def drawn_slides(
    rng: np.random.Generator, n: int, shares: Sequence[float], seen: Sequence[float]
) -> tuple[Array, Array]:
    """Mean probabilities and classes of slides; the larger `seen` of a class is, the easier it is told."""
    labels = rng.choice(len(shares), size=n, p=shares)
    logits = rng.normal(size=(n, len(shares)))
    logits[np.arange(n), labels] += np.array(seen)[labels]
    return softmax(logits), labels


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_sets_hold_the_truth_as_often_as_is_asked_also_for_hard_and_rare_classes(level: float) -> None:
    """Over many cohorts of 150 slides: per class where it has slides enough, together where it has not."""
    rng, codes = np.random.default_rng(0), ("easy", "rare", "rarer", "hard")
    shares, seen = (0.75, 0.03, 0.02, 0.2), (4.0, 0.5, 0.0, 1.5)
    held: dict[str, list[bool]] = {"own": [], "others": []}
    for _ in range(200):
        found = fit_conformal(*drawn_slides(rng, 150, shares, seen), codes, level)
        means, labels = drawn_slides(rng, 150, shares, seen)
        for row, label in zip(means, labels, strict=True):
            inside = codes[label] in conformal_set(dict(zip(codes, row.tolist(), strict=True)), found)
            held["own" if codes[label] in found.own else "others"].append(inside)
    for name, each in held.items():
        assert len(each) > 700, name
        assert np.mean(each) >= level - 0.02, name
    assert np.mean(held["own"]) <= level + 0.04  # nor much more often: sets are no larger than they must be


@given(st.integers(0, 2**32), st.floats(0.5, 0.95), st.floats(0, 0.04))
def test_sets_grow_with_the_level_and_the_probable_stand_first(seed: int, level: float, more: float) -> None:
    rng = np.random.default_rng(seed)
    means, labels = drawn_slides(rng, 40, (0.5, 0.3, 0.2), (3, 2, 1))
    codes = ("a", "b", "c")
    low, high = (fit_conformal(means, labels, codes, one) for one in (level, level + more))
    row = dict(zip(codes, softmax(rng.normal(size=3)).tolist(), strict=True))
    inside = conformal_set(row, high)
    if low.own == high.own:
        assert set(conformal_set(row, low)) <= set(inside)
    assert [row[code] for code in inside] == sorted((row[code] for code in inside), reverse=True)


def test_a_set_may_be_empty_and_of_equal_ones_the_first_class_stands_first() -> None:
    strict = Conformal(level=0.5, thresholds={"b": 0.1, "a": 0.1}, slides={"b": 5, "a": 5}, own=("a", "b"))
    assert conformal_set({"b": 0.5, "a": 0.5}, strict) == ()
    loose = Conformal(level=0.5, thresholds={"b": 0.5, "a": None}, slides={"b": 5, "a": 0}, own=("b",))
    assert conformal_set({"b": 0.5, "a": 0.5}, loose) == ("b", "a")
    with pytest.raises(InputError, match="conformal level 1"):
        Conformal(level=1.0, thresholds={}, slides={}, own=())


@pytest.mark.parametrize("neighbours", [1, 3, 50])
def test_distances_are_those_of_scikit_learn(neighbours: int) -> None:
    rng = np.random.default_rng(neighbours)
    features, reference = rng.normal(size=(30, 8)), rng.normal(size=(50, 8))
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (features, reference)]
    wanted = NearestNeighbors(n_neighbors=neighbours).fit(unit[1]).kneighbors(unit[0])[0][:, -1]
    np.testing.assert_allclose(nearest(features, reference, neighbours), wanted, atol=1e-7)


def test_distances_worked_by_hand() -> None:
    """Lengths do not count; a right angle is the root of 2 away, the opposite 2; of too few the farthest is taken."""
    reference = np.array([[5.0, 0.0], [0.0, 0.1]])
    features = np.array([[1.0, 0.0], [-3.0, 0.0]])
    np.testing.assert_allclose(nearest(features, reference, 1), [0, math.sqrt(2)], atol=1e-7)
    np.testing.assert_allclose(nearest(features, reference, 9), [math.sqrt(2), 2], atol=1e-7)
    assert nearest(np.zeros((1, 2)), reference, 1).item() == pytest.approx(math.sqrt(2))  # nothing was seen


def measured(scores: tuple[float, ...], level: float = 0.95) -> Distance:
    return Distance(member="m", neighbours=5, scores=scores, level=level)


def test_what_is_far_worked_by_hand() -> None:
    """Of 19 at 95 % it must lie beyond the 19th, of 4 beyond all four: p is then 1 of 20, or 1 of 5."""
    many, few = measured(tuple(range(1, 20))), measured((1.0, 2.0, 3.0, 4.0))
    assert [is_far(score, many) for score in (18.5, 19, 19.5)] == [False, False, True]
    assert [is_far(score, few) for score in (3.5, 4, 4.5)] == [False, False, True]
    assert [share_farther(score, many) for score in (0, 19, 19.5)] == [1, 2 / 20, 1 / 20]
    assert share_farther(4.5, few) == 1 / 5
    half = measured((1.0, 2.0, 3.0), level=0.5)  # the 2nd
    assert [is_far(score, half) for score in (2, 2.5)] == [False, True]


@given(st.lists(st.floats(0, 2), min_size=19, max_size=80), st.floats(0, 2))
def test_what_is_far_is_farther_than_the_level_allows(scores: list[float], score: float) -> None:
    distance = measured(tuple(sorted(scores)))
    if is_far(score, distance):
        assert share_farther(score, distance) <= 0.05 + 1e-12


def test_slides_of_the_cohort_are_flagged_as_rarely_as_is_said() -> None:
    rng = np.random.default_rng(0)
    flagged = [
        is_far(score, measured(tuple(sorted(scores))))
        for scores, score in ((rng.normal(size=39).tolist(), rng.normal()) for _ in range(4000))
    ]
    assert np.mean(flagged) == pytest.approx(0.05, abs=0.012)  # 2 of 40 possible places


@pytest.mark.parametrize(("neighbours", "scores"), [(0, (1.0,)), (5, ()), (5, (2.0, 1.0))])
def test_distances_that_cannot_be_are_refused(neighbours: int, scores: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="calibrate the bundle again"):
        Distance(member="m", neighbours=neighbours, scores=scores)


def test_a_regression_tells_what_scikit_learn_tells() -> None:
    rng = np.random.default_rng(0)
    shares, labels = rng.dirichlet(np.ones(4), 60), rng.integers(4, size=60)
    model = LogisticRegression(C=3.0).fit(shares, labels)
    regression = Regression(
        weights=tuple(tuple(map(float, row)) for row in model.coef_),
        bias=tuple(map(float, model.intercept_)),
        penalty=1 / 3,
        slides=60,
    )
    np.testing.assert_allclose(regressed(shares, regression), model.predict_proba(shares), atol=1e-12)
    np.testing.assert_allclose(regressed(shares[0], regression), model.predict_proba(shares[:1])[0], atol=1e-12)

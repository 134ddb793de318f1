"""Scores worked by hand, and beside scikit-learn's."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics as other

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import VALIDATION_METRICS
from sarcoscope.diagnosis.voting import tile_labels, vote
from sarcoscope.metrics.classification import (
    Scores,
    accuracy,
    balanced_accuracy,
    better,
    bootstrap_interval,
    confusion,
    expected_calibration_error,
    log_loss,
    macro_auc,
    macro_f1,
    scores,
    slide_votes,
)

Array = npt.NDArray[Any]
TRUE = np.array([0, 0, 0, 0, 1, 1, 2])
SAID = np.array([0, 0, 1, 2, 1, 0, 1])


def rows(*values: tuple[float, ...]) -> Array:
    return np.array(values, np.float64)


@st.composite
def predictions(draw: st.DrawFn, dtype: str = "float64", *, all_occur: bool = False) -> tuple[Array, Array]:
    """Labels and probabilities in steps of a twentieth, so that equal ones are frequent."""
    classes = draw(st.integers(2, 5))
    n = draw(st.integers(classes + 1 if all_occur else 1, 30))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
    if all_occur:
        labels[:classes] = range(classes)
    weights = draw(st.lists(st.lists(st.integers(0, 3), min_size=classes, max_size=classes), min_size=n, max_size=n))
    raw = np.array(weights, dtype) + np.array(0.05, dtype)
    return np.array(labels), raw / raw.sum(axis=1, keepdims=True)


def test_counts_stand_in_rows_of_the_truth() -> None:
    found = confusion(TRUE, SAID, 4)
    np.testing.assert_array_equal(found, [[2, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(confusion(TRUE.astype(np.uint64), SAID, 4), found)


def test_shares_worked_by_hand() -> None:
    """Right: 3 of 7. Recalls 2/4, 1/2, 0/1. F1: 4 / (4 + 3), 2 / (2 + 3), 0 / (1 + 1), class 3 has none."""
    assert accuracy(TRUE, SAID) == pytest.approx(3 / 7)
    assert balanced_accuracy(TRUE, SAID, 4) == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert macro_f1(TRUE, SAID, 4) == pytest.approx((4 / 7 + 2 / 5 + 0) / 3)


def test_a_class_that_is_only_predicted_has_an_f1_of_0_but_no_recall() -> None:
    """F1 of class 0 is 2 / 3, of class 1 it is 0 / 1; recall is asked of class 0 alone."""
    labels, said = np.array([0, 0]), np.array([0, 1])
    assert macro_f1(labels, said, 3) == pytest.approx((2 / 3 + 0) / 2)
    assert balanced_accuracy(labels, said, 3) == pytest.approx(0.5)


def test_areas_worked_by_hand() -> None:
    """Class 0: its 0.9 and 0.4 against 0.4 and 0.1: 3 pairs won, one equal: 3.5 of 4. Class 1 mirrors it."""
    labels = np.array([0, 0, 1, 1])
    probabilities = rows((0.9, 0.1), (0.4, 0.6), (0.4, 0.6), (0.1, 0.9))
    assert macro_auc(labels, probabilities) == pytest.approx(3.5 / 4)
    third = np.column_stack([probabilities, np.zeros(4)])  # a class that no tile has changes nothing
    assert macro_auc(labels, third) == pytest.approx(3.5 / 4)


def test_log_loss_worked_by_hand() -> None:
    labels, probabilities = np.array([0, 1]), rows((0.5, 0.5), (0.75, 0.25))
    assert log_loss(labels, probabilities) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert log_loss(np.array([0]), rows((0.0, 1.0))) == pytest.approx(52 * math.log(2))  # 2.2e-16 is 2 to the -52


def test_calibration_worked_by_hand() -> None:
    """Bins are 1/15 wide. 0.95 and 0.97 share the last: 1 right of them, 1.92 sure. 0.6, an upper edge, is right."""
    labels = np.array([0, 0, 1])
    probabilities = rows((0.95, 0.05), (0.03, 0.97), (0.4, 0.6))
    assert expected_calibration_error(labels, probabilities) == pytest.approx((abs(1 - 1.92) + abs(1 - 0.6)) / 3)
    shared = rows((0.61, 0.39), (0.65, 0.35))  # one bin: wrong and right level each other out
    assert expected_calibration_error(np.array([0, 1]), shared) == pytest.approx(abs(1 - 1.26) / 2)
    apart = rows((0.6, 0.4), (0.65, 0.35))  # 0.6 is the bin below
    assert expected_calibration_error(np.array([0, 1]), apart) == pytest.approx((0.4 + 0.65) / 2)


def test_what_is_certain_and_right_is_perfect() -> None:
    labels = np.array([0, 1, 2, 2])
    found = scores(labels, np.eye(3)[labels], ["a", "b", "c", "c"])
    assert found == Scores(
        tile_accuracy=1.0,
        tile_balanced_accuracy=1.0,
        tile_macro_auc=1.0,
        tile_log_loss=0.0,
        slide_accuracy=1.0,
        slide_balanced_accuracy=1.0,
        tiles=4,
        slides=3,
    )
    assert expected_calibration_error(labels, np.eye(3)[labels]) == 0


@given(predictions())
def test_shares_are_those_of_scikit_learn(drawn: tuple[Array, Array]) -> None:
    labels, probabilities = drawn
    said, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    np.testing.assert_array_equal(
        confusion(labels, said, classes), other.confusion_matrix(labels, said, labels=range(classes))
    )
    assert accuracy(labels, said) == pytest.approx(other.accuracy_score(labels, said))
    recall = other.recall_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0)
    assert balanced_accuracy(labels, said, classes) == pytest.approx(recall)
    assert macro_f1(labels, said, classes) == pytest.approx(other.f1_score(labels, said, average="macro"))
    assert log_loss(labels, probabilities) == pytest.approx(
        other.log_loss(labels, probabilities, labels=range(classes)), abs=1e-12
    )


@given(predictions(all_occur=True))
def test_areas_are_those_of_scikit_learn(drawn: tuple[Array, Array]) -> None:
    labels, probabilities = drawn
    each = [other.roc_auc_score(labels == index, probabilities[:, index]) for index in range(probabilities.shape[1])]
    assert macro_auc(labels, probabilities) == pytest.approx(float(np.mean(each)))


def test_many_tiles_are_calibrated_as_drawn() -> None:
    """Labels drawn by the probabilities themselves are calibrated, and less so when the probabilities are sharpened."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 20_000)
    labels = (probabilities.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    fair = expected_calibration_error(labels, probabilities)
    sharp = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    over = expected_calibration_error(labels, sharp)
    assert fair is not None
    assert over is not None
    assert fair < 0.02
    assert over > 0.1


@pytest.mark.parametrize("n", [0, 3])
def test_where_there_is_no_answer_it_is_none(n: int) -> None:
    labels, probabilities = np.zeros(n, int), np.tile([0.75, 0.25], (n, 1))
    found = scores(labels, probabilities, ["a"] * n)
    assert found.tile_macro_auc is None  # all tiles are of one class, or there is none
    assert found.tile_accuracy == found.tile_balanced_accuracy == (1.0 if n else None)
    assert found.slide_accuracy == found.slide_balanced_accuracy == (1.0 if n else None)
    assert found.tile_log_loss == (pytest.approx(math.log(4 / 3)) if n else None)
    assert (found.tiles, found.slides) == (n, min(n, 1))
    assert macro_f1(labels, labels, 2) == (1.0 if n else None)
    assert expected_calibration_error(labels, probabilities) == (pytest.approx(0.25) if n else None)


def test_the_most_frequent_label_of_a_slide_is_its_class() -> None:
    """Most: 0 twice, though 1 sums to 1.8 of 3. Tie: one each, 0 sums to 0.8, 1 to 1.2. Even: 0.7 + 0.3 of both."""
    tiles = [
        ("tie", (0.6, 0.4)),
        ("most", (0.6, 0.4)),
        ("even", (0.3, 0.7)),
        ("most", (0.0, 1.0)),
        ("tie", (0.2, 0.8)),
        ("most", (0.6, 0.4)),
        ("even", (0.7, 0.3)),
    ]
    of_slide = {"even": 1, "most": 1, "tie": 0}
    names = [name for name, _ in tiles]
    found = slide_votes(np.array([of_slide[name] for name in names]), rows(*(row for _, row in tiles)), names)
    assert found[0].tolist() == [1, 1, 0]
    assert found[1].tolist() == [0, 0, 1]


def test_a_slide_of_several_classes_is_not_scored() -> None:
    probabilities = rows((0.9, 0.1), (0.9, 0.1), (0.9, 0.1))
    found = scores(np.array([0, 1, 0]), probabilities, np.array([7, 7, 8]))
    assert (found.tiles, found.slides, found.slide_accuracy) == (3, 1, 1.0)
    assert scores(np.array([0, 1]), probabilities[:2], ["a", "a"]).slide_balanced_accuracy is None


@given(st.sampled_from(["float32", "float64"]).flatmap(predictions), st.randoms(use_true_random=False))
@example((np.array([0, 0]), np.array([[0.4, 0.6], [0.6, 0.4]])), None)
def test_votes_are_those_of_the_diagnosis(drawn: tuple[Array, Array], chance: Any) -> None:
    labels, probabilities = drawn
    names = [f"s{chance.randrange(4)}" if chance else "s" for _ in labels]
    truth = {name: index % probabilities.shape[1] for index, name in enumerate(sorted(set(names)))}
    of_slides = np.array([truth[name] for name in names])
    found = slide_votes(of_slides, probabilities, names)
    codes = [str(index) for index in range(probabilities.shape[1])]
    mine = {name: probabilities[[one == name for one in names]] for name in truth}
    slow = {name: vote(tile_labels(tiles), tiles, codes).label for name, tiles in mine.items()}
    assert found[0].tolist() == list(truth.values())
    assert [codes[index] for index in found[1]] == list(slow.values())


def scored(**values: float | None) -> Scores:
    names = ("tile_accuracy", "tile_balanced_accuracy", "tile_macro_auc", "tile_log_loss", "slide_accuracy")
    plain: dict[str, Any] = dict.fromkeys((*names, "slide_balanced_accuracy"), None) | {"tiles": 9, "slides": 3}
    return Scores(**(plain | values))


@pytest.mark.parametrize("metric", VALIDATION_METRICS)
def test_the_better_one_by_each_metric(metric: str) -> None:
    high, low, none = scored(**{metric: 0.8}), scored(**{metric: 0.7}), scored()
    more = metric != "tile_log_loss"
    assert better(high, low, metric) is more
    assert better(low, high, metric) is not more
    assert not better(high, high, metric)
    assert better(low, None, metric)
    assert better(low, none, metric)
    assert not better(none, low, metric)
    assert not better(none, None, metric)
    assert not better(none, none, metric)


def test_equal_ones_are_told_apart_by_the_log_loss() -> None:
    sure = scored(slide_accuracy=0.5, tile_log_loss=0.3)
    unsure = scored(slide_accuracy=0.5, tile_log_loss=0.4)
    unknown = scored(slide_accuracy=0.5)
    assert better(sure, unsure, "slide_accuracy")
    assert not better(unsure, sure, "slide_accuracy")
    assert better(unsure, unknown, "slide_accuracy")
    assert not better(unknown, unsure, "slide_accuracy")
    assert not better(scored(tile_log_loss=0.1), scored(tile_log_loss=0.2), "slide_accuracy")  # neither has a value


def test_every_metric_by_which_can_be_chosen_is_a_score() -> None:
    assert set(VALIDATION_METRICS) <= set(Scores.__dataclass_fields__)
    with pytest.raises(InputError, match="unknown metric 'tiles'"):
        better(scored(), None, "tiles")


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    """100 units of one row: the mean varies by the standard deviation over 10, and 1.96 of that to each side."""
    values = np.random.default_rng(1).normal(5, 2, 100)
    found = bootstrap_interval(lambda at: float(values[at].mean()), np.arange(100), np.random.default_rng(2), 4000)
    assert found is not None
    half = 1.96 * values.std() / 10
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.06)


def test_whole_units_are_drawn() -> None:
    """Two slides, one all right, one all wrong: a draw is 0, a half or 1, so the interval is all there is."""
    right = np.repeat([1.0, 0.0], 50)
    seen: set[int] = set()

    def share(at: npt.NDArray[np.intp]) -> float:
        seen.add(len(at))
        return float(right[at].mean())

    found = bootstrap_interval(share, np.repeat(["a", "b"], 50), np.random.default_rng(0), 200)
    assert found == (0.0, 1.0)
    assert seen == {100}
    by_tile = bootstrap_interval(share, np.arange(100), np.random.default_rng(0), 200)
    assert by_tile is not None
    assert 0.3 < by_tile[0] < by_tile[1] < 0.7


def test_units_keep_all_their_rows_wherever_they_stand() -> None:
    units = np.array(["b", "a", "b", "c"])
    drawn: list[list[int]] = []

    def note(at: npt.NDArray[np.intp]) -> None:
        drawn.append(at.tolist())

    assert bootstrap_interval(note, units, np.random.default_rng(3), 50) is None
    assert all(at.count(0) == at.count(2) for at in drawn)
    assert all(at.count(0) + at.count(1) + at.count(3) == 3 for at in drawn)
    assert any(at.count(0) == 2 for at in drawn)


def test_draws_without_a_value_are_left_out_and_one_unit_says_nothing() -> None:
    rng = np.random.default_rng(0)
    assert bootstrap_interval(lambda at: None if 0 in at else 1.0, np.arange(3), rng, 100) == (1.0, 1.0)
    assert bootstrap_interval(lambda _: 1.0, np.zeros(9, int), rng, 10) is None
    assert bootstrap_interval(lambda _: 1.0, np.zeros(0, int), rng, 10) is None
    with pytest.raises(InputError, match="0 draws"):
        bootstrap_interval(lambda _: 1.0, np.arange(3), rng, 0)


GOOD = rows((0.5, 0.5), (0.5, 0.5))


@pytest.mark.parametrize(
    ("labels", "probabilities", "slides", "words"),
    [
        (np.array([0]), GOOD, ["a"], r"shape \(1,\) and probabilities of shape \(2, 2\)"),
        (np.array([[0, 1]]), GOOD, ["a", "a"], "give \\(N,\\) and \\(N, C\\)"),
        (np.array([0, 2]), GOOD, ["a", "a"], r"labels 0\.\.2 of 2 classes"),
        (np.array([-1, 1]), GOOD, ["a", "a"], r"labels -1\.\.1 of 2"),
        (np.array([0.0, 1.0]), GOOD, ["a", "a"], "labels of type float64"),
        (np.array([0, 1]), GOOD * 1.01, ["a", "a"], "sum to 1.01"),
        (np.array([0, 1]), rows((1.5, -0.5), (0.5, 0.5)), ["a", "a"], "below 0"),
        (np.array([0, 1]), rows((math.nan, 1), (0.5, 0.5)), ["a", "a"], "no numbers"),
        (np.array([0, 1]), rows((math.inf, 1), (0.5, 0.5)), ["a", "a"], "sum to inf"),
        (np.array([0, 1]), GOOD, ["a"], "1 slides of 2 tiles"),
        (np.zeros(0, int), np.zeros((0, 0)), [], "none of 0 classes"),
    ],
)
def test_what_does_not_fit_is_refused(labels: Array, probabilities: Array, slides: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        scores(labels, probabilities, slides)


def test_predictions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"shapes \(7,\) and \(6,\)"):
        confusion(TRUE, SAID[:6], 3)
    with pytest.raises(InputError, match=r"shapes \(7,\) and \(6,\)"):
        accuracy(TRUE, SAID[:6])
    with pytest.raises(InputError, match=r"labels 0\.\.2 of 2"):
        balanced_accuracy(TRUE, SAID, 2)

"""Patch metrics: by hand, beside scikit-learn, and beside the plain bootstrap over rows."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as other

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Estimate, PatchResult
from sarcoscope.diagnosis.calibration import tempered
from sarcoscope.metrics import classification as plain
from sarcoscope.metrics.agreement import cohen_kappa
from sarcoscope.metrics.areas import areas_by_pairs, areas_by_rows
from sarcoscope.metrics.patch import patch_result
from sarcoscope.metrics.units import drawn_units, numbered, over_draws

Array = npt.NDArray[Any]
CODES = ("a", "b", "c", "d", "e")


def result(labels: Array, probabilities: Array, units: Array, **changed: Any) -> PatchResult:
    given_ones: dict[str, Any] = {
        "classes": CODES[: probabilities.shape[1]],
        "slides": units,
        "patients": 0,
        "pooled": (),
        "temperature": 1.0,
        "draws": 200,
        "rng": np.random.default_rng(5),
    }
    return patch_result("m", Part.TEST, labels, probabilities, units, **(given_ones | changed))


def certain(*said: int, classes: int = 2, sure: float = 0.8) -> Array:
    rows = np.full((len(said), classes), (1 - sure) / (classes - 1))
    rows[np.arange(len(said)), said] = sure
    return rows


@st.composite
def tiles(draw: st.DrawFn) -> tuple[Array, Array, Array]:
    """Labels, probabilities with many equal ones, and units, some of several classes."""
    classes, n, count = draw(st.integers(2, 4)), draw(st.integers(1, 40)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    raw = rng.integers(0, 4, (n, classes)) + 0.05
    labels, units = rng.integers(classes, size=n), rng.integers(count, size=n)
    if draw(st.booleans()):
        labels = units % classes  # a slide has one class
    return labels, raw / raw.sum(axis=1, keepdims=True), units


def test_every_number_worked_by_hand() -> None:
    """Slides s (class a: 3 tiles, 2 right) and t (class b: 2 tiles, 1 right).

    Kappa: agreement 3/5, by chance (3 * 3 + 2 * 2) / 25 = 0.52, so 0.08 / 0.48. F1: both rows and columns are 3 and 2:
    4 / 6 and 2 / 4. Areas: of the pairs of an a with a b, 2 * 1 are won, 2 * 1 + 1 * 1 equal, 1 * 1 lost: 3.5 of 6.
    All are 0.8 sure, in the bin (0.7333, 0.8], and 0.6 are right.
    """
    labels, units = np.array([0, 0, 0, 1, 1]), np.array(["s", "s", "s", "t", "t"])
    found = result(labels, certain(0, 0, 1, 1, 0), units)
    assert (found.tiles, found.slides, found.patients, found.confusion) == (5, 2, None, ((2, 1), (1, 1)))
    assert found.overall.value == pytest.approx(3 / 5)
    assert [one.value for one in found.per_class.values()] == pytest.approx([2 / 3, 1 / 2])
    assert found.balanced_accuracy.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert found.macro_f1.value == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert found.kappa.value == pytest.approx(0.08 / 0.48)
    assert [one.value for one in found.auc.values()] == pytest.approx([3.5 / 6, 3.5 / 6])
    assert found.macro_auc.value == pytest.approx(3.5 / 6)
    assert found.before.log_loss.value == pytest.approx(-(3 * math.log(0.8) + 2 * math.log(0.2)) / 5)
    assert found.before.ece.value == pytest.approx(0.2)
    filled = [one for one in found.before.bins if one.tiles]
    assert len(found.before.bins) == 15
    assert [one.tiles for one in filled] == [5]
    assert [filled[0].low, filled[0].high, filled[0].confidence, filled[0].right] == pytest.approx(
        [11 / 15, 0.8, 0.8, 0.6]
    )
    assert found.before == found.after
    assert found.without_pooled is None


def test_an_interval_worked_by_hand() -> None:
    """Of two slides with 3 and 1 tiles, one all right and one all wrong, a draw is 1, 3/4 or 0, each often enough."""
    labels, units = np.zeros(4, int), np.array(["s", "s", "s", "t"])
    found = result(labels, certain(0, 0, 0, 1), units)
    assert found.overall == Estimate(value=0.75, low=0.0, high=1.0, n=4, units=2)
    assert found.per_class["a"] == found.overall
    assert found.per_class["b"] == Estimate(value=None, n=0, units=0)
    assert found.auc["a"] == Estimate(value=None, n=4, units=2)  # there is nothing to tell it from


def test_what_one_slide_alone_says_has_no_interval() -> None:
    """Class b has one slide: any draw of it has the same share, which is no certainty. Nor has its area one."""
    labels, units = np.array([0, 0, 1, 1]), np.array(["s", "t", "u", "u"])
    found = result(labels, certain(0, 1, 1, 0), units)
    assert found.per_class["b"] == Estimate(value=0.5, n=2, units=1)
    assert found.auc["a"] == Estimate(value=0.5, n=4, units=3)
    assert found.per_class["a"] == Estimate(value=0.5, low=0.0, high=1.0, n=2, units=2)
    alone = result(labels, certain(0, 1, 1, 0), np.array(["s"] * 4))
    assert alone.overall == Estimate(value=0.5, n=4, units=1)
    assert alone.before.ece.low is None


def test_no_tile_has_no_number() -> None:
    found = result(np.zeros(0, int), np.zeros((0, 3)), np.zeros(0, str), pooled=("a",), temperature=2.0)
    empty = Estimate(value=None, n=0, units=0)
    assert found.overall == found.kappa == found.macro_auc == found.without_pooled == found.after.ece == empty
    assert found.tiles == found.slides == 0
    assert found.confusion == ((0, 0, 0),) * 3
    assert {one.tiles for one in found.after.bins} == {0}


def test_pooled_classes_are_left_out_as_true_classes_only() -> None:
    """Three tiles are not of c: one is right, one is called b, one is called c, which stays wrong."""
    labels, units = np.array([0, 0, 1, 2, 2]), np.array(["s", "s", "t", "u", "v"])
    probabilities = certain(0, 1, 2, 2, 2, classes=3)
    found = result(labels, probabilities, units, pooled=("c", "elsewhere"))
    first = result(labels, probabilities, units, pooled=("a",)).without_pooled  # one tile of b called c, two of c
    assert first is not None
    assert (first.value, first.n, first.units) == (2 / 3, 3, 3)
    assert found.overall.value == pytest.approx(3 / 5)
    assert found.without_pooled is not None
    assert (found.without_pooled.value, found.without_pooled.n, found.without_pooled.units) == (1 / 3, 3, 2)
    assert found.balanced_without_pooled is not None  # half of a, none of b; with c (2 of 2) it would be a half
    assert (found.balanced_without_pooled.value, found.balanced_without_pooled.n) == (0.25, 3)
    assert found.balanced_accuracy.value == 0.5
    elsewhere = result(labels, probabilities, units, pooled=("elsewhere",))
    assert elsewhere.without_pooled is elsewhere.balanced_without_pooled is None


def test_patients_are_drawn_where_they_are_known() -> None:
    labels, slides = np.array([0, 0, 1, 1]), np.array(["s", "t", "u", "v"])
    found = result(labels, certain(0, 1, 1, 0), np.array(["p", "p", "q", "q"]), slides=slides, patients=2)
    assert (found.slides, found.patients, found.overall.units) == (4, 2, 2)
    assert (found.overall.low, found.overall.high) == (0.5, 0.5)  # both patients are half right


def test_slides_of_nobody_known_are_no_patients() -> None:
    labels, slides = np.array([0, 0, 1, 1]), np.array(["s", "t", "u", "v"])
    units = np.array(["patient p", "patient p", "slide u", "slide v"])
    found = result(labels, certain(0, 1, 1, 0), units, slides=slides, patients=1)
    assert (found.slides, found.patients, found.overall.units) == (4, 1, 3)


@given(tiles(), st.floats(0.2, 5))
def test_points_are_those_of_scikit_learn(drawn: tuple[Array, Array, Array], temperature: float) -> None:
    labels, probabilities, units = drawn
    classes = range(probabilities.shape[1])
    found = result(labels, probabilities, units, draws=1, temperature=temperature)
    said = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(found.confusion, other.confusion_matrix(labels, said, labels=classes))
    assert found.overall.value == pytest.approx(other.accuracy_score(labels, said))
    recall = other.recall_score(labels, said, labels=np.unique(labels), average="macro", zero_division=0)
    assert found.balanced_accuracy.value == pytest.approx(recall)
    assert found.macro_f1.value == pytest.approx(other.f1_score(labels, said, average="macro"))
    if len({*labels, *said}) > 1:
        assert found.kappa.value == pytest.approx(other.cohen_kappa_score(labels, said))
    else:
        assert found.kappa.value is None
    each = []
    for index, code in enumerate(found.auc):
        if 0 < (labels == index).sum() < len(labels):
            each.append(float(other.roc_auc_score(labels == index, probabilities[:, index])))
            assert found.auc[code].value == pytest.approx(each[-1])
        else:
            assert found.auc[code].value is None
    assert found.macro_auc.value == (pytest.approx(float(np.mean(each))) if each else None)
    for told, rows in ((found.before, probabilities), (found.after, tempered(probabilities, temperature))):
        assert told.log_loss.value == pytest.approx(other.log_loss(labels, rows, labels=classes), abs=1e-9)
        assert told.ece.value == pytest.approx(plain.expected_calibration_error(labels, rows), abs=1e-9)
        assert sum(one.tiles for one in told.bins) == len(labels)
        gaps = sum(one.tiles * abs(one.confidence - one.right) for one in told.bins if one.tiles)  # type: ignore[operator]
        assert told.ece.value == pytest.approx(gaps / len(labels), abs=1e-9)


@settings(max_examples=15)
@given(tiles(), st.integers(0, 2**32))
def test_intervals_are_those_of_the_plain_bootstrap(drawn: tuple[Array, Array, Array], seed: int) -> None:
    """The same draws over rows, one number at a time: `classification.bootstrap_interval`."""
    labels, probabilities, units = drawn
    size, said = probabilities.shape[1], probabilities.argmax(axis=1)
    found = result(
        labels, probabilities, units, draws=30, temperature=2.0, pooled=("a",), rng=np.random.default_rng(seed)
    )
    hotter = tempered(probabilities, 2.0)

    def kappa(at: Array) -> float | None:
        return cohen_kappa([str(one) for one in labels[at]], [str(one) for one in said[at]]).kappa

    def recall(at: Array) -> float | None:
        mine = at[labels[at] == 1]
        return plain.accuracy(labels[mine], said[mine])

    def rest(at: Array) -> float | None:
        mine = at[labels[at] != 0]
        return plain.accuracy(labels[mine], said[mine])

    def rest_balanced(at: Array) -> float | None:
        mine = at[labels[at] != 0]
        return plain.balanced_accuracy(labels[mine], said[mine], size)

    assert found.without_pooled is not None
    assert found.balanced_without_pooled is not None
    slow: list[tuple[Estimate, Any]] = [
        (found.overall, lambda at: plain.accuracy(labels[at], said[at])),
        (found.balanced_accuracy, lambda at: plain.balanced_accuracy(labels[at], said[at], size)),
        (found.macro_f1, lambda at: plain.macro_f1(labels[at], said[at], size)),
        (found.kappa, kappa),
        (found.macro_auc, lambda at: plain.macro_auc(labels[at], probabilities[at])),
        (found.before.ece, lambda at: plain.expected_calibration_error(labels[at], probabilities[at])),
        (found.after.ece, lambda at: plain.expected_calibration_error(labels[at], hotter[at])),
        (found.after.log_loss, lambda at: plain.log_loss(labels[at], hotter[at])),
        (found.per_class["b"], recall),
        (found.without_pooled, rest),
        (found.balanced_without_pooled, rest_balanced),
    ]
    for fast, statistic in slow:
        wanted = plain.bootstrap_interval(statistic, units, np.random.default_rng(seed), 30)
        if fast.value is None or fast.units < 2:
            assert fast.low is fast.high is None
        else:
            assert (fast.low, fast.high) == pytest.approx(wanted, abs=1e-9)


@given(tiles(), st.integers(0, 2**32))
def test_areas_by_pairs_of_units_are_those_by_rows(drawn: tuple[Array, Array, Array], seed: int) -> None:
    labels, probabilities, units = drawn
    at, count = numbered(units)
    weights = drawn_units(count, 20, np.random.default_rng(seed))
    found = [over_draws(way(labels, probabilities, at, count), weights) for way in (areas_by_pairs, areas_by_rows)]
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-12, equal_nan=True)


def test_many_units_are_worked_out_in_blocks() -> None:
    """More numbers than a block holds: each tile a slide of its own, so that the interval is the binomial one."""
    rng, n = np.random.default_rng(0), 30_000
    labels = rng.integers(2, size=n)
    said = np.where(rng.random(n) < 0.9, labels, 1 - labels)
    found = result(labels, certain(*said), np.arange(n), draws=300)
    half = 1.96 * math.sqrt(0.9 * 0.1 / n)
    for one in (found.overall, found.macro_auc):  # with two classes as frequent, the area of yes and no is the share
        assert one.value == pytest.approx(0.9, abs=0.01)
        assert one.low is not None
        assert one.high is not None
        assert (one.high - one.low) / 2 == pytest.approx(half, rel=0.2)


def test_whole_slides_make_intervals_wider_than_tiles_would() -> None:
    """20 slides of 50 tiles that are right or wrong together: as few as 20 tell of 1000 tiles."""
    right = np.repeat(np.arange(20) < 14, 50)
    labels = np.zeros(1000, int)
    probabilities = certain(*np.where(right, 0, 1))
    by_slide = result(labels, probabilities, np.repeat(np.arange(20), 50), draws=1000).overall
    by_tile = result(labels, probabilities, np.arange(1000), draws=1000).overall
    assert by_slide.low is not None
    assert by_slide.high is not None
    assert by_tile.low is not None
    assert by_tile.high is not None
    assert by_slide.high - by_slide.low == pytest.approx(2 * 1.96 * math.sqrt(0.7 * 0.3 / 20), rel=0.1)
    assert by_tile.high - by_tile.low == pytest.approx(2 * 1.96 * math.sqrt(0.7 * 0.3 / 1000), rel=0.1)


def test_intervals_hold_the_truth_as_often_as_is_said_and_of_few_slides_less_often() -> None:
    """Slides vary in how easy they are, tiles by chance; four fifths are right in the long run (docs/metrics.md)."""
    rng, held = np.random.default_rng(0), {}
    for slides in (5, 40):
        found = []
        for _ in range(150):
            right = rng.random((slides, 20)) < rng.beta(8, 2, slides)[:, None]
            units = np.repeat(np.arange(slides), 20)
            one = result(np.zeros(slides * 20, int), certain(*np.where(right, 0, 1).ravel()), units, draws=300)
            assert one.overall.low is not None
            assert one.overall.high is not None
            found.append(one.overall.low <= 0.8 <= one.overall.high)
        held[slides] = float(np.mean(found))
    assert 0.9 <= held[40] <= 0.99
    assert 0.7 <= held[5] < held[40]


def test_the_order_of_tiles_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    labels, units = rng.integers(3, size=50), rng.integers(8, size=50)
    probabilities = rng.dirichlet(np.ones(3), 50)
    turned = rng.permutation(50)
    one, two = result(labels, probabilities, units), result(labels[turned], probabilities[turned], units[turned])
    assert one.confusion == two.confusion
    assert (one.overall, one.macro_f1, one.kappa) == (two.overall, two.macro_f1, two.kappa)
    assert one.macro_auc.low == pytest.approx(two.macro_auc.low)
    assert one.after.log_loss.high == pytest.approx(two.after.log_loss.high)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"classes": ("a",)}, "probabilities of 2 classes; give those of 1"),
        ({"slides": ["s"]}, "1 slides of 2 tiles"),
        ({"draws": 0}, "0 draws"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        result(np.array([0, 1]), certain(0, 1), np.array(["s", "t"]), **changed)
    with pytest.raises(InputError, match="1 units of 2 tiles"):
        result(np.array([0, 1]), certain(0, 1), np.array(["s"]))

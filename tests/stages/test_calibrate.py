"""What is fitted on validation: by hand, against scipy, and by counting how often sets hold the truth."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.geometry import Box
from sarcoscope.core.tile import Tile
from sarcoscope.diagnosis.calibration import conformal_set, fit_conformal, regressed, slides_needed, tempered
from sarcoscope.diagnosis.fusion import Probabilities, fuse, softmax
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.diagnosis.verdict import diagnose_tiles, likeness_of
from sarcoscope.formats.bundle import Bundle, Fusion
from sarcoscope.stages.calibrate import PENALTIES, calibrate, fit_regression
from sarcoscope.stages.predictions import PatchTable, SlideTiles
from tests.bundles import CODES, color_bundle

D, L, M, U, W = range(5)
TILE = Tile(row=0, column=0, box=Box(0, 0, 8, 8), tissue=1.0)
PLACE = {"left_l0": 0, "top_l0": 0, "width_l0": 8, "height_l0": 8}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return with_rules(color_bundle(tmp_path_factory.mktemp("one") / "b"), SlideRules(minimum_tiles=4))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = with_rules(color_bundle(tmp_path_factory.mktemp("two") / "b", members=2), SlideRules(minimum_tiles=4))
    fusion = Fusion(rule="weighted", weights=(0.75, 0.25))
    return Bundle(folder=bundle.folder, manifest=bundle.manifest.model_copy(update={"fusion": fusion}), sha256="0" * 64)


def with_rules(bundle: Bundle, rules: SlideRules) -> Bundle:
    return Bundle(folder=bundle.folder, manifest=bundle.manifest.model_copy(update={"rules": rules}), sha256="0" * 64)


def rows(likely: Sequence[int], probability: float = 0.8) -> Probabilities:
    """(N, 5) with that probability of the given classes, the rest evenly spread."""
    values = np.full((len(likely), 5), (1 - probability) / 4)
    values[np.arange(len(likely)), list(likely)] = probability
    return values


def table(probabilities: Probabilities, labels: Sequence[int], part: Part, *, pooled: bool = False) -> PatchTable:
    tiles = [
        {"slide": "s", "tile": str(at), "label": CODES[label], "part": str(part), "pooled": pooled, "patient": None}
        | PLACE
        for at, label in enumerate(labels)
    ]
    return PatchTable(tiles=pl.DataFrame(tiles), probabilities=probabilities)


def together(tables: Sequence[PatchTable]) -> PatchTable:
    return PatchTable(
        tiles=pl.concat([one.tiles for one in tables]),
        probabilities=np.concatenate([one.probabilities for one in tables], axis=1),
    )


def whole(
    name: str,
    label: int | None,
    probabilities: Probabilities,
    part: Part = Part.VALIDATION,
    features: Probabilities | None = None,
) -> SlideTiles:
    """A slide with (N, 5) or (M, N, 5) probabilities."""
    values = probabilities if probabilities.ndim == 3 else probabilities[None]
    return SlideTiles(
        slide=CohortSlide(slide=name, path=Path(name), label=None if label is None else CODES[label]),
        part=part,
        tiles=(TILE,) * values.shape[1],
        probabilities=values,
        features=features,
    )


def by_name(slides: Sequence[SlideTiles]) -> Mapping[str, SlideTiles]:
    return {one.slide.slide: one for one in slides}


def test_a_temperature_that_can_be_worked_out_by_hand(one: Bundle) -> None:
    """Of two classes, odds of 9 where right is 3 times as frequent as wrong: ln 9 / ln 3 = 2."""
    values = np.tile([0.9, 0.1, 0.0, 0.0, 0.0], (8, 1))[None]
    found = calibrate(one, table(values, [D] * 6 + [L] * 2, Part.VALIDATION), {})
    assert found.calibration.temperature == pytest.approx(2, rel=1e-3)
    assert found.tiles == 8
    np.testing.assert_allclose(tempered(values[0], found.calibration.temperature)[0, :2], [0.75, 0.25], atol=1e-3)


def test_test_tiles_and_pooled_tiles_decide_nothing(one: Bundle) -> None:
    values = np.tile([0.9, 0.1, 0.0, 0.0, 0.0], (8, 1))[None]
    mine = table(values, [D] * 6 + [L] * 2, Part.VALIDATION)
    strange = table(rows([U] * 50, 0.99)[None], [L] * 50, Part.TEST)
    optimistic = table(rows([M] * 50, 0.6)[None], [M] * 50, Part.VALIDATION, pooled=True)
    found = calibrate(one, together([strange, mine, optimistic]), {})
    assert found.calibration.temperature == pytest.approx(2, rel=1e-3)
    assert found.tiles == 8


def test_the_temperature_is_that_of_the_fused_members(two: Bundle) -> None:
    """0.75 * 1 + 0.25 * 0.6 = 0.9."""
    members = np.stack([np.tile([1.0, 0, 0, 0, 0], (8, 1)), np.tile([0.6, 0.4, 0, 0, 0], (8, 1))])
    found = calibrate(two, table(members, [D] * 6 + [L] * 2, Part.VALIDATION), {})
    assert found.calibration.temperature == pytest.approx(2, rel=1e-3)


def test_what_cannot_be_fitted_says_why(one: Bundle) -> None:
    found = calibrate(one, None, {})
    assert found.calibration.temperature == 1
    assert (found.calibration.regression, found.calibration.conformal, found.calibration.distance) == (None,) * 3
    assert found.calibration.why_not == {
        "temperature": "no validation tile at 0.5 um/px",
        "regression": "validation slides: none; two classes are needed, and two slides of each that has any",
        "conformal": "no validation slide of a scored class with at least 4 tiles",
        "distance": "no member reads the bundle's own tiles",
    }
    right = calibrate(one, table(rows([D, L])[None], [D, L], Part.VALIDATION), {}, distance_of="m0")
    assert right.calibration.temperature == 1
    assert "all of 2 validation tiles are right" in right.calibration.why_not["temperature"]
    assert right.calibration.why_not["distance"] == "no training tile to compare with"


def test_a_class_with_a_single_slide_keeps_a_regression_from_being_fitted(one: Bundle) -> None:
    slides = [whole(str(at), label, rows([label] * 8)) for at, label in enumerate([D, D, U])]
    found = calibrate(one, None, by_name(slides)).calibration
    assert found.regression is None
    assert found.why_not["regression"].startswith("validation slides: DDLPS 2, UPS 1;")


def test_only_scored_validation_slides_with_tiles_enough_take_part(one: Bundle) -> None:
    rules = SlideRules(minimum_tiles=4, unscored=("MPNST",))
    mine = [whole(f"v{at}", label, rows([label] * (4 + at))) for at, label in enumerate([D, D, U, U])]
    others = [
        whole("test1", L, rows([D] * 8), Part.TEST1),
        whole("test", L, rows([D] * 8), Part.TEST),
        whole("pooled", M, rows([D] * 8), Part.POOLED),
        whole("unscored", M, rows([D] * 8)),
        whole("open", None, rows([L] * 8)),
        whole("few", U, rows([D] * 3)),
        whole("none", U, np.empty((0, 5))),
    ]
    found = calibrate(with_rules(one, rules), None, by_name([*others, *mine]))
    alone = calibrate(with_rules(one, rules), None, by_name(mine))
    assert found.slides == ("v0", "v1", "v2", "v3")
    assert found.calibration == alone.calibration
    assert found.calibration.regression is not None
    assert found.calibration.regression.slides == 4


def test_a_regression_hears_what_the_vote_cannot(one: Bundle) -> None:
    """Slides of DDLPS whose tiles mostly look like UPS, beside slides of UPS that look like nothing else."""
    shares = [(D, 9), (D, 8), (D, 7), (U, 1), (U, 2), (U, 0)]
    slides = [whole(str(at), label, rows([D] * some + [U] * (20 - some))) for at, (label, some) in enumerate(shares)]
    found = calibrate(one, None, by_name(slides)).calibration
    said = [
        diagnose_tiles(item.slide.slide, item.probabilities[0], CODES, one.manifest.rules, found) for item in slides
    ]
    assert [item.label for item in said] == ["UPS"] * 6
    assert [item.other_ways["regression"] for item in said] == ["DDLPS"] * 3 + ["UPS"] * 3


def by_scipy(shares: Probabilities, labels: np.ndarray, penalty: float) -> Callable[[Probabilities], Probabilities]:
    """(S, C) shares to (S, C) probabilities by the least summed log loss plus the penalty on squared weights."""
    there, at = np.unique(labels, return_inverse=True)
    count, width = len(there), shares.shape[1]

    def logits(flat: Probabilities, of: Probabilities) -> Probabilities:
        found: Probabilities = of @ flat[: count * width].reshape(count, width).T + flat[count * width :]
        return found

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        told = softmax(logits(flat, shares))
        slope = told - np.eye(count)[at]
        weights = flat[: count * width]
        value = -np.log(told[np.arange(len(at)), at]).sum() + penalty * (weights**2).sum()
        return float(value), np.concatenate([(slope.T @ shares).ravel() + 2 * penalty * weights, slope.sum(axis=0)])

    best = minimize(loss, np.zeros(count * (width + 1)), jac=True, method="BFGS", options={"gtol": 1e-6})

    def predict(of: Probabilities) -> Probabilities:
        found = np.zeros((len(of), width))
        found[:, there] = softmax(logits(best.x, of))
        return found

    return predict


def slides_of(classes: Sequence[int], clear: float, seed: int) -> tuple[Probabilities, np.ndarray]:
    """Vote shares of four slides a class, of which `clear` goes to the truth whatever else they say."""
    labels = np.repeat(classes, 4)
    noise = np.random.default_rng(seed).dirichlet(np.ones(5), len(labels))
    return noise * (1 - clear) + np.eye(5)[labels] * clear, labels


@pytest.mark.parametrize("there", [(D, U), (D, L, U, W)])
def test_a_regression_is_what_its_objective_says(there: tuple[int, ...]) -> None:
    shares, labels = slides_of(there, 0.3, seed=1)
    found = fit_regression(shares, labels)
    np.testing.assert_allclose(regressed(shares, found), by_scipy(shares, labels, found.penalty)(shares), atol=1e-4)
    absent = [code for code in range(5) if code not in there]
    assert (regressed(np.eye(5), found)[:, absent] == 0).all()


def test_the_penalty_is_the_one_that_serves_slides_left_out() -> None:
    chosen = {}
    for clear in (0.0, 0.6):
        shares, labels = slides_of((D, L, U), clear, seed=3)
        losses = []
        for penalty in PENALTIES:
            told = []
            for out in range(len(labels)):
                others = np.arange(len(labels)) != out
                told.append(by_scipy(shares[others], labels[others], penalty)(shares[[out]])[0, labels[out]])
            losses.append(-np.log(told).mean())
        chosen[clear] = fit_regression(shares, labels).penalty
        assert chosen[clear] == PENALTIES[int(np.argmin(losses))]
    assert chosen[0.0] > chosen[0.6]  # noise wants a strong one


def test_slides_of_a_patient_are_left_out_together() -> None:
    """Noise, but each patient has three slides that say the same: who knows two of them knows the third."""
    labels = np.repeat((D, L, U), 12)
    noise = np.repeat(np.random.default_rng(5).dirichlet(np.full(5, 0.3), 12), 3, axis=0)
    patients = [f"p{at // 3}" for at in range(36)]
    assert fit_regression(noise, labels, patients).penalty == max(PENALTIES)
    assert fit_regression(noise, labels).penalty < max(PENALTIES)
    alone = ["of d"] * 12 + patients[12:]  # all slides of a class are one patient's: it cannot be left out
    assert fit_regression(noise, labels, alone).penalty == fit_regression(noise, labels).penalty


def test_the_order_of_slides_changes_nothing(one: Bundle) -> None:
    """More slides than groups, so that which ones are left out together matters."""
    rng = np.random.default_rng(2)
    slides = [
        whole(f"v{at:02d}", label, rows(list(rng.choice([label, D, U, L], 20))))
        for at, label in enumerate([D, U, L] * 11)
    ]
    found = calibrate(one, None, by_name(slides))
    for seed in range(4):
        turned = [slides[at] for at in np.random.default_rng(seed).permutation(len(slides))]
        assert calibrate(one, None, by_name(turned)) == found


def test_thresholds_rest_on_what_a_diagnosis_says_of_the_slides(two: Bundle) -> None:
    """The 10th smallest of 9 + 1 at 90 % is the largest, taken from diagnoses at the temperature, not from the fit."""
    rng = np.random.default_rng(5)
    labels = [D] * 9 + [U] * 2
    slides = [whole(str(at), label, rng.dirichlet(np.ones(5), (2, 12))) for at, label in enumerate(labels)]
    tiles = table(rng.dirichlet(np.ones(5), (2, 40)), list(rng.integers(0, 5, 40)), Part.VALIDATION)
    found = calibrate(two, tiles, by_name(slides)).calibration
    assert found.temperature != 1
    scores = []
    for one_slide, label in zip(slides, labels, strict=True):
        fused = tempered(fuse(one_slide.probabilities, "weighted", (0.75, 0.25)), found.temperature)
        said = diagnose_tiles("s", np.asarray(fused, np.float32), CODES, two.manifest.rules)
        scores.append(1 - (said.mean_probability[CODES[label]] or 0))
    assert found.conformal is not None
    assert found.conformal.own == ("DDLPS",)
    assert found.conformal.thresholds["DDLPS"] == pytest.approx(max(scores[:9]), abs=1e-12)
    assert found.conformal.slides == {"DDLPS": 9, "LMS": 0, "MPNST": 0, "UPS": 2, "WDLPS": 0}


def test_too_few_slides_leave_nothing_out_and_still_say_so(one: Bundle) -> None:
    slides = [whole(str(at), D, rows([D] * 8)) for at in range(8)]
    found = calibrate(one, None, by_name(slides)).calibration
    said = diagnose_tiles("s", rows([D] * 8), CODES, one.manifest.rules, found)
    assert said.set is not None
    assert set(said.set.classes) == set(CODES)
    assert "9 are needed" in said.set.reason


def test_distances_by_hand(one: Bundle) -> None:
    """Of reference tiles all along one axis, tiles along it lie at 0, across it at the square root of 2."""
    reference = np.tile([2.0, 0, 0], (12, 1))
    along, across = np.array([[5.0, 0, 0]]), np.array([[0, 1.0, 0]])
    slides = [
        whole("half", D, rows([D] * 2), features=np.concatenate([along, across])),
        whole("near", D, rows([D]), features=along),
        whole("test", D, rows([D]), Part.TEST1, features=across),
        whole("empty", D, np.empty((0, 5)), features=np.empty((0, 3))),
        whole("stranger", None, rows([D]), features=across),
    ]
    found = calibrate(one, None, by_name(slides), reference=reference, distance_of="m0")
    distance = found.calibration.distance
    assert distance is not None
    assert (distance.member, distance.neighbours) == ("m0", 10)
    assert distance.scores == pytest.approx((0, math.sqrt(2) / 2))
    assert found.reference is not None
    assert found.reference.dtype == np.float32
    likeness = likeness_of(across, found.reference, distance)
    assert likeness is not None
    assert likeness.far
    assert likeness.p == pytest.approx(1 / 3)


def exchangeable(rng: np.random.Generator, labels: np.ndarray) -> Probabilities:
    """Slides' mean probabilities: a third is easy, a third hard, a third misleading, more so for later classes."""
    weights = np.full((len(labels), 3), 0.7)
    weights[np.arange(len(labels)), labels] += rng.choice([6.0, 1.0, 0.0], len(labels)) / (1 + labels)
    drawn = rng.standard_gamma(weights)
    drawn /= drawn.sum(axis=1, keepdims=True)
    return drawn


def held(rng: np.random.Generator, slides: np.ndarray, test: np.ndarray, level: float) -> np.ndarray:
    """Whether the set of each new slide holds its class, calibrated on slides of the given classes."""
    conformal = fit_conformal(exchangeable(rng, slides), slides, CODES[:3], level)
    means = exchangeable(rng, test)
    sets = [conformal_set(dict(zip(CODES, mean, strict=False)), conformal) for mean in means]
    return np.array([CODES[label] in one for label, one in zip(test, sets, strict=True)])


@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from([0.8, 0.9]), slides=st.integers(5, 40))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_sets_hold_the_class_as_often_as_promised(seed: int, level: float, slides: int) -> None:
    """Of slides whose order says nothing, no class with enough for a threshold of its own: at least the level.

    Exactly ceil((n + 1) level) / (n + 1) is expected; the margin is four standard deviations of that binomial.
    """
    rng, rounds = np.random.default_rng(seed), 1000
    most = slides_needed(level) - 2  # one more, and a class has a threshold of its own
    pattern = np.arange(min(slides, 3 * most)) % 3  # shuffled together with the new one: exchangeable
    hits = []
    for _ in range(rounds):
        drawn = rng.permutation(np.append(pattern, 0))
        hits.append(held(rng, drawn[:-1], drawn[-1:], level)[0])
    count = len(pattern)
    expected = math.ceil(round((count + 1) * level, 9)) / (count + 1)
    margin = 4 * math.sqrt(expected * (1 - expected) / rounds)
    assert expected >= level
    assert np.mean(hits) >= level - margin


@given(seed=st.integers(0, 2**32 - 1), level=st.sampled_from([0.8, 0.9]), extra=st.integers(0, 12))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_each_class_with_slides_enough_is_held_as_often_as_promised(seed: int, level: float, extra: int) -> None:
    """However hard the class: the level holds for each, and not for the easy ones alone."""
    rng, rounds = np.random.default_rng(seed), 1000
    each = slides_needed(level) + extra
    labels = np.repeat([0, 1, 2], each)
    hits = np.array([held(rng, labels, np.arange(3), level) for _ in range(rounds)])
    expected = math.ceil(round((each + 1) * level, 9)) / (each + 1)
    margin = 4 * math.sqrt(expected * (1 - expected) / rounds)
    np.testing.assert_allclose(hits.mean(axis=0), expected, atol=margin)

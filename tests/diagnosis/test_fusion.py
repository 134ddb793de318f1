"""Fusion rules by hand, and weights beside a general minimiser."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from sarcoscope.core.errors import InputError
from sarcoscope.diagnosis.fusion import RULES, check_fusion, fit_weights, fuse, fuse_product, fuse_vote, softmax

Array = npt.NDArray[Any]


@st.composite
def members(draw: st.DrawFn, classes: int | None = None) -> Array:
    """(M, N, C) with many equal probabilities."""
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 6)), classes or draw(st.integers(2, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    raw = rng.integers(0, 4, shape) + 0.1
    return np.asarray(raw / raw.sum(axis=2, keepdims=True))


def weighed(rule: str, count: int) -> tuple[float, ...]:
    return tuple([1 / count] * count) if rule == "weighted" else ()


TWO = np.array([[[0.6, 0.4], [0.9, 0.1]], [[0.2, 0.8], [0.5, 0.5]]])


def test_each_rule_worked_by_hand() -> None:
    """Means 0.4 and 0.7; a quarter of the first: 0.15 + 0.15, 0.225 + 0.375. Products 0.12 : 0.32 and 0.45 : 0.05."""
    np.testing.assert_allclose(fuse(TWO), [[0.4, 0.6], [0.7, 0.3]])
    np.testing.assert_allclose(fuse(TWO, "weighted", (0.25, 0.75)), [[0.3, 0.7], [0.6, 0.4]])
    np.testing.assert_allclose(fuse(TWO, "product"), [[0.12 / 0.44, 0.32 / 0.44], [0.9, 0.1]])


def test_votes_worked_by_hand() -> None:
    """One each: the second is surer. Two to one, however sure the one is. A member's own tie goes to the first."""
    tie = fuse(np.array([[[0.6, 0.4]], [[0.2, 0.8]]]), "vote")
    assert tie[0, 1] > tie[0, 0]
    outvoted = fuse(np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.0, 1.0]]]), "vote")
    assert outvoted[0, 0] > outvoted[0, 1]
    assert fuse(np.array([[[0.5, 0.5]]]), "vote").argmax() == 0
    np.testing.assert_array_equal(fuse(TWO[:1], "vote"), TWO[0])  # one member alone is itself


@given(members(), st.sampled_from(RULES))
def test_what_is_fused_is_probabilities(given_ones: Array, rule: str) -> None:
    found = fuse(given_ones, rule, weighed(rule, len(given_ones)))
    assert found.shape == given_ones.shape[1:]
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-9)


@given(members(), st.sampled_from(RULES), st.randoms(use_true_random=False))
def test_the_order_of_members_changes_nothing(given_ones: Array, rule: str, chance: Any) -> None:
    turned = list(range(len(given_ones)))
    chance.shuffle(turned)
    weights = weighed(rule, len(given_ones))
    np.testing.assert_allclose(fuse(given_ones, rule, weights), fuse(given_ones[turned], rule, weights), atol=1e-12)


@given(members(), st.sampled_from(RULES), st.integers(1, 4))
def test_members_that_agree_say_what_one_says(given_ones: Array, rule: str, times: int) -> None:
    """But for the product, which grows surer, which class is told is the same; of mean and weights all is."""
    one = given_ones[:1]
    found = fuse(np.repeat(one, times, axis=0), rule, weighed(rule, times))
    np.testing.assert_array_equal(found.argmax(axis=1), one[0].argmax(axis=1))
    if rule in {"mean", "weighted"}:
        np.testing.assert_allclose(found, one[0], atol=1e-12)


@given(members())
def test_a_vote_is_never_overruled_and_ties_go_to_the_larger_mean(given_ones: Array) -> None:
    found = fuse_vote(given_ones).argmax(axis=1)
    for tile, label in enumerate(found):
        counts = np.bincount(given_ones[:, tile].argmax(axis=1), minlength=given_ones.shape[2])
        assert counts[label] == counts.max()
        means = given_ones[:, tile].mean(axis=0)
        assert means[label] >= max(means[counts == counts.max()]) - 1e-12


def test_a_product_has_no_veto() -> None:
    """One member rules class 0 out wholly; two that are sure of it are not silenced."""
    sure = 1 - 1e-9
    found = fuse_product(np.array([[[0.0, 1.0]], [[sure, 1 - sure]], [[sure, 1 - sure]]]))
    assert found[0, 0] > 0.99
    assert np.isfinite(fuse_product(np.array([[[1.0, 0.0]], [[0.0, 1.0]]]))).all()


def test_large_logits_do_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1000.0, 999.0], [-1000.0, -1001.0]])), [[0.7310586, 0.2689414]] * 2)


def loss(weights: Array, given_ones: Array, labels: Array) -> float:
    true = given_ones[:, np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(weights @ true, 1e-300)).mean())


def test_weights_worked_by_hand() -> None:
    """The first is sure of two tiles of three, 0.9 to 0.1, and the second the other way about.

    -(2 ln(0.9 w + 0.1 v) + ln(0.1 w + 0.9 v)) with v = 1 - w is least where 2 * 0.8 / (0.1 + 0.8 w) =
    0.8 / (0.9 - 0.8 w): 1.8 - 1.6 w = 0.1 + 0.8 w, w = 1.7 / 2.4.
    """
    given_ones = np.array([[[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]], [[0.1, 0.9], [0.1, 0.9], [0.9, 0.1]]])
    found = fit_weights(given_ones, np.array([0, 0, 0]))
    assert found == pytest.approx((1.7 / 2.4, 0.7 / 2.4), abs=1e-6)


def test_a_member_that_is_always_worse_gets_nothing_and_equal_ones_share() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=60)
    good = 0.1 + 0.7 * np.eye(3)[labels]
    bad = np.full((60, 3), 1 / 3)
    assert fit_weights(np.array([good, bad]), labels) == pytest.approx((1, 0), abs=1e-6)
    found = fit_weights(np.array([good, bad, good]), labels)
    assert found == pytest.approx((0.5, 0, 0.5), abs=1e-6)
    assert found[0] == pytest.approx(found[2], abs=1e-12)
    with pytest.raises(InputError, match="no tile to fit weights on"):
        fit_weights(np.zeros((2, 0, 3)), np.zeros(0, int))


@settings(max_examples=40)
@given(members(classes=3), st.integers(0, 2**32))
def test_weights_have_the_least_loss_that_a_general_minimiser_finds(given_ones: Array, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(3, size=(given_ones.shape[1],))
    found = fit_weights(given_ones, labels)
    check_fusion("weighted", found, len(given_ones))
    count = len(given_ones)
    best = minimize(
        loss,
        np.full(count, 1 / count),
        (given_ones, labels),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda one: one.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert loss(np.array(found, np.float64), given_ones, labels) <= best.fun + 1e-6


@pytest.mark.parametrize(
    ("rule", "weights", "words"),
    [
        ("mode", (), "unknown fusion 'mode'; known: mean, product, vote, weighted"),
        ("mean", (0.5, 0.5), "weights beside fusion 'mean'"),
        ("weighted", (1.0,), "1 weights for 2 members"),
        ("weighted", (0.5, 0.6), "weights 0.5, 0.6; give shares that sum to 1"),
        ("weighted", (1.5, -0.5), "give shares that sum to 1"),
        ("weighted", (float("nan"), 1.0), "give shares that sum to 1"),
    ],
)
def test_what_does_not_fit_is_refused(rule: str, weights: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        fuse(TWO, rule, weights)


def test_arrays_of_another_shape_are_refused() -> None:
    for wrong in (TWO[0], TWO[:0]):
        with pytest.raises(InputError, match="of shape"):
            fuse(wrong)

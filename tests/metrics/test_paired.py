"""Models on the same slides, and shares with their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError
from sarcoscope.core.evaluation import Estimate
from sarcoscope.metrics.paired import compared, mcnemar, paired_difference
from sarcoscope.metrics.shares import share


@pytest.mark.parametrize(
    ("only_one", "only_other", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (6, 0, 2 / 64), (1, 7, 2 * 9 / 256), (2, 3, 1.0)],
)
def test_p_worked_by_hand(only_one: int, only_other: int, p: float) -> None:
    """6 against 0: both ends of six tosses, 2 / 2^6. 1 against 7: (1 + 8) / 2^8 at either end."""
    assert mcnemar(only_one, only_other) == p


@given(st.integers(0, 300), st.integers(0, 300))
def test_p_is_that_of_the_binomial_test(one: int, other: int) -> None:
    wanted = binomtest(one, one + other).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar(one, other) == mcnemar(other, one)


def test_very_many_slides_have_a_p_too() -> None:
    assert mcnemar(2000, 2000) == 1.0
    assert 0 < mcnemar(900, 1100) < 1e-4
    with pytest.raises(InputError, match="-1 and 2 slides"):
        mcnemar(-1, 2)


def test_a_comparison_counts_each_slide_once() -> None:
    one, other = np.array([1, 1, 1, 0, 0, 1], bool), np.array([1, 0, 0, 1, 0, 0], bool)
    found = compared("x", "y", Part.TEST1, "vote", one_right=one, other_right=other)
    assert (found.one, found.other, found.part, found.way) == ("x", "y", Part.TEST1, "vote")
    assert (found.both, found.only_one, found.only_other, found.neither) == (1, 3, 1, 1)
    assert found.p == mcnemar(3, 1)


def test_a_paired_difference_worked_by_hand() -> None:
    """Patients p (two slides, one better) and q (one slide, the other better): a half, -1, or 0 of all three."""
    one, other = np.array([1, 1, 0], bool), np.array([1, 0, 1], bool)
    rng = np.random.default_rng(0)
    found = paired_difference(one, other, ["p", "p", "q"], draws=300, rng=rng)
    assert found == Estimate(value=0.0, low=-1.0, high=0.5, n=3, units=2)
    assert paired_difference(one, other, ["p"] * 3, draws=9, rng=rng) == Estimate(value=0.0, n=3, units=1)
    empty = np.zeros(0, bool)
    assert paired_difference(empty, empty, [], draws=9, rng=rng) == Estimate(value=None, n=0, units=0)


def test_vectors_that_do_not_fit_are_refused() -> None:
    right = np.array([True, False])
    with pytest.raises(InputError, match="2 and 1 slides"):
        compared("x", "y", Part.TEST, "vote", one_right=right, other_right=right[:1])
    with pytest.raises(InputError, match="type int64"):
        compared("x", "y", Part.TEST, "vote", one_right=np.array([1, 0]), other_right=right)
    with pytest.raises(InputError, match="1 units of 2 tiles"):
        paired_difference(right, right, ["p"], draws=1, rng=np.random.default_rng(0))


@given(st.integers(0, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_the_interval_of_wilson(counts: tuple[int, int]) -> None:
    right, n = counts
    found = share(right, n)
    assert (found.right, found.n) == counts
    if not n:
        assert (found.value, found.low, found.high) == (None, 0.0, 1.0)
        return
    wanted = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert found.value == right / n
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high), abs=1e-12)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.metrics.intervals import wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (8, 10, 0.4902, 0.9433),
        (1, 1, 0.2065, 1.0),
        (52, 57, 0.8106, 0.9619),
        (34, 42, 0.6670, 0.9002),
    ],
)
def test_hand_worked_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


def test_without_slides_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (1, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(InputError, match="between 0 and n"):
        wilson_interval(successes, n)


counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts)
def test_the_share_lies_inside_and_the_interval_within_0_and_1(pair: tuple[int, int]) -> None:
    low, high = wilson_interval(*pair)
    assert 0 <= low <= pair[0] / pair[1] <= high <= 1
    assert low < high


@given(counts)
def test_successes_and_failures_mirror_each_other(pair: tuple[int, int]) -> None:
    low, high = wilson_interval(*pair)
    assert wilson_interval(pair[1] - pair[0], pair[1]) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(counts)
def test_more_slides_with_the_same_share_narrow_it(pair: tuple[int, int]) -> None:
    low, high = wilson_interval(*pair)
    wide_low, wide_high = wilson_interval(4 * pair[0], 4 * pair[1])
    assert wide_high - wide_low < high - low


@given(counts)
def test_its_ends_are_the_shares_1_96_standard_errors_away(pair: tuple[int, int]) -> None:
    successes, n = pair
    for end in wilson_interval(successes, n):
        square = 1.959963984540054**2 * end * (1 - end) / n
        assert (successes / n - end) ** 2 == pytest.approx(square, rel=1e-9, abs=1e-15)

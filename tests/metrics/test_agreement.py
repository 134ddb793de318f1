"""Cohen's kappa, worked by hand."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.metrics.agreement import Agreement, cohen_kappa

WORDS = ("reject", "keep")


def readers(both_reject: int, only_one: int, only_other: int, both_keep: int) -> tuple[list[str], list[str]]:
    cells = [("reject", "reject", both_reject), ("reject", "keep", only_one)]
    cells += [("keep", "reject", only_other), ("keep", "keep", both_keep)]
    pairs = [(one, other) for one, other, count in cells for _ in range(count)]
    return [one for one, _ in pairs], [other for _, other in pairs]


def test_kappa_and_its_interval_worked_by_hand() -> None:
    """Cells 20, 5, 10, 15 of 50.

    Agreement 35/50 = 0.7; margins 0.5, 0.5 and 0.6, 0.4, so 0.3 + 0.2 = 0.5 by chance; kappa 0.2/0.5 = 0.4.
    Variance: 0.4(0.5 - 1.1 * 0.3)^2 + 0.3(0.5 - 0.9 * 0.3)^2 = 0.02743; 0.3^2(0.1 * 1.1^2 + 0.2 * 0.9^2) = 0.02547;
    (0.35 - 1 + 0.7)^2 = 0.0025; 0.0504 / (50 * 0.5^4) = 0.016128, root 0.126996, times 1.959964 = 0.248907.
    """
    found = cohen_kappa(*readers(20, 5, 10, 15))
    assert found.n == 50
    assert found.agreement == pytest.approx(0.7)
    assert found.expected == pytest.approx(0.5)
    assert found.kappa == pytest.approx(0.4)
    assert found.low == pytest.approx(0.151093, abs=1e-6)
    assert found.high == pytest.approx(0.648907, abs=1e-6)


def test_more_agreement_at_less_kappa_where_one_word_is_frequent() -> None:
    """Cells 1, 5, 4, 90: 0.91 agree, 0.06 * 0.05 + 0.94 * 0.95 = 0.896 by chance, kappa 0.014 / 0.104."""
    found = cohen_kappa(*readers(1, 5, 4, 90))
    assert found.agreement == pytest.approx(0.91)
    assert found.kappa == pytest.approx(0.014 / 0.104)
    assert found.low is not None
    assert found.low < 0


@pytest.mark.parametrize(
    ("one", "other", "kappa"),
    [
        (["reject", "keep"], ["reject", "keep"], 1.0),
        (["reject", "keep"], ["keep", "reject"], -1.0),
        (["reject", "reject"], ["keep", "keep"], 0.0),
        (["a", "b", "c"], ["a", "b", "c"], 1.0),
    ],
)
def test_the_ends_of_the_scale(one: Sequence[str], other: Sequence[str], kappa: float) -> None:
    found = cohen_kappa(one, other)
    assert found.kappa == pytest.approx(kappa)
    assert found.low is not None
    assert found.high is not None
    assert -1 <= found.low <= kappa <= found.high <= 1


@pytest.mark.parametrize(
    ("words", "agreement", "said"),
    [([], None, "no tile was decided by both"), (["keep"] * 9, 1.0, "both readers said keep of every tile")],
)
def test_undefined_is_said_and_not_made_up(words: list[str], agreement: float | None, said: str) -> None:
    found = cohen_kappa(words, words)
    assert (found.n, found.agreement, found.kappa, found.low, found.high) == (len(words), agreement, None, None, None)
    assert said in (found.undefined or "")


def test_readers_of_different_numbers_of_tiles_are_refused() -> None:
    with pytest.raises(InputError, match="1 and 2"):
        cohen_kappa(["keep"], ["keep", "keep"])
    with pytest.raises(InputError, match="exactly one"):
        Agreement(n=1, agreement=1.0, expected=1.0, kappa=None, low=None, high=None)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(WORDS)), min_size=1))
def test_kappa_is_the_same_from_both_sides_and_within_its_interval(pairs: list[tuple[str, str]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found, turned = cohen_kappa(one, other), cohen_kappa(other, one)
    assert (found.kappa is None) == (len({*one, *other}) == 1)
    if found.kappa is not None and turned.kappa is not None:
        assert found.low is not None
        assert found.high is not None
        assert found.kappa == pytest.approx(turned.kappa)
        assert found.low - 1e-9 <= found.kappa <= found.high + 1e-9

"""Drawing classes about evenly: multipliers against all choices there are, and what an epoch then holds."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError, TrainingError
from sarcoscope.core.training import FACTORS, BalanceConfig
from sarcoscope.data.balance import epoch_order, factors_of, multipliers, quotas, shares

counted = st.dictionaries(st.sampled_from("ABCDE"), st.integers(1, 5000), min_size=1)


def test_the_papers_factors_make_5_to_2_and_1_to_2_even() -> None:
    assert multipliers({"A": 100, "B": 50, "C": 20}) == {"A": 6, "B": 12, "C": 30}  # 600 each


def test_five_classes_by_hand() -> None:
    counts = {"DDLPS": 6000, "LMS": 1800, "MPNST": 700, "UPS": 2500, "WDLPS": 3500}
    # MPNST has 21000 at most, DDLPS 36000 at least: the others lie between, as low as they can
    expected = {"DDLPS": 6, "LMS": 12, "MPNST": 30, "UPS": 12, "WDLPS": 6}
    assert multipliers(counts) == expected
    found = shares(counts, BalanceConfig())
    tiles = {"DDLPS": 36000, "LMS": 21600, "MPNST": 21000, "UPS": 30000, "WDLPS": 21000}
    assert found == {code: pytest.approx(count / 129600) for code, count in tiles.items()}


def test_of_choices_that_even_alike_the_one_with_fewest_tiles_is_taken() -> None:
    assert multipliers({"A": 7}) == {"A": 6}
    assert multipliers({"A": 7, "B": 7}) == {"A": 6, "B": 6}
    assert multipliers({"A": 100, "B": 1}) == {"A": 6, "B": 30}
    assert multipliers({"A": 1000, "B": 1, "C": 40}) == {"A": 6, "B": 30, "C": 6}  # C does not matter to the ratio


@given(counted)
def test_no_other_choice_of_factors_is_better(counts: dict[str, int]) -> None:
    def judged(factors: dict[str, int]) -> tuple[Fraction, int]:
        tiles = [counts[code] * factor for code, factor in factors.items()]
        return Fraction(max(tiles), min(tiles)), sum(tiles)

    choices = [dict(zip(counts, choice, strict=True)) for choice in product(FACTORS, repeat=len(counts))]
    assert judged(multipliers(counts)) == min(map(judged, choices))


@pytest.mark.parametrize("by", ["multipliers", "even", "none"])
def test_a_class_without_a_tile_cannot_be_balanced(by: str) -> None:
    with pytest.raises(TrainingError, match="class B has no training tile"):
        shares({"A": 3, "B": 0}, BalanceConfig(by=by))
    with pytest.raises(TrainingError, match="class B has no training tile"):
        multipliers({"A": 3, "B": 0})


def test_shares_by_hand() -> None:
    counts = {"A": 100, "B": 50, "C": 20}
    assert shares(counts, BalanceConfig(by="even")) == dict.fromkeys("ABC", pytest.approx(1 / 3))
    assert shares(counts, BalanceConfig(by="none")) == {"A": 100 / 170, "B": 50 / 170, "C": 20 / 170}
    given_one = BalanceConfig(multipliers={"A": 1})
    assert factors_of(counts, given_one) == {"A": 1, "B": 12, "C": 30}
    assert shares(counts, given_one) == {"A": 100 / 1300, "B": 600 / 1300, "C": 600 / 1300}
    with pytest.raises(InputError, match="multipliers names class 'X'; the classes are A, B, C"):
        shares(counts, BalanceConfig(multipliers={"X": 6}))


def test_quotas_by_hand() -> None:
    assert quotas([0.5, 0.3, 0.2], 4).tolist() == [2, 1, 1]
    assert quotas([1, 1, 1], 4).tolist() == [2, 1, 1]
    assert quotas([0.2] * 5, 2).tolist() == [1, 1, 0, 0, 0]
    assert quotas([0, 1], 3).tolist() == [0, 3]
    assert quotas([0.1] * 10, 30).tolist() == [3] * 10  # 0.1 * 30 is not quite 3


@st.composite
def epochs(draw: st.DrawFn) -> tuple[list[int], list[float], int]:
    """Labels, shares, length: a class that is to be drawn has a tile."""
    weights = draw(st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any))
    labels = draw(st.lists(st.integers(0, len(weights) - 1), max_size=40))
    labels += [label for label, weight in enumerate(weights) if weight]
    return draw(st.permutations(labels)), [weight / sum(weights) for weight in weights], draw(st.integers(0, 200))


@given(epochs(), st.integers(0, 2**32 - 1))
def test_an_epoch_holds_classes_by_their_shares_and_tiles_of_a_class_alike(
    epoch: tuple[list[int], list[float], int], seed: int
) -> None:
    labels, wanted, length = np.array(epoch[0]), epoch[1], epoch[2]
    order = epoch_order(labels, wanted, length, np.random.default_rng(seed))
    drawn = np.bincount(labels[order], minlength=len(wanted))
    assert drawn.sum() == len(order) == length
    assert all(abs(count - share * length) < 1 for count, share in zip(drawn, wanted, strict=True))
    for label in range(len(wanted)):
        tiles, own = np.flatnonzero(labels == label), order[labels[order] == label]
        for start in range(0, len(own), max(1, len(tiles))):  # each round has every tile once, the last perhaps not all
            some = own[start : start + len(tiles)].tolist()
            assert len(set(some)) == len(some)
    again = epoch_order(labels, wanted, length, np.random.default_rng(seed))
    np.testing.assert_array_equal(order, again)


def test_an_epoch_is_shuffled() -> None:
    labels = np.repeat([0, 1], 500)
    order = epoch_order(labels, [0.5, 0.5], 1000, np.random.default_rng(0))
    assert 420 < labels[order[:500]].sum() * 2 < 580  # both classes in both halves
    assert np.mean(order[:500]) == pytest.approx(500, abs=50)
    assert (order != epoch_order(labels, [0.5, 0.5], 1000, np.random.default_rng(1))).mean() > 0.9


def test_a_class_that_is_to_be_drawn_needs_a_tile() -> None:
    with pytest.raises(TrainingError, match="class 1 is to be drawn and has no tile"):
        epoch_order(np.array([0, 0]), [0.5, 0.5], 4, np.random.default_rng(0))

"""How many go where, and which: worked by hand, and whatever the order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.dealing import RATIOS, Ratios, checked, deal, portions, shuffled
from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError

ratios = st.tuples(st.floats(0.05, 1), st.floats(0, 1), st.floats(0, 1)).map(checked)
blocks = st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=3)), max_size=40)


@pytest.mark.parametrize(
    ("n", "shares", "counts"),
    [
        (0, RATIOS, (0, 0, 0)),
        (1, RATIOS, (1, 0, 0)),
        (2, RATIOS, (1, 1, 0)),
        (3, RATIOS, (1, 1, 1)),
        (4, RATIOS, (2, 1, 1)),  # exact 2.8, 0.6, 0.6: the floors are 2, 0, 0, and both 0s are raised
        (6, RATIOS, (4, 1, 1)),  # 4.2, 0.9, 0.9
        (7, RATIOS, (5, 1, 1)),  # 4.9, 1.05, 1.05
        (9, RATIOS, (6, 2, 1)),  # 6.3, 1.35, 1.35: the odd one to the earlier of two equal remainders
        (10, RATIOS, (7, 2, 1)),  # 7, 1.5, 1.5
        (20, RATIOS, (14, 3, 3)),
        (157, RATIOS, (110, 24, 23)),  # 109.9, 23.55, 23.55
        (3, (0.98, 0.01, 0.01), (1, 1, 1)),
        (2, (0.8, 0.0, 0.2), (1, 0, 1)),  # no validation is asked for
        (1, (0.8, 0.2, 0.0), (1, 0, 0)),
        (5, (1.0, 0.0, 0.0), (5, 0, 0)),
        (4, (0.2, 0.4, 0.4), (1, 2, 1)),  # 0.8, 1.6, 1.6: floors 0, 1, 1, then train's 0.8 and validation's 0.6
    ],
)
def test_portions_by_hand(n: int, shares: Ratios, counts: tuple[int, int, int]) -> None:
    assert portions(n, shares) == counts


@given(st.integers(0, 500), ratios)
def test_portions_add_up_stay_near_their_share_and_leave_no_part_empty(n: int, shares: Ratios) -> None:
    counts = portions(n, shares)
    wanted = [share > 0 for share in shares]
    assert sum(counts) == n
    for count, share in zip(counts, shares, strict=True):
        assert count == 0 if share == 0 else count >= (n >= sum(wanted))
        assert abs(count - n * share) < 3  # one for rounding, and one that each other part may have taken


@given(blocks, st.integers(0, 9), ratios)
def test_dealing_takes_each_block_once_and_does_not_look_at_their_order(
    given_blocks: list[tuple[str, str]], seed: int, shares: Ratios
) -> None:
    dealt = deal(given_blocks, shares, seed)
    again = sorted(given_blocks, reverse=True)
    assert deal([*again, *again[:3]], shares, seed) == dealt
    assert set(dealt) == set(given_blocks)
    values = list(dealt.values())
    assert tuple(values.count(part) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)) == portions(
        len(dealt), shares
    )


def test_a_seed_and_a_purpose_make_another_order() -> None:
    keys = [(str(number),) for number in range(20)]
    orders = {tuple(shuffled(keys, seed, purpose)) for seed in range(5) for purpose in ("a", "b")}
    assert len(orders) == 10
    assert all(sorted(order) == sorted(keys) for order in orders)


@pytest.mark.parametrize("wrong", [(0.5, 0.5), (0.0, 0.5, 0.5), (0.5, -0.1, 0.6), (float("nan"), 0.5, 0.5), ()])
def test_ratios_that_cannot_be_meant_are_refused(wrong: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="give train, validation, test"):
        checked(wrong)


def test_ratios_may_be_percent() -> None:
    assert checked((70, 15, 15)) == pytest.approx((0.7, 0.15, 0.15))

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import LengthConfig, UnfreezeConfig
from sarcoscope.training.schedule import cosine, mixes, opened, opening_epochs, settle, stage_rates


@pytest.mark.parametrize(("tiles", "drawn", "batch"), [(60, 1_440, 16), (5_000, 100_000, 32), (600_000, 1_200_000, 64)])
def test_few_tiles_are_drawn_often_and_many_at_least_twice(tiles: int, drawn: int, batch: int) -> None:
    plan = settle(tiles, LengthConfig())
    assert (plan.epochs, plan.batch) == (20, batch)
    assert plan.steps * batch == pytest.approx(drawn, rel=0.12)  # a step is at least a batch


def test_what_is_given_is_taken() -> None:
    plan = settle(1000, LengthConfig(epochs=7, epoch_tiles=96, batch=12, patience=4))
    assert (plan.epochs, plan.steps_per_epoch, plan.batch, plan.patience, plan.steps) == (7, 8, 12, 4, 56)


def test_more_epochs_are_more_steps() -> None:
    assert settle(500, LengthConfig(epochs=40)).steps == 2 * settle(500, LengthConfig()).steps


@given(st.integers(1, 3_000_000))
def test_a_plan_has_steps_and_a_sound_running_mean(tiles: int) -> None:
    plan = settle(tiles, LengthConfig())
    assert plan.steps >= 20
    assert 0.5 <= plan.ema_decay < 1


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(InputError, match="no training tile"):
        settle(0, LengthConfig())


def test_the_rate_climbs_then_falls() -> None:
    # 20 steps, a tenth of them warm-up: 1/2, 1, then half a cosine over 18 steps
    assert cosine(0, 20, 0.1) == 0.5
    assert cosine(1, 20, 0.1) == 1
    assert cosine(2, 20, 0.1) == 1
    assert cosine(11, 20, 0.1) == pytest.approx(0.5)
    assert cosine(20, 20, 0.1) == pytest.approx(0)


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_the_rate_is_a_share_that_never_rises_after_the_warm_up(steps: int, warm_up: float) -> None:
    factors = [cosine(step, steps, warm_up) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    after = factors[math.ceil(warm_up * steps) :]
    assert after == sorted(after, reverse=True)


def test_stages_open_from_the_top_one_by_one() -> None:
    config = UnfreezeConfig(head_share=0.1, open_by=0.5)
    openings = opening_epochs(5, 20, config)  # head alone in epochs 0 and 1, the last of five opens in epoch 10
    assert openings == (2, 4, 6, 8, 10)
    assert [opened(epoch, openings) for epoch in (0, 1, 2, 3, 4, 9, 10, 19)] == [0, 0, 1, 1, 2, 4, 5, 5]


def test_depth_says_how_many_ever_open() -> None:
    assert opening_epochs(5, 20, UnfreezeConfig(depth=2)) == (2, 10)
    assert opening_epochs(5, 20, UnfreezeConfig(depth=0)) == ()
    assert opening_epochs(3, 20, UnfreezeConfig(depth=9)) == (2, 6, 10)


def test_without_gradual_unfreezing_all_learn_at_once() -> None:
    assert opening_epochs(4, 20, UnfreezeConfig(gradual=False)) == (0, 0, 0, 0)
    assert opening_epochs(4, 20, UnfreezeConfig(gradual=False, depth=1)) == (0,)


def test_the_head_learns_alone_in_the_shortest_training_too() -> None:
    assert opening_epochs(4, 2, UnfreezeConfig()) == (1, 1, 1, 1)
    assert opening_epochs(4, 1, UnfreezeConfig()) == ()


@given(st.integers(0, 30), st.integers(1, 200), st.floats(0, 1), st.floats(0, 1), st.none() | st.integers(0, 30))
def test_no_stage_opens_before_the_one_above_or_after_the_end(
    stages: int, epochs: int, head_share: float, open_by: float, depth: int | None
) -> None:
    openings = opening_epochs(stages, epochs, UnfreezeConfig(head_share=head_share, open_by=open_by, depth=depth))
    assert list(openings) == sorted(openings)
    assert all(1 <= epoch < epochs for epoch in openings)
    assert len(openings) <= min(stages, stages if depth is None else depth)


def test_lower_stages_learn_more_slowly() -> None:
    assert stage_rates(3, 0.1, 0.5) == (0.025, 0.05, 0.1)
    assert stage_rates(0, 0.1, 0.5) == ()


def test_the_last_epochs_are_not_mixed() -> None:
    assert [mixes(epoch, 20, 0.1) for epoch in (0, 17, 18, 19)] == [True, True, False, False]
    assert mixes(19, 20, 0)
    assert not mixes(0, 20, 1)
    assert [mixes(epoch, 2, 0.1) for epoch in (0, 1)] == [True, False]
    assert mixes(0, 1, 0.1)
    assert [mixes(epoch, 30, 0.1) for epoch in (26, 27)] == [True, False]

"""What a search asks for, and how its trials are ranked."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import TrainConfig
from sarcoscope.core.tuning import (
    WORDS,
    SearchConfig,
    Trial,
    TrialState,
    TuneConfig,
    fixed,
    ranked,
    searched,
    with_values,
)


def test_a_range_whose_ends_are_equal_is_fixed_and_not_searched() -> None:
    search = SearchConfig(weight_decay=(0.0, 0.0), dropout=(0.3, 0.3), depth=False)
    assert [one.name for one in searched(search, 5)] == ["learning_rate", "mixup", "strength"]
    assert fixed(search) == {"weight_decay": 0.0, "dropout": 0.3}
    assert [one.log for one in searched(search, 5)] == [True, False, False]
    (depth,) = [one for one in searched(SearchConfig(), 7) if one.whole]
    assert (depth.name, depth.low, depth.high) == ("depth", 0, 7)
    assert {one.name for one in searched(SearchConfig(), 7)} == set(WORDS)


def test_each_value_goes_where_it_belongs_and_the_rest_stays() -> None:
    train = TrainConfig(run="r", seeds=(4,))
    values = {"learning_rate": 1e-4, "weight_decay": 0.1, "mixup": 0.7, "dropout": 0.4, "strength": 1.2, "depth": 2}
    found = with_values(train, values)
    assert (found.optimiser.learning_rate, found.optimiser.weight_decay) == (1e-4, 0.1)
    assert (found.mix.mixup, found.network.dropout, found.augment.strength) == (0.7, 0.4, 1.2)
    assert found.unfreeze.depth == 2
    same = {"optimiser": train.optimiser, "mix": train.mix, "network": train.network, "augment": train.augment}
    assert replace(found, **same, unfreeze=train.unfreeze) == train  # type: ignore[arg-type]
    assert with_values(train, {}) == train


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"keep": 31}, "31 of 30 trials to keep"),
        ({"trials": 0, "keep": 0}, "0 of 0 trials"),
        ({"name": "a/b"}, "name 'a/b' of a search"),
        ({"seed": -1}, "seed -1"),
        ({"train": TrainConfig(seeds=(0, 1))}, "several repetitions or seeds"),
        ({"train": TrainConfig(folds=("a", "b"))}, "several repetitions or seeds"),
        ({"train": TrainConfig(train_on_validation=True)}, "without validation tiles"),
        ({"search": SearchConfig(dropout=(0.1, 1.0))}, "network.dropout 1"),
        ({"search": SearchConfig(strength=(0.1, 4.0))}, "augment.strength 4"),
    ],
)
def test_what_no_search_can_be_is_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        TuneConfig(**values)


@pytest.mark.parametrize("values", [{"learning_rate": (0.0, 0.1)}, {"mixup": (0.5, 0.1)}, {"dropout": (-0.1, 0.1)}])
def test_a_range_needs_its_least_and_its_most(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"search\.{next(iter(values))} .*give the least and the most"):
        SearchConfig(**values)
    with pytest.raises(InputError, match="nothing is searched"):
        SearchConfig(**{name: (0.1, 0.1) for name in WORDS if name != "depth"}, depth=False)


def trial(
    number: int, value: float | None, loss: float | None = None, state: TrialState = TrialState.COMPLETE
) -> Trial:
    return Trial(number=number, state=state, values={}, value=value, log_loss=loss)


def test_equal_values_go_by_the_log_loss_then_by_the_number() -> None:
    trials = [
        trial(0, 0.5, 0.1),
        trial(1, 1.0, 0.4),
        trial(2, 1.0, 0.2),
        trial(3, 1.0, 0.2),
        trial(4, 2.0, 0.1, TrialState.PRUNED),
        trial(5, None, state=TrialState.FAILED),
    ]
    assert [one.number for one in ranked(trials, "slide_accuracy")] == [2, 3, 1, 0]
    assert [one.number for one in ranked(trials, "tile_log_loss")] == [0, 2, 3, 1]
    assert trial(7, 0.1).name == "trial-0007"


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 0.75, 1.0]), st.sampled_from([0.1, 0.2])), max_size=8),
    st.sampled_from(["slide_accuracy", "tile_log_loss"]),
)
def test_what_is_out_of_the_best_never_comes_back(scores: list[tuple[float, float]], metric: str) -> None:
    trials = [trial(number, value, loss) for number, (value, loss) in enumerate(scores)]
    out: set[int] = set()
    for count in range(len(trials) + 1):
        order = [one.number for one in ranked(trials[:count], metric)]
        assert not out & set(order[:2])
        out |= set(order[2:])

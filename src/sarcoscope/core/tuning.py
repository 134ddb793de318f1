"""What is asked of a search over hyper-parameters (paper, section 1.3: tuned on validation over many runs)."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.names import NAME
from sarcoscope.core.training import TrainConfig

Range = tuple[float, float]
"""Least and most; a parameter whose two are equal is not searched: it has that value in every trial."""
_BY_LOGARITHM: Final = ("learning_rate", "weight_decay")
DEPTH: Final = "depth"
WORDS: Final[Mapping[str, str]] = {
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "mixup": "mix-up a",
    "dropout": "dropout",
    "strength": "augmentation",
    DEPTH: "stages opened",
}
"""What can be searched, as it is said to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What is searched, and between which values."""

    learning_rate: Range = (5e-4, 2e-2)
    """Of the head; searched by its logarithm."""
    weight_decay: Range = (1e-3, 0.2)
    """Searched by its logarithm."""
    mixup: Range = (0.0, 0.8)
    """a of Beta(a, a)."""
    dropout: Range = (0.0, 0.5)
    """Share of pooled features left out in front of the linear layer."""
    strength: Range = (0.3, 1.5)
    """Of the augmentation."""
    depth: bool = True
    """Whether to search how many stages below the head are ever opened, from none to all."""

    def __post_init__(self) -> None:
        for name in _ranges():
            low, high = getattr(self, name)
            if not 0 <= low <= high or (name in _BY_LOGARITHM and low == 0 < high):
                raise InputError(f"search.{name} {[low, high]}", "give the least and the most, not below 0")
        if not self.depth and all(low == high for low, high in (getattr(self, name) for name in _ranges())):
            raise InputError("a search in which nothing is searched", "give one range two ends, or set search.depth")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """A search: many trainings of one network, the best of which are kept as members."""

    name: str = "tune"
    """Of the study, and of the members that are kept: NAME-1 is the best."""
    trials: int = 30
    """Over all machines together."""
    keep: int = 3
    """So many of the best become members; 0 for none."""
    storage: str = ""
    """Where trials are written down: an Optuna storage URL that several machines share, e.g. postgresql://...; a file
    in the run folder where it is left out."""
    prune: bool = True
    """Whether a trial that is worse than most at the same epoch ends there."""
    seed: int = 0
    """Of the search."""
    search: SearchConfig = field(default_factory=SearchConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    """What all trials share; of its repetitions and seeds there may be one each."""

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise InputError(f"name {self.name!r} of a search", "give letters, digits, '.', '_' and '-'")
        if self.trials < 1 or not 0 <= self.keep <= self.trials:
            problem = f"{self.keep} of {self.trials} trials to keep"
            raise InputError(problem, "give at least one trial, and with --keep no more than there are")
        if len(self.train.seeds) != 1 or len(self.train.folds) > 1:
            raise InputError("a search in several repetitions or seeds", "name one: train.folds, train.seeds")
        if self.train.train_on_validation:
            raise InputError("a search without validation tiles", "set train.train_on_validation: false")
        if self.seed < 0:
            raise InputError(f"seed {self.seed} of a search", "give a whole number from 0")
        for end in (0, 1):  # a value that no training takes is told now, not by every trial
            with_values(self.train, {name: getattr(self.search, name)[end] for name in _ranges()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One that is searched."""

    name: str
    """One of `WORDS`."""
    low: float
    high: float
    log: bool = False
    """Whether it is searched by its logarithm."""
    whole: bool = False

    @property
    def words(self) -> str:
        """As it is said to people."""
        return WORDS[self.name]


class TrialState(StrEnum):
    """What became of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One training of a search."""

    number: int
    """From 0. The process may have died and another one gone on with it: it keeps its number."""
    state: TrialState
    values: Mapping[str, float]
    """Of the parameters that are searched, by name."""
    value: float | None = None
    """The best epoch's, by the metric, on validation tiles; None where no epoch was judged."""
    log_loss: float | None = None
    """Of that epoch; of trials of equal value the one with less is the better."""
    best_epoch: int | None = None
    epochs: int = 0
    """Done."""
    seconds: float = 0.0
    """Of those epochs."""
    reason: str = ""
    """Why it was pruned or failed."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"trial-{self.number:04d}"


def searched(search: SearchConfig, stages: int) -> tuple[Parameter, ...]:
    """The parameters with two ends; a network has so many `stages` below its head."""
    found = [
        Parameter(name=name, low=low, high=high, log=name in _BY_LOGARITHM)
        for name in _ranges()
        for low, high in [getattr(search, name)]
        if low < high
    ]
    if search.depth:
        found.append(Parameter(name=DEPTH, low=0, high=stages, whole=True))
    return tuple(found)


def fixed(search: SearchConfig) -> dict[str, float]:
    """The values of the parameters whose two ends are equal."""
    ranges = {name: getattr(search, name) for name in _ranges()}
    return {name: low for name, (low, high) in ranges.items() if low == high}


def with_values(train: TrainConfig, values: Mapping[str, float]) -> TrainConfig:
    """The training with these values of `WORDS` instead of its own. Raises InputError for one that it cannot take."""
    optimiser, unfreeze = train.optimiser, train.unfreeze
    return replace(
        train,
        optimiser=replace(
            optimiser,
            learning_rate=values.get("learning_rate", optimiser.learning_rate),
            weight_decay=values.get("weight_decay", optimiser.weight_decay),
        ),
        mix=replace(train.mix, mixup=values.get("mixup", train.mix.mixup)),
        network=replace(train.network, dropout=values.get("dropout", train.network.dropout)),
        augment=replace(train.augment, strength=values.get("strength", train.augment.strength)),
        unfreeze=replace(unfreeze, depth=int(values[DEPTH]) if DEPTH in values else unfreeze.depth),
    )


def minimised(metric: str) -> bool:
    """Whether less of a metric of `VALIDATION_METRICS` is better."""
    return metric == "tile_log_loss"


def ranked(trials: Iterable[Trial], metric: str) -> list[Trial]:
    """Complete trials, the best first.

    Where values are equal, as shares of few slides often are, the less log loss wins, then the earlier trial: the order
    never changes but for trials that come in.
    """
    sign = 1 if minimised(metric) else -1
    complete = [one for one in trials if one.state is TrialState.COMPLETE and one.value is not None]

    def rank(one: Trial) -> tuple[float, float, int]:
        log_loss = math.inf if one.log_loss is None else one.log_loss
        return sign * (one.value or 0.0), log_loss, one.number

    return sorted(complete, key=rank)


def _ranges() -> list[str]:
    return [one.name for one in fields(SearchConfig) if one.name != DEPTH]

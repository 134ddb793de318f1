"""What is asked of a search over hyper-parameters (paper, section 1.3: tuned on validation over many runs)."""

from dataclasses import dataclass, field
from typing import Final

from sarcoscope.core.errors import InputError
from sarcoscope.core.training import TrainConfig

Range = tuple[float, float]
"""Least and most; a parameter whose two are equal is not searched."""
_FROM_ABOVE_0: Final = ("learning_rate", "weight_decay")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What is searched, and between which values."""

    learning_rate: Range = (3e-4, 1e-2)
    """Of the head; searched by its logarithm."""
    weight_decay: Range = (1e-3, 0.2)
    """Searched by its logarithm."""
    mixup: Range = (0.0, 0.8)
    """a of Beta(a, a)."""
    dropout: Range = (0.0, 0.5)
    strength: Range = (0.3, 1.5)
    """Of the augmentation."""
    depth: bool = True
    """Whether to search how many stages below the head are ever opened, from none to all."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "weight_decay", "mixup", "dropout", "strength"):
            low, high = getattr(self, name)
            if not 0 <= low <= high or (name in _FROM_ABOVE_0 and low == 0):
                raise InputError(f"search.{name} {[low, high]}", "give the least and the most, not below 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneConfig:
    """A search: many trainings of one network, the best of which are kept as members."""

    name: str = "tune"
    """Of the study, and of the members that are kept: NAME-1 is the best."""
    trials: int = 30
    """Over all machines together."""
    keep: int = 3
    """So many of the best become members."""
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
        if not 1 <= self.keep <= self.trials:
            raise InputError(f"{self.keep} of {self.trials} trials to keep", "give at least 1, and no more than trials")
        if len(self.train.seeds) != 1 or len(self.train.folds) > 1:
            raise InputError("a search in several repetitions or seeds", "name one: train.folds, train.seeds")
        if self.train.train_on_validation:
            raise InputError("a search without validation tiles", "set train.train_on_validation: false")

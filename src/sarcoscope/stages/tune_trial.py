"""One trial of a search: a training without test tiles, which ends early where it is worse than most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import optuna
from accelerate import Accelerator
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.trial import Trial as AskedTrial
from safetensors.torch import save

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, SarcoscopeError, TrainingError
from sarcoscope.core.training import TrainConfig
from sarcoscope.core.tuning import Parameter, Trial, TrialState, TuneConfig, fixed, ranked, with_values
from sarcoscope.data.indexed_tiles import IndexedTiles
from sarcoscope.formats.alone import alone
from sarcoscope.formats.atomic import remove, write_bytes, write_text
from sarcoscope.formats.config import config_text
from sarcoscope.formats.history import HISTORY_FILE, TIMINGS_FILE, Epoch, Timing, write_history, write_timings
from sarcoscope.formats.member import WEIGHTS_FILE
from sarcoscope.stages.train import begin_folder
from sarcoscope.stages.train_one import Asked, LearnListener, Learnt, first_network, key_of, learn
from sarcoscope.stages.train_tiles import TrainTiles
from sarcoscope.stages.tune_study import SharedStudy, folder_name, number_of, place_of
from sarcoscope.training.schedule import Plan, opening_epochs
from sarcoscope.training.state import CHECKPOINT_FILE, Progress, weights_of

CONFIG_FILE: Final = "train.yaml"
"""Of a trial, as `sarcoscope train` reads it."""
COMPLETE_FIRST: Final = 5
"""So many trials run to their end before any is pruned."""
_JUDGED_FROM: Final = 3
"""So many of them have to have come to an epoch for it to be compared."""


class TrialListener(LearnListener, Protocol):
    """Who is told how trials go; which tiles were chosen, once for all of them."""

    def trial_began(self, trial: Trial, place: int, total: int) -> None:
        """Its turn has come, as the `place`-th of `total` from 1."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What all trials share."""

    config: TuneConfig
    asked: Asked
    """Repetition and seed."""
    chosen: TrainTiles
    """The rows of the test part are in it; of its tiles none is opened."""
    tiles: Mapping[Part, IndexedTiles]
    """Of training and validation; decoded once for all trials."""
    parameters: tuple[Parameter, ...]
    plan: Plan
    stages: int
    """Of the network, below its head."""
    accelerator: Accelerator
    home: Path
    """RUN/tuning/NAME, where trials have their folders."""

    def train_config(self, values: Mapping[str, float], name: str) -> TrainConfig:
        """That of one trial."""
        return replace(with_values(self.config.train, {**fixed(self.config.search), **values}), name=name)

    def key(self, config: TrainConfig) -> str:
        """Hash of all that a trial depends on: training and validation tiles, config, weights; no test tiles."""
        tables = {part: rows for part, rows in self.chosen.tables.items() if part in self.tiles}
        return key_of(config, self.asked, replace(self.chosen, tables=tables))


def pruner_of(plan: Plan, stages: int, config: TrainConfig, *, prune: bool) -> BasePruner:
    """Ends a trial whose best epoch is worse than the median of the complete ones at the same epoch.

    Not before all that is ever opened is open, whatever the depth: of two trials of which one has only its head to
    train and the other one stage more, the latter may fall behind for an epoch and win in the end.
    """
    if not prune:
        return NopPruner()
    depths = (opening_epochs(stages, plan.epochs, replace(config.unfreeze, depth=depth)) for depth in range(stages + 1))
    last = max((epoch for openings in depths for epoch in openings), default=0)  # counted from 0
    return MedianPruner(n_startup_trials=COMPLETE_FIRST, n_warmup_steps=last + 1, n_min_trials=_JUDGED_FROM)


def run_trial(search: Search, study: SharedStudy, trial: AskedTrial, listener: TrialListener) -> Trial | None:
    """Train one and write down what came of it; None where another process took it for lost, and has it now.

    What a training says of its own parameters (TrainingError, InputError) is an outcome. All else ends the search,
    after the trial was given back.
    """
    name = folder_name(trial)
    folder = search.home / name
    with alone(folder):  # who gave it back may not yet have let go of it
        study.begin(trial)
        values = {one.name: suggested(trial, one) for one in search.parameters}
        place = place_of(trial.number, study.attempts) + 1
        about = Trial(number=number_of(trial), state=TrialState.RUNNING, values=values)
        listener.trial_began(about, place, study.total)
        judge = Judge(search.config.train.metric, trial, listener)
        try:
            with study.beating(trial), GivenBack(study, trial):
                if number_of(trial) == trial.number:
                    begin_folder(folder, force=True)  # of an earlier study that was deleted
                write_text(folder / CONFIG_FILE, config_text(search.train_config(values, name)))
                told = _told(search, search.train_config(values, name), judge, folder)
                study.tell(trial, **told)
        except UpdateFinishedTrialError:
            listener.told(f"{name} was taken over by another process, since nothing was heard of this one")
            return None
        tidy(search, study)
    return next(one for one in study.trials if one.number == about.number)


class GivenBack:
    """Puts a trial on the list again where what is done with it does not come to its end, whatever the reason."""

    def __init__(self, study: SharedStudy, trial: AskedTrial) -> None:
        self._study, self._trial = study, trial

    def __enter__(self) -> None:
        """Nothing yet."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, UpdateFinishedTrialError):  # which another process has now
            died = not issubclass(kind, (KeyboardInterrupt, SarcoscopeError))
            self._study.give_back(self._trial.number, again=True, died=died)


def suggested(trial: AskedTrial, one: Parameter) -> float:
    """The study's choice."""
    if one.whole:
        return trial.suggest_int(one.name, round(one.low), round(one.high))
    return trial.suggest_float(one.name, one.low, one.high, log=one.log)


def _told(search: Search, config: TrainConfig, judge: "Judge", folder: Path) -> dict[str, Any]:
    """What the study is told of a trial. Raises what says nothing about its parameters."""
    try:
        learnt = _learnt(search, config, judge, folder)
        value = judge.value_of(learnt.fitted.history[learnt.fitted.best - 1])
    except optuna.TrialPruned as worse:
        return {"outcome": judge.outcome(), "worse": str(worse)}
    except (TrainingError, InputError) as error:
        return {"outcome": judge.outcome(), "failed": str(error)}
    return {"outcome": judge.outcome(learnt), "value": value}


def _learnt(search: Search, config: TrainConfig, judge: "Judge", folder: Path) -> Learnt:
    """Train it, or go on with it, and keep its weights for now."""
    asked = replace(search.asked, name=f"{search.config.name}-{config.name}")  # for trackers that have several searches
    key = search.key(config)
    first = first_network(config, asked, search.chosen, search.tiles[Part.TRAIN].side_px)
    learnt = learn(
        config,
        asked,
        search.chosen,
        search.tiles,
        search.accelerator,
        first=first,
        listener=judge,
        folder=folder,
        key=key,
    )
    write_history(folder / HISTORY_FILE, learnt.fitted.history, learnt.fitted.best)
    write_timings(folder / TIMINGS_FILE, learnt.fitted.timings)
    if search.config.keep:
        weights = {name: value.contiguous() for name, value in weights_of(learnt.network).items()}
        write_bytes(folder / WEIGHTS_FILE, save(weights))
    return learnt


def tidy(search: Search, study: SharedStudy) -> None:
    """Remove checkpoints of trials that are over, and weights of those that are not among the best to be kept."""
    trials = study.trials
    kept = {one.number for one in ranked(trials, search.config.train.metric)[: search.config.keep]}
    for one in trials:
        folder = search.home / one.name
        if one.state is not TrialState.RUNNING and folder.is_dir():
            remove(folder / CHECKPOINT_FILE)
            if one.number not in kept:
                remove(folder / WEIGHTS_FILE)


class Judge:
    """Reports each epoch of a trial to its study, ends it where the study says so, and passes all on."""

    def __init__(self, metric: str, trial: AskedTrial, listener: TrialListener) -> None:
        self._metric = metric
        self._trial = trial
        self._listener = listener
        self._progress = Progress()

    def tiles_chosen(self, tiles: TrainTiles, lines: Sequence[str]) -> None:
        """Said once for all trials."""

    def told(self, words: str) -> None:
        """Pass it on."""
        self._listener.told(words)

    def began(self, plan: Plan, progress: Progress) -> None:
        """Report what an earlier process had done."""
        self._progress = progress
        self._listener.began(plan, progress)
        for epoch in progress.history:
            self._trial.report(self.value_of(epoch), epoch.number)
        if progress.history:
            self._prune(progress.history[-1].number)

    def stepped(self, progress: Progress) -> None:
        """Pass it on."""
        self._listener.stepped(progress)

    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        """Report it. Raises TrialPruned."""
        self._trial.report(self.value_of(epoch), epoch.number)
        self._listener.epoch_over(epoch, timing)
        self._prune(epoch.number)

    def value_of(self, epoch: Epoch) -> float:
        """By the metric. TrainingError where it has none."""
        value = None if epoch.validation is None else getattr(epoch.validation, self._metric)
        if value is None:
            raise TrainingError(f"{self._metric} has no value on the validation tiles", "set train.metric to another")
        return float(value)

    def outcome(self, learnt: Learnt | None = None) -> dict[str, Any]:
        """What is written down beside its value; `learnt` of one that ran to its end."""
        timings = self._progress.timings
        said: dict[str, Any] = {"seconds": round(sum(one.seconds + one.validation_seconds for one in timings), 1)}
        if learnt is None:
            return said
        best = learnt.fitted.history[learnt.fitted.best - 1].validation
        energy = learnt.energy
        return said | {
            "best_epoch": learnt.fitted.best,
            "log_loss": None if best is None else best.tile_log_loss,
            "started": learnt.started.isoformat(),
            "stopped": learnt.fitted.stopped,
            "trackers": list(learnt.trackers),
            "energy": {"watt_hours": energy.watt_hours, "of": energy.of, "why_not": energy.why_not},
        }

    def _prune(self, epoch: int) -> None:
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"at epoch {epoch} worse than half of the complete trials at that epoch")

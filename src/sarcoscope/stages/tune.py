"""A search over hyper-parameters: trials that several processes share, a page about them, the best ones as members."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from accelerate import Accelerator

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import InputError, TrainingError
from sarcoscope.core.training import TrainConfig
from sarcoscope.core.tuning import Parameter, Trial, TrialState, TuneConfig, minimised, ranked, searched, with_values
from sarcoscope.formats.alone import alone
from sarcoscope.formats.atomic import writing
from sarcoscope.reports.tune_page import SearchRecord, write_tune_page
from sarcoscope.stages.phantom_mark import is_phantom
from sarcoscope.stages.train import alone_in
from sarcoscope.stages.train_one import Asked, first_network, never_open
from sarcoscope.stages.train_tiles import choose_tiles, folds_of
from sarcoscope.stages.tune_members import Kept, MemberListener, refuse_foreign, write_members
from sarcoscope.stages.tune_study import SharedStudy, open_study
from sarcoscope.stages.tune_trial import Search, TrialListener, pruner_of, run_trial, tidy
from sarcoscope.training.devices import make_accelerator
from sarcoscope.training.schedule import settle

TUNING: Final = "tuning"


class TuneListener(TrialListener, MemberListener, Protocol):
    """Who is told how a search goes."""

    def search_began(self, parameters: Sequence[Parameter], trials: Sequence[Trial], total: int) -> None:
        """What is searched, and the trials that are there already."""
        ...

    def trial_over(self, trial: Trial, best: Trial | None, seconds_left: float | None) -> None:
        """What came of it, the best one so far, and about how long the others take; None where nothing is known."""
        ...


@dataclass(slots=True, kw_only=True)
class TuneSummary:
    """What became of a search."""

    metric: str
    parameters: tuple[Parameter, ...]
    page: Path
    trials: list[Trial]
    best: list[Trial]
    """Complete ones, the best first."""
    kept: Kept
    synthetic: bool

    @property
    def running(self) -> int:
        """Trials that other processes are at; the last of them writes the members."""
        return sum(one.state is TrialState.RUNNING for one in self.trials)

    @property
    def exit_code(self) -> int:
        """0 where all members are there, or other processes are still at it; 1 where some are missing, 2 where all.

        Where none is asked for: 2 where no trial ran to its end.
        """
        if self.running or (self.best and not self.kept.missing):
            return 0
        return 1 if self.kept.members else 2


def tune(config: TuneConfig, listener: TuneListener, *, force: bool = False) -> TuneSummary:
    """Train trials until there are as many as were asked for, on all machines together; then write members.

    Raises InputError, TrainingError, ArtifactError and SlideError where the search cannot go on; run again to do so.
    """
    search = prepare(config, listener)
    metric = config.train.metric
    with open_study(
        config.storage,
        config.name,
        key_of_search(search),
        lower=minimised(metric),
        total=config.trials,
        home=search.home,
        seed=config.seed,
        pruner=pruner_of(search.plan, search.stages, config.train, prune=config.prune),
        anew=partial(_clear, search) if force else None,
    ) as study:
        if not force:
            refuse_foreign(search, study.trials)
        tidy(search, study)
        listener.search_began(search.parameters, study.trials, config.trials)
        _run_trials(search, study, listener)
        with alone(search.home):  # of two processes that end at once, one writes
            trials = study.trials
            running = any(one.state is TrialState.RUNNING for one in trials)
            kept = Kept() if running else write_members(search, study, listener)
            page = search.home.with_suffix(".html")
            write_tune_page(page, record_of(search, study, kept))
    return TuneSummary(
        metric=metric,
        parameters=search.parameters,
        page=page,
        trials=trials,
        best=ranked(trials, metric),
        kept=kept,
        synthetic=is_phantom(Path(config.train.run)),
    )


def prepare(config: TuneConfig, listener: TuneListener) -> Search:
    """All that trials share, checked before any begins. Raises InputError, TrainingError and ArtifactError."""
    run, train = Path(config.train.run), config.train
    asked = Asked(name=config.name, fold=_fold(run, train), seed=train.seeds[0])
    accelerator = make_accelerator(train)
    _one_process(accelerator)
    chosen = choose_tiles(run, asked.fold, train)
    if chosen.tables[Part.VALIDATION].is_empty():
        raise TrainingError("no validation tile, and trials are judged by them", "split again with a validation part")
    tiles = chosen.opened(train, (Part.TRAIN, Part.VALIDATION))
    network, weights = first_network(train, asked, chosen, tiles[Part.TRAIN].side_px)
    listener.tiles_chosen(chosen, [*weights.lines(), *chosen.notes, *never_open(train, network, tiles)])
    stages = len(network.stages())
    return Search(
        config=config,
        asked=asked,
        chosen=chosen,
        tiles=tiles,
        parameters=searched(config.search, stages),
        plan=settle(len(tiles[Part.TRAIN].labels), train.length),
        stages=stages,
        accelerator=accelerator,
        home=run / TUNING / config.name,
    )


def _fold(run: Path, train: TrainConfig) -> str:
    folds = folds_of(run, train.folds)
    if len(folds) > 1:
        raise InputError("a search in several repetitions", f"name one: train.folds: [{folds[0]}]")
    return folds[0]


def _one_process(accelerator: Accelerator) -> None:
    if accelerator.num_processes > 1:
        problem = f"a search by {accelerator.num_processes} processes at a trial"
        raise InputError(problem, "start the same command once a GPU instead; CUDA_VISIBLE_DEVICES picks it")


def _clear(search: Search) -> None:
    """Remove an earlier search's folders of trials. ArtifactError where a process is at one of them."""
    with writing(search.home):
        for lock in search.home.glob(".trial-*.lock"):
            with alone_in(search.home / lock.name.removeprefix(".").removesuffix(".lock")):
                pass
        if search.home.is_dir():
            shutil.rmtree(search.home)


def key_of_search(search: Search) -> str:
    """Hash of all that the trials' values depend on, and of the ranges; values that are searched are none of them."""
    lowest = {one.name: one.low for one in search.parameters}
    own = search.key(with_values(search.config.train, lowest))
    about = {"trials": own, "search": asdict(search.config.search), "stages": search.stages}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _run_trials(search: Search, study: SharedStudy, listener: TuneListener) -> None:
    while True:
        study.revive()
        if study.enough:
            return
        asked = study.ask()
        trial = None if asked is None else run_trial(search, study, asked, listener)
        if trial is not None:
            trials = study.trials
            best = next(iter(ranked(trials, search.config.train.metric)), None)
            listener.trial_over(trial, best, seconds_left(trials, study.total))


def seconds_left(trials: Sequence[Trial], total: int) -> float | None:
    """About how long it takes until as many are done, with so many processes as are at it now, and this one.

    None where no trial has told yet, or none is left.
    """
    spent = [one.seconds for one in trials if one.state in {TrialState.COMPLETE, TrialState.PRUNED}]
    running = sum(one.state is TrialState.RUNNING for one in trials)
    left = total - len(trials) + running / 2  # those are half done on average
    if not spent or left <= 0:
        return None
    return sum(spent) / len(spent) * left / (running + 1)


def record_of(search: Search, study: SharedStudy, kept: Kept) -> SearchRecord:
    """What the page is about."""
    config, validation = search.config, search.tiles[Part.VALIDATION]
    importance, why_not = study.importance(search.parameters)
    return SearchRecord(
        name=config.name,
        network=config.train.network.name,
        metric=config.train.metric,
        parameters=search.parameters,
        trials=tuple(study.trials),
        total=config.trials,
        epochs=search.plan.epochs,
        classes=search.chosen.classes,
        validation_tiles=len(validation.labels),
        validation_slides=len(set(validation.slides.tolist())),
        importance=importance,
        importance_why_not=why_not,
        members=kept.names,
        synthetic=is_phantom(Path(config.train.run)),
        pruned=config.prune,
    )

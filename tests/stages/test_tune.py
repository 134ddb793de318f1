"""Searches over hyper-parameters: real trainings, real processes that are killed, a real database."""

import math
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.pruners import NopPruner
from optuna.trial import TrialState as State
from typing_extensions import override

from sarcoscope.core.cohort import Part
from sarcoscope.core.errors import ArtifactError, InputError, SlideError, TrainingError
from sarcoscope.core.training import OptimiserConfig, TrainConfig, UnfreezeConfig
from sarcoscope.core.tuning import WORDS, SearchConfig, Trial, TrialState, TuneConfig
from sarcoscope.core.tuning import searched as searched_of
from sarcoscope.formats.history import HISTORY_FILE, Epoch, Timing, read_history
from sarcoscope.formats.member import read_member, read_predictions
from sarcoscope.stages.tune import TuneSummary, key_of_search, prepare, seconds_left, tune
from sarcoscope.stages.tune_study import SharedStudy, begin_again, open_study
from sarcoscope.stages.tune_trial import pruner_of, suggested
from sarcoscope.training.schedule import Plan
from tests.tuned import SEARCHED_SHORTLY, Heard, tile_run, tune_config, write_config

ENDED_FILES = {"train.yaml", "history.csv", "timings.csv"}
KEPT_FILES = ENDED_FILES | {"weights.safetensors"}


@pytest.fixture(autouse=True, scope="module")
def _quiet_after() -> Iterator[None]:
    """What a search sets in Optuna for its process is put back."""
    before = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tile_run(tmp_path_factory.mktemp("cohort"))


@pytest.fixture
def run(cohort: Path, tmp_path: Path) -> Path:
    """A run folder of its own, of the same tiles."""
    return Path(shutil.copytree(cohort, tmp_path / "run"))


def study_of(config: TuneConfig, key: str = "k", total: int | None = None) -> AbstractContextManager[SharedStudy]:
    """Its study, opened beside the search."""
    home = Path(config.train.run) / "tuning" / config.name
    return open_study(
        config.storage, config.name, key, lower=True, total=total or config.trials, home=home, seed=config.seed,
        pruner=NopPruner(),
    )  # fmt: skip


def told(summary: TuneSummary) -> list[tuple[object, ...]]:
    """What of its trials must be the same twice."""
    return [(one.state, one.values, one.value, one.best_epoch, one.epochs) for one in summary.trials]


class Hides(Heard):
    """Takes the test part's tiles away while trials are trained."""

    def __init__(self, tiles: Path) -> None:
        super().__init__()
        self._files = list(tiles.glob("*/s[AB]3_*.png"))
        assert len(self._files) == 4
        for file in self._files:
            file.rename(file.with_suffix(".hidden"))

    @override
    def member_began(self, name: str, trial: Trial) -> None:
        for file in self._files:
            if file.with_suffix(".hidden").exists():
                file.with_suffix(".hidden").rename(file)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TuneSummary, Hides]:
    """A run folder with a search that has ended."""
    run = tile_run(tmp_path_factory.mktemp("searched"))
    heard = Hides(run.parent / "tiles")
    return run, tune(tune_config(run, trials=3, keep=2), heard), heard


def test_the_best_trial_becomes_a_whole_member_and_no_test_tile_is_read_before(
    searched: tuple[Path, TuneSummary, Hides],
) -> None:
    run, summary, heard = searched
    assert summary.exit_code == 0
    assert [one.state for one in summary.trials] == [TrialState.COMPLETE] * 3
    assert heard.places == [(1, 3), (2, 3), (3, 3)]
    assert heard.best[-1] == summary.best[0].name
    assert heard.written == ["tune-1", "tune-2"]
    assert {one.name for one in heard.parameters} == set(WORDS)
    assert [one.high for one in heard.parameters if one.whole] == [5]  # stages of the network itself
    assert [one.value for one in summary.best] == sorted(one.value or 9 for one in summary.trials)
    for place, trial in enumerate(summary.best):
        own = run / "tuning" / "tune" / trial.name
        assert {file.name for file in own.iterdir()} == (KEPT_FILES if place < 2 else ENDED_FILES)
        if place < 2:
            check_member(run, f"tune-{place + 1}", trial)
        assert len(read_history(own / HISTORY_FILE)[0]) == 2
    assert summary.page == run / "tuning" / "tune.html"
    assert "n = 4 of 2 slides" in summary.page.read_text()


def check_member(run: Path, name: str, trial: Trial) -> None:
    """It is whole, and of this trial."""
    member = read_member(run / "members" / name, check_files=True)
    assert member.name == name
    assert member.metrics[Part.VALIDATION]["tile_log_loss"] == trial.value
    assert member.metrics[Part.TEST]["tiles"] == 4
    assert member.best_epoch == trial.best_epoch
    config = member.config
    assert config.optimiser.learning_rate == trial.values["learning_rate"]
    assert config.optimiser.weight_decay == trial.values["weight_decay"]
    assert config.mix.mixup == trial.values["mixup"]
    assert config.network.dropout == trial.values["dropout"]
    assert config.augment.strength == trial.values["strength"]
    assert config.unfreeze.depth == trial.values["depth"]
    own = run / "tuning" / "tune" / trial.name
    assert (run / "members" / name / HISTORY_FILE).read_bytes() == (own / HISTORY_FILE).read_bytes()
    assert len(read_predictions(run / "members" / name / "predictions.parquet")[0]) == 8


def test_what_is_done_is_not_done_again_and_a_member_has_its_trials_rank(
    searched: tuple[Path, TuneSummary, Hides], tmp_path: Path
) -> None:
    run, summary, _ = searched
    run = Path(shutil.copytree(run, tmp_path / "run"))
    config = tune_config(run, trials=3, keep=2)
    assert told(tune(config, again := Heard())) == told(summary)
    assert (again.began_at, again.written, again.skipped) == ({}, [], ["tune-1", "tune-2"])

    with study_of(config, key_of_search(prepare(config, Heard()))) as study:  # another machine finds a better one
        best = next(one for one in study.attempts if one.number == summary.best[0].number)
        study.study.add_trial(
            optuna.create_trial(
                params=best.params | {"dropout": 0.0},
                distributions=best.distributions,
                value=0.01,
                user_attrs={"outcome": {"log_loss": 0.01, "best_epoch": 1}},
            )
        )
    grown = tune(replace(config, trials=4), more := Heard())
    assert (more.began_at, more.written, more.skipped) == ({}, ["tune-2"], [])
    assert [one.name for one in grown.best[:2]] == ["trial-0003", summary.best[0].name]
    assert "run the same command on the machine that trained it" in grown.kept.missing["tune-1"]
    assert grown.exit_code == 1
    check_member(run, "tune-2", summary.best[0])
    assert not (run / "members" / "tune-1").exists()


def test_a_killed_search_goes_on_with_the_half_trained_trial_as_if_it_had_not_been(
    cohort: Path, tmp_path: Path
) -> None:
    runs = [Path(shutil.copytree(cohort, tmp_path / name / "run")) for name in ("whole", "killed")]
    configs = [tune_config(run, trials=3, epochs=4, search=SEARCHED_SHORTLY) for run in runs]
    words = [sys.executable, "-m", "sarcoscope", "tune", str(write_config(tmp_path / "tune.yaml", configs[1]))]
    history = runs[1] / "tuning" / "tune" / "trial-0001" / HISTORY_FILE
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("trial-0001") for line in process.stderr)  # waits for it
        while not (history.exists() and len(history.read_text().splitlines()) > 2):
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert history.with_name("checkpoint.pt").exists()
    assert not (runs[1] / "members").exists()

    heard = Heard()
    summary = tune(configs[1], heard)
    assert list(heard.began_at) == ["trial-0001", "trial-0003"]  # Optuna counts the attempt that was killed, too
    assert heard.began_at["trial-0001"] >= 2 * 2  # two epochs of two steps were not trained again
    assert heard.places == [(2, 3), (3, 3)]
    assert [one.name for one in summary.trials] == ["trial-0000", "trial-0001", "trial-0003"]
    assert told(summary) == told(tune(configs[0], Heard()))
    assert summary.exit_code == 0
    assert not list((runs[1] / "tuning").rglob("checkpoint.pt"))


def test_two_processes_at_once_do_exactly_as_many_trials_as_were_asked_for(run: Path, tmp_path: Path) -> None:
    config = tune_config(run, trials=5, keep=1, search=SEARCHED_SHORTLY)
    words = [sys.executable, "-m", "sarcoscope", "tune", str(write_config(tmp_path / "tune.yaml", config))]
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=240)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len(list((run / "tuning" / "tune").glob("trial-*"))) == 5
    begun = [line for words in said for line in words.splitlines() if line.startswith("trial-") and " of 5): " in line]
    assert sorted(line.split()[0] for line in begun) == [f"trial-000{number}" for number in range(5)]
    assert len({line.split(": ")[1] for line in begun}) == 5  # no two drew the same values
    summary = tune(config, heard := Heard())
    assert (len(summary.trials), heard.began_at, heard.skipped) == (5, {}, ["tune-1"])
    read_member(run / "members" / "tune-1", check_files=True)


def test_many_that_ask_at_once_get_exactly_as_many_as_were_asked_for(run: Path) -> None:
    config = tune_config(run)

    def works(_: int) -> int:
        done = 0
        with study_of(config, total=20) as study:
            while not study.enough:
                asked = study.ask()
                if asked is not None:
                    study.tell(asked, {}, value=asked.suggest_float("learning_rate", 0.001, 0.01, log=True))
                    done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(works, range(8))) == 20
    with study_of(config, total=20) as study:
        assert len(study.trials) == 20
        assert len({one.values["learning_rate"] for one in study.trials}) == 20


def test_a_trial_that_is_worse_than_most_ends_once_all_stages_are_open(run: Path) -> None:
    config = tune_config(run, trials=6, keep=1, epochs=6, search=SEARCHED_SHORTLY, train={"unfreeze": UnfreezeConfig()})
    search = prepare(config, Heard())
    ranges = {"learning_rate": FloatDistribution(3e-4, 1e-2, log=True), "depth": IntDistribution(0, 5)}
    with study_of(config, key_of_search(search)) as study:
        for place in range(5):
            study.study.add_trial(
                optuna.create_trial(
                    params={"learning_rate": 1e-3 + place * 1e-4, "depth": place},
                    distributions=ranges,
                    value=0.01,
                    intermediate_values=dict.fromkeys(range(1, 7), 0.01),
                    user_attrs={"outcome": {"log_loss": 0.01, "best_epoch": 6}},
                )
            )
    summary = tune(config, heard := Heard())
    (pruned,) = [one for one in summary.trials if one.state is TrialState.PRUNED]
    assert pruned.name == "trial-0005"
    assert pruned.epochs == 4  # the last stage opens in the fourth epoch, whatever the depth
    assert pruned.reason == "at epoch 4 worse than half of the complete trials at that epoch"
    assert pruned.value is not None
    assert {file.name for file in (run / "tuning" / "tune" / pruned.name).iterdir()} == ENDED_FILES
    assert heard.over == [pruned]
    assert summary.exit_code == 2  # the best one's weights lie where it was trained
    assert "run the same command on the machine that trained it" in summary.kept.missing["tune-1"]


def test_pruning_waits_for_the_deepest_trial() -> None:
    plan = Plan(epochs=20, steps_per_epoch=1, batch=8, patience=6, ema_decay=0.9)

    def first(config: TrainConfig, *, prune: bool = True) -> int | None:
        pruner = pruner_of(plan, 8, config, prune=prune)
        study = optuna.create_study(direction="maximize", pruner=pruner)
        for _ in range(5):
            values = dict.fromkeys(range(1, 21), 1.0)
            study.add_trial(optuna.create_trial(value=1.0, intermediate_values=values))
        trial = study.ask()
        for epoch in range(1, 21):
            trial.report(0.0, epoch)
            if trial.should_prune():
                return epoch
        return None

    assert first(TrainConfig()) == 11  # the last of the stages opens in the eleventh
    assert first(TrainConfig(unfreeze=UnfreezeConfig(open_by=0.8))) == 17
    assert first(TrainConfig(unfreeze=UnfreezeConfig(gradual=False))) == 1
    assert first(TrainConfig(), prune=False) is None


def test_a_loss_that_is_no_number_fails_its_trial_and_no_other(run: Path) -> None:
    absurd = replace(SEARCHED_SHORTLY, learning_rate=(1e-4, 1e30), depth=False)
    optimiser = OptimiserConfig(clip=0.0, warm_up=0.0, backbone=1.0)
    config = tune_config(run, trials=2, search=absurd, train={"optimiser": optimiser})
    with study_of(config, key_of_search(prepare(config, Heard()))) as study:
        for rate in (1e30, 1e-3):
            study.study.enqueue_trial({"learning_rate": rate})
    summary = tune(config, Heard())
    failed, complete = summary.trials
    assert (failed.state, complete.state) == (TrialState.FAILED, TrialState.COMPLETE)
    assert re.fullmatch(
        r"the loss is (nan|inf) in step 2 of 4; lower optimiser\.learning_rate \(1e\+30\), .*", failed.reason
    )
    assert failed.reason in summary.page.read_text()
    assert summary.exit_code == 0
    worst = replace(config, name="worst", trials=1, keep=1, search=replace(absurd, learning_rate=(1e29, 1e30)))
    summary = tune(worst, Heard())
    assert summary.exit_code == 2
    assert summary.kept.missing == {"worst-1": "only 0 of the trials ran to their end"}
    assert "No trial ran to its end." in summary.page.read_text()


class Interrupts(Heard):
    """Presses Ctrl-C at the end of the first epoch."""

    @override
    def epoch_over(self, epoch: Epoch, timing: Timing) -> None:
        if epoch.number == 1:
            raise KeyboardInterrupt


def test_an_interrupted_trial_is_done_again_by_the_next_process(run: Path) -> None:
    config = tune_config(run, trials=1, search=SEARCHED_SHORTLY)
    for _ in range(3):  # more often than a trial may kill its process
        with pytest.raises(KeyboardInterrupt):
            tune(config, interrupts := Interrupts())
        assert list(interrupts.began_at) == ["trial-0000"]
        (run / "tuning" / "tune" / "trial-0000" / "checkpoint.pt").unlink()  # so that it comes to its end again
    summary = tune(config, heard := Heard())
    assert list(heard.began_at) == ["trial-0000"]
    assert [(one.name, one.state) for one in summary.trials] == [("trial-0000", TrialState.COMPLETE)]


def test_a_trial_of_a_machine_that_is_silent_is_somebody_elses(run: Path) -> None:
    config = tune_config(run)
    database = run / "tuning" / "tune.db"

    def falls_silent(study: SharedStudy) -> int:
        asked = study.ask()
        assert asked is not None
        asked.suggest_float("learning_rate", 0.001, 0.01, log=True)
        with study.beating(asked):
            study.revive()
            assert study.trials[0].state is TrialState.RUNNING  # it is heard of
        with closing(sqlite3.connect(database)) as opened, opened:
            opened.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
        study.revive()
        return asked.number

    with study_of(config) as study:
        assert falls_silent(study) == 0
        (waiting,) = [one for one in study.attempts if one.state is State.WAITING]
        assert (waiting.number, waiting.params) == (1, study.attempts[0].params)
        assert study.trials == []
        assert falls_silent(study) == 1
        assert falls_silent(study) == 2
        (given_up,) = study.trials  # three processes died of it
        assert (given_up.number, given_up.state) == (0, TrialState.FAILED)
        assert given_up.reason == "its process died, 3 times"
        begin_again(study.study, study.attempts[2])
        assert not [one for one in study.attempts if one.state is State.WAITING]


def test_only_deaths_that_bring_a_trial_no_further_count(run: Path) -> None:
    def dies(study: SharedStudy, reached: int) -> None:
        asked = study.ask()
        assert asked is not None
        for epoch in range(1, reached + 1):
            asked.report(0.5, epoch)
        study.give_back(asked.number, again=True, died=True)

    with study_of(tune_config(run)) as study:
        for reached in (0, 1, 2, 2, 3, 3):  # as on machines that are taken away every now and then
            dies(study, reached)
            assert study.trials == []
        dies(study, 3)
        (given_up,) = study.trials
        assert (given_up.state, given_up.reason) == (TrialState.FAILED, "its process died, 3 times")


def test_a_process_that_dies_between_asking_and_beginning_is_noticed(run: Path) -> None:
    with study_of(tune_config(run)) as study:
        assert study.ask() is not None
        with closing(sqlite3.connect(run / "tuning" / "tune.db")) as opened, opened:
            opened.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
        study.revive()
        assert [one.state for one in study.attempts] == [State.FAIL, State.WAITING]


def test_a_search_at_which_another_machine_works_does_not_begin_anew(
    searched: tuple[Path, TuneSummary, Hides], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(searched[0], tmp_path / "run"))
    config = tune_config(run, trials=4, keep=2)
    with study_of(config, key_of_search(prepare(config, Heard()))) as study:
        asked = study.ask()
        assert asked is not None
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("platform.node", lambda: "another machine")
            study.begin(asked)
    with pytest.raises(InputError, match=r"another machine is at study tune in .*tune\.db, or was .* --name"):
        tune(config, Heard(), force=True)
    assert {file.name for file in (run / "tuning" / "tune" / "trial-0000").iterdir()} >= ENDED_FILES
    with closing(sqlite3.connect(run / "tuning" / "tune.db")) as opened, opened:
        opened.execute("UPDATE trial_heartbeats SET heartbeat = '2020-01-01 00:00:00'")
    summary = tune(replace(config, trials=1, keep=0), Heard(), force=True)
    assert [one.number for one in summary.trials] == [0]


def test_a_search_of_another_config_or_other_tiles_is_refused(
    searched: tuple[Path, TuneSummary, Hides], tmp_path: Path
) -> None:
    run, first, _ = searched
    run = Path(shutil.copytree(run, tmp_path / "run"))
    config = tune_config(run, trials=3, keep=2)
    other = replace(config, search=replace(SEARCHED_SHORTLY, learning_rate=(1e-3, 2e-3)))
    with pytest.raises(InputError, match=r"tune\.db is of another config.*give another --name, or .*--force"):
        tune(other, Heard())
    longer = replace(config, train=replace(config.train, length=replace(config.train.length, epochs=3)))
    with pytest.raises(InputError, match="is of another config"):
        tune(longer, Heard())
    drawn = replace(config, seed=5, prune=False, train=replace(config.train, workers=0))
    assert told(tune(drawn, Heard())) == told(first)  # none of which changes what a trial comes to
    (run / "screening.csv").write_text("slide,tile,decision\nsA0,A/sA0_0.png,reject\n")
    with pytest.raises(InputError, match="other tiles"):
        tune(config, Heard())
    (run / "screening.csv").unlink()
    shutil.copytree(run / "members" / "tune-1", run / "members" / "mine-1")
    with pytest.raises(ArtifactError, match=r"mine-1: is of another training; give another --name"):
        tune(replace(other, name="mine"), Heard())


def test_a_search_can_begin_anew(searched: tuple[Path, TuneSummary, Hides], tmp_path: Path) -> None:
    run, _, _ = searched
    run = Path(shutil.copytree(run, tmp_path / "run"))
    config = tune_config(run, trials=1, keep=1, search=SEARCHED_SHORTLY)
    summary = tune(config, heard := Heard(), force=True)
    assert list(heard.began_at) == ["trial-0000"]
    assert len(summary.trials) == 1
    assert len(list((run / "tuning" / "tune").glob("trial-*"))) == 1
    assert heard.written == ["tune-1"]
    assert read_member(run / "members" / "tune-1").config.mix.mixup == 0  # in place of the earlier search's


def test_what_no_search_can_do_is_told_before_any_trial(run: Path, tmp_path: Path) -> None:
    config = tune_config(run)
    split = (run / "split.csv").read_text()
    (run / "split.csv").write_text(split.replace("validation", "train"))
    with pytest.raises(TrainingError, match="no validation tile, and trials are judged by them"):
        tune(config, Heard())
    rows = [line.split(",") for line in split.splitlines()]
    both = [[*rows[0][:-1], "fold1", "fold2"], *([*row, row[-1]] for row in rows[1:])]
    (run / "split.csv").write_text("\n".join(",".join(row) for row in both) + "\n")
    with pytest.raises(InputError, match=r"several repetitions; name one: train\.folds: \[fold1\]"):
        tune(config, Heard())
    (run / "split.csv").write_text(split)
    with pytest.raises(InputError, match=r"storage sqlite:.*nowhere.*unable to open database file"):
        tune(replace(config, storage=f"sqlite:///{tmp_path}/nowhere/x.db"), Heard())
    with pytest.raises(InputError, match="storage is no URL of a database"):
        tune(replace(config, storage="here"), Heard())
    with pytest.raises(InputError, match="storage of mysql needs MySQLdb, which is not installed") as found:
        tune(replace(config, storage="mysql://me:secret@localhost/x"), Heard())
    assert "secret" not in str(found.value)
    assert not (run / "tuning" / "tune").exists()


def test_a_tile_that_cannot_be_read_ends_the_search_and_never_the_trial(tmp_path: Path) -> None:
    run = tile_run(tmp_path)
    config = tune_config(run, trials=1, search=SEARCHED_SHORTLY)
    tile = tmp_path / "tiles" / "A" / "sA0_0.png"
    content = tile.read_bytes()
    tile.write_bytes(b"words")
    for _ in range(4):  # more often than a trial may kill its process
        with pytest.raises(SlideError, match=r"sA0_0\.png"):
            tune(config, Heard())
    tile.write_bytes(content)
    summary = tune(config, Heard())
    assert [(one.name, one.state) for one in summary.trials] == [("trial-0000", TrialState.COMPLETE)]


def test_the_time_left_is_shared_by_those_at_work() -> None:
    def trial(number: int, state: TrialState, seconds: float = 0.0) -> Trial:
        return Trial(number=number, state=state, values={}, seconds=seconds)

    done = [trial(0, TrialState.COMPLETE, 100), trial(1, TrialState.PRUNED, 50)]
    assert seconds_left(done, 6) == pytest.approx(4 * 75)
    assert seconds_left([*done, trial(2, TrialState.RUNNING)], 6) == pytest.approx(3.5 * 75 / 2)
    assert seconds_left([trial(0, TrialState.FAILED)], 6) is None
    assert seconds_left(done, 2) is None


def test_importance_says_why_it_is_not_known(run: Path) -> None:
    parameters = searched_of(SearchConfig(mixup=(0, 0), dropout=(0, 0), strength=(1, 1), depth=False), 5)

    def add(study: SharedStudy, count: int, *, alike: bool) -> None:
        for _ in range(count):
            asked = study.ask()
            assert asked is not None
            values = [suggested(asked, one) for one in parameters]
            study.tell(asked, {}, value=1.0 if alike else math.log(values[0]))

    with study_of(tune_config(run), total=100) as study:
        add(study, 9, alike=True)
        assert study.importance(parameters) == ({}, "9 trials ran to their end; at least 10 are needed")
        add(study, 1, alike=True)
        assert study.importance(parameters) == ({}, "all trials that ran to their end came to the same value")
    with study_of(tune_config(run, name="other"), total=100) as study:
        add(study, 15, alike=False)
        found, why_not = study.importance(parameters)
    assert why_not == ""
    assert sum(found.values()) == pytest.approx(1)
    assert found["learning_rate"] > 0.6

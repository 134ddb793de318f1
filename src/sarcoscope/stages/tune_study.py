"""The study of a search in its storage, on which several processes work.

A trial counts unless it was given back: its process died or was interrupted, or it was one too many. One that was given
back is put on the list again with its values and its number, under a new number of Optuna's. Which trials count follows
from the storage alone, so that processes on several machines do exactly as many as were asked for.
"""

import hashlib
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import RDBStorage, fail_stale_trials
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, create_trial
from optuna.trial import Trial as AskedTrial
from optuna.trial import TrialState as State
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import override

from sarcoscope.core.errors import ArtifactError, InputError, shown
from sarcoscope.core.tuning import Parameter, Trial, TrialState
from sarcoscope.formats.alone import alone
from sarcoscope.stages.train import alone_in
from sarcoscope.stages.tune_refusals import OtherSearchError

BEAT_S: Final = 30
"""So often a process says that it is still at its trial."""
GRACE_S: Final = 180
"""After so long without a beat, by the database's clock, its trial is somebody else's."""
MOST_DEATHS: Final = 3
"""A trial at which so many processes died without coming further is not begun again."""
FEWEST_FOR_IMPORTANCE: Final = 10
_WAIT_S: Final = 60
"""For other processes that write into a SQLite file."""

_KEY: Final = "sarcoscope"
_FIRST, _DEATHS, _REACHED, _GIVEN_BACK = "first", "deaths", "reached", "given_back"
_HOST, _OUTCOME, _REASON = "host", "outcome", "reason"
"""What trials carry as user attributes."""


class PlacedSampler(BaseSampler):
    """TPE whose random numbers follow from a seed and a trial's place among those that count.

    So processes draw unlike one another, and a search that was killed and went on draws as if it had not been.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._own = TPESampler(seed=seed)

    @override
    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        place = place_of(trial.number, study.get_trials(deepcopy=False))
        self._own = TPESampler(seed=int(np.random.SeedSequence([self._seed, place]).generate_state(1)[0]))
        self._own.before_trial(study, trial)

    @override
    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._own.infer_relative_search_space(study, trial)

    @override
    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._own.sample_relative(study, trial, search_space)

    @override
    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._own.sample_independent(study, trial, param_name, param_distribution)

    @override
    def after_trial(self, study: Study, trial: FrozenTrial, state: State, values: Sequence[float] | None) -> None:
        self._own.after_trial(study, trial, state, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedStudy:
    """A study, and what is asked of all processes together."""

    study: Study
    storage: RDBStorage
    total: int
    home: Path
    """Where this machine's folders of trials lie."""

    @property
    def attempts(self) -> list[FrozenTrial]:
        """All that Optuna knows."""
        return self.study.get_trials(deepcopy=False)

    @property
    def trials(self) -> list[Trial]:
        """Those that count, by number, but for those that wait to be begun again."""
        lower = self.study.direction is StudyDirection.MINIMIZE
        found = [as_noun(one, lower=lower) for one in self.attempts if counts(one) and one.state is not State.WAITING]
        return sorted(found, key=lambda one: one.number)

    @property
    def enough(self) -> bool:
        """Whether as many have begun as were asked for."""
        return len(self.trials) >= self.total

    def ask(self) -> AskedTrial | None:
        """A trial to train; None where another process took the last one meanwhile."""
        with quiet():
            trial = self.study.ask()
            self.storage.record_heartbeat(self._id(trial.number))  # from now on its silence is noticed
        if place_of(trial.number, self.attempts) < self.total:
            return trial
        self.give_back(trial.number, again=False, died=False)
        return None

    def begin(self, trial: AskedTrial) -> None:
        """Say that this machine is at it, whose lock on its folder tells others of this machine whether it lives."""
        trial.set_user_attr(_HOST, host())

    @contextmanager
    def beating(self, trial: AskedTrial) -> Iterator[None]:
        """While it is trained, say so in the storage, for other machines."""
        over, where = Event(), self._id(trial.number)

        def beat() -> None:
            while True:
                with suppress(SQLAlchemyError, StorageInternalError):  # the next one may get through
                    self.storage.record_heartbeat(where)
                if over.wait(BEAT_S):
                    break
            self.storage.remove_session()

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def tell(
        self,
        trial: AskedTrial,
        outcome: Mapping[str, Any],
        *,
        value: float | None = None,
        failed: str = "",
        worse: str = "",
    ) -> None:
        """Write down what became of it: its value, or why it failed or was pruned.

        Raises UpdateFinishedTrialError where another process has taken it for lost.
        """
        trial.set_user_attr(_OUTCOME, dict(outcome))
        if failed or worse:
            trial.set_user_attr(_REASON, failed or worse)
        state = State.FAIL if failed else State.PRUNED if worse else State.COMPLETE
        self.study.tell(trial, value if state is State.COMPLETE else None, state=state)

    def give_back(self, number: int, *, again: bool, died: bool) -> None:
        """End an attempt that does not count, and put the trial on the list again; nothing where others did."""
        where = self._id(number)
        with suppress(UpdateFinishedTrialError):
            if not died:
                self.storage.set_trial_user_attr(where, _GIVEN_BACK, value=True)
            if self.storage.set_trial_state_values(where, state=State.FAIL) and again:
                begin_again(self.study, self.storage.get_trial(where))

    def revive(self) -> None:
        """Put trials on the list again whose processes are dead: here by their locks, elsewhere by their silence."""
        for one in self.attempts:
            name = folder_name(one)
            begun_here = one.user_attrs.get(_HOST) == host() and (self.home / f".{name}.lock").exists()
            if one.state is State.RUNNING and begun_here:
                with suppress(ArtifactError), alone_in(self.home / name):  # held by a process that lives
                    self.give_back(one.number, again=True, died=True)
        with quiet():
            fail_stale_trials(self.study)

    def importance(self, parameters: Sequence[Parameter]) -> tuple[dict[str, float], str]:
        """Share of the values' variance that each parameter accounts for, or why it is not known (Hutter 2014).

        Together they are 1.
        """
        complete = [one for one in self.attempts if one.state is State.COMPLETE]
        if len(complete) < FEWEST_FOR_IMPORTANCE:
            return {}, f"{len(complete)} trials ran to their end; at least {FEWEST_FOR_IMPORTANCE} are needed"
        if len({one.value for one in complete}) == 1:
            return {}, "all trials that ran to their end came to the same value"
        names = [one.name for one in parameters]
        found = get_param_importances(self.study, evaluator=FanovaImportanceEvaluator(seed=0), params=names)
        return {name: float(found[name]) for name in names}, ""

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)


def counts(one: FrozenTrial) -> bool:
    """Whether an attempt is one of those that were asked for, or was given back."""
    return one.state is not State.FAIL or bool(reason_of(one))


def place_of(number: int, attempts: Sequence[FrozenTrial]) -> int:
    """Of an attempt among those that count, from 0. Only what was begun earlier is looked at, so that it stays."""
    return sum(one.number < number and counts(one) for one in attempts)


def reason_of(one: FrozenTrial) -> str:
    """Why it was pruned or failed; empty for an attempt that was given back."""
    if _REASON not in one.user_attrs and one.state is State.FAIL and deaths_of(one) >= MOST_DEATHS:
        return f"its process died, {MOST_DEATHS} times"
    return str(one.user_attrs.get(_REASON, ""))


def reached(one: FrozenTrial) -> int:
    """The last epoch that any attempt of the trial has reported."""
    return max([int(one.user_attrs.get(_REACHED, 0)), *one.intermediate_values])


def deaths_of(one: FrozenTrial) -> int:
    """How many processes in a row, this failed attempt's among them, died at the trial without coming further."""
    before = 0 if reached(one) > one.user_attrs.get(_REACHED, 0) else one.user_attrs.get(_DEATHS, 0)
    return int(before) + (not one.user_attrs.get(_GIVEN_BACK))


def number_of(one: FrozenTrial | AskedTrial) -> int:
    """Of the trial, whichever attempt it is."""
    return int(one.user_attrs.get(_FIRST, one.number))


def folder_name(one: FrozenTrial | AskedTrial) -> str:
    """Of the trial's folder."""
    return Trial(number=number_of(one), state=TrialState.RUNNING, values={}).name


def begin_again(study: Study, one: FrozenTrial) -> None:
    """Put a trial on the list whose attempt failed, unless too many processes died of it."""
    deaths = deaths_of(one)
    if deaths >= MOST_DEATHS:
        return
    attributes = {_FIRST: number_of(one), _DEATHS: deaths, _REACHED: reached(one)}
    study.add_trial(
        create_trial(state=State.WAITING, params=one.params, distributions=one.distributions, user_attrs=attributes)
    )


def as_noun(one: FrozenTrial, *, lower: bool) -> Trial:
    """What an attempt that counts came to."""
    states = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED, State.FAIL: TrialState.FAILED}
    outcome = one.user_attrs.get(_OUTCOME, {})
    judged = one.intermediate_values
    best = (min if lower else max)(judged.values(), default=None)
    return Trial(
        number=number_of(one),
        state=states.get(one.state, TrialState.RUNNING),
        values=dict(one.params),
        value=one.value if one.state is State.COMPLETE else best,
        log_loss=outcome.get("log_loss"),
        best_epoch=outcome.get("best_epoch"),
        epochs=max(judged, default=0),
        seconds=outcome.get("seconds", 0.0),
        reason=reason_of(one),
    )


def outcome_of(number: int, attempts: Sequence[FrozenTrial]) -> dict[str, Any]:
    """What was told, besides its value, of the attempt by which a trial came to its end."""
    return next(
        one.user_attrs[_OUTCOME] for one in attempts if number_of(one) == number and one.state is State.COMPLETE
    )


def host() -> str:
    """What tells this machine from others, without its name."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:16]


@contextmanager
def open_study(
    url: str,
    name: str,
    key: str,
    *,
    lower: bool,
    total: int,
    home: Path,
    seed: int,
    pruner: BasePruner,
    anew: Callable[[], None] | None = None,
) -> Iterator[SharedStudy]:
    """The study of this name, made where there is none; while it is open, what ails its storage is told.

    Where it is to begin `anew`, that removes what the earlier one left on this machine, and may refuse.
    `url` may be empty: a SQLite file beside `home`. Raises InputError; OtherSearchError for a study of another `key`,
    which stands for all that the trials' values depend on.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it would say is said by the listener
    file = home.with_name(f"{name}.db")
    where = hidden(url) if url else shown(file)
    with storage_errors(where):
        with alone(home):  # processes that begin at once would make the tables twice
            storage = connect(url or f"sqlite:///{file.resolve().as_uri().replace('//', '')}?uri=true")
            if anew is not None:
                there = name in optuna.get_all_study_names(storage)
                if there:
                    refuse_busy(optuna.load_study(study_name=name, storage=storage), where)
                anew()
                if there:
                    optuna.delete_study(study_name=name, storage=storage)
            study = optuna.create_study(
                storage=storage,
                study_name=name,
                direction="minimize" if lower else "maximize",
                load_if_exists=True,
                sampler=PlacedSampler(seed),
                pruner=pruner,
            )
            known = study.user_attrs.get(_KEY)
            if known is None and not study.get_trials(deepcopy=False):
                study.set_user_attr(_KEY, key)
            elif known != key:
                problem = f"study {name} in {where} is of another config, other tiles or other weights"
                raise OtherSearchError(problem, "give another --name, or begin it anew with --force")
        try:
            yield SharedStudy(study=study, storage=storage, total=total, home=home)
        finally:
            storage.remove_session()
            storage.engine.dispose()


def refuse_busy(study: Study, where: str) -> None:
    """Raise InputError where another machine was heard of lately that is at one of its trials."""
    with quiet():
        fail_stale_trials(study)
    if any(one.state is State.RUNNING and one.user_attrs.get(_HOST, host()) != host() for one in study.get_trials()):
        problem = f"another machine is at study {study.study_name} in {where}, or was {GRACE_S // 60} minutes ago"
        raise InputError(problem, "stop it there and wait so long, or give another --name")


def connect(url: str) -> RDBStorage:
    """A database that Optuna can use. Raises InputError, and as sqlalchemy does."""
    local = url.startswith("sqlite")
    try:
        with quiet():
            return RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": _WAIT_S}} if local else {"pool_pre_ping": True},
                heartbeat_interval=BEAT_S,
                grace_period=GRACE_S,
                heartbeat_stale_trial_callback=begin_again,
            )
    except ImportError as error:
        driver = getattr(error.__cause__, "name", None) or "a driver"
        problem = f"a storage of {make_url(url).get_backend_name()} needs {driver}, which is not installed"
        raise InputError(problem, "install it; for PostgreSQL: pip install 'psycopg[binary]'") from error
    except RuntimeError as error:  # of another version of Optuna
        raise InputError(f"the storage cannot be used: {error}", "give another --name or --storage") from error


@contextmanager
def storage_errors(where: str) -> Iterator[None]:
    """What a database says becomes an InputError that names it."""
    advice = "check it, and run the same command again: what was finished is kept"
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise InputError(f"storage {where}: {said[0] if said else type(error).__name__}", advice) from error


def hidden(url: str) -> str:
    """A URL without its password. Raises InputError where it is none."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError as error:
        raise InputError("storage is no URL of a database", "give one like postgresql://USER@HOST/DATABASE") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Heartbeats are called experimental, and meant for another loop than ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

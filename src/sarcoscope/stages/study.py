"""A study: the whole of the paper on one cohort, from the manifest to the report, each step once (protocol, 2-11)."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import sarcoscope
from sarcoscope.core.errors import InputError, MissingExtraError, SarcoscopeError, shown
from sarcoscope.core.provenance import TRAINING_LIBRARIES, library_versions, machine
from sarcoscope.core.study import StudyStage
from sarcoscope.formats.alone import alone_at_once
from sarcoscope.formats.atomic import as_json
from sarcoscope.formats.manifest import COHORT_FILE
from sarcoscope.stages.origin import git_commit
from sarcoscope.stages.phantom_mark import is_phantom
from sarcoscope.stages.study_cohort import Study, cohort_steps
from sarcoscope.stages.study_config import StudyConfig
from sarcoscope.stages.study_listen import Silence, StudyListener
from sarcoscope.stages.study_models import bundle_files, model_steps
from sarcoscope.stages.study_plan import Done, Planned, Standing, Step, plan_steps, stand
from sarcoscope.stages.study_record import (
    StepRecord,
    StepState,
    StudyRecord,
    made,
    read_study_record,
    write_study_record,
)
from sarcoscope.stages.study_show import REPORT, show_steps
from sarcoscope.stages.study_time import Estimate, estimates
from sarcoscope.stages.study_train import train_steps, training_files

CANNOT_BEGIN: Final = "cannot begin"
"""How the reason of a step begins that waits for another."""
_SEARCH_LIBRARIES: Final = ("optuna", "scikit-learn", "matplotlib")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAsk:
    """A study to run."""

    config: StudyConfig
    """With absolute paths (`study_config.read_study_config`)."""
    until: StudyStage | None = None
    """The last stage to do; all where left out."""
    workers: int = 2
    """Slides, or threads that read, at a time."""
    threads: int = 0
    """Threads that compute; 0 takes every core."""

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 0:
            raise InputError(f"workers={self.workers}, threads={self.threads}", "give at least 1 worker, 0 threads")


@dataclass(slots=True, kw_only=True)
class StudySummary:
    """How a run of a study ended."""

    out: Path
    done: list[str] = field(default_factory=list)
    """Names of steps that were done now."""
    skipped: list[str] = field(default_factory=list)
    """Those that had been done from the same inputs."""
    failed: dict[str, str] = field(default_factory=dict)
    """Steps that did not come through, or could not begin, and why."""
    failures: dict[str, dict[str, str]] = field(default_factory=dict)
    """By step, what of it did not come through while the rest did: slides, mostly."""

    @property
    def exit_code(self) -> int:
        """0 where all came through, 1 where a step or some slides did not, 2 where no step did."""
        if self.failed:
            return 1 if self.done or self.skipped else 2
        return int(any(self.failures.values()))

    @property
    def report(self) -> Path | None:
        """The report's page; None where this run did not make it and did not find it up to date."""
        page = self.out / REPORT / "index.html"
        return page if StudyStage.REPORT in {*self.done, *self.skipped} and page.is_file() else None


def steps_of(study: Study) -> list[Step]:
    """All steps, each behind those whose files it reads. Raises InputError for a config that cannot be followed."""
    steps = [*cohort_steps(study), *train_steps(study), *model_steps(study), *show_steps(study)]
    names = [step.name for step in steps]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two steps would be called {doubled[0]!r}", "give networks and models names of their own")
    return steps


def plan_study(ask: StudyAsk, *, probe: bool = False) -> tuple[list[Planned], list[Estimate]]:
    """What a run would do, why, and how long it would take; writes nothing. InputError, ArtifactError."""
    study = Study(config=ask.config, workers=ask.workers, threads=ask.threads)
    record = read_study_record(study.out)
    planned = plan_steps(_until(steps_of(study), ask.until), record, study.out)
    return planned, estimates(planned, record, probe=probe)


def run_study(ask: StudyAsk, listener: StudyListener | None = None) -> StudySummary:
    """Do all steps that are not done from the same inputs; what fails stops only what needs it.

    After each step OUT/stages.json says what it came to, so that a run that is ended, however it is, goes on from
    there. Raises InputError, ArtifactError where nothing can begin, MissingExtraError where something is to be trained
    without the training extra.
    """
    study = Study(config=ask.config, workers=ask.workers, threads=ask.threads)
    every = steps_of(study)
    return run_steps(study, every, _until(every, ask.until), listener)


def run_steps(
    study: Study, every: Sequence[Step], wanted: Sequence[Step], listener: StudyListener | None = None
) -> StudySummary:
    """Do those of a study's steps that are wanted and not done. InputError where another run is at it, ..."""
    busy = InputError(f"another run is at work on {shown(study.out)}", "wait for it, or give the study another `out`")
    with alone_at_once(study.out / "study", busy):
        return _Run(study, every, wanted, listener or Silence()).run()


def _until(steps: Sequence[Step], until: StudyStage | None) -> list[Step]:
    order = list(StudyStage)
    return [step for step in steps if until is None or order.index(step.stage) <= order.index(until)]


class _Run:
    """One run over a study's steps."""

    def __init__(self, study: Study, every: Sequence[Step], wanted: Sequence[Step], hears: StudyListener) -> None:
        self._study, self._steps, self._hears = study, wanted, hears
        self._names = [step.name for step in every]
        self._files = {**training_files(study), **bundle_files(study)}
        self._record = read_study_record(study.out)
        self._summary = StudySummary(out=study.out)

    def run(self) -> StudySummary:
        """Step by step."""
        for number, step in enumerate(self._steps, 1):
            if broken := [one for one in step.after if one in self._summary.failed]:
                problem = f"{CANNOT_BEGIN}: {broken[0]} did not come through"
                self._summary.failed[step.name] = problem
                self._hears.step_failed(step.name, problem)
                continue
            planned = stand(step, self._record.of(step.name), self._study.out)
            if planned.standing is Standing.DONE:
                self._hears.step_skipped(step.name, number, len(self._steps))
                self._summary.skipped.append(step.name)
            else:
                self._hears.step_began(step.name, planned.why, number, len(self._steps))
                self._do(step)
            found = self._record.of(step.name)
            if found is not None and found.failures and step.name not in self._summary.failed:
                self._summary.failures[step.name] = dict(found.failures)
        return self._summary

    def _do(self, step: Step) -> None:
        """Do it, and write down what came of it, also where that is nothing."""
        before = self._record.of(step.name)
        begin, cpu = perf_counter(), _cpu_seconds()
        running = _begun(step, before, _own(self._study.out, before, self._files.get(step.name, {})))
        try:
            running = replace(running, reads=step.reads())
            self._write(running)
            done = step.does(before, self._hears)
        except MissingExtraError:
            self._write(replace(running, state=StepState.FAILED))
            raise
        except SarcoscopeError as error:
            self._write(replace(running, state=StepState.FAILED, failures={"": str(error)}))
            self._summary.failed[step.name] = str(error)
            self._hears.step_failed(step.name, str(error))
            return
        seconds = perf_counter() - begin
        self._write(_over(step, running, done, seconds, _cpu_seconds() - cpu))
        self._summary.done.append(step.name)
        self._hears.step_over(step.name, seconds, done.notes)

    def _write(self, one: StepRecord) -> None:
        """Put it into stages.json, in the order of the study; those that the study no longer has stand apart."""
        known = {record.name: record for record in (*self._record.gone, *self._record.stages)} | {one.name: one}
        stages = tuple(known[name] for name in self._names if name in known)
        synthetic = self._record.synthetic
        if (self._study.out / COHORT_FILE).is_file():
            synthetic = is_phantom(self._study.out)
        self._record = StudyRecord(
            title=self._study.config.title,
            synthetic=synthetic,
            config=as_json(asdict(self._study.config)),
            stages=stages,
            gone=tuple(record for name, record in known.items() if name not in self._names),
        )
        write_study_record(self._study.out, self._record)


def _own(out: Path, before: StepRecord | None, files: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What of a step's files earlier runs wrote, and those that will be its own as nothing stands in their place.

    `files` gives for each what would have to stand there for it to be somebody else's.
    """
    known = {} if before is None else dict(before.wrote)
    free = [one for one, places in files.items() if not any((out / place).exists() for place in places)]
    return known | {one: "" for one in free if not made(before, one)}


def _begun(step: Step, before: StepRecord | None, own: Mapping[str, str]) -> StepRecord:
    """The record of a step that is at work; what an earlier time was asked, and wrote, is still known."""
    return StepRecord(
        name=step.name,
        stage=step.stage,
        state=StepState.RUNNING,
        settings={} if before is None else before.settings,
        reads={},
        wrote=own,
        like=step.kind,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=sarcoscope.__version__,
        git_commit=git_commit(),
        libraries=library_versions((*TRAINING_LIBRARIES, *_SEARCH_LIBRARIES)),
        machine=machine(),
    )


def _over(step: Step, running: StepRecord, done: Done, seconds: float, cpu_seconds: float) -> StepRecord:
    return replace(
        running,
        state=StepState.DONE,
        settings=as_json(dict(step.settings)),
        wrote=dict(done.wrote),
        notes=done.notes,
        failures=dict(done.failures),
        units=done.units,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu_seconds, 3),
    )


def _cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system

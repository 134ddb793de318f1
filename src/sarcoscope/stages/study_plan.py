"""Which steps of a study are done, which are stale and by what, said in words; pure but for looking at files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.core.study import StudyStage
from sarcoscope.formats.atomic import as_json
from sarcoscope.reports.wording import plural
from sarcoscope.stages.study_listen import StudyListener
from sarcoscope.stages.study_record import StepRecord, StepState, StudyRecord

_MOST: Final = 3
"""Changes that are named one by one."""
_NOUNS: Final = {
    "slide": ("slide {}", "{} slides"),
    "tiles": ("tiles of {}", "tiles of {} slides"),
    "member": ("member {}", "{} members"),
    "bundle": ("bundle {}", "{} bundles"),
    "weights": ("weights {}", "{} files of weights"),
    "maps": ("activation maps of {}", "activation maps of {} members"),
    "diagnosis": ("diagnosis of {}", "diagnoses of {} slides"),
    "ranking": ("ranking {}", "{} rankings"),
}
"""How files of a kind are called: one of them, several."""

Reads = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a step came to."""

    wrote: Mapping[str, str] = field(default_factory=dict)
    """As `StepRecord.wrote`."""
    notes: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    units: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One piece of a study that is done as a whole or not at all."""

    name: str
    stage: StudyStage
    after: tuple[str, ...] = ()
    """Names of the steps that it cannot do without."""
    beside: tuple[str, ...] = ()
    """Names of those whose files it reads where they are there."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """As `StepRecord.settings`."""
    reads: Reads = dict
    """As `StepRecord.reads`, looked at once all steps that it comes after are done."""
    does: Callable[[StepRecord | None, StudyListener], Done]
    """Does it; is given what is known of the time before, None where it never began."""
    like: str = ""
    """As `StepRecord.like`; the stage where it is left out."""
    size: Callable[[], float | None] = lambda: None
    """Units of work, as far as it can be told beforehand."""
    probe: Callable[[], float | None] = lambda: None
    """Measures seconds a unit on a small part of the work; None where that cannot be."""

    @property
    def kind(self) -> str:
        """Of its work, for comparing times."""
        return self.like or str(self.stage)


class Standing(StrEnum):
    """What a run would do with a step."""

    DONE = "done"
    NEW = "new"
    """Never done."""
    GOES_ON = "goes on"
    """Begun, and interrupted or failed."""
    STALE = "stale"
    """Done from other inputs."""
    DEPENDS = "depends"
    """Done, but from files of steps that are to be done: again only where those come out otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A step and what a run would do with it."""

    step: Step
    standing: Standing
    why: tuple[str, ...] = ()
    """In words."""


def plan_steps(steps: Sequence[Step], record: StudyRecord, out: Path) -> list[Planned]:
    """Every step as it stands now, in order."""
    planned: dict[str, Planned] = {}
    for step in steps:
        waiting = [one for one in (*step.after, *step.beside) if planned[one].standing is not Standing.DONE]
        planned[step.name] = stand(step, record.of(step.name), out, waiting)
    return list(planned.values())


def stand(step: Step, record: StepRecord | None, out: Path, waiting: Sequence[str] = ()) -> Planned:
    """How one step stands; `waiting` are the steps before it that are not done."""
    if record is None:
        return Planned(step=step, standing=Standing.NEW, why=tuple(f"after {one}" for one in waiting[:1]))
    if record.state is not StepState.DONE:
        why = "interrupted before" if record.state is StepState.RUNNING else "failed before"
        return Planned(step=step, standing=Standing.GOES_ON, why=(why,))
    why_not = changed_settings(record.settings, as_json(dict(step.settings)))
    if waiting and not why_not:
        return Planned(step=step, standing=Standing.DEPENDS, why=(f"if {waiting[0]} comes out otherwise",))
    if not waiting:
        try:
            why_not += changed_files(record.reads, step.reads())
        except SarcoscopeError as error:
            why_not.append(str(error))
        why_not += [f"{path} is gone" for path in record.wrote if not (out / path).exists()]
    if not why_not and record.failures and step.stage is not StudyStage.CHECK:  # a changed file is a change there
        why = f"{plural(len(record.failures), 'slide')} failed before"
        return Planned(step=step, standing=Standing.GOES_ON, why=(why,))
    if not why_not:
        return Planned(step=step, standing=Standing.DONE)
    more = [f"and {plural(len(why_not) - _MOST, 'more change')}"] if len(why_not) > _MOST else []
    return Planned(step=step, standing=Standing.STALE, why=(*why_not[:_MOST], *more))


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """'config rules.refine.fraction 0.05 -> 0.1' for every value that is another one."""
    changes = []
    for key in dict.fromkeys([*before, *now]):
        if key not in before:
            changes.append(f"config {key} is new: {_short(now[key])}")
        elif key not in now:
            changes.append(f"config {key} is gone, it was {_short(before[key])}")
        elif before[key] != now[key]:
            changes.append(f"config {key} {_short(before[key])} -> {_short(now[key])}")
    return changes


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """'manifest changed', 'tiles of 3 slides changed', 'member m new', for every kind of file that is another one."""
    ways = {
        "changed": [key for key in before if key in now and before[key] != now[key]],
        "new": [key for key in now if key not in before],
        "gone": [key for key in before if key not in now],
    }
    changes = []
    for way, keys in ways.items():
        by_kind: dict[str, list[str]] = {}
        for key in keys:
            kind, _, subject = key.partition("/")
            by_kind.setdefault(kind, []).append(subject)
        changes += [f"{_noun(kind, subjects)} {way}" for kind, subjects in by_kind.items()]
    return changes


def _noun(kind: str, subjects: Sequence[str]) -> str:
    if kind not in _NOUNS:
        return kind
    one, several = _NOUNS[kind]
    return one.format(subjects[0]) if len(subjects) == 1 else several.format(len(subjects))


def _short(value: Any) -> str:
    """A value in a line."""
    text = "left out" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

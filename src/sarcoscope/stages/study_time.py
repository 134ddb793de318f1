"""How long the steps of a study will take, and on what ground that is said; 'not known' where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

from sarcoscope.core.errors import SarcoscopeError
from sarcoscope.reports.wording import plural
from sarcoscope.stages.study_plan import Planned, Standing, Step
from sarcoscope.stages.study_record import StepState, StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of one step."""

    seconds: float | None
    """None where there is no ground for a number."""
    ground: str
    """What it rests on, or why there is none."""


def estimates(planned: Sequence[Planned], record: StudyRecord, *, probe: bool = False) -> list[Estimate]:
    """One a step; done ones take none. With `probe` small parts are measured where no earlier step tells."""
    rates: dict[str, Estimate] = {}
    return [_estimate(one, record, rates, probe=probe) for one in planned]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Of all steps of a plan."""

    certain: float
    """Seconds of what is to be done in any case, as far as that is known."""
    perhaps: float
    """Of what is to be done again if what it reads comes out otherwise."""
    unknown: int
    """Steps that are in neither."""


def total(planned: Sequence[Planned], found: Sequence[Estimate]) -> Total:
    """The steps' estimates together."""
    seconds = {True: 0.0, False: 0.0}
    for one, estimate in zip(planned, found, strict=True):
        seconds[one.standing is Standing.DEPENDS] += estimate.seconds or 0.0
    unknown = sum(estimate.seconds is None for estimate in found)
    return Total(certain=seconds[False], perhaps=seconds[True], unknown=unknown)


def _estimate(one: Planned, record: StudyRecord, rates: dict[str, Estimate], *, probe: bool) -> Estimate:
    if one.standing is Standing.DONE:
        return Estimate(seconds=0.0, ground="")
    before = record.of(one.step.name)
    try:
        size = one.step.size()
    except SarcoscopeError:
        size = None  # of files that are not there yet
    if size is None:
        if before is not None and before.state is StepState.DONE and before.seconds is not None:
            return Estimate(seconds=before.seconds, ground="as long as the last time")
        return Estimate(seconds=None, ground="not known: its input is not there yet")
    if one.step.kind not in rates:
        rates[one.step.kind] = _rate(one.step, record, probe=probe)
    rate = rates[one.step.kind]
    if rate.seconds is None:
        return rate
    return Estimate(seconds=rate.seconds * size, ground=rate.ground)


def _rate(step: Step, record: StudyRecord, *, probe: bool) -> Estimate:
    """Seconds a unit of such work."""
    alike = [
        (one.seconds, one.units)
        for one in record.stages
        if one.like == step.kind and one.state is StepState.DONE and one.seconds is not None and one.units
    ]
    if alike:
        seconds, units = sum(one for one, _ in alike), sum(one for _, one in alike)
        return Estimate(seconds=seconds / units, ground=f"by {plural(len(alike), 'such step')} of this study")
    if probe:
        try:
            measured = step.probe()
        except SarcoscopeError as error:
            return Estimate(seconds=None, ground=f"not known: {error.problem}")
        if measured is not None:
            return Estimate(seconds=measured, ground="by a small part of it, measured now")
    return Estimate(seconds=None, ground="not known: no such step was done yet" + ("" if probe else " (try --probe)"))

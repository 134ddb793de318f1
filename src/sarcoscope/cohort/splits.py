"""Who trains, who validates, who tests (paper, section 1.2): rules over the slides of a cohort.

A **group** is what may not part: all slides of a patient, or one slide where no patient is given. Its **stratum** is
its label; of several labels the one that fewest groups have. Everything drawn is drawn by a hash of the seed and the
group's own name, so the order of the slides does not matter, and a slide more or less moves few others.

In this order, for each group:
1. One with a slide in a batch of test set 2: those slides are test set 2, its others test set 1. It never trains.
2. One with a slide of a pooled class: all its slides are pooled; their tiles are dealt out later (`dealing.deal`).
3. Test set 1: per stratum so many random groups as asked. A share never leaves fewer than 3; counts may.
4. The rest, per stratum, by `dealing.portions`: 1 group trains; 2 train and validate; from 3 on each part has one.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sarcoscope.cohort.dealing import RATIOS, Ratios, allot, checked, shuffled
from sarcoscope.core.cohort import CohortSlide, Part
from sarcoscope.core.errors import InputError

LEFT_TO_TRAIN: Final = 3
"""A share for test set 1 leaves at least so many groups of a class: one each to train, validate and test."""
SINGLE: Final = "part"
"""What the one repetition of a plain split is called, and its column."""

GroupKey = tuple[str, str]
"""('patient', id) or ('slide', id): a patient and a slide of one name are two groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """What is asked for."""

    ratios: Ratios = RATIOS
    """Train, validation, test, of what no test set takes."""
    seed: int = 0
    test1: float | Mapping[str, int] = 0.0
    """Test set 1: a share of each class's groups, 0..1, or a number of slides by class."""
    test2: tuple[str, ...] = ()
    """Batches that are test set 2 whole."""
    pooled: tuple[str, ...] = ()
    """Classes whose tiles are dealt out one by one."""
    folds: int = 0
    """Repetitions of a cross-validation; 0 for a plain split."""
    leave_out_batch: bool = False
    """One repetition a batch, which tests."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", checked(self.ratios))
        if not isinstance(self.test1, Mapping) and not 0 <= self.test1 < 1:
            raise InputError(f"test set 1 of {self.test1:g}", "give a share below 1, or CLASS=COUNT,...")
        if isinstance(self.test1, Mapping) and any(count < 0 for count in self.test1.values()):
            raise InputError("test set 1 of fewer than 0 slides", "give CLASS=COUNT,... with counts from 0")
        if self.folds and self.leave_out_batch:
            raise InputError("folds and batches left out contradict one another", "give one of them")
        if self.folds not in {0, *range(3, 1001)}:
            raise InputError(f"{self.folds} folds", "give at least 3: one tests, one validates, the others train")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One repetition of a split, as it stands in split.csv."""

    parts: Mapping[str, Part]
    """By slide; a slide that the file leaves open is not in it."""
    ratios: Ratios = RATIOS
    """Also of pooled classes' tiles."""
    seed: int = 0
    pooled: tuple[str, ...] = ()
    """Classes whose tiles are dealt out one by one: what is said of them is optimistic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealt:
    """All repetitions of a split."""

    repetitions: Mapping[str, Mapping[str, Part]]
    """By name, the part of each slide."""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Group:
    key: GroupKey
    slides: list[CohortSlide] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    stratum: str = ""


def split_cohort(
    slides: Sequence[CohortSlide], config: SplitConfig, labels: Mapping[str, Iterable[str]] | None = None
) -> Dealt:
    """A part for each slide, in each repetition. `labels` are a slide's where its tiles have labels of their own.

    Raises InputError for slides without a label or of one name, for classes and batches that the cohort lacks, and
    where nothing would be left to train on.
    """
    groups = _groups(slides, labels or {})
    _check_names(groups, config)
    warnings = [_pooled_along(groups, config)]
    fixed, pooled, rest = _set_apart(groups, config)
    held_out, rest, more = _test1(rest, fixed, config)
    fixed |= held_out
    warnings += more
    if config.leave_out_batch:
        repetitions, more = _left_out([*pooled, *rest], pooled, config)
        warnings += more
    else:
        fixed |= _all(pooled, Part.POOLED)
        repetitions = _folds(rest, config) if config.folds else {SINGLE: _dealt(rest, config.ratios, config.seed)}
    found = {name: fixed | parts for name, parts in repetitions.items()}
    for name, parts in found.items():
        if not {Part.TRAIN, Part.POOLED} & set(parts.values()):
            raise InputError(f"nothing is left to train on in {name!r}", "hold out less, or add slides")
    return Dealt(repetitions=found, warnings=tuple(one for one in warnings if one))


def other_batches(slides: Iterable[CohortSlide]) -> tuple[str, ...]:
    """The batch that is test set 2 where nobody says: the second in natural order of exactly two, else none."""
    batches = batches_of(slides)
    return (batches[1],) if len(batches) == 2 else ()


def batches_of(slides: Iterable[CohortSlide]) -> list[str]:
    """The batches of a cohort in natural order: batch2 before batch10."""
    return sorted({one.batch for one in slides if one.batch}, key=natural)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that counts runs of digits as numbers."""
    return tuple((0, int(run), "") if run.isdecimal() else (1, 0, run) for run in re.split(r"(\d+)", name) if run)


def group_key(slide: CohortSlide) -> GroupKey:
    """What the slide may not be parted from."""
    return ("patient", slide.patient) if slide.patient else ("slide", slide.slide)


def _groups(slides: Sequence[CohortSlide], labels: Mapping[str, Iterable[str]]) -> list[_Group]:
    if not slides:
        raise InputError("no slides to split", "give a cohort with slides")
    found: dict[GroupKey, _Group] = {}
    seen: set[str] = set()
    for one in slides:
        own = set(labels.get(one.slide, ())) or ({one.label} if one.label else set())
        if not own:
            raise InputError(f"slide {one.slide!r} has no label", "fill the column 'label'")
        if one.slide in seen:
            raise InputError(f"two slides are called {one.slide!r}", "name each once")
        seen.add(one.slide)
        group = found.setdefault(group_key(one), _Group(group_key(one)))
        group.slides.append(one)
        group.labels |= own
    counts = Counter(label for group in found.values() for label in group.labels)
    for group in found.values():
        group.stratum = min(group.labels, key=lambda label: (counts[label], label))
    return sorted(found.values(), key=lambda group: group.key)


def _check_names(groups: Sequence[_Group], config: SplitConfig) -> None:
    classes = {label for group in groups for label in group.labels}
    batches = {one.batch for group in groups for one in group.slides}
    asked = set(config.test1) if isinstance(config.test1, Mapping) else set()
    for name in sorted({*config.pooled, *asked} - classes):
        where = "the pooled classes" if name in config.pooled else "the numbers of test set 1"
        advice = f"leave it out of {where}; the classes are {', '.join(sorted(classes))}"
        raise InputError(f"no slide is of class {name!r}", advice)
    for name in sorted({*config.test2} - batches):
        known = ", ".join(sorted((one for one in batches if one), key=natural)) or "none"
        raise InputError(f"no slide is of batch {name!r}", f"the batches are: {known}")


def _set_apart(groups: Sequence[_Group], config: SplitConfig) -> tuple[dict[str, Part], list[_Group], list[_Group]]:
    """The slides that rule 1 is about, the groups that rule 2 is about, and the groups that are left."""
    parts: dict[str, Part] = {}
    pooled, rest = [], []
    for group in groups:
        if any(one.batch in config.test2 for one in group.slides):
            for one in group.slides:
                parts[one.slide] = Part.TEST2 if one.batch in config.test2 else Part.TEST1
        elif group.labels & set(config.pooled):
            pooled.append(group)
        else:
            rest.append(group)
    return parts, pooled, rest


def _all(groups: Iterable[_Group], part: Part) -> dict[str, Part]:
    return {one.slide: part for group in groups for one in group.slides}


def _pooled_along(groups: Sequence[_Group], config: SplitConfig) -> str:
    pooled = set(config.pooled)
    along = [group.key[1] for group in groups if group.labels & pooled and not group.labels <= pooled]
    if not along:
        return ""
    return f"pooled along, with slides of other classes, because a patient or slide may not part: {_some(along)}"


def _by_stratum(groups: Iterable[_Group]) -> dict[str, list[_Group]]:
    found: dict[str, list[_Group]] = {}
    for group in groups:
        found.setdefault(group.stratum, []).append(group)
    return {stratum: found[stratum] for stratum in sorted(found)}


def _drawn(groups: Sequence[_Group], seed: int, purpose: str) -> list[_Group]:
    by_key = {group.key: group for group in groups}
    return [by_key[key] for key in shuffled(by_key, seed, purpose)]


def _test1(
    groups: Sequence[_Group], fixed: Mapping[str, Part], config: SplitConfig
) -> tuple[dict[str, Part], list[_Group], list[str]]:
    """Rule 3: what test set 1 takes, what it leaves, what to say about it."""
    parts: dict[str, Part] = {}
    left: list[_Group] = []
    warnings: list[str] = []
    strata = _by_stratum(groups)
    counts, share = (config.test1, 0.0) if isinstance(config.test1, Mapping) else (None, config.test1)
    for stratum in sorted({*strata, *(counts or {})}):
        drawn = _drawn(strata.get(stratum, []), config.seed, "test1")
        if counts is None:
            wanted = math.floor(share * len(drawn) + 0.5)
            taken = drawn[: max(0, min(wanted, len(drawn) - LEFT_TO_TRAIN))]
        else:
            taken, problem = _so_many_slides(drawn, stratum, counts.get(stratum, 0))
            warnings += problem
        parts |= _all(taken, Part.TEST1)
        names = {group.key for group in taken}
        left += [group for group in drawn if group.key not in names]
    if along := [slide for slide, part in fixed.items() if part is Part.TEST1]:
        warnings.append(f"in test set 1 because their patient has slides in test set 2: {_some(along)}")
    return parts, left, warnings


def _so_many_slides(drawn: Sequence[_Group], stratum: str, count: int) -> tuple[list[_Group], list[str]]:
    """Groups that hold `count` slides together, or as many as whole groups can; those drawn first where they can."""
    ways: dict[int, list[_Group]] = {0: []}
    for group in drawn:
        for total, chosen in sorted(ways.items(), reverse=True):
            more = total + len(group.slides)
            if more <= count and more not in ways:
                ways[more] = [*chosen, group]
    taken = ways[max(ways)]
    wanting = count - max(ways)
    warnings = []
    if wanting:
        warnings.append(
            f"test set 1 has {count - wanting} of the {count} slides of {stratum} asked for: "
            "there are no more that leave patients whole"
        )
    left = len(drawn) - len(taken)
    if count and left < LEFT_TO_TRAIN:
        warnings.append(f"test set 1 leaves {left} of {stratum} to train, validate and test on")
    return taken, warnings


def _dealt(groups: Iterable[_Group], ratios: Ratios, seed: int) -> dict[str, Part]:
    """Rule 4."""
    parts: dict[str, Part] = {}
    for alike in _by_stratum(groups).values():
        by_key = {group.key: group for group in alike}
        for key, part in allot(shuffled(by_key, seed, "split"), ratios).items():
            parts |= _all([by_key[key]], part)
    return parts


def _folds(groups: Sequence[_Group], config: SplitConfig) -> dict[str, dict[str, Part]]:
    """Fold i tests, the next one validates, the others train; each stratum is dealt round, on from the last one."""
    if len(groups) < config.folds:
        problem = f"{len(groups)} patients or slides for {config.folds} folds"
        raise InputError(problem, "give fewer folds, or hold out less")
    at = 0
    fold_of: dict[str, int] = {}
    for alike in _by_stratum(groups).values():
        for group in _drawn(alike, config.seed, "folds"):
            fold_of |= {one.slide: at % config.folds for one in group.slides}
            at += 1
    found = {}
    for fold in range(config.folds):
        role = {fold: Part.TEST, (fold + 1) % config.folds: Part.VALIDATION}
        found[f"fold{fold + 1}"] = {slide: role.get(of, Part.TRAIN) for slide, of in fold_of.items()}
    return found


def _left_out(
    groups: Sequence[_Group], pooled: Sequence[_Group], config: SplitConfig
) -> tuple[dict[str, dict[str, Part]], list[str]]:
    """Batch by batch: every patient with a slide in it tests, whole; the others are pooled, train or validate."""
    batches = batches_of(one for group in groups for one in group.slides)
    if len(batches) < 2:
        raise InputError(f"{len(batches)} batches, one of which to leave out", "fill the column 'batch'")
    train, validation, _ = config.ratios
    ratios = checked((train, validation, 0.0))
    never = {group.key for group in pooled}
    warnings = []
    found = {}
    for batch in batches:
        inside = [group for group in groups if any(one.batch == batch for one in group.slides)]
        keys = {group.key for group in inside}
        others = [group for group in groups if group.key not in keys]
        parts = _all(inside, Part.TEST) | _all([one for one in others if one.key in never], Part.POOLED)
        found[f"without-{batch}"] = parts | _dealt([one for one in others if one.key not in never], ratios, config.seed)
        if along := [one.slide for group in inside for one in group.slides if one.batch != batch]:
            warnings.append(f"tested with batch {batch} because their patient is in it: {_some(along)}")
    if nowhere := [one.slide for group in groups for one in group.slides if not one.batch]:
        warnings.append(f"in no batch, so never left out: {_some(nowhere)}")
    return found, warnings


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"

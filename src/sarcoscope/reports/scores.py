"""How many diagnosed slides agree with the truth, as the paper scores them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sarcoscope.core.diagnosis import Vote
from sarcoscope.core.truth import Truth
from sarcoscope.diagnosis.rules import ComponentRule
from sarcoscope.diagnosis.voting import is_correct
from sarcoscope.formats.diagnoses import DiagnosisRecord, final_vote
from sarcoscope.metrics.intervals import wilson_interval

UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A share of slides with its interval."""

    right: int
    n: int
    low: float
    """Wilson 95%, 0..1."""
    high: float

    @property
    def share(self) -> float | None:
        """0..1; None where n is 0."""
        return self.right / self.n if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One slide beside its truth."""

    truth: Truth
    plain: bool
    """Whether the plain vote is right."""
    refined: bool
    """Whether the refined vote is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Counts of slides: rows are truths, columns are predictions."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    """The classes, then 'undetermined'."""
    counts: tuple[tuple[int, ...], ...]


def plain_vote(record: DiagnosisRecord) -> Vote:
    """The plain vote of a record; its label is None where undetermined."""
    return Vote(counts=record.votes, label=record.label, second=record.second, margin=record.margin)


def score_slide(record: DiagnosisRecord, truth: Truth) -> Scored:
    """Score both votes by the component rules that the record lists; undetermined is not right."""
    rules = [ComponentRule(main=found.main, component=found.component) for found in record.components]
    plain, final = (
        counted.label is not None and is_correct(counted, truth.label, truth.components, rules)
        for counted in (plain_vote(record), final_vote(record))
    )
    return Scored(truth=truth, plain=plain, refined=final)


def scorable(records: Mapping[str, DiagnosisRecord], truths: Mapping[str, Truth]) -> dict[str, Truth]:
    """Truths of the diagnosed slides, without those of a class that is known at tile level only (the paper's MPNST)."""
    return {
        slide: truths[slide]
        for slide, record in records.items()
        if slide in truths and truths[slide].label not in record.unscored
    }


def summarise(outcomes: Sequence[bool]) -> Score:
    """The share of right outcomes with its Wilson 95% interval."""
    low, high = wilson_interval(sum(outcomes), len(outcomes))
    return Score(right=sum(outcomes), n=len(outcomes), low=low, high=high)


def coverage(records: Mapping[str, DiagnosisRecord], truths: Mapping[str, Truth]) -> dict[float, tuple[Score, float]]:
    """By level, how many sets of slides with a truth hold it, and the mean number of classes in them."""
    found: dict[float, list[tuple[bool, int]]] = {}
    for slide, truth in truths.items():
        if (one := records[slide].set) is not None:
            found.setdefault(one.level, []).append((truth.label in one.classes, len(one.classes)))
    return {
        level: (summarise([held for held, _ in sets]), sum(size for _, size in sets) / len(sets))
        for level, sets in sorted(found.items())
    }


def confusion(pairs: Sequence[tuple[str, str | None]], codes: Sequence[str]) -> Confusion:
    """Count (truth, prediction) pairs; a prediction of None is undetermined, truths without a slide have no row."""
    counted = Counter((truth, predicted or UNDETERMINED) for truth, predicted in pairs)
    seen = {truth for truth, _ in pairs}
    rows = tuple(code for code in codes if code in seen) + tuple(sorted(seen - set(codes)))
    columns = (*codes, UNDETERMINED)
    return Confusion(
        rows=rows, columns=columns, counts=tuple(tuple(counted[row, column] for column in columns) for row in rows)
    )


def confusions(records: Mapping[str, DiagnosisRecord], truths: Mapping[str, Truth]) -> tuple[Confusion, Confusion]:
    """Plain and refined confusion over the slides that have a truth; classes in the order of the records."""
    codes = list(dict.fromkeys(item.code for record in records.values() for item in record.classes))
    known = [(truths[slide].label, record) for slide, record in records.items() if slide in truths]
    plain = confusion([(truth, record.label) for truth, record in known], codes)
    refined = confusion([(truth, record.refined.label) for truth, record in known], codes)
    return plain, refined

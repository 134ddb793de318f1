"""Several readers' files of decisions to one, with how far the readers agree."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from sarcoscope.cohort.screening import Rule, both_decided, consensus, moved, standing
from sarcoscope.core.errors import InputError
from sarcoscope.core.screening import Decision, TileKey, Verdict
from sarcoscope.formats.screening import read_decisions, write_decisions
from sarcoscope.metrics.agreement import Agreement, cohen_kappa


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderPair:
    """Two readers, compared on the tiles that both decided about."""

    one: str
    other: str
    agreement: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What came of it."""

    rule: Rule
    readers: tuple[str, ...]
    """In the order of their first decision."""
    decided: dict[str, int]
    """Tiles that each reader decided about."""
    rejected_by: dict[str, int]
    pairs: tuple[ReaderPair, ...]
    tiles: int
    """Tiles with a verdict."""
    rejected: int
    disputed: int
    """Tiles on which readers disagree."""


def merge_screening(files: Sequence[Path], out: Path, rule: Rule = Rule.ANY) -> Merged:
    """Write `out`: one line a tile with the verdict by `rule`, and in it who said what.

    A reader of one name in two files is one person, whose decision in the later file counts; lines without a name are
    the file's. Raises InputError for a file that is missing, an `out` that is there already, and files that speak of
    different cuts; ArtifactError for one that cannot be read.
    """
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: there is no such file", "give the screening.csv of each reader")
    if out.exists():
        raise InputError(f"{out} is there already", "give another name with --out: decisions are never overwritten")
    stems = Counter(file.stem for file in files)
    decisions = [
        decision if decision.reader else replace(decision, reader=file.stem if stems[file.stem] == 1 else str(file))
        for file in files
        for decision in read_decisions(file)
    ]
    read = standing(decisions)
    verdicts = consensus(read, rule)
    last = _last_that_stand(decisions, read)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    lines = [_merged_line(last[key], verdict, read, rule, when) for key, verdict in sorted(verdicts.items())]
    write_decisions(out, lines)
    said = {key: {one[key] for one in read.values() if key in one} for key in verdicts}
    return Merged(
        rule=rule,
        readers=tuple(read),
        decided={name: len(one) for name, one in read.items()},
        rejected_by={name: sum(v is Verdict.REJECT for v in one.values()) for name, one in read.items()},
        pairs=tuple(
            ReaderPair(one=one, other=other, agreement=cohen_kappa(*both_decided(read, one, other)))
            for one, other in combinations(read, 2)
        ),
        tiles=len(verdicts),
        rejected=sum(verdict is Verdict.REJECT for verdict in verdicts.values()),
        disputed=sum(len(one) > 1 for one in said.values()),
    )


def _last_that_stand(
    decisions: Iterable[Decision], read: Mapping[str, Mapping[TileKey, Verdict]]
) -> dict[TileKey, Decision]:
    """The last decision about each tile that nobody took back. InputError where two speak of different places."""
    last: dict[TileKey, Decision] = {}
    for one in decisions:
        if read[one.reader].get(one.key) is not one.verdict:
            continue
        before = last.get(one.key, one)
        if moved((before.left_l0, before.top_l0), (one.left_l0, one.top_l0)):
            raise InputError(
                f"{one.slide}, {one.tile} lies at {before.left_l0},{before.top_l0} for {before.reader} and at "
                f"{one.left_l0},{one.top_l0} for {one.reader}",
                "the slide was cut anew between them: merge decisions about one cut",
            )
        last[one.key] = one
    return last


def _merged_line(
    decision: Decision, verdict: Verdict, read: dict[str, dict[TileKey, Verdict]], rule: Rule, when: str
) -> Decision:
    key = decision.key
    said = {name: one[key] for name, one in read.items() if key in one}
    return Decision(
        slide=decision.slide,
        tile=decision.tile,
        verdict=verdict,
        reader=" + ".join(said),
        when=when,
        reason=f"merged by the rule {rule}: " + ", ".join(f"{name} {one}" for name, one in said.items()),
        mpp=decision.mpp,
        left_l0=decision.left_l0,
        top_l0=decision.top_l0,
        label=decision.label,
    )

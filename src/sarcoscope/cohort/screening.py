"""From the decisions of several readers to one: which tiles are out, and on which the readers can be compared."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from sarcoscope.core.screening import Decision, TileKey, Verdict


class Rule(StrEnum):
    """Whose word counts where readers of a tile disagree."""

    ANY = "any"
    """One reader's rejection is enough."""
    ALL = "all"
    """Out only where every reader who decided about the tile rejects it."""
    FIRST = "first"
    """The first reader who decided about the tile, in the order in which readers appear, has the say."""


Read = Mapping[str, Mapping[TileKey, Verdict]]
"""What each reader says in the end, readers in the order of their first decision."""


Place = tuple[int | None, int | None]
"""Left and top of a tile, level-0 px; None where nobody says."""


def current(decisions: Iterable[Decision], places: Mapping[TileKey, Place]) -> list[Decision]:
    """Those about a tile that is there, and lies where it lay when it was decided about.

    A tile's name is its row and column; cut anew with another side or overlap, the same name is another place.
    """
    return [one for one in decisions if one.key in places and not moved((one.left_l0, one.top_l0), places[one.key])]


def moved(then: Place, now: Place) -> bool:
    """Whether a tile lies elsewhere now; not where one of the places is not known."""
    return any(old is not None and new is not None and old != new for old, new in zip(then, now, strict=True))


def standing(decisions: Iterable[Decision]) -> dict[str, dict[TileKey, Verdict]]:
    """What each reader says in the end: their last decision about each tile, none where it was withdrawn."""
    read: dict[str, dict[TileKey, Verdict]] = {}
    for decision in decisions:
        said = read.setdefault(decision.reader, {})
        if decision.verdict is Verdict.WITHDRAWN:
            said.pop(decision.key, None)
        else:
            said[decision.key] = decision.verdict
    return read


def consensus(read: Read, rule: Rule = Rule.ANY) -> dict[TileKey, Verdict]:
    """One verdict for every tile that a reader decided about. A reader who did not see a tile has no say on it."""
    verdicts: dict[TileKey, list[Verdict]] = {}
    for said in read.values():
        for key, verdict in said.items():
            verdicts.setdefault(key, []).append(verdict)
    return {key: _settled(said, rule) for key, said in verdicts.items()}


def rejected(decisions: Iterable[Decision], rule: Rule = Rule.ANY) -> frozenset[TileKey]:
    """(slide, tile) of every tile that is out; where readers disagree one rejection is enough, or as `rule` says."""
    settled = consensus(standing(decisions), rule)
    return frozenset(key for key, verdict in settled.items() if verdict is Verdict.REJECT)


def _settled(said: Sequence[Verdict], rule: Rule) -> Verdict:
    rejects = [verdict is Verdict.REJECT for verdict in said]
    out = {Rule.ANY: any(rejects), Rule.ALL: all(rejects), Rule.FIRST: rejects[0]}[rule]
    return Verdict.REJECT if out else Verdict.KEEP


def both_decided(read: Read, one: str, other: str) -> tuple[list[Verdict], list[Verdict]]:
    """The verdicts of two readers on the tiles that both decided about, in one order."""
    both = [key for key in read[one] if key in read[other]]
    return [read[one][key] for key in both], [read[other][key] for key in both]

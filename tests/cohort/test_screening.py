"""From several readers' decisions to one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.screening import Rule, both_decided, consensus, standing
from sarcoscope.core.screening import Decision, Verdict

KEEP, REJECT, WITHDRAWN = Verdict.KEEP, Verdict.REJECT, Verdict.WITHDRAWN
TILE = ("s", "t")


def said(reader: str, verdict: Verdict, tile: str = "t") -> Decision:
    return Decision(slide="s", tile=tile, verdict=verdict, reader=reader)


def test_the_last_line_of_a_reader_counts() -> None:
    lines = [said("anna", REJECT), said("ben", KEEP), said("anna", KEEP), said("ben", REJECT)]
    assert standing(lines) == {"anna": {TILE: KEEP}, "ben": {TILE: REJECT}}


def test_a_withdrawn_decision_is_as_if_it_had_never_been() -> None:
    lines = [said("anna", REJECT), said("anna", WITHDRAWN), said("ben", REJECT, "u"), said("anna", WITHDRAWN, "v")]
    assert standing(lines) == {"anna": {}, "ben": {("s", "u"): REJECT}}
    assert consensus(standing(lines)) == {("s", "u"): REJECT}


@pytest.mark.parametrize(
    ("verdicts", "by_any", "by_all", "by_first"),
    [
        ([REJECT, REJECT], REJECT, REJECT, REJECT),
        ([REJECT, KEEP], REJECT, KEEP, REJECT),
        ([KEEP, REJECT], REJECT, KEEP, KEEP),
        ([KEEP, KEEP], KEEP, KEEP, KEEP),
        ([KEEP, REJECT, REJECT], REJECT, KEEP, KEEP),
        ([REJECT], REJECT, REJECT, REJECT),
    ],
)
def test_the_rules_where_readers_disagree(
    verdicts: list[Verdict], by_any: Verdict, by_all: Verdict, by_first: Verdict
) -> None:
    read = standing(said(f"reader {number}", verdict) for number, verdict in enumerate(verdicts))
    assert consensus(read) == consensus(read, Rule.ANY) == {TILE: by_any}
    assert consensus(read, Rule.ALL) == {TILE: by_all}
    assert consensus(read, Rule.FIRST) == {TILE: by_first}


def test_who_did_not_see_a_tile_has_no_say_on_it() -> None:
    read = standing([said("anna", KEEP, "u"), said("ben", REJECT)])
    for rule in Rule:
        assert consensus(read, rule) == {("s", "u"): KEEP, TILE: REJECT}
    assert both_decided(read, "anna", "ben") == ([], [])


def test_readers_are_compared_on_what_both_decided() -> None:
    lines = [said("anna", REJECT, "a"), said("anna", KEEP, "b"), said("ben", REJECT, "b"), said("ben", KEEP, "c")]
    assert both_decided(standing(lines), "anna", "ben") == ([KEEP], [REJECT])


LINES = st.lists(st.builds(said, st.sampled_from("abc"), st.sampled_from(Verdict), st.sampled_from("tuvw")))


@given(LINES)
def test_all_rejects_no_more_than_first_and_first_no_more_than_any(lines: list[Decision]) -> None:
    read = standing(lines)
    out = {rule: {key for key, v in consensus(read, rule).items() if v is REJECT} for rule in Rule}
    assert out[Rule.ALL] <= out[Rule.FIRST] <= out[Rule.ANY]
    assert set(consensus(read)) == {key for one in read.values() for key in one}

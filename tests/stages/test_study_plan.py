"""The plan of a study: what is done, what is stale, and by what, in words."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.study import StudyStage
from sarcoscope.stages.study_inputs import CHECK_FILE, manifest_reads, read_check, split_reads
from sarcoscope.stages.study_plan import Done, Standing, Step, changed_files, changed_settings, plan_steps, stand
from sarcoscope.stages.study_record import (
    STAGES_FILE,
    StepRecord,
    StepState,
    StudyRecord,
    read_study_record,
    write_study_record,
)
from sarcoscope.stages.study_time import Total, estimates, total


def step(
    name: str,
    *after: str,
    settings: Mapping[str, object] | None = None,
    reads: Mapping[str, str] | None = None,
    size: Callable[[], float | None] = lambda: None,
    probe: Callable[[], float | None] = lambda: None,
) -> Step:
    return Step(
        name=name,
        stage=StudyStage.TILE,
        after=after,
        settings=settings or {},
        reads=lambda: dict(reads or {}),
        does=lambda _before, _hears: Done(),
        size=size,
        probe=probe,
    )


def done(name: str, **changes: object) -> StepRecord:
    record = StepRecord(name=name, stage=StudyStage.TILE, state=StepState.DONE, settings={}, reads={}, like="tile")
    return replace(record, **changes)  # type: ignore[arg-type]


def test_changes_of_settings_are_told_with_both_values() -> None:
    before = {"rules.refine.fraction": 0.05, "a": 1, "gone": [1]}
    assert changed_settings(before, {"rules.refine.fraction": 0.1, "a": 1, "new": None}) == [
        "config rules.refine.fraction 0.05 -> 0.1",
        "config gone is gone, it was [1]",
        "config new is new: left out",
    ]


def test_changes_of_files_are_told_by_their_kind() -> None:
    before = {"manifest": "1", "tiles/a": "1", "tiles/b": "1", "tiles/c": "1", "member/m": "1", "tiles/d": "1"}
    now = {"manifest": "2", "tiles/a": "2", "tiles/b": "2", "tiles/c": "2", "member/m": "1", "slide/s": "1"}
    assert changed_files(before, now) == [
        "manifest changed",
        "tiles of 3 slides changed",
        "slide s new",
        "tiles of d gone",
    ]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers()), st.dictionaries(st.sampled_from("abcdef"), st.integers())
)
def test_no_change_is_told_where_and_only_where_all_is_equal(one: dict[str, int], other: dict[str, int]) -> None:
    assert (changed_settings(one, other) == []) == (one == other)
    texts = [{key: str(value) for key, value in values.items()} for values in (one, other)]
    assert (changed_files(*texts) == []) == (one == other)


def test_a_step_is_done_as_long_as_nothing_that_it_depends_on_changes(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    record = done("a", settings={"k": [1, 2]}, reads={"manifest": "1"}, wrote={"x.csv": ""})
    own = step("a", settings={"k": (1, 2)}, reads={"manifest": "1"})
    assert stand(own, record, tmp_path).standing is Standing.DONE
    changed = stand(step("a", settings={"k": (1, 3)}, reads={"manifest": "2"}), record, tmp_path)
    assert changed.standing is Standing.STALE
    assert changed.why == ("config k [1, 2] -> [1, 3]", "manifest changed")
    (tmp_path / "x.csv").unlink()
    assert stand(own, record, tmp_path).why == ("x.csv is gone",)


def test_many_changes_are_counted() -> None:
    record = done("a", settings=dict.fromkeys("abcde", 1))
    found = stand(step("a", settings=dict.fromkeys("abcde", 2)), record, Path())
    assert len(found.why) == 4
    assert found.why[-1] == "and 2 more changes"
    fewer = stand(step("a", settings=dict.fromkeys("abcd", 2)), done("a", settings=dict.fromkeys("abcd", 1)), Path())
    assert fewer.why[-1] == "and 1 more change"


def test_what_depends_on_a_stale_step_may_have_to_be_done_again() -> None:
    steps = [step("a", settings={"k": 2}), step("b", "a"), step("c", "b"), step("d"), step("e", "c")]
    record = StudyRecord(stages=(done("a", settings={"k": 1}), done("b"), done("c"), done("d")))
    found = {one.step.name: (one.standing, one.why) for one in plan_steps(steps, record, Path())}
    assert found == {
        "a": (Standing.STALE, ("config k 1 -> 2",)),
        "b": (Standing.DEPENDS, ("if a comes out otherwise",)),
        "c": (Standing.DEPENDS, ("if b comes out otherwise",)),
        "d": (Standing.DONE, ()),
        "e": (Standing.NEW, ("after c",)),
    }


@pytest.mark.parametrize(
    ("state", "why"), [(StepState.RUNNING, "interrupted before"), (StepState.FAILED, "failed before")]
)
def test_what_did_not_end_goes_on(state: StepState, why: str) -> None:
    found = stand(step("a"), done("a", state=state), Path())
    assert (found.standing, found.why) == (Standing.GOES_ON, (why,))


def test_slides_that_failed_are_tried_again_but_not_those_of_the_check_whose_files_would_have_to_change() -> None:
    failed = done("a", failures={"s1": "the drive was gone", "s2": "the drive was gone"})
    found = stand(step("a"), failed, Path())
    assert (found.standing, found.why) == (Standing.GOES_ON, ("2 slides failed before",))
    check = replace(step("a"), stage=StudyStage.CHECK)
    assert stand(check, replace(failed, stage=StudyStage.CHECK), Path()).standing is Standing.DONE


def test_what_an_mrxs_slide_and_a_folder_hold_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "s.mrxs").write_bytes(b"preview")
    for home in ("s", "d"):
        (tmp_path / home).mkdir()
        (tmp_path / home / "Data0000.dat").write_bytes(b"px")
    manifest = tmp_path / "m.csv"
    manifest.write_text("slide,path\nm,s.mrxs\nd,d\n", encoding="utf-8")
    before = manifest_reads(manifest)
    (tmp_path / "s" / "Data0000.dat").write_bytes(b"other px")
    assert changed_files(before, manifest_reads(manifest)) == ["slide m changed"]
    (tmp_path / "d" / "more.dcm").write_bytes(b"")
    assert changed_files(before, manifest_reads(manifest)) == ["2 slides changed"]


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"slides": {}}'])
def test_a_damaged_check_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / CHECK_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match="remove it, and run the study again"):
        read_check(tmp_path)


def test_how_pooled_tiles_are_dealt_out_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("slide,patient,label,batch,part\na,,MPNST,,pooled\n", encoding="utf-8")
    config = {"ratios": [0.7, 0.15, 0.15], "seed": 0, "pooled": ["MPNST"]}
    record = {"kind": "sarcoscope.split", "schema_version": 1, "config": config}
    (tmp_path / "split.json").write_text(json.dumps(record), encoding="utf-8")
    before = split_reads(tmp_path)
    config["ratios"] = [0.72, 0.14, 0.14]
    (tmp_path / "split.json").write_text(json.dumps(record), encoding="utf-8")
    assert changed_files(before, split_reads(tmp_path)) == ["dealing of pooled tiles changed"]


def test_a_file_that_cannot_be_read_makes_a_step_stale() -> None:
    def gone() -> dict[str, str]:
        raise ArtifactError("m.csv", "cannot be read")

    found = stand(replace(step("a"), reads=gone), done("a"), Path())
    assert found.why == ("m.csv: cannot be read",)


def test_the_record_comes_back(tmp_path: Path) -> None:
    assert read_study_record(tmp_path) == StudyRecord()
    one = done(
        "a", settings={"k": [1, None, "x"]}, reads={"manifest": "1"}, notes=("n",), failures={"s": "why"}, units=2.0
    )
    record = StudyRecord(title="t", synthetic=True, config={"a": {"b": 1}}, stages=(one,))
    write_study_record(tmp_path, record)
    assert read_study_record(tmp_path) == record


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "sarcoscope.study", "schema_version": 2}'])
def test_a_damaged_record_is_told_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / STAGES_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"stages\.json") as caught:
        read_study_record(tmp_path)
    assert "\n" not in str(caught.value)


def test_time_is_told_by_steps_of_the_same_kind_or_not_at_all() -> None:
    steps = [
        step("a", size=lambda: 10.0),
        step("b", size=lambda: 5.0),
        replace(step("c", size=lambda: 3.0, probe=lambda: 2.0), like="training"),
        replace(step("d"), like="training"),
        replace(step("e"), like="tile"),
    ]
    # two steps of 100 units in 20 + 30 s: half a second a unit
    record = StudyRecord(
        stages=(
            done("a", units=40.0, seconds=20.0, settings={"k": 1}),
            done("x", units=60.0, seconds=30.0),
            done("e", seconds=7.0, settings={"k": 1}),
        )
    )
    plan = plan_steps(steps, record, Path())
    told = estimates(plan, record)
    assert [one.seconds for one in told] == [5.0, 2.5, None, None, 7.0]
    assert told[0].ground == "by 2 such steps of this study"
    assert told[2].ground.startswith("not known: no such step was done yet")
    assert told[3].ground == "not known: its input is not there yet"
    assert total(plan, told) == Total(certain=14.5, perhaps=0.0, unknown=2)
    measured = estimates(plan, record, probe=True)
    assert measured[2].seconds == 6.0
    assert measured[2].ground == "by a small part of it, measured now"


def test_done_steps_take_no_time() -> None:
    record = StudyRecord(stages=(done("a", units=1.0, seconds=100.0),))
    plan = plan_steps([step("a")], record, Path())
    assert total(plan, estimates(plan, record)) == Total(certain=0.0, perhaps=0.0, unknown=0)


def test_time_of_what_may_have_to_be_done_again_stands_by_itself() -> None:
    steps = [step("a", settings={"k": 1}, size=lambda: 1.0), step("b", "a", size=lambda: 2.0)]
    record = StudyRecord(stages=(done("a", units=1.0, seconds=10.0), done("b", units=2.0, seconds=20.0)))
    plan = plan_steps(steps, record, Path())
    assert total(plan, estimates(plan, record)) == Total(certain=10.0, perhaps=20.0, unknown=0)

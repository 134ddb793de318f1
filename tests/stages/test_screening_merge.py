"""Two readers' files to one."""

from pathlib import Path

import pytest

from sarcoscope.cohort.screening import Rule
from sarcoscope.core.errors import InputError
from sarcoscope.core.screening import Decision, Verdict
from sarcoscope.formats.screening import append_decisions, read_decisions
from sarcoscope.stages.screening_merge import merge_screening
from tests.screened import rejected_tiles


def write(path: Path, reader: str, words: str) -> Path:
    """One tile a letter, named by its place: r reject, k keep, w withdrawn after a reject, '.' not seen."""
    lines = []
    for number, letter in enumerate(words):
        if letter != ".":
            verdict = Verdict.KEEP if letter == "k" else Verdict.REJECT
            lines.append(Decision(slide="s", tile=f"t{number:02d}", verdict=verdict, reader=reader, label="LMS"))
        if letter == "w":
            lines.append(Decision(slide="s", tile=f"t{number:02d}", verdict=Verdict.WITHDRAWN, reader=reader))
    append_decisions(path, lines)
    return path


def test_kappa_is_taken_on_what_both_saw_and_every_tile_gets_one_line(tmp_path: Path) -> None:
    """Both saw 10: rr 4, rk 1, kr 2, kk 3; 0.7 agree, 0.5 * 0.6 + 0.5 * 0.4 = 0.5 by chance, kappa 0.4."""
    one = write(tmp_path / "a.csv", "anna", "rrrrrkkkkk" + "rkw..")
    other = write(tmp_path / "b.csv", "ben", "rrrrkrrkkk" + "...rk")
    merged = merge_screening([one, other], tmp_path / "m.csv")
    assert merged.readers == ("anna", "ben")
    assert merged.decided == {"anna": 12, "ben": 12}
    assert merged.rejected_by == {"anna": 6, "ben": 7}
    (pair,) = merged.pairs
    assert (pair.one, pair.other, pair.agreement.n) == ("anna", "ben", 10)
    assert pair.agreement.kappa == pytest.approx(0.4)
    assert (merged.tiles, merged.rejected, merged.disputed) == (14, 9, 3)
    lines = read_decisions(tmp_path / "m.csv")
    assert [line.tile for line in lines] == [f"t{number:02d}" for number in range(15) if number != 12]
    assert (lines[4].reader, lines[4].reason) == ("anna + ben", "merged by the rule any: anna reject, ben keep")
    assert (lines[10].reader, lines[10].label) == ("anna", "LMS")


@pytest.mark.parametrize(("rule", "rejected"), [(Rule.ANY, "0123"), (Rule.ALL, "03"), (Rule.FIRST, "013")])
def test_the_rule_decides_and_is_written_down(tmp_path: Path, rule: Rule, rejected: str) -> None:
    files = [write(tmp_path / "a.csv", "anna", "rrkr"), write(tmp_path / "b.csv", "ben", "rkr.")]
    merge_screening(files, tmp_path / "m.csv", rule)
    assert rejected_tiles(tmp_path / "m.csv") == {("s", f"t0{number}") for number in rejected}
    assert all(f"by the rule {rule}:" in line.reason for line in read_decisions(tmp_path / "m.csv"))


def test_one_reader_in_two_files_is_one_person_and_the_later_file_counts(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv", "anna", "rk."), write(tmp_path / "b.csv", "anna", ".rr")]
    merged = merge_screening(files, tmp_path / "m.csv")
    assert (merged.pairs, merged.decided) == ((), {"anna": 3})
    assert rejected_tiles(tmp_path / "m.csv") == {("s", "t00"), ("s", "t01"), ("s", "t02")}


def test_a_merged_file_can_be_gone_on_with(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv", "anna", "r"), write(tmp_path / "b.csv", "ben", "k")]
    merge_screening(files, tmp_path / "m.csv")
    write(tmp_path / "m.csv", "eva", ".r")
    assert rejected_tiles(tmp_path / "m.csv") == {("s", "t00"), ("s", "t01")}


def test_a_missing_file_and_an_out_that_is_an_input_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "anna", "r")
    with pytest.raises(InputError, match="there is no such file"):
        merge_screening([file, tmp_path / "b.csv"], tmp_path / "m.csv")
    before = file.read_bytes()
    with pytest.raises(InputError, match="is there already; give another name"):
        merge_screening([file, file], tmp_path / "." / "a.csv")
    assert file.read_bytes() == before


def test_lines_without_a_name_are_the_files(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.csv", "", "rk"), write(tmp_path / "b.csv", "", "kk")]
    merged = merge_screening(files, tmp_path / "m.csv")
    assert merged.readers == ("a", "b")
    assert (merged.rejected, merged.disputed, len(merged.pairs)) == (1, 1, 1)


def test_decisions_about_two_cuts_of_a_slide_are_not_merged(tmp_path: Path) -> None:
    for name, left in (("a", 0), ("b", 50)):
        one = Decision(slide="s", tile="t", verdict=Verdict.REJECT, reader=name, left_l0=left, top_l0=0)
        append_decisions(tmp_path / f"{name}.csv", [one])
    files = [tmp_path / "a.csv", tmp_path / "b.csv"]
    with pytest.raises(InputError, match="s, t lies at 0,0 for a and at 50,0 for b; the slide was cut anew"):
        merge_screening(files, tmp_path / "m.csv")
    withdrawn = Decision(slide="s", tile="t", verdict=Verdict.WITHDRAWN, reader="a")
    append_decisions(tmp_path / "a.csv", [withdrawn])
    assert merge_screening(files, tmp_path / "m.csv").tiles == 1
    assert [(one.left_l0, one.reader) for one in read_decisions(tmp_path / "m.csv")] == [(50, "b")]

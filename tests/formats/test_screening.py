"""screening.csv: it only grows, survives what people and power cuts do to it, and says where it is wrong."""

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sarcoscope.cohort.screening import Rule
from sarcoscope.core.errors import ArtifactError
from sarcoscope.core.screening import Decision, Verdict
from sarcoscope.formats.screening import COLUMNS, append_decisions, read_decisions, write_decisions
from tests.screened import rejected_tiles

HEAD = ",".join(COLUMNS)


def decision(tile: str = "r3_c14_0.5um", verdict: Verdict = Verdict.REJECT, **values: str) -> Decision:
    return Decision(
        slide=values.pop("slide", "s1"),
        tile=tile,
        verdict=verdict,
        reader=values.pop("reader", "anna"),
        when="2026-11-27T06:00:00+00:00",
        mpp=0.5,
        left_l0=14336,
        top_l0=3072,
        label="DDLPS",
        **values,
    )


def test_a_line_is_what_people_expect(tmp_path: Path) -> None:
    file = tmp_path / "run" / "screening.csv"
    append_decisions(file, [decision(reason="like r1_c1_0.5um")])
    line = "s1,r3_c14_0.5um,0.5,14336,3072,DDLPS,reject,anna,2026-11-27T06:00:00+00:00,like r1_c1_0.5um"
    assert file.read_text(encoding="utf-8") == f"{HEAD}\n{line}\n"


def test_what_is_added_comes_back_in_order_and_nothing_before_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    first, second = decision(), decision(verdict=Verdict.KEEP, reader="ben")
    append_decisions(file, [first])
    before = file.read_bytes()
    append_decisions(file, [second, decision("other")])
    assert file.read_bytes().startswith(before)
    assert read_decisions(file) == [first, second, decision("other")]


def test_no_file_rejects_nothing(tmp_path: Path) -> None:
    assert rejected_tiles(tmp_path / "screening.csv") == frozenset()
    (tmp_path / "screening.csv").touch()
    assert rejected_tiles(tmp_path / "screening.csv") == frozenset()


def test_rejected_tiles_by_each_rule(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    lines = [decision("a"), decision("b"), decision("b", Verdict.KEEP, reader="ben"), decision("c", Verdict.KEEP)]
    append_decisions(file, [*lines, decision("d"), decision("d", Verdict.WITHDRAWN)])
    assert rejected_tiles(file) == {("s1", "a"), ("s1", "b")}
    assert rejected_tiles(file, Rule.ALL) == {("s1", "a")}
    assert rejected_tiles(file, Rule.FIRST) == {("s1", "a"), ("s1", "b")}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_file_that_a_table_program_saved_is_read_and_added_to_in_its_own_way(
    tmp_path: Path, delimiter: str, bom: str, end: str
) -> None:
    file = tmp_path / "screening.csv"
    heading = ["Decision", "Tile ", "slide", "mpp", "mine", "Reader", "when"]
    rows = [heading, ["REJECT", "t;1", "s,1", "0,5", "x", "anna", ""], [""] * 7]
    quoted = [[f'"{cell}"' if set(cell) & {";", ","} else cell for cell in row] for row in rows]
    text = bom + end.join(delimiter.join(row) for row in quoted) + end
    file.write_bytes(text.encode())
    assert rejected_tiles(file) == {("s,1", "t;1")}
    assert read_decisions(file)[0].mpp == 0.5
    if end == "\r":
        return  # an old Mac's line ends are read; what is added would not stand on a line of its own
    append_decisions(file, [decision("t2")])
    assert file.read_bytes().startswith(text.encode())
    assert rejected_tiles(file) == {("s,1", "t;1"), ("s1", "t2")}
    assert [one.verdict for one in read_decisions(file)] == [Verdict.REJECT, Verdict.REJECT]
    assert [one.reader for one in read_decisions(file)] == ["anna", decision("t2").reader]


def test_a_file_that_would_lose_who_decided_is_read_but_not_added_to(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    file.write_text("slide,tile,decision,when\ns,a,reject,\n", encoding="utf-8")
    assert rejected_tiles(file) == {("s", "a")}
    with pytest.raises(ArtifactError, match=r"no column 'reader' in the first line.*add the columns reader,when"):
        append_decisions(file, [decision("b")])
    assert file.read_text(encoding="utf-8") == "slide,tile,decision,when\ns,a,reject,\n"


def test_old_macs_line_ends_are_named_before_anything_is_added(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    file.write_bytes(b"slide,tile,decision,reader,when\rs,a,reject,,\r")
    with pytest.raises(ArtifactError, match="its first line cannot be read"):
        append_decisions(file, [decision("b")])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide,tile,decision\ns,a,reject\ns,b,maybe\n", "line 3: decision 'maybe'; give one of reject, keep"),
        ("slide,tile,decision\ns,a,reject\n\ns,,keep\n", "line 4: no tile"),
        ("slide,tile,decision\n,a,reject\n", "line 2: no slide"),
        ("slide,tile,decision\ns,a,\n", "line 2: decision ''"),
        ("slide,decision\ns,reject\n", "no column 'tile' in the first line"),
        ('slide,tile,decision\ns,"a"x,reject\n', "line 2: "),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "screening.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"screening\.csv: ") as caught:
        read_decisions(file)
    assert said in str(caught.value)


def test_another_encoding_is_refused_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    file.write_bytes("slide,tile,decision\nMüller,a,reject\n".encode("cp1252"))
    with pytest.raises(ArtifactError, match="save it as CSV UTF-8"):
        read_decisions(file)


def test_a_line_cut_off_at_any_byte_does_not_count_and_harms_no_other(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    append_decisions(file, [decision("a"), decision('quoted "b", and more', reason='like "c", too')])
    whole = file.read_bytes()
    both = read_decisions(file)
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        read = read_decisions(file)
        append_decisions(file, [decision("z")])
        assert [one.tile for one in read_decisions(file)] == [*(one.tile for one in read), "z"], cut
        for one, full in zip(read, both, strict=False):  # of the last column alone a part may be missing
            assert (one.key, one.verdict, one.reader, one.when) == (full.key, full.verdict, full.reader, full.when)
        assert len(read) >= whole[:cut].count(b"\n") - 1


def test_a_last_line_without_a_line_end_that_somebody_typed_counts(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    file.write_text("slide,tile,reader,when,decision\ns,a,,,reject", encoding="utf-8")
    assert rejected_tiles(file) == {("s", "a")}
    append_decisions(file, [decision("b")])
    assert rejected_tiles(file) == {("s", "a"), ("s1", "b")}


def _add(job: tuple[Path, str]) -> None:
    file, reader = job
    for number in range(40):
        append_decisions(file, [decision(f"{number}{letter}", reader=reader) for letter in "abc"])


def test_processes_that_write_at_once_lose_nothing_and_never_mix_lines(tmp_path: Path) -> None:
    file = tmp_path / "screening.csv"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_add, [(file, reader) for reader in ("anna", "ben", "eva")])
    read = read_decisions(file)
    assert len(read) == 3 * 40 * 3
    for reader in ("anna", "ben", "eva"):
        assert [one.tile for one in read if one.reader == reader] == [f"{n}{c}" for n in range(40) for c in "abc"]
    assert file.read_text(encoding="utf-8").count("slide,tile") == 1


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)


@given(st.lists(st.tuples(NAMES, NAMES, st.sampled_from(Verdict)), max_size=5))
def test_any_name_survives(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, Verdict]]) -> None:
    folder = tmp_path_factory.mktemp("names")
    decisions = [Decision(slide=slide, tile=tile, verdict=verdict) for slide, tile, verdict in rows]
    append_decisions(folder / "a.csv", decisions)
    write_decisions(folder / "b.csv", decisions)
    assert read_decisions(folder / "a.csv") == read_decisions(folder / "b.csv") == decisions
